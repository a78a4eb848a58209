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
  logic [15:0] columns_left_q, rows_left_q;
  logic [10:0] rest_q;
  // Registered ahead: the last column, the last row, the last group.
  logic column_last_q, row_last_q, rest_last_q;
  logic row_mode, whole, pending, follows;

  npu_pkg::exec_t other;
  assign select = taken_q[0];
  assign cmd = commands[select];
  assign other = commands[~select];
  assign pending = taken_q != accepted;
  assign follows = Always && taken_q + 2'd1 != accepted;
  assign row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
  assign whole = Drained && cmd.mode == npu_pkg::ModeAverage;

  // A group's rows, and whether it is the last one.
  typedef struct packed {
    logic [npu_pkg::RowBits-1:0] first;
    logic [npu_pkg::RowBits:0] rows;
    logic [10:0] rest;
    logic last;
  } group_t;

  // Group that begins at row `first` with `rest` channels to go.
  function automatic group_t begun(input logic [npu_pkg::RowBits-1:0] first, input logic [10:0] rest);
    logic [npu_pkg::RowBits:0] room;
    group_t group;
    room = (npu_pkg::RowBits + 1)'(npu_pkg::Rows) - {1'b0, first};
    group.first = first;
    group.last = rest <= 11'(room);
    group.rows = group.last ? rest[npu_pkg::RowBits:0] : room;
    group.rest = rest;
    return group;
  endfunction

  // Of this command and of the next one the first group, of this one the next: side by side, since
  // which of them it will be is known late.
  function automatic logic [npu_pkg::RowBits-1:0] first_row(
      input logic [7:0] mode, input logic [npu_pkg::RowBits-1:0] origin);
    return mode == npu_pkg::ModeDense ? '0 : origin;
  endfunction

  group_t own_opening, other_opening, next_group;
  logic begins, turn;
  assign own_opening = begun(first_row(cmd.mode, cmd.in_origin[npu_pkg::RowBits-1:0]),
                             cmd.out_channels[10:0]);
  assign other_opening = begun(first_row(other.mode, other.in_origin[npu_pkg::RowBits-1:0]),
                               other.out_channels[10:0]);
  assign next_group = begun('0, rest_q - 11'(tile.rows));
  assign begins = !valid || (advance && last);
  // The next command's values are loaded.
  assign turn = Always && valid && last;

  // Column of the next flat tile, and the same in the row after; the sign tells which it is.
  logic [11:0] moved_x;
  logic [13:0] beyond;
  assign group_last = whole || (column_last_q && row_last_q);
  assign last = group_last && rest_last_q;
  assign moved_x = tile.x + cmd.lane_step_x[11:0];
  assign beyond = {2'b0, tile.x} + ({1'b0, cmd.lane_step_x[12:0]} - {1'b0, cmd.in_w[12:0]});

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
      tile.first <= 1'b1;
      {tile.row_first, tile.rows, rest_q, rest_last_q} <= turn ? other_opening : own_opening;
    end else if (advance) begin
      tile.first <= 1'b0;
      if (group_last) begin
        tile.channel <= tile.channel + 11'(tile.rows);
        tile.group <= tile.group + 11'd1;
        {tile.row_first, tile.rows, rest_q, rest_last_q} <= next_group;
      end
    end

    if (!valid || (advance && group_last)) begin
      tile.y <= turn ? other.y_first[11:0] : cmd.y_first[11:0];
      tile.x <= turn ? other.x_first[11:0] : cmd.x_first[11:0];
      tile.number <= '0;
      tile.group_first <= 1'b1;
      columns_left_q <= turn ? other.tiles : cmd.tiles;
      column_last_q <= turn ? other.tiles == 16'd1 : cmd.tiles == 16'd1;
      rows_left_q <= turn ? other.rows : cmd.rows;
      row_last_q <= turn ? other.rows == 16'd1 : cmd.rows == 16'd1;
    end else if (advance) begin
      tile.number <= tile.number + 16'd1;
      tile.group_first <= 1'b0;
      if (column_last_q) begin
        columns_left_q <= cmd.tiles;
        column_last_q <= cmd.tiles == 16'd1;
        rows_left_q <= rows_left_q - 16'd1;
        row_last_q <= rows_left_q == 16'd2;
      end else begin
        columns_left_q <= columns_left_q - 16'd1;
        column_last_q  <= columns_left_q == 16'd2;
      end
      if (!row_mode) begin
        tile.x <= beyond[13] ? moved_x : beyond[11:0];
        tile.y <= tile.y + cmd.lane_step_y[11:0] + 12'(!beyond[13]);
      end else if (column_last_q) begin
        tile.x <= cmd.x_first[11:0];
        tile.y <= tile.y + 12'd1;
      end else begin
        tile.x <= tile.x + 12'(npu_pkg::Lanes);
      end
    end

    if (rst) begin
      valid   <= 1'b0;
      taken_q <= '0;
    end
  end

endmodule
