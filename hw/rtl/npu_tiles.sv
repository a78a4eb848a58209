// Walks the groups and tiles of each command in turn.
//
// Several walkers follow the same commands, each at its own pace: the sequencer, the skip list, the
// reader of the second map and the drain. `commands` holds the two commands in flight, in the order of
// `accepted`; a command that is not `wanted` is passed over.

module npu_tiles #(
    // Average pooling drains once a group: its tiles count as one.
    parameter bit Drained = 1'b0
) (
    input  logic                        clk,
    input  logic                        rst,
    input  npu_pkg::exec_t commands[2],
    input  logic                  [1:0] accepted,
    input  logic                        wanted,
    input  logic                        advance,
    output logic                        valid,
    output logic                        select,
    output npu_pkg::exec_t              cmd,
    output npu_core_pkg::tile_t         tile
);

  npu_core_pkg::tile_t tile_q;  // without the flags of the last tile
  logic [1:0] taken_q;
  logic [15:0] column_q, row_q;
  logic [10:0] rest_q;
  logic dense, row_mode, whole, pending;

  assign select = taken_q[0];
  assign cmd = commands[select];
  assign pending = taken_q != accepted;
  assign dense = cmd.mode == npu_pkg::ModeDense;
  assign row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
  assign whole = Drained && cmd.mode == npu_pkg::ModeAverage;

  // Rows of a group that begins at row `first` with `rest` channels to go.
  function automatic logic [npu_pkg::RowBits:0] active(
      input logic [npu_pkg::RowBits-1:0] first, input logic [10:0] rest);
    logic [npu_pkg::RowBits:0] room;
    room = (npu_pkg::RowBits + 1)'(npu_pkg::Rows) - {1'b0, first};
    return rest < 11'(room) ? rest[npu_pkg::RowBits:0] : room;
  endfunction

  logic [npu_pkg::RowBits-1:0] first_row;
  logic [10:0] next_rest;
  logic column_last, row_last;
  logic [12:0] moved_x;
  assign first_row = dense ? '0 : cmd.in_origin[npu_pkg::RowBits-1:0];
  assign next_rest = rest_q - 11'(tile_q.rows);
  assign column_last = whole || column_q + 16'd1 == cmd.tiles;
  assign row_last = whole || row_q + 16'd1 == cmd.rows;
  assign moved_x = {1'b0, tile_q.x} + 13'(cmd.lane_step_x);

  always_comb begin
    tile = tile_q;
    tile.group_last = column_last && row_last;
    tile.last = tile.group_last && next_rest == '0;
  end

  always_ff @(posedge clk) begin
    if (!valid) begin
      if (pending) begin
        if (wanted) valid <= 1'b1;
        else taken_q <= taken_q + 2'd1;
      end
      tile_q.channel <= '0;
      tile_q.group <= '0;
      tile_q.row_first <= first_row;
      tile_q.rows <= active(first_row, cmd.out_channels[10:0]);
      tile_q.first <= 1'b1;
      rest_q <= cmd.out_channels[10:0];
    end else if (advance) begin
      tile_q.first <= 1'b0;
      if (tile.group_last) begin
        tile_q.channel <= tile_q.channel + 11'(tile_q.rows);
        tile_q.group <= tile_q.group + 11'd1;
        tile_q.row_first <= '0;
        tile_q.rows <= active('0, next_rest);
        rest_q <= next_rest;
      end
      if (tile.last) begin
        valid   <= 1'b0;
        taken_q <= taken_q + 2'd1;
      end
    end

    if (!valid || (advance && tile.group_last)) begin
      tile_q.y <= cmd.y_first[11:0];
      tile_q.x <= cmd.x_first[11:0];
      tile_q.number <= '0;
      tile_q.group_first <= 1'b1;
      column_q <= '0;
      row_q <= '0;
    end else if (advance) begin
      tile_q.number <= tile_q.number + 16'd1;
      tile_q.group_first <= 1'b0;
      if (!row_mode) begin
        column_q <= column_q + 16'd1;
        if (moved_x >= cmd.in_w[12:0]) begin
          tile_q.x <= 12'(moved_x - cmd.in_w[12:0]);
          tile_q.y <= tile_q.y + cmd.lane_step_y[11:0] + 12'd1;
        end else begin
          tile_q.x <= moved_x[11:0];
          tile_q.y <= tile_q.y + cmd.lane_step_y[11:0];
        end
      end else if (column_last) begin
        column_q <= '0;
        row_q <= row_q + 16'd1;
        tile_q.x <= cmd.x_first[11:0];
        tile_q.y <= tile_q.y + 12'd1;
      end else begin
        column_q <= column_q + 16'd1;
        tile_q.x   <= tile_q.x + 12'(npu_pkg::Lanes);
      end
    end

    if (rst) begin
      valid   <= 1'b0;
      taken_q <= '0;
    end
  end

endmodule
