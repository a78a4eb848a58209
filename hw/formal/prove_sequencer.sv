// npu_sequencer: every command ends, and no tile arrives at a drain that is still at work.
//
// Ends: each step issues a tap or fetches a word of its period, of which there are few; each period that
// fetched a kernel row leaves fewer rows, channels or tiles (see prove_tiles for those); it stands still
// only for want of a command, of the skip list or of the second map, or for the drain, which takes a
// bounded time. Commands are any of the sizes that npu_exec_legal allows; a skip list names its last word
// no later than the last channel.
module prove_sequencer (
  input logic                        clk,
  input logic                        rst,
  // A command is accepted; one is finished.
  input logic                        take,
  input npu_pkg::exec_t              cmd,
  input logic                        finish,
  input logic                        list_valid,
  input logic [6:0]                  list_skip,
  input logic                        list_last,
  // A word of the second map comes into the queue.
  input logic                        answer
);
  import npu_pkg::*;
  import npu_core_pkg::*;
  // Steps of the longest period, cycles of the longest drain.
  localparam int unsigned Longest = 15 + 4;
  localparam int unsigned Slowest = 3 * Rows;

  exec_t  commands [2];
  // What the core keeps of a command beside it, worked out when it is taken.
  shape_t shapes [2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic list_pop, stall_drain, stall_second;
  logic [RowBits:0] second_take;
  second_count_t second_level;
  step_t step;
  logic [10:0] skipped;

  npu_sequencer u_sequencer (
    .clk, .rst, .commands, .shapes, .accepted, .list_valid, .list_skip, .list_last, .list_pop,
    .second_level, .second_take, .step, .skipped, .stall_drain, .stall_second
  );

  // What happens in a cycle.
  logic walking, go, period_end, row_done, channel_done, tile_done, fetch, fetching, tile_end;
  assign walking      = u_sequencer.walking;
  assign go           = u_sequencer.go;
  assign period_end   = u_sequencer.period_end;
  assign row_done     = u_sequencer.row_done;
  assign channel_done = u_sequencer.channel_done;
  assign tile_done    = u_sequencer.tile_done;
  assign fetch        = u_sequencer.fetch;
  assign fetching     = u_sequencer.fetching;
  assign tile_end     = u_sequencer.tile_end_q && go;

  exec_t own;
  logic [1:0] left;
  assign left = u_sequencer.u_tiles.taken_q;
  assign own  = commands[left[0]];
  logic dense, sparse, average, halves;
  assign dense   = own.mode == ModeDense;
  assign sparse  = own.flags[ExecFlagSparse];
  assign average = own.mode == ModeAverage;
  assign halves  = crosses(u_sequencer.tile);

  // Cycles that npu_drain takes for the tile that is fetched.
  logic [5:0] rows, turns, slots;
  assign rows  = 6'(u_sequencer.tile.rows);
  assign turns = (rows + 6'(DrainRows - 1)) / 6'(DrainRows);
  assign slots = average ? 6'd3 * rows : halves ? 6'd2 * turns : turns;

  logic begun_q = 1'b0;
  // Kernel rows of the channel, channels of the tile that were fetched; steps of the period; the drain's
  // cycles for the row whose taps are issued; those for which it is still at work after the last tile.
  logic [3:0]  ky_q;
  logic [10:0] visited_q;
  logic [5:0]  steps_q, slots_q, due_q, waited_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (take) begin
      commands[accepted[0]] <= cmd;
      accepted <= accepted + 2'd1;
    end
    if (finish) finished_q <= finished_q + 2'd1;
    if (row_done) ky_q <= ky_q + 4'd1;
    if (channel_done || !walking) ky_q <= '0;
    if (channel_done) visited_q <= visited_q + 11'd1;
    if (tile_done || !walking) visited_q <= '0;
    if (go) steps_q <= period_end ? '0 : steps_q + 6'd1;
    if (go && period_end) slots_q <= slots;
    if (tile_end) due_q <= slots_q - 6'd1;
    else if (due_q != '0) due_q <= due_q - 6'd1;
    second_level <= second_level + second_count_t'(answer) - second_count_t'(second_take);
    waited_q <= u_sequencer.wait_drain ? waited_q + 6'd1 : '0;
    if (rst) begin
      accepted   <= '0;
      finished_q <= '0;
      steps_q    <= '0;
      due_q      <= '0;
      waited_q   <= '0;
      second_level <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047
        && c.k != '0 && c.k < 8'd16 && c.window_words != '0 && c.window_words <= 8'd4
        && (c.mode != ModeDense || (c.in_channels != '0 && c.in_channels <= 16'd2047))
        && (c.mode == ModeDense || !c.flags[ExecFlagSparse]);
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked    = left - finished_q;

  // Taps and words that the period still has.
  logic [5:0] taps_left, words_left;
  assign taps_left  = u_sequencer.tap_on_q ? 6'(u_sequencer.taps_left_q) : '0;
  assign words_left = u_sequencer.word_on_q ? 6'(own.window_words[2:0]) - 6'(u_sequencer.word_q) : '0;

  always_comb begin
    if (!begun_q) assume (rst);
    if (take) assume (in_flight < 2'd2 && bounded(cmd));
    if (finish) assume (walked != '0);
    if (answer) assume (second_level < second_count_t'(SecondDepth));
    if (walking && sparse && 16'(visited_q) + 16'd1 == own.in_channels) assume (list_last);

    if (begun_q) begin
      // A step does something; a period ends.
      if (go && !period_end) assert (u_sequencer.tap_on_q || fetch);
      assert (steps_q < 6'(Longest));
      // Rows and channels: those that there are, in order.
      if (walking) begin
        assert (ky_q < own.k[3:0] && bounded(own));
        if (dense) assert (visited_q < own.in_channels[10:0]);
        else assert (visited_q == '0);
        if (row_done) assert (channel_done == (ky_q + 4'd1 == own.k[3:0]));
        if (channel_done && dense && !sparse) assert (tile_done == (visited_q + 11'd1 == own.in_channels[10:0]));
        if (channel_done && !dense) assert (tile_done);
        if (channel_done && sparse) assert (tile_done == list_last);
      end
      // It waits for nothing else, and not long for the drain.
      if (!go) assert (u_sequencer.wait_drain || u_sequencer.wait_second || (!fetching && !u_sequencer.row_q.valid));
      if (walking && !sparse) assert (fetching);
      assert (waited_q <= 6'(Slowest));
      // The drain is free when the next tile comes.
      if (tile_end) assert (due_q == '0 && slots_q != '0 && slots_q <= 6'(Slowest));

      // A tile takes words of the second map that are there.
      if (tile_end) assert (second_level >= second_count_t'(second_take));

      // What the induction needs.
      if (!u_sequencer.row_new_q && u_sequencer.enough_q)
        assert (second_level >= second_count_t'(u_sequencer.row_q.second) || !u_sequencer.tap_on_q);
      // A row that does not begin a tile needs what the row before it needed.
      if (walking && !u_sequencer.fetched.first) assert (u_sequencer.row_q.second == u_sequencer.fetched.second);
      if (walking && u_sequencer.row_q.valid && u_sequencer.row_q.last) assert (u_sequencer.fetched.first);
      assert (u_sequencer.row_q.waits || u_sequencer.row_q.second == '0 || !u_sequencer.row_q.valid);
      assert (second_level <= second_count_t'(SecondDepth));
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) begin
        if (in_flight > 2'(i)) begin
          assert (bounded(commands[finished_q[0] ^ 1'(i)]));
        end
      end
      if (walking) begin
        assert (left != accepted);
        assert (rows != '0 && rows <= 6'(Rows));
        assert (u_sequencer.tile.dense == dense && u_sequencer.tile.sparse == sparse);
        assert (u_sequencer.tile.average == average);
        assert (u_sequencer.u_tiles.groups_left_q != '0);
        assert (u_sequencer.u_tiles.rest_last_q == (u_sequencer.u_tiles.groups_left_q == 11'd1));
        assert (u_sequencer.ky_left_q == own.k[3:0] - ky_q);
        assert (u_sequencer.ky_last_q == (ky_q + 4'd1 == own.k[3:0]));
        if (dense) assert (u_sequencer.channels_left_q == own.in_channels[10:0] - visited_q);
        assert (u_sequencer.channel_last_q == (!dense || visited_q + 11'd1 == own.in_channels[10:0]));
        assert (6'(u_sequencer.word_q) < 6'(own.window_words) || !u_sequencer.word_on_q);
        assert (u_sequencer.word_end_q == (words_left <= 6'd1));
        assert (steps_q + taps_left + words_left <= 6'(Longest));
      end else assert (u_sequencer.word_on_q || steps_q + taps_left + 6'd4 <= 6'(Longest));
      assert (steps_q + taps_left <= 6'd15 || walking);
      if (u_sequencer.tap_on_q) assert (u_sequencer.row_q.valid && u_sequencer.taps_left_q != '0);
      assert (u_sequencer.tap_end_q == (taps_left <= 6'd1));
      assert (u_sequencer.tile_end_q == (taps_left == 6'd1 && u_sequencer.row_q.last));
      assert (due_q == (u_sequencer.backlog_on_q ? u_sequencer.backlog_q : '0));
      assert (!u_sequencer.backlog_on_q || u_sequencer.backlog_q != '0);
      assert (due_q < 6'(Slowest) && waited_q + due_q <= 6'(Slowest));
      if (u_sequencer.row_q.valid) begin
        assert (6'(u_sequencer.row_q.slots) == slots_q && slots_q != '0 && slots_q <= 6'(Slowest));
        assert (u_sequencer.row_q.single == (slots_q == 6'd1));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (tile_end && u_sequencer.row_q.side && slots_q == 6'd3 && own.k == 8'd2);
      cover (stall_drain && waited_q == 6'd2);
    end
  end
endmodule
