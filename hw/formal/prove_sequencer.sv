// npu_sequencer: every command ends, and no tile arrives at a busy drain.
//
// Termination: each step issues a tap or fetches a vector of its row slot, which has few of them;
// each row slot that fetched a kernel row leaves fewer rows, channels or tiles (prove_tile_iterator
// covers the tiles); it stalls only for a command, the skip list, the element-wise operand, or the
// drain, which takes a bounded time. Commands have any size that npu_exec_legal accepts; a skip
// list marks its last entry no later than the last channel.
module prove_sequencer (
  input logic                 clk_i,
  input logic                 rst_ni,
  // A command is accepted; a command is finished.
  input logic                 take_i,
  input npu_pkg::exec_t       cmd_i,
  input logic                 finish_i,
  input logic                 list_valid_i,
  input logic           [6:0] list_skip_i,
  input logic                 list_last_i,
  // An element-wise entry arrives in the queue.
  input logic                 answer_i
);
  import npu_pkg::*;
  import npu_core_pkg::*;
  // Steps of the longest row slot, cycles of the longest drain.
  localparam int unsigned Longest = 15 + 4;
  localparam int unsigned Slowest = 3 * Rows;

  exec_t commands[2];
  // The core keeps these values with a command; they are computed when it is accepted.
  shape_t shapes[2];
  assign shapes[0] = shape_of(commands[0]);
  assign shapes[1] = shape_of(commands[1]);
  logic [1:0] accepted, finished_q;
  logic list_pop, stall_drain, stall_eltwise;
  logic [RowBits:0] eltwise_take;
  eltwise_count_t eltwise_level;
  step_t step;
  logic [10:0] skipped;

  npu_sequencer u_sequencer (
    .clk_i,
    .rst_ni,
    .commands_i     (commands),
    .shapes_i       (shapes),
    .accepted_i     (accepted),
    .list_valid_i,
    .list_skip_i,
    .list_last_i,
    .list_pop_o     (list_pop),
    .eltwise_level_i(eltwise_level),
    .eltwise_take_o (eltwise_take),
    .step_o         (step),
    .skipped_o      (skipped),
    .stall_drain_o  (stall_drain),
    .stall_eltwise_o(stall_eltwise)
  );

  // Events of a cycle.
  logic tile_valid, go, row_slot_end, row_done, channel_done, tile_done, fetch, fetching, tile_end;
  assign tile_valid = u_sequencer.tile_valid;
  assign go = u_sequencer.go;
  assign row_slot_end = u_sequencer.row_slot_end;
  assign row_done = u_sequencer.row_done;
  assign channel_done = u_sequencer.channel_done;
  assign tile_done = u_sequencer.tile_done;
  assign fetch = u_sequencer.fetch;
  assign fetching = u_sequencer.fetching;
  assign tile_end = u_sequencer.tile_end_q && go;

  exec_t own;
  logic [1:0] left;
  assign left = u_sequencer.u_tile_iterator.taken_q;
  assign own = commands[left[0]];
  logic dense, sparse, average, halves;
  assign dense = own.mode == ModeDense;
  assign sparse = own.flags[ExecFlagSparse];
  assign average = own.mode == ModeAverage;
  assign halves = crosses(u_sequencer.tile);

  // Cycles that npu_drain takes for the tile that is fetched.
  logic [5:0] rows, turns, slots;
  assign rows = 6'(u_sequencer.tile.rows);
  assign turns = (rows + 6'(DrainRows - 1)) / 6'(DrainRows);
  assign slots = average ? 6'd3 * rows : halves ? 6'd2 * turns : turns;

  logic begun_q = 1'b0;
  // Fetched kernel rows of the channel and channels of the tile; steps of the row slot; drain
  // cycles for the row whose taps are issued; remaining drain cycles after the last tile.
  logic [3:0] ky_q;
  logic [10:0] visited_q;
  logic [5:0] steps_q, slots_q, due_q, waited_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (take_i) begin
      commands[accepted[0]] <= cmd_i;
      accepted <= accepted + 2'd1;
    end
    if (finish_i) finished_q <= finished_q + 2'd1;
    if (row_done) ky_q <= ky_q + 4'd1;
    if (channel_done || !tile_valid) ky_q <= '0;
    if (channel_done) visited_q <= visited_q + 11'd1;
    if (tile_done || !tile_valid) visited_q <= '0;
    if (go) steps_q <= row_slot_end ? '0 : steps_q + 6'd1;
    if (go && row_slot_end) slots_q <= slots;
    if (tile_end) due_q <= slots_q - 6'd1;
    else if (due_q != '0) due_q <= due_q - 6'd1;
    eltwise_level <= eltwise_level + eltwise_count_t'(answer_i) - eltwise_count_t'(eltwise_take);
    waited_q <= u_sequencer.wait_drain ? waited_q + 6'd1 : '0;
    if (!rst_ni) begin
      accepted <= '0;
      finished_q <= '0;
      steps_q <= '0;
      due_q <= '0;
      waited_q <= '0;
      eltwise_level <= '0;
    end
  end

  function automatic logic bounded(input exec_t c);
    return c.tiles != '0 && c.rows != '0 && c.out_channels != '0 && c.out_channels <= 16'd2047 &&
        c.k != '0 && c.k < 8'd16 && c.window_words != '0 && c.window_words <= 8'd4 &&
        (c.mode != ModeDense || (c.in_channels != '0 && c.in_channels <= 16'd2047)) &&
        (c.mode == ModeDense || !c.flags[ExecFlagSparse]);
  endfunction

  logic [1:0] in_flight, walked;
  assign in_flight = accepted - finished_q;
  assign walked = left - finished_q;

  // Taps and vectors that are left of the row slot.
  logic [5:0] taps_left, words_left;
  assign taps_left = u_sequencer.tap_on_q ? 6'(u_sequencer.taps_left_q) : '0;
  assign
      words_left = u_sequencer.word_on_q ? 6'(own.window_words[2:0]) - 6'(u_sequencer.word_q) : '0;

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (take_i) assume (in_flight < 2'd2 && bounded(cmd_i));
    if (finish_i) assume (walked != '0);
    if (answer_i) assume (eltwise_level < eltwise_count_t'(EltwiseDepth));
    if (tile_valid && sparse && 16'(visited_q) + 16'd1 == own.in_channels) assume (list_last_i);

    if (begun_q) begin
      // Every step makes progress; the row slot ends.
      if (go && !row_slot_end) assert (u_sequencer.tap_on_q || fetch);
      assert (steps_q < 6'(Longest));
      // Rows and channels are visited in order.
      if (tile_valid) begin
        assert (ky_q < own.k[3:0] && bounded(own));
        if (dense)
          assert (visited_q < own.in_channels[10:0]);
          else assert (visited_q == '0);
        if (row_done) assert (channel_done == (ky_q + 4'd1 == own.k[3:0]));
        if (channel_done && dense && !sparse)
          assert (tile_done == (visited_q + 11'd1 == own.in_channels[10:0]));
        if (channel_done && !dense) assert (tile_done);
        if (channel_done && sparse) assert (tile_done == list_last_i);
      end
      // It waits for nothing else, and for the drain only a bounded time.
      if (!go)
        assert (u_sequencer.wait_drain || u_sequencer.wait_eltwise ||
                (!fetching && !u_sequencer.row_q.valid));
      if (tile_valid && !sparse) assert (fetching);
      assert (waited_q <= 6'(Slowest));
      // The drain is free when the next tile arrives.
      if (tile_end) assert (due_q == '0 && slots_q != '0 && slots_q <= 6'(Slowest));

      // A tile takes element-wise entries that are present.
      if (tile_end) assert (eltwise_level >= eltwise_count_t'(eltwise_take));

      // Invariants for the induction.
      if (!u_sequencer.row_new_q && u_sequencer.enough_q)
        assert (eltwise_level >= eltwise_count_t'(u_sequencer.row_q.eltwise) ||
                !u_sequencer.tap_on_q);
      // A row that does not start a tile needs the same entries as the row before it.
      if (tile_valid && !u_sequencer.fetched.first)
        assert (u_sequencer.row_q.eltwise == u_sequencer.fetched.eltwise);
      if (tile_valid && u_sequencer.row_q.valid && u_sequencer.row_q.last)
        assert (u_sequencer.fetched.first);
      assert (u_sequencer.row_q.waits || u_sequencer.row_q.eltwise == '0 ||
              !u_sequencer.row_q.valid);
      assert (eltwise_level <= eltwise_count_t'(EltwiseDepth));
      assert (in_flight <= 2'd2 && walked <= in_flight);
      for (int i = 0; i < 2; i++) begin
        if (in_flight > 2'(i)) begin
          assert (bounded(commands[finished_q[0]^1'(i)]));
        end
      end
      if (tile_valid) begin
        assert (left != accepted);
        assert (rows != '0 && rows <= 6'(Rows));
        assert (u_sequencer.tile.dense == dense && u_sequencer.tile.sparse == sparse);
        assert (u_sequencer.tile.average == average);
        assert (u_sequencer.u_tile_iterator.groups_left_q != '0);
        assert (u_sequencer.u_tile_iterator.rest_last_q ==
                (u_sequencer.u_tile_iterator.groups_left_q == 11'd1));
        assert (u_sequencer.ky_left_q == own.k[3:0] - ky_q);
        assert (u_sequencer.ky_last_q == (ky_q + 4'd1 == own.k[3:0]));
        if (dense) assert (u_sequencer.channels_left_q == own.in_channels[10:0] - visited_q);
        assert (u_sequencer.channel_last_q ==
                (!dense || visited_q + 11'd1 == own.in_channels[10:0]));
        assert (6'(u_sequencer.word_q) < 6'(own.window_words) || !u_sequencer.word_on_q);
        assert (u_sequencer.word_end_q == (words_left <= 6'd1));
        assert (steps_q + taps_left + words_left <= 6'(Longest));
      end else assert (u_sequencer.word_on_q || steps_q + taps_left + 6'd4 <= 6'(Longest));
      assert (steps_q + taps_left <= 6'd15 || tile_valid);
      if (u_sequencer.tap_on_q) assert (u_sequencer.row_q.valid && u_sequencer.taps_left_q != '0);
      assert (u_sequencer.tap_end_q == (taps_left <= 6'd1));
      assert (u_sequencer.tile_end_q == (taps_left == 6'd1 && u_sequencer.row_q.last));
      assert (due_q == (u_sequencer.backlog_on_q ? u_sequencer.backlog_q : '0));
      assert (!u_sequencer.backlog_on_q || u_sequencer.backlog_q != '0);
      assert (due_q < 6'(Slowest) && waited_q + due_q <= 6'(Slowest));
      if (u_sequencer.row_q.valid) begin
        assert (6'(u_sequencer.row_q.drain_cycles) == slots_q && slots_q != '0 &&
                slots_q <= 6'(Slowest));
        assert (u_sequencer.row_q.single == (slots_q == 6'd1));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (tile_end && u_sequencer.row_q.ctx && slots_q == 6'd3 && own.k == 8'd2);
      cover (stall_drain && waited_q == 6'd2);
    end
  end
endmodule
