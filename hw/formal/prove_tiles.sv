// npu_tiles: walks through every group, row and column of tiles of each command, each once, and ends: what
// is left, counted by groups, then rows, then columns, is less with every tile.
//
// The walker takes its steps when it is told to; commands are any of the sizes that npu_exec_legal allows.
module prove_tiles #(
  parameter bit Drained = 1'b0,
  parameter bit Always = 1'b0
) (
  input logic           clk,
  input logic           rst,
  // A command is accepted; one is finished.
  input logic           take,
  input npu_pkg::exec_t cmd,
  input logic           finish,
  input logic           wanted,
  input logic           advance
);
  import npu_pkg::*;
  import npu_core_pkg::*;

  exec_t  commands [2];
  // What the core keeps of a command beside it, worked out when it is taken.
  shape_t shapes [2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic   valid, select, group_last, last;
  tile_t  tile;

  npu_tiles #(.Drained(Drained), .Always(Always)) u_tiles (
    .clk, .rst, .commands, .shapes, .accepted, .wanted, .advance,
    .valid, .select, .next_select(), .tile, .group_last, .last
  );

  logic begun_q = 1'b0;
  // Commands that the walker has left; channel, row and column that it should be at.
  logic [1:0]  left_q;
  logic [10:0] channel_q;
  logic [15:0] row_q, column_q;
  logic        valid_q, advance_q, wanted_q, last_q;
  logic [42:0] rank, rank_q;

  exec_t own;
  assign own = commands[left_q[0]];
  logic        average, dense, group_end, end_of_all;
  logic [10:0] first, room, rows;
  assign average = own.mode == ModeAverage;
  assign dense   = own.mode == ModeDense;
  // Rows of the group: from its first channel's to the array's end, as far as there are channels.
  assign first = channel_q == '0 && !dense ? 11'(own.in_origin[RowBits-1:0]) : '0;
  assign room  = 11'(Rows) - first;
  assign rows  = own.out_channels[10:0] - channel_q < room ? own.out_channels[10:0] - channel_q : room;
  assign group_end  = (Drained && average) || (column_q + 16'd1 == own.tiles && row_q + 16'd1 == own.rows);
  assign end_of_all = group_end && channel_q + rows == own.out_channels[10:0];
  assign rank = {own.out_channels[10:0] - channel_q, own.rows - row_q, own.tiles - column_q};

  logic begins;
  assign begins = !valid || (advance && last);
  always_ff @(posedge clk) begin
    begun_q   <= 1'b1;
    valid_q   <= valid && !rst;
    advance_q <= advance;
    wanted_q  <= wanted;
    last_q    <= last;
    rank_q    <= rank;
    if (take) begin
      commands[accepted[0]] <= cmd;
      accepted <= accepted + 2'd1;
    end
    if (finish) finished_q <= finished_q + 2'd1;
    if (valid ? advance && last : !wanted && left_q != accepted) left_q <= left_q + 2'd1;
    if (begins) begin
      channel_q <= '0;
      row_q     <= '0;
      column_q  <= '0;
    end else if (advance) begin
      column_q <= group_end || column_q + 16'd1 == own.tiles ? '0 : column_q + 16'd1;
      if (group_end) begin
        row_q     <= '0;
        channel_q <= channel_q + rows;
      end else if (column_q + 16'd1 == own.tiles) row_q <= row_q + 16'd1;
    end
    if (rst) begin
      accepted   <= '0;
      finished_q <= '0;
      left_q     <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047;
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked    = left_q - finished_q;

  always_comb begin
    if (!begun_q) assume (rst);
    if (take) assume (in_flight < 2'd2 && bounded(cmd));
    if (finish) assume (walked != '0);
    if (advance) assume (valid);
    if (Always) assume (wanted);
    // Whether a command is wanted stands in the command.
    if (begun_q && valid_q && !rst && !(last_q && advance_q)) assume (wanted == wanted_q);

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
        // Every step leaves less to do; where the rest is nothing the walker goes on to the next command.
        if (valid_q && advance_q && !last_q) assert (rank < rank_q);
        if (valid_q && !advance_q) assert (rank == rank_q);
      end
      if (valid_q && advance_q && last_q && !Always) assert (!valid);

      // What the induction needs.
      assert (u_tiles.taken_q == left_q);
      if (in_flight != '0) assert (bounded(commands[finished_q[0]]));
      if (in_flight == 2'd2) assert (bounded(commands[!finished_q[0]]));
      if (valid) begin
        assert (tile.dense == dense && tile.average == average);
        assert (u_tiles.columns_left_q == own.tiles - column_q);
        assert (u_tiles.column_last_q == (column_q + 16'd1 == own.tiles));
        assert (u_tiles.rows_left_q == own.rows - row_q);
        assert (u_tiles.row_last_q == (row_q + 16'd1 == own.rows));
        // Behind this group whole ones follow, and the last.
        assert (u_tiles.groups_left_q != '0 && u_tiles.rest_last_q == (u_tiles.groups_left_q == 11'd1));
        assert (16'(own.out_channels[10:0]) == 16'(channel_q) + 16'(rows)
            + (u_tiles.groups_left_q == 11'd1 ? 16'd0
            : (16'(u_tiles.groups_left_q) - 16'd2) * 16'(Rows) + 16'(shapes[left_q[0]].rows_last)));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (valid && last && channel_q != '0 && own.tiles == 16'd2 && own.rows == 16'd2 && left_q == 2'd1);
      cover (valid && valid_q && last_q && advance_q && own.mode == ModePass);
    end
  end
endmodule
