// Walks the groups and tiles of each command in turn.
//
// Several walkers follow the same commands, each at its own pace: the sequencer, the skip list, the
// reader of the second map and the drain. `commands` holds the two commands in flight, in the order of
// `accepted`; a command that is not `wanted` is passed over.

module npu_tiles #(
    // Average pooling drains once a group: its tiles count as one.
    parameter bit Drained = 1'b0,
    // Every command is wanted; the next one follows without a cycle in between.
    parameter bit Always = 1'b0
) (
    input  logic                        clk,
    input  logic                        rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::shape_t        shapes[2],
    input  logic                  [1:0] accepted,
    input  logic                        wanted,
    input  logic                        advance,
    output logic                        valid,
    output logic                        select,
    // Whose the next tile is, should this one be done now.
    output logic                        next_select,
    output npu_core_pkg::tile_t         tile,
    // Last tile of its group, of the command.
    output logic                        group_last,
    output logic                        last
);

  logic [1:0] taken_q;
  logic [15:0] columns_left_q, rows_left_q;
  logic [10:0] groups_left_q;
  // Registered ahead: the last column, the last row, the last group.
  logic column_last_q, row_last_q, rest_last_q;
  logic whole, pending, follows, turns, begins, restarts;

  npu_pkg::exec_t cmd, next_cmd;
  npu_core_pkg::shape_t shape, next_shape;
  assign select = taken_q[0];
  assign next_select = select ^ (Always && valid && last);
  assign cmd = commands[select];
  assign next_cmd = commands[next_select];
  assign shape = shapes[select];
  assign next_shape = shapes[next_select];
  assign pending = taken_q != accepted;
  assign follows = Always && taken_q + 2'd1 != accepted;
  assign whole = Drained && tile.average;
  assign group_last = whole || (column_last_q && row_last_q);
  assign last = group_last && rest_last_q;
  // All registers turn over together; which way each goes is known before `advance` is.
  assign turns = !valid || advance;
  assign begins = !valid || last;
  assign restarts = !valid || group_last;

  // Column of the next flat tile, and the same in the row after; the sign tells which it is.
  logic [12:0] moved_x;
  logic next_line;
  logic [13:0] beyond_q;
  logic [11:0] rest_q;
  assign moved_x = {1'b0, tile.x} + shape.step_x;
  assign next_line = shape.row_mode ? column_last_q : !beyond_q[13];

  always_ff @(posedge clk) begin
    if (!valid && pending) begin
      if (wanted) valid <= 1'b1;
      else taken_q <= taken_q + 2'd1;
    end
    if (valid && advance && last) begin
      valid   <= follows;
      taken_q <= taken_q + 2'd1;
    end

    if (turns) begin
      tile.first <= begins;
      if (begins) begin
        tile.channel <= '0;
        tile.group <= '0;
        tile.row_first <= next_shape.row_first;
        tile.rows <= next_shape.rows_first;
        tile.dense <= next_shape.dense;
        tile.sparse <= next_shape.sparse;
        tile.average <= next_shape.average;
        tile.second <= next_shape.second;
        groups_left_q <= next_shape.groups;
        rest_last_q <= next_shape.one_group;
      end else if (group_last) begin
        tile.channel <= tile.channel + 11'(tile.rows);
        tile.group <= tile.group + 11'd1;
        tile.row_first <= '0;
        tile.rows <= groups_left_q == 11'd2 ? shape.rows_last
            : (npu_pkg::RowBits + 1)'(npu_pkg::Rows);
        groups_left_q <= groups_left_q - 11'd1;
        rest_last_q <= groups_left_q == 11'd2;
      end

      tile.group_first <= restarts;
      tile.number <= restarts ? '0 : tile.number + 16'd1;
      column_last_q <= restarts ? next_shape.one_tile : column_last_q ? shape.one_tile
          : columns_left_q == 16'd2;
      columns_left_q <= restarts ? next_cmd.tiles : column_last_q ? cmd.tiles
          : columns_left_q - 16'd1;
      if (restarts) begin
        tile.y <= next_cmd.y_first[11:0];
        tile.x <= next_cmd.x_first[11:0];
        beyond_q <= next_shape.beyond;
        tile.offset <= next_shape.offset;
        tile.live <= next_shape.live;
        rest_q <= next_shape.rest;
        rows_left_q <= next_cmd.rows;
        row_last_q <= next_shape.one_line;
      end else begin
        if (column_last_q) begin
          rows_left_q <= rows_left_q - 16'd1;
          row_last_q <= rows_left_q == 16'd2;
        end
        beyond_q <= beyond_q + (beyond_q[13] ? 14'(shape.step_x) : shape.back_x);
        tile.y <= tile.y + shape.step_y + 12'(next_line);
        if (shape.row_mode && column_last_q) begin
          tile.x <= cmd.x_first[11:0];
          tile.offset <= tile.offset + cmd.out_w[npu_pkg::LaneBits-1:0];
          tile.live <= shape.live;
          rest_q <= shape.rest;
        end else begin
          tile.x <= shape.row_mode || beyond_q[13] ? moved_x[11:0] : beyond_q[11:0];
          // Lanes of the tile that is `Lanes` pixels nearer to the end.
          if (shape.row_mode && rest_q < 12'(2 * npu_pkg::Lanes))
            tile.live <= {1'b0, rest_q[npu_pkg::LaneBits-1:0]};
          rest_q <= rest_q - 12'(npu_pkg::Lanes);
        end
      end
    end

    if (rst) begin
      valid   <= 1'b0;
      taken_q <= '0;
    end
  end

endmodule
