// npu_tile_iterator: visits every group, row and column of tiles of each command, each once, and
// ends: the remaining work, counted by groups, then rows, then columns, decreases with every tile.
//
// The iterator steps when it is told to; commands have any size that npu_exec_legal accepts.
module prove_tile_iterator #(
  parameter bit Drained = 1'b0,
  parameter bit Always  = 1'b0
) (
  input logic           clk_i,
  input logic           rst_ni,
  // A command is accepted; a command is finished.
  input logic           take_i,
  input npu_pkg::exec_t cmd_i,
  input logic           finish_i,
  input logic           wanted_i,
  input logic           advance_i
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  exec_t commands[2];
  // The core keeps these values with a command; they are computed when it is accepted.
  shape_t shapes[2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic valid, select, group_last, last;
  tile_t tile;

  npu_tile_iterator #(
    .Drained(Drained),
    .Always (Always)
  ) u_tile_iterator (
    .clk_i,
    .rst_ni,
    .commands_i   (commands),
    .shapes_i     (shapes),
    .accepted_i   (accepted),
    .wanted_i,
    .advance_i,
    .valid_o      (valid),
    .select_o     (select),
    .next_select_o(),
    .tile_o       (tile),
    .group_last_o (group_last),
    .last_o       (last)
  );

  logic begun_q = 1'b0;
  // Commands that the iterator has left; channel, row and column that it should be at.
  logic [1:0] left_q;
  logic [10:0] channel_q;
  logic [15:0] row_q, column_q;
  logic valid_q, advance_q, wanted_q, last_q;
  logic [42:0] rank, rank_q;

  exec_t own;
  assign own = commands[left_q[0]];
  logic average, dense, group_end, end_of_all;
  logic [10:0] first, room, rows;
  assign average = own.mode == ModeAverage;
  assign dense = own.mode == ModeDense;
  // Rows of the group: from its first channel's row to the end of the array, as far as there are
  // channels.
  assign first = channel_q == '0 && !dense ? 11'(own.in_origin[RowBits-1:0]) : '0;
  assign room = 11'(Rows) - first;
  assign
      rows = own.out_channels[10:0] - channel_q < room ? own.out_channels[10:0] - channel_q : room;
  assign group_end = (Drained && average) ||
      (column_q + 16'd1 == own.tiles && row_q + 16'd1 == own.rows);
  assign end_of_all = group_end && channel_q + rows == own.out_channels[10:0];
  assign rank = {own.out_channels[10:0] - channel_q, own.rows - row_q, own.tiles - column_q};

  logic begins;
  assign begins = !valid || (advance_i && last);
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    valid_q <= valid && rst_ni;
    advance_q <= advance_i;
    wanted_q <= wanted_i;
    last_q <= last;
    rank_q <= rank;
    if (take_i) begin
      commands[accepted[0]] <= cmd_i;
      accepted <= accepted + 2'd1;
    end
    if (finish_i) finished_q <= finished_q + 2'd1;
    if (valid ? advance_i && last : !wanted_i && left_q != accepted) left_q <= left_q + 2'd1;
    if (begins) begin
      channel_q <= '0;
      row_q <= '0;
      column_q <= '0;
    end else if (advance_i) begin
      column_q <= group_end || column_q + 16'd1 == own.tiles ? '0 : column_q + 16'd1;
      if (group_end) begin
        row_q <= '0;
        channel_q <= channel_q + rows;
      end else if (column_q + 16'd1 == own.tiles) row_q <= row_q + 16'd1;
    end
    if (!rst_ni) begin
      accepted <= '0;
      finished_q <= '0;
      left_q <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked = left_q - finished_q;

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (take_i) assume (in_flight < 2'd2 && bounded(cmd_i));
    if (finish_i) assume (walked != '0);
    if (advance_i) assume (valid);
    if (Always) assume (wanted_i);
    // The command itself says whether it is wanted.
    if (begun_q && valid_q && rst_ni && !(last_q && advance_q)) assume (wanted_i == wanted_q);

    if (begun_q) begin
      assert (in_flight <= 2'd2 && walked <= in_flight);
      if (valid) begin
        assert (select == left_q[0] && left_q != accepted && bounded(own));
        assert (tile.channel == channel_q && 11'(tile.rows) == rows && rows != '0);
        assert (11'(tile.row_first) == first);
        assert (channel_q < own.out_channels[10:0] && row_q < own.rows && column_q < own.tiles);
        assert (group_last == group_end && last == end_of_all);
        assert (tile.group_first == (row_q == '0 && column_q == '0));
        assert (tile.first == (tile.group_first && channel_q == '0));
        // Every step leaves less work; where none is left the iterator advances to the next
        // command.
        if (valid_q && advance_q && !last_q) assert (rank < rank_q);
        if (valid_q && !advance_q) assert (rank == rank_q);
      end
      if (valid_q && advance_q && last_q && !Always) assert (!valid);

      // Invariants for the induction.
      assert (u_tile_iterator.taken_q == left_q);
      if (in_flight != '0) assert (bounded(commands[finished_q[0]]));
      if (in_flight == 2'd2) assert (bounded(commands[!finished_q[0]]));
      if (valid) begin
        assert (tile.dense == dense && tile.average == average);
        assert (u_tile_iterator.columns_left_q == own.tiles - column_q);
        assert (u_tile_iterator.column_last_q == (column_q + 16'd1 == own.tiles));
        assert (u_tile_iterator.rows_left_q == own.rows - row_q);
        assert (u_tile_iterator.row_last_q == (row_q + 16'd1 == own.rows));
        // This group is followed by whole ones and the last one.
        assert (u_tile_iterator.groups_left_q != '0 &&
                u_tile_iterator.rest_last_q == (u_tile_iterator.groups_left_q == 11'd1));
        assert (16'(own.out_channels[10:0]) == 16'(channel_q) + 16'(rows) +
                (u_tile_iterator.groups_left_q == 11'd1 ?
                 16'd0 : (16'(u_tile_iterator.groups_left_q) - 16'd2) * 16'(Rows) +
                 16'(shapes[left_q[0]].rows_last)));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (valid && last && channel_q != '0 && own.tiles == 16'd2 && own.rows == 16'd2 &&
             left_q == 2'd1);
      cover (valid && valid_q && last_q && advance_q && own.mode == ModePass);
    end
  end
endmodule
