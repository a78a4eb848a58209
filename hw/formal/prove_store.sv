// npu_store: a command asks the write engine for exactly the beats of the words that it reads from the banks, the
// last request marked as such; nothing is left of it when the next one begins; the buffer never overflows.
//
// The verdict on a command is free, within what `prepare` proves of it. Of the product channels × words the model
// knows what `product` proves: with a channel less it is less by the words, one channel's are the words.
module prove_store #(
  parameter int unsigned Room = 32
) (
  input logic               clk,
  input logic               rst,
  input logic               stop,
  input logic               cmd_valid,
  input npu_pkg::transfer_t cmd,
  input logic               cmd_waits,
  input logic [31:0]        region_base,
  input logic [31:0]        region_bytes,
  input logic               req_ready,
  input logic               word_left,
  input logic               st_ready,
  // Channels times words of the command.
  input logic [15:0]        product
);
  import npu_pkg::*;

  localparam int unsigned Beats = Lanes / 8;

  logic        cmd_pop, illegal, outside, idle, req_valid, req_last, st_valid;
  logic [31:0] req_address;
  logic [15:0] req_beats;
  logic [RowBits-1:0]      st_bank;
  logic [BankAddrBits-1:0] st_addr;

  npu_store #(.Room(Room)) u_store (.*);

  logic begun_q = 1'b0;
  // Words of the command, a channel's, asked for so far, read so far; words in the write engine's buffer.
  logic        stop_q, rst_q;
  logic [15:0] total_q, words_q, asked_q, got_q;
  logic [6:0]  level_q;
  logic        asking, reading, step;
  assign asking  = asked_q != total_q;
  assign reading = got_q != total_q;
  assign step    = st_valid && st_ready;

  // What is left of the product for the requests and for the walk: with their present channel.
  logic        whole_q;
  logic [15:0] ask_rest_q, ask_left_q, walk_rest_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    stop_q  <= stop;
    rst_q   <= rst;
    if (cmd_pop) begin
      total_q     <= product;
      words_q     <= cmd.words;
      asked_q     <= '0;
      got_q       <= '0;
      whole_q     <= u_store.contiguous;
      ask_left_q  <= u_store.contiguous ? 16'd1 : cmd.count;
      ask_rest_q  <= product;
      walk_rest_q <= product;
    end else begin
      if (req_valid && req_ready) begin
        asked_q    <= asked_q + (whole_q ? total_q : words_q);
        ask_rest_q <= ask_rest_q - (whole_q ? total_q : words_q);
        ask_left_q <= ask_left_q - 16'd1;
      end
      if (step) begin
        got_q <= got_q + 16'd1;
        if (u_store.u_walk.word_last_q) walk_rest_q <= walk_rest_q - words_q;
      end
    end
    level_q <= level_q + 7'(step) - 7'(word_left);
    // A stop ends what is asked for; what was read stays.
    if (rst || stop) asked_q <= total_q;
    if (rst) begin
      total_q <= '0;
      asked_q <= '0;
      got_q   <= '0;
      level_q <= '0;
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    if (begun_q && stop_q && !rst_q) assume (stop);
    // The write engine hands on words that it has.
    if (level_q == '0) assume (!word_left);
    // What `prepare` lets pass: a map within the banks; all of it in one run, or channel by channel.
    if (cmd_pop) begin
      assume (cmd.words != '0 && cmd.count != '0 && product != '0 && 32'(product) <= Rows * BankWords);
      assume (32'(cmd.words) <= BankWords && product >= cmd.words);
      if (u_store.contiguous) assume (u_store.span_beats == 16'(product * 16'(Beats)));
      else assume (cmd.count > 16'd1);
    end
    // What products are.
    if (asking && !whole_q) assume (ask_left_q == 16'd1 ? ask_rest_q == words_q : ask_rest_q > words_q);
    if (reading)
      assume (u_store.u_walk.channels_left_q == 16'd1 ? walk_rest_q == words_q : walk_rest_q > words_q);

    if (begun_q) begin
      // A command is taken when it was found sound, its waits are over, and nothing is left of the one before.
      if (cmd_pop)
        assert (u_store.checked && !u_store.unsound && !u_store.strays && cmd.flags[TransferFlagWork] && !cmd_waits
          && !asking && !reading && !stop);
      assert (!(illegal && outside) && (!(illegal || outside) || (!cmd_pop && !stop)));
      if (u_store.checked && !stop && (u_store.unsound || u_store.strays || !cmd.flags[TransferFlagWork]))
        assert (illegal || outside);
      // It asks as long as there is something to ask for, for all of its words, the last time marked.
      assert (req_valid == (asking && !stop));
      if (req_valid) begin
        assert (req_beats == 16'((whole_q ? total_q : words_q) * 16'(Beats)));
        assert (asked_q + (whole_q ? total_q : words_q) <= total_q);
        assert (req_last == (asked_q + (whole_q ? total_q : words_q) == total_q));
      end
      // It reads its words as long as there is room for them, and no others.
      assert (st_valid == (reading && level_q != 7'(Room)));
      assert (level_q <= 7'(Room));
      assert (idle == (!cmd_valid && !asking && !reading));

      // What the induction needs.
      assert (7'(u_store.taken_q) == level_q && u_store.reading_q == reading);
      assert (asked_q <= total_q && got_q <= total_q && 32'(total_q) <= Rows * BankWords);
      if (asking) begin
        assert (asked_q + ask_rest_q == total_q && ask_left_q != '0 && u_store.u_segments.left_q == ask_left_q);
        assert (u_store.u_segments.beats_q == 16'((whole_q ? total_q : words_q) * 16'(Beats)));
        if (whole_q) assert (ask_left_q == 16'd1 && asked_q == '0);
        else assert (words_q <= total_q);
      end
      if (reading) begin
        assert (u_store.u_walk.words_q == words_q && words_q != '0);
        assert (u_store.u_walk.words_left_q != '0 && u_store.u_walk.words_left_q <= words_q);
        assert (got_q + walk_rest_q - (words_q - u_store.u_walk.words_left_q) == total_q);
        assert (u_store.u_walk.channels_left_q != '0 && walk_rest_q <= total_q);
        assert (u_store.u_walk.one_word_q == (words_q == 16'd1));
        assert (u_store.u_walk.word_last_q == (u_store.u_walk.words_left_q == 16'd1));
        assert (u_store.u_walk.channel_last_q == (u_store.u_walk.channels_left_q == 16'd1));
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (req_valid && req_last && !whole_q && asked_q == 16'd4 && got_q == 16'd3);
      cover (req_valid && whole_q && reading && stop_q == 1'b0 && got_q == 16'd2);
      cover (cmd_pop && total_q == 16'd6 && level_q == 7'd2);
      cover (stop && asking && level_q != '0);
    end
  end
endmodule
