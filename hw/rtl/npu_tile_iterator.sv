// Tile iterator: steps through the groups and tiles of each command in turn.
//
// Four iterators follow the same commands, each at its own pace: sequencer, skip list, element-wise
// fetch and drain. `commands_i` holds the two contexts, filled in the order of `accepted_i`; a
// command that is not `wanted_i` is passed over.
//
// Units: pixels for x and y, `Lanes` pixels per tile, `Rows` channels per group.

module npu_tile_iterator #(
  // Average pooling drains once per group: its tiles count as one.
  parameter bit Drained = 1'b0,
  // Every command is wanted; the next command follows without an idle cycle.
  parameter bit Always  = 1'b0
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  npu_pkg::exec_t             commands_i   [2],
  input  npu_core_pkg::shape_t       shapes_i     [2],
  input  logic                 [1:0] accepted_i,
  input  logic                       wanted_i,
  input  logic                       advance_i,
  output logic                       valid_o,
  output logic                       select_o,
  // Context of the next tile if the current tile is finished in this cycle.
  output logic                       next_select_o,
  output npu_core_pkg::tile_t        tile_o,
  // Last tile of its group; last tile of the command.
  output logic                       group_last_o,
  output logic                       last_o
);

  logic [1:0] taken_q;
  logic [15:0] columns_left_q, rows_left_q;
  logic [10:0] groups_left_q;
  // Computed one step ahead: the last column, the last row, the last group.
  logic column_last_q, row_last_q, rest_last_q;
  logic whole, pending, follows, turns, begins, restarts;

  npu_pkg::exec_t cmd, next_cmd;
  npu_core_pkg::shape_t shape, next_shape;
  assign select_o = taken_q[0];
  assign next_select_o = select_o ^ (Always && valid_o && last_o);
  assign cmd = commands_i[select_o];
  assign next_cmd = commands_i[next_select_o];
  assign shape = shapes_i[select_o];
  assign next_shape = shapes_i[next_select_o];
  assign pending = taken_q != accepted_i;
  assign follows = Always && taken_q + 2'd1 != accepted_i;
  assign whole = Drained && tile_o.average;
  assign group_last_o = whole || (column_last_q && row_last_q);
  assign last_o = group_last_o && rest_last_q;
  // All registers update together; the next value of each is known before `advance_i` is.
  assign turns = !valid_o || advance_i;
  assign begins = !valid_o || last_o;
  assign restarts = !valid_o || group_last_o;

  // Column of the next flat tile, and the same in the next row; the sign selects between them.
  logic [12:0] moved_x;
  logic next_line;
  logic [13:0] beyond_q;
  logic [11:0] rest_q;
  assign moved_x = {1'b0, tile_o.x} + shape.step_x;
  assign next_line = shape.row_mode ? column_last_q : !beyond_q[13];

  always_ff @(posedge clk_i) begin
    if (!valid_o && pending) begin
      if (wanted_i) valid_o <= 1'b1;
      else taken_q <= taken_q + 2'd1;
    end
    if (valid_o && advance_i && last_o) begin
      valid_o <= follows;
      taken_q <= taken_q + 2'd1;
    end

    if (turns) begin
      tile_o.first <= begins;
      if (begins) begin
        tile_o.channel <= '0;
        tile_o.group <= '0;
        tile_o.row_first <= next_shape.row_first;
        tile_o.rows <= next_shape.rows_first;
        tile_o.dense <= next_shape.dense;
        tile_o.sparse <= next_shape.sparse;
        tile_o.average <= next_shape.average;
        tile_o.eltwise <= next_shape.eltwise;
        groups_left_q <= next_shape.groups;
        rest_last_q <= next_shape.one_group;
      end else if (group_last_o) begin
        tile_o.channel <= tile_o.channel + 11'(tile_o.rows);
        tile_o.group <= tile_o.group + 11'd1;
        tile_o.row_first <= '0;
        tile_o.rows <= groups_left_q == 11'd2 ?
            shape.rows_last : (npu_pkg::RowBits + 1)'(npu_pkg::Rows);
        groups_left_q <= groups_left_q - 11'd1;
        rest_last_q <= groups_left_q == 11'd2;
      end

      tile_o.group_first <= restarts;
      tile_o.number <= restarts ? '0 : tile_o.number + 16'd1;
      column_last_q <= restarts ? next_shape.one_tile :
          column_last_q ? shape.one_tile : columns_left_q == 16'd2;
      columns_left_q <= restarts ? next_cmd.tiles :
          column_last_q ? cmd.tiles : columns_left_q - 16'd1;
      if (restarts) begin
        tile_o.y <= next_cmd.y_first[11:0];
        tile_o.x <= next_cmd.x_first[11:0];
        beyond_q <= next_shape.beyond;
        tile_o.offset <= next_shape.offset;
        tile_o.num_lanes <= next_shape.num_lanes;
        rest_q <= next_shape.rest;
        rows_left_q <= next_cmd.rows;
        row_last_q <= next_shape.one_line;
      end else begin
        if (column_last_q) begin
          rows_left_q <= rows_left_q - 16'd1;
          row_last_q <= rows_left_q == 16'd2;
        end
        beyond_q <= beyond_q + (beyond_q[13] ? 14'(shape.step_x) : shape.back_x);
        tile_o.y <= tile_o.y + shape.step_y + 12'(next_line);
        if (shape.row_mode && column_last_q) begin
          tile_o.x <= cmd.x_first[11:0];
          tile_o.offset <= tile_o.offset + cmd.out_w[npu_pkg::LaneBits-1:0];
          tile_o.num_lanes <= shape.num_lanes;
          rest_q <= shape.rest;
        end else begin
          tile_o.x <= shape.row_mode || beyond_q[13] ? moved_x[11:0] : beyond_q[11:0];
          // Lanes of the tile that starts `Lanes` pixels nearer to the end of the row.
          if (shape.row_mode && rest_q < 12'(2 * npu_pkg::Lanes))
            tile_o.num_lanes <= {1'b0, rest_q[npu_pkg::LaneBits-1:0]};
          rest_q <= rest_q - 12'(npu_pkg::Lanes);
        end
      end
    end

    if (!rst_ni) begin
      valid_o <= 1'b0;
      taken_q <= '0;
    end
  end

endmodule
