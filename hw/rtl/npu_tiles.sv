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
    input  logic                  [1:0] accepted,
    input  logic                        wanted,
    input  logic                        advance,
    output logic                        valid,
    output logic                        select,
    output npu_pkg::exec_t              cmd,
    output npu_core_pkg::tile_t         tile,
    // Last tile of its group, of the command.
    output logic                        group_last,
    output logic                        last
);

  logic [1:0] taken_q;
  logic [15:0] column_q, row_q;
  logic [10:0] rest_q;
  logic row_mode, whole, pending, follows;

  assign select = taken_q[0];
  assign cmd = commands[select];
  assign pending = taken_q != accepted;
  assign follows = Always && taken_q + 2'd1 != accepted;
  assign row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
  assign whole = Drained && cmd.mode == npu_pkg::ModeAverage;

  // Rows of a group that begins at row `first` with `rest` channels to go.
  function automatic logic [npu_pkg::RowBits:0] active(
      input logic [npu_pkg::RowBits-1:0] first, input logic [10:0] rest);
    logic [npu_pkg::RowBits:0] room;
    room = (npu_pkg::RowBits + 1)'(npu_pkg::Rows) - {1'b0, first};
    return rest < 11'(room) ? rest[npu_pkg::RowBits:0] : room;
  endfunction

  // Starting values: of the next command at the end of one, of the same at the end of a group.
  npu_pkg::exec_t upcoming;
  logic begins;
  assign upcoming = Always && valid && last ? commands[~select] : cmd;
  assign begins   = !valid || (advance && last);

  logic [npu_pkg::RowBits-1:0] first_row;
  logic [10:0] next_rest;
  logic column_last, row_last;
  logic [12:0] moved_x;
  assign first_row = upcoming.mode == npu_pkg::ModeDense ? '0
      : upcoming.in_origin[npu_pkg::RowBits-1:0];
  assign next_rest = rest_q - 11'(tile.rows);
  assign column_last = whole || column_q + 16'd1 == cmd.tiles;
  assign row_last = whole || row_q + 16'd1 == cmd.rows;
  assign group_last = column_last && row_last;
  assign last = group_last && next_rest == '0;
  assign moved_x = {1'b0, tile.x} + 13'(cmd.lane_step_x);

  always_ff @(posedge clk) begin
    if (!valid && pending) begin
      if (wanted) valid <= 1'b1;
      else taken_q <= taken_q + 2'd1;
    end
    if (valid && advance && last) begin
      valid   <= follows;
      taken_q <= taken_q + 2'd1;
    end

    if (begins) begin
      tile.channel <= '0;
      tile.group <= '0;
      tile.row_first <= first_row;
      tile.rows <= active(first_row, upcoming.out_channels[10:0]);
      tile.first <= 1'b1;
      rest_q <= upcoming.out_channels[10:0];
    end else if (advance) begin
      tile.first <= 1'b0;
      if (group_last) begin
        tile.channel <= tile.channel + 11'(tile.rows);
        tile.group <= tile.group + 11'd1;
        tile.row_first <= '0;
        tile.rows <= active('0, next_rest);
        rest_q <= next_rest;
      end
    end

    if (!valid || (advance && group_last)) begin
      tile.y <= upcoming.y_first[11:0];
      tile.x <= upcoming.x_first[11:0];
      tile.number <= '0;
      tile.group_first <= 1'b1;
      column_q <= '0;
      row_q <= '0;
    end else if (advance) begin
      tile.number <= tile.number + 16'd1;
      tile.group_first <= 1'b0;
      if (!row_mode) begin
        column_q <= column_q + 16'd1;
        if (moved_x >= cmd.in_w[12:0]) begin
          tile.x <= 12'(moved_x - cmd.in_w[12:0]);
          tile.y <= tile.y + cmd.lane_step_y[11:0] + 12'd1;
        end else begin
          tile.x <= moved_x[11:0];
          tile.y <= tile.y + cmd.lane_step_y[11:0];
        end
      end else if (column_last) begin
        column_q <= '0;
        row_q <= row_q + 16'd1;
        tile.x <= cmd.x_first[11:0];
        tile.y <= tile.y + 12'd1;
      end else begin
        column_q <= column_q + 16'd1;
        tile.x   <= tile.x + 12'(npu_pkg::Lanes);
      end
    end

    if (rst) begin
      valid   <= 1'b0;
      taken_q <= '0;
    end
  end

endmodule
