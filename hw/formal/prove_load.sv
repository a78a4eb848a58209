// npu_load: a command requests as many beats as its words take, and accepts exactly those; each
// word goes once to the next entry of its memory; `done` says, once per command, that all are
// written.
//
// The verdict on a command is free, within what `cmd-decode` proves. The model knows of the product
// channels × words only what `product` proves: with one channel less it is less by the words, and
// for one channel it is the words.
module prove_load (
  input logic                            clk_i,
  input logic                            rst_ni,
  input logic                            stop_i,
  input logic                            cmd_valid_i,
  input npu_pkg::transfer_t              cmd_i,
  input logic                            cmd_waits_i,
  input logic               [ 1:0][31:0] region_base_i,
  input logic               [ 1:0][31:0] region_bytes_i,
  input logic                            req_ready_i,
  input logic                            data_valid_i,
  input logic               [63:0]       data_i,
  input logic                            ld_ready_i,
  // Channels times words of a feature map.
  input logic               [15:0]       product_i
);
  import npu_pkg::*;

  logic
      cmd_pop,
      illegal,
      outside,
      done,
      idle,
      req_valid,
      data_ready,
      ld_valid,
      lw_valid,
      lp_valid,
      lt_valid;
  logic lt_select;
  logic [31:0] req_address;
  logic [15:0] req_beats;
  logic [RowBits-1:0] ld_bank;
  logic [BankAddrBits-1:0] ld_addr;
  logic [8*Lanes-1:0] ld_data;
  logic [Lanes-1:0] ld_be;
  logic [WeightAddrBits-1:0] lw_addr;
  logic [8*Rows+7:0] lw_data;
  logic [ParamAddrBits-1:0] lp_addr;
  logic [127:0] lp_data;
  logic [4:0] lt_addr;
  logic [63:0] lt_data;

  npu_load u_load (
    .clk_i,
    .rst_ni,
    .stop_i,
    .cmd_valid_i,
    .cmd_i,
    .cmd_waits_i,
    .cmd_pop_o    (cmd_pop),
    .region_base_i,
    .region_bytes_i,
    .illegal_o    (illegal),
    .outside_o    (outside),
    .done_o       (done),
    .idle_o       (idle),
    .req_valid_o  (req_valid),
    .req_ready_i,
    .req_address_o(req_address),
    .req_beats_o  (req_beats),
    .data_valid_i,
    .data_ready_o (data_ready),
    .data_i,
    .ld_valid_o   (ld_valid),
    .ld_ready_i,
    .ld_bank_o    (ld_bank),
    .ld_addr_o    (ld_addr),
    .ld_data_o    (ld_data),
    .ld_be_o      (ld_be),
    .lw_valid_o   (lw_valid),
    .lw_addr_o    (lw_addr),
    .lw_data_o    (lw_data),
    .lp_valid_o   (lp_valid),
    .lp_addr_o    (lp_addr),
    .lp_data_o    (lp_data),
    .lt_valid_o   (lt_valid),
    .lt_select_o  (lt_select),
    .lt_addr_o    (lt_addr),
    .lt_data_o    (lt_data)
  );

  // A command in plain numbers: its words, beats per word, beats in all.
  typedef struct packed {
    transfer_t   cmd;
    logic [15:0] words;
    logic [15:0] beats;
  } job_t;
  function automatic logic is_map(input transfer_t c);
    return c.opcode == OpLoadMap;
  endfunction
  function automatic logic is_sparse(input transfer_t c);
    return c.opcode == OpLoadWeights && c.flags[TransferFlagSparse];
  endfunction
  function automatic logic [15:0] beats_of_word(input transfer_t c);
    case (c.opcode)
      OpLoadMap: return 16'(Lanes / 8);
      OpLoadWeights: return 16'(Rows == 16 ? 2 : 1);
      OpLoadParams: return 16'd2;
      default: return 16'd1;
    endcase
  endfunction
  job_t fresh;
  always_comb begin
    fresh.cmd = cmd_i;
    fresh.words = is_map(cmd_i) ? product_i : cmd_i.opcode == OpLoadTable ? 16'd32 : cmd_i.words;
    fresh.beats = beats_of_word(cmd_i) == 16'd2 ? fresh.words << 1 : fresh.words;
    if (is_sparse(cmd_i)) fresh.beats += (fresh.words + 16'd7) >> 3;
  end

  logic begun_q = 1'b0;
  logic stop_q, rst_q;
  // Requests: requested beats; for a map that is not contiguous, the rest of the product, and
  // channels.
  job_t ask_q;
  logic whole_q;
  logic [15:0] asked_q, ask_rest_q, ask_left_q, now;
  logic asking;
  assign asking = asked_q != ask_q.beats;
  assign now = whole_q ? ask_q.beats : 16'(ask_q.cmd.words * 16'(Lanes / 8));

  // Commands in the write stage, oldest first: beats that the oldest has accepted, words complete,
  // words written; the rest of its product including the current channel.
  logic [1:0] jobs_q;
  job_t [2:0] job_q;
  job_t job;
  logic [15:0] took_q, got_q, walk_rest_q, controls;
  logic accept, word, written, leave, done_q;
  // State after the beats of whole words and their control bytes; the last control bytes and beat.
  logic [15:0] part;
  logic [63:0] controls_q, low_q;
  logic control;
  assign job = job_q[0];
  assign accept = data_valid_i && data_ready;
  // Of sparse weights, each eight words (or the rest) follow one beat of control bytes.
  assign controls = u_load.control_q || !is_sparse(job.cmd) ? got_q >> 3 : (got_q >> 3) + 16'd1;
  assign part = took_q - (is_sparse(
      job.cmd
  ) ? controls : '0) - (beats_of_word(
      job.cmd
  ) == 16'd2 ? got_q << 1 : got_q);
  assign control = is_sparse(job.cmd) && u_load.control_q;
  assign word = accept && !control && part + 16'd1 == beats_of_word(job.cmd);
  assign written = ld_valid && ld_ready_i;
  assign leave = jobs_q != '0 && took_q == job.beats && (!ld_valid || written);

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    stop_q <= stop_i;
    rst_q <= !rst_ni;
    if (cmd_pop) begin
      ask_q <= fresh;
      whole_q <= u_load.contiguous;
      asked_q <= '0;
      ask_rest_q <= product_i;
      ask_left_q <= u_load.contiguous ? 16'd1 : cmd_i.count;
    end else if (req_valid && req_ready_i) begin
      asked_q <= asked_q + now;
      ask_rest_q <= ask_rest_q - ask_q.cmd.words;
      ask_left_q <= ask_left_q - 16'd1;
    end
    if (u_load.job_done) begin
      job_q[0] <= job_q[1];
      job_q[1] <= job_q[2];
    end
    if (cmd_pop) job_q[jobs_q-2'(u_load.job_done)] <= fresh;
    jobs_q <= jobs_q + 2'(cmd_pop) - 2'(u_load.job_done);
    done_q <= u_load.job_done && !stop_i;
    if (accept) begin
      took_q <= took_q + 16'd1;
      low_q <= data_i;
      if (control) controls_q <= data_i;
    end
    if (word) got_q <= got_q + 16'd1;
    if (u_load.setup) walk_rest_q <= job.words;
    else if (u_load.agen_step && u_load.u_addr_gen.word_last_q)
      walk_rest_q <= walk_rest_q - job.cmd.words;
    if (u_load.job_done) begin
      took_q <= '0;
      got_q <= '0;
    end
    if (stop_i) asked_q <= ask_q.beats;
    if (!rst_ni) begin
      ask_q.beats <= '0;
      asked_q <= '0;
      jobs_q <= '0;
      took_q <= '0;
      got_q <= '0;
      done_q <= 1'b0;
    end
  end

  // `cmd-decode` accepts a map within the banks, or a run of a memory's entries; contiguous, or
  // channel by channel.
  function automatic logic fair(input transfer_t c, input logic [15:0] words);
    case (c.opcode)
      OpLoadMap:
      return c.words != '0 && 32'(c.words) <= BankWords && c.count != '0 && words >= c.words &&
          32'(words) <= Rows * BankWords;
      OpLoadWeights:
      return words == c.words && words != '0 && 32'(words) <= WeightWords &&
          32'(c.base) < WeightWords;
      OpLoadParams:
      return words == c.words && words != '0 && 32'(words) <= ParamEntries &&
          32'(c.base) < ParamEntries;
      OpLoadTable: return words == 16'd32;
      default: return 1'b0;
    endcase
  endfunction
  // Returns the entry of the n-th word in a memory of the given size.
  function automatic logic [15:0] entry(input logic [15:0] base, input logic [15:0] n,
                                        input int unsigned size);
    return 32'(base) + 32'(n) >= size ? base + n - 16'(size) : base + n;
  endfunction

  logic running;
  logic [15:0] walked;
  assign running = u_load.running_q;
  // The address of a word of two beats is counted one cycle late.
  assign walked = got_q - (Lanes == 16 ? 16'(u_load.agen_step) : '0);
  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q && stop_q && !rst_q) assume (stop_i);
    if (cmd_pop) begin
      assume (fair(cmd_i, fresh.words));
      if (u_load.contiguous)
        assume (u_load.span_beats == fresh.beats);
        else assume (is_map(cmd_i) && cmd_i.count > 16'd1);
    end
    // Properties of products.
    if (asking && !whole_q)
      assume (ask_left_q == 16'd1 ? ask_rest_q == ask_q.cmd.words : ask_rest_q > ask_q.cmd.words);
    if (running && is_map(job.cmd) && got_q != job.words)
      assume (u_load.u_addr_gen.channels_left_q == 16'd1 ? walk_rest_q == job.cmd.words :
              walk_rest_q > job.cmd.words);

    if (begun_q) begin
      // A command is taken when it was found legal, its waits are over, the previous one has
      // requested all of its beats, and no two others are in the write stage.
      if (cmd_pop)
        assert (u_load.decode_done && !u_load.decode_illegal && !u_load.decode_outside &&
                !cmd_waits_i && !asking && jobs_q < 2'd2 && !stop_i);
      assert (!(illegal && outside) && (!(illegal || outside) || (!cmd_pop && !stop_i)));
      if (u_load.decode_done && !stop_i && (u_load.decode_illegal || u_load.decode_outside))
        assert (illegal || outside);
      // It requests as long as beats are left to request, and requests all of them.
      assert (req_valid == (asking && !stop_i));
      if (req_valid) assert (req_beats == now && now != '0 && asked_q + now <= ask_q.beats);
      // It accepts as many beats as it has requested, without a pause except for its bank.
      if (accept) assert (jobs_q != '0 && took_q < job.beats);
      if (running && !ld_valid) assert (data_ready);
      // It is done, once, exactly when all beats are in and the last word is written.
      assert (u_load.job_done == leave && done == done_q);
      if (leave) assert (got_q == job.words);
      assert (idle == (!cmd_valid_i && !asking && jobs_q == '0));
      // Every word goes to the next entry of its memory.
      assert (lw_valid == (word && job.cmd.opcode == OpLoadWeights));
      assert (lp_valid == (word && job.cmd.opcode == OpLoadParams));
      assert (lt_valid == (word && job.cmd.opcode == OpLoadTable));
      if (lw_valid) begin
        assert (16'(lw_addr) == entry(job.cmd.base, got_q, WeightWords));
        assert (lw_data[8*Rows-1:0] == (8 * Rows)'(Rows == 16 ? {data_i, low_q} : 128'(data_i)));
        assert (lw_data[8*Rows+:8] == (is_sparse(
            job.cmd
        ) ? 8'(controls_q >> {got_q[2:0], 3'b0}) : 8'd0));
      end
      if (lp_valid)
        assert (16'(lp_addr) == entry(
            job.cmd.base, got_q, ParamEntries
        ) && lp_data == {data_i, low_q});
      if (lt_valid)
        assert (lt_addr == got_q[4:0] && lt_data == data_i &&
                lt_select == job.cmd.flags[TransferFlagTableSelect]);

      // Invariants for the induction.
      assert (jobs_q <= 2'd2 && u_load.u_jobs.count_o == jobs_q);
      for (int unsigned i = 0; i < 2; i++) begin
        if (2'(i) < jobs_q) begin
          assert (u_load.u_jobs.mem[u_load.u_jobs.read_q[0]^1'(i)][2*BankAddrBits+:$bits(
              transfer_t
          )] == job_q[i].cmd);
          assert (fair(job_q[i].cmd, job_q[i].words));
          assert (job_q[i].beats == (beats_of_word(
              job_q[i].cmd
          ) == 16'd2 ? job_q[i].words << 1 : job_q[i].words) + (is_sparse(
              job_q[i].cmd
          ) ? (job_q[i].words + 16'd7) >> 3 : 16'd0));
        end
      end
      assert (u_load.requesting == asking);
      if (asking) begin
        assert (asked_q <= ask_q.beats && fair(ask_q.cmd, ask_q.words) && ask_left_q != '0);
        assert (u_load.u_burst_splitter.left_q == ask_left_q &&
                u_load.u_burst_splitter.beats_q == now && now != '0);
        if (whole_q)
          assert (ask_left_q == 16'd1 && asked_q == '0);
          else
            assert (is_map(
                ask_q.cmd
            ) && asked_q + ask_rest_q * 16'(Lanes / 8) == ask_q.beats &&
                ask_q.beats == ask_q.words * 16'(Lanes / 8) && ask_rest_q <= ask_q.words);
      end
      assert (!(running && u_load.finished_q));
      assert (Lanes == 16 || u_load.agen_step == (word && is_map(job.cmd)));
      if (Lanes == 16 && u_load.agen_step)
        assert (is_map(job.cmd) && got_q != '0 && (u_load.finished_q || (running && part == '0)));
      if (!running && !u_load.finished_q) assert (took_q == '0 && got_q == '0 && !u_load.map_valid);
      if (u_load.finished_q) assert (jobs_q != '0 && took_q == job.beats && got_q == job.words);
      if (running) begin
        assert (jobs_q != '0 && took_q < job.beats && got_q < job.words);
        assert (part < beats_of_word(job.cmd) && u_load.odd_q == part[0]);
        assert (control || u_load.complete_q == (part + 16'd1 == beats_of_word(job.cmd)));
        assert (u_load.pairs_q == (beats_of_word(
            job.cmd
        ) == 16'd2) && u_load.sparse_q == is_sparse(
            job.cmd
        ));
        assert (u_load.is_map_q == is_map(
            job.cmd
        ) && u_load.is_weights_q == (job.cmd.opcode == OpLoadWeights));
        assert (u_load.is_params_q == (job.cmd.opcode == OpLoadParams));
        assert (u_load.is_table_q == (job.cmd.opcode == OpLoadTable));
        if (u_load.control_q) assert (is_sparse(job.cmd) && got_q[2:0] == '0 && part == '0);
        assert (u_load.control_index_q == got_q[2:0]);
        if (is_sparse(job.cmd) && !u_load.control_q) assert (u_load.controls_q == controls_q);
        if (part == 16'd1) assert (u_load.low_q == low_q);
        if (is_map(job.cmd)) begin
          assert (u_load.u_addr_gen.words_q == job.cmd.words &&
                  u_load.u_addr_gen.words_left_q != '0);
          assert (u_load.u_addr_gen.words_left_q <= job.cmd.words &&
                  u_load.u_addr_gen.channels_left_q != '0);
          assert (walked + walk_rest_q - (job.cmd.words - u_load.u_addr_gen.words_left_q) ==
                  job.words);
          assert (walk_rest_q <= job.words);
          assert (u_load.u_addr_gen.one_word_q == (job.cmd.words == 16'd1));
          assert (u_load.u_addr_gen.word_last_q == (u_load.u_addr_gen.words_left_q == 16'd1));
          assert (u_load.u_addr_gen.channel_last_q == (u_load.u_addr_gen.channels_left_q == 16'd1));
        end else begin
          assert (u_load.left_q == job.words - got_q);
          if (u_load.is_weights_q)
            assert (u_load.entry_q == entry(job.cmd.base, got_q, WeightWords));
          if (u_load.is_params_q)
            assert (u_load.entry_q == entry(job.cmd.base, got_q, ParamEntries));
        end
      end
      if (u_load.map_valid) begin
        assert (jobs_q != '0 && is_map(job.cmd) && u_load.is_map_q && got_q != '0);
        assert (u_load.map_last == u_load.finished_q);
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (leave && is_map(job.cmd) && job.words == 16'd4 && jobs_q == 2'd2);
      cover (leave && is_sparse(job.cmd) && job.words == 16'd3);
      cover (lp_valid && got_q == 16'd1 && lp_addr == '0);
      cover (accept && is_map(job.cmd) && ask_q.cmd.opcode == OpLoadTable && asking);
    end
  end
endmodule
