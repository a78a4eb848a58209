// npu_walk: a map transfer that npu_prepare let pass touches its channels' words, in order, each once, and
// no other word of the banks.
//
// Of the product channel groups × plane the model knows what `product` proves: a group less is a plane
// less, and a product of positive numbers is no less than either.
module prove_walk (
  input logic               clk,
  input logic               start,
  input npu_pkg::transfer_t cmd,
  // Position of the first word in its plane.
  input logic [npu_pkg::BankAddrBits-1:0] ring,
  // Channel groups before the first one, and from there on, times plane.
  input logic [15:0]        before_words,
  input logic [15:0]        group_words,
  input logic               step
);
  import npu_pkg::*;

  logic [RowBits-1:0]      bank;
  logic [BankAddrBits-1:0] address, plane_address;
  logic                    last;
  assign plane_address = BankAddrBits'(cmd.base + before_words);

  npu_walk u_walk (.*);

  logic begun_q = 1'b0;
  logic        live_q = 1'b0;
  // The transfer; channel and word at hand; the place of its plane; words of the groups not yet left.
  logic [15:0] plane_q, words_q, count_q, origin_q, first_q, channel_q, word_q, place_q, rest_q, end_q, at_q;
  logic [16:0] groups_left;
  // Groups from the present channel's on.
  assign groups_left = (17'(bank) + 17'(count_q) - 17'(channel_q) - 17'd1) / 17'(Rows) + 17'd1;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    if (start) begin
      live_q    <= 1'b1;
      plane_q   <= cmd.plane;
      words_q   <= cmd.words;
      count_q   <= cmd.count;
      origin_q  <= cmd.origin;
      first_q   <= 16'(ring);
      at_q      <= 16'(ring);
      channel_q <= '0;
      word_q    <= '0;
      place_q   <= cmd.base + before_words;
      rest_q    <= group_words;
      end_q     <= cmd.base + before_words + group_words;
    end else if (step) begin
      if (last) live_q <= 1'b0;
      if (word_q + 16'd1 == words_q) begin
        word_q    <= '0;
        at_q      <= first_q;
        channel_q <= channel_q + 16'd1;
        if (bank == '1) begin
          place_q <= place_q + plane_q;
          rest_q  <= rest_q - plane_q;
        end
      end else begin
        word_q <= word_q + 16'd1;
        at_q   <= at_q + 16'd1 == plane_q ? '0 : at_q + 16'd1;
      end
    end
  end

  always_comb begin
    if (start) begin
      assume (!live_q && cmd.count != '0 && cmd.words != '0);
      assume (16'(ring) < cmd.plane && cmd.words <= cmd.plane);
      assume (18'(cmd.base) + 18'(before_words) + 18'(group_words) <= 18'(BankWords));
      assume (group_words >= cmd.plane);
    end
    if (step) assume (live_q);
    // What products are.
    if (live_q && groups_left != '0) assume (rest_q >= plane_q);

    if (begun_q && live_q) begin
      // A word of this channel's plane, within what the transfer was judged by.
      assert (16'(address) == place_q + at_q && at_q < plane_q);
      assert (17'(place_q) + 17'(plane_q) <= 17'(end_q) && end_q <= 16'(BankWords));
      assert (bank == RowBits'(origin_q + channel_q));
      assert (last == (channel_q + 16'd1 == count_q && word_q + 16'd1 == words_q));

      // What the induction needs.
      assert (channel_q < count_q && word_q < words_q);
      assert (17'(place_q) + 17'(rest_q) == 17'(end_q) && first_q < plane_q);
      assert (16'(u_walk.plane_address_q) == place_q && 16'(u_walk.ring_q) == at_q);
      assert (16'(u_walk.ring_first_q) == first_q && 16'(u_walk.plane_q) == plane_q);
      assert (u_walk.words_q == words_q && u_walk.words_left_q == words_q - word_q);
      assert (u_walk.channels_left_q == count_q - channel_q);
      assert (u_walk.one_word_q == (words_q == 16'd1) && u_walk.word_last_q == (word_q + 16'd1 == words_q));
      assert (u_walk.channel_last_q == (channel_q + 16'd1 == count_q) && u_walk.bank_last_q == (bank == '1));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (live_q && last && channel_q == 16'd2 && word_q == 16'd1 && place_q != '0 && bank == '0);
      cover (live_q && at_q == '0 && first_q != '0);
    end
  end
endmodule
