// npu_store: a command requests from the write engine exactly the beats of the vectors that it
// reads from the banks, the last request marked; nothing of it is left when the next one starts;
// the buffer never overflows.
//
// The verdict on a command is free, within what `cmd-decode` proves. The model knows of the product
// channels × words only what `product` proves: with one channel less it is less by the words, and
// for one channel it is the words.
module prove_store #(
  parameter int unsigned Room = 32
) (
  input logic                      clk_i,
  input logic                      rst_ni,
  input logic                      stop_i,
  input logic                      cmd_valid_i,
  input npu_pkg::transfer_t        cmd_i,
  input logic                      cmd_waits_i,
  input logic               [31:0] region_base_i,
  input logic               [31:0] region_bytes_i,
  input logic                      req_ready_i,
  input logic                      word_popped_i,
  input logic                      st_ready_i,
  // Channels times words of the command.
  input logic               [15:0] product_i
);
  import npu_pkg::*;

  localparam int unsigned Beats = Lanes / 8;

  logic cmd_pop, illegal, outside, idle, req_valid, req_last, st_valid;
  logic [31:0] req_address;
  logic [15:0] req_beats;
  logic [RowBits-1:0] st_bank;
  logic [BankAddrBits-1:0] st_addr;

  npu_store #(
    .Room(Room)
  ) u_store (
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
    .idle_o       (idle),
    .req_valid_o  (req_valid),
    .req_ready_i,
    .req_address_o(req_address),
    .req_beats_o  (req_beats),
    .req_last_o   (req_last),
    .word_popped_i,
    .st_valid_o   (st_valid),
    .st_ready_i,
    .st_bank_o    (st_bank),
    .st_addr_o    (st_addr)
  );

  logic begun_q = 1'b0;
  // Vectors of the command, per channel, requested so far, read so far; vectors in the write
  // engine's buffer.
  logic stop_q, rst_q;
  logic [15:0] total_q, words_q, asked_q, got_q;
  logic [6:0] level_q;
  logic asking, reading, step;
  assign asking = asked_q != total_q;
  assign reading = got_q != total_q;
  assign step = st_valid && st_ready_i;

  // The rest of the product for the requests and for the address generator, including their current
  // channel.
  logic whole_q;
  logic [15:0] ask_rest_q, ask_left_q, walk_rest_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    stop_q <= stop_i;
    rst_q <= !rst_ni;
    if (cmd_pop) begin
      total_q <= product_i;
      words_q <= cmd_i.words;
      asked_q <= '0;
      got_q <= '0;
      whole_q <= u_store.contiguous;
      ask_left_q <= u_store.contiguous ? 16'd1 : cmd_i.count;
      ask_rest_q <= product_i;
      walk_rest_q <= product_i;
    end else begin
      if (req_valid && req_ready_i) begin
        asked_q <= asked_q + (whole_q ? total_q : words_q);
        ask_rest_q <= ask_rest_q - (whole_q ? total_q : words_q);
        ask_left_q <= ask_left_q - 16'd1;
      end
      if (step) begin
        got_q <= got_q + 16'd1;
        if (u_store.u_addr_gen.word_last_q) walk_rest_q <= walk_rest_q - words_q;
      end
    end
    level_q <= level_q + 7'(step) - 7'(word_popped_i);
    // A stop ends the requests; vectors that were read stay.
    if (!rst_ni || stop_i) asked_q <= total_q;
    if (!rst_ni) begin
      total_q <= '0;
      asked_q <= '0;
      got_q <= '0;
      level_q <= '0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q && stop_q && !rst_q) assume (stop_i);
    // The write engine sends vectors that it has.
    if (level_q == '0) assume (!word_popped_i);
    // `cmd-decode` accepts a map within the banks; contiguous, or channel by channel.
    if (cmd_pop) begin
      assume (cmd_i.words != '0 && cmd_i.count != '0 && product_i != '0 &&
              32'(product_i) <= Rows * BankWords);
      assume (32'(cmd_i.words) <= BankWords && product_i >= cmd_i.words);
      if (u_store.contiguous)
        assume (u_store.span_beats == 16'(product_i * 16'(Beats)));
        else assume (cmd_i.count > 16'd1);
    end
    // Properties of products.
    if (asking && !whole_q)
      assume (ask_left_q == 16'd1 ? ask_rest_q == words_q : ask_rest_q > words_q);
    if (reading)
      assume (u_store.u_addr_gen.channels_left_q == 16'd1 ? walk_rest_q == words_q :
              walk_rest_q > words_q);

    if (begun_q) begin
      // A command is taken when it was found legal, its waits are over, and nothing is left of the
      // previous one.
      if (cmd_pop)
        assert (u_store.decode_done && !u_store.decode_illegal && !u_store.decode_outside &&
                cmd_i.flags[TransferFlagWork] && !cmd_waits_i && !asking && !reading && !stop_i);
      assert (!(illegal && outside) && (!(illegal || outside) || (!cmd_pop && !stop_i)));
      if (u_store.decode_done && !stop_i &&
          (u_store.decode_illegal || u_store.decode_outside || !cmd_i.flags[TransferFlagWork]))
        assert (illegal || outside);
      // It requests as long as vectors are left to request, requests all of them, and marks the
      // last request.
      assert (req_valid == (asking && !stop_i));
      if (req_valid) begin
        assert (req_beats == 16'((whole_q ? total_q : words_q) * 16'(Beats)));
        assert (asked_q + (whole_q ? total_q : words_q) <= total_q);
        assert (req_last == (asked_q + (whole_q ? total_q : words_q) == total_q));
      end
      // It reads its vectors as long as there is room for them, and no others.
      assert (st_valid == (reading && level_q != 7'(Room)));
      assert (level_q <= 7'(Room));
      assert (idle == (!cmd_valid_i && !asking && !reading));

      // Invariants for the induction.
      assert (7'(u_store.in_flight_q) == level_q && u_store.reading_q == reading);
      assert (asked_q <= total_q && got_q <= total_q && 32'(total_q) <= Rows * BankWords);
      if (asking) begin
        assert (asked_q + ask_rest_q == total_q && ask_left_q != '0 &&
                u_store.u_burst_splitter.left_q == ask_left_q);
        assert (u_store.u_burst_splitter.beats_q ==
                16'((whole_q ? total_q : words_q) * 16'(Beats)));
        if (whole_q)
          assert (ask_left_q == 16'd1 && asked_q == '0);
          else assert (words_q <= total_q);
      end
      if (reading) begin
        assert (u_store.u_addr_gen.words_q == words_q && words_q != '0);
        assert (u_store.u_addr_gen.words_left_q != '0 &&
                u_store.u_addr_gen.words_left_q <= words_q);
        assert (got_q + walk_rest_q - (words_q - u_store.u_addr_gen.words_left_q) == total_q);
        assert (u_store.u_addr_gen.channels_left_q != '0 && walk_rest_q <= total_q);
        assert (u_store.u_addr_gen.one_word_q == (words_q == 16'd1));
        assert (u_store.u_addr_gen.word_last_q == (u_store.u_addr_gen.words_left_q == 16'd1));
        assert (u_store.u_addr_gen.channel_last_q == (u_store.u_addr_gen.channels_left_q == 16'd1));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (req_valid && req_last && !whole_q && asked_q == 16'd4 && got_q == 16'd3);
      cover (req_valid && whole_q && reading && stop_q == 1'b0 && got_q == 16'd2);
      cover (cmd_pop && total_q == 16'd6 && level_q == 7'd2);
      cover (stop_i && asking && level_q != '0);
    end
  end
endmodule
