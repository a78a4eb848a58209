// npu_addr_gen: a feature-map transfer that npu_cmd_decode accepts addresses its channels' vectors
// in order, each once, and no other vector of the banks.
//
// The model knows of the product channel groups × plane only what `product` proves: one group less
// is one plane less, and a product of positive numbers is no less than either factor.
module prove_addr_gen (
  input logic                                           clk_i,
  input logic                                           start_i,
  input npu_pkg::transfer_t                             cmd_i,
  // Position of the first vector in its plane.
  input logic               [npu_pkg::BankAddrBits-1:0] ring_i,
  // Channel groups before the first channel times plane, and from there on times plane.
  input logic               [                     15:0] before_words_i,
  input logic               [                     15:0] group_words_i,
  input logic                                           step_i
);
  import npu_pkg::*;

  logic [RowBits-1:0] bank;
  logic [BankAddrBits-1:0] address, plane_address;
  logic last;
  assign plane_address = BankAddrBits'(cmd_i.base + before_words_i);

  npu_addr_gen u_addr_gen (
    .clk_i,
    .start_i,
    .cmd_i,
    .plane_address_i(plane_address),
    .ring_i,
    .step_i,
    .bank_o         (bank),
    .address_o      (address),
    .last_o         (last)
  );

  logic begun_q = 1'b0;
  logic live_q = 1'b0;
  // The transfer; current channel and vector; address of its plane; vectors of the groups that are
  // left.
  logic [15:0]
      plane_q, words_q, count_q, origin_q, first_q, channel_q, word_q, place_q, rest_q, end_q, at_q;
  logic [16:0] groups_left;
  // Groups from the current channel's group on.
  assign groups_left = (17'(bank) + 17'(count_q) - 17'(channel_q) - 17'd1) / 17'(Rows) + 17'd1;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (start_i) begin
      live_q <= 1'b1;
      plane_q <= cmd_i.plane;
      words_q <= cmd_i.words;
      count_q <= cmd_i.count;
      origin_q <= cmd_i.origin;
      first_q <= 16'(ring_i);
      at_q <= 16'(ring_i);
      channel_q <= '0;
      word_q <= '0;
      place_q <= cmd_i.base + before_words_i;
      rest_q <= group_words_i;
      end_q <= cmd_i.base + before_words_i + group_words_i;
    end else if (step_i) begin
      if (last) live_q <= 1'b0;
      if (word_q + 16'd1 == words_q) begin
        word_q <= '0;
        at_q <= first_q;
        channel_q <= channel_q + 16'd1;
        if (bank == '1) begin
          place_q <= place_q + plane_q;
          rest_q <= rest_q - plane_q;
        end
      end else begin
        word_q <= word_q + 16'd1;
        at_q <= at_q + 16'd1 == plane_q ? '0 : at_q + 16'd1;
      end
    end
  end

  always_comb begin
    if (start_i) begin
      assume (!live_q && cmd_i.count != '0 && cmd_i.words != '0);
      assume (16'(ring_i) < cmd_i.plane && cmd_i.words <= cmd_i.plane);
      assume (18'(cmd_i.base) + 18'(before_words_i) + 18'(group_words_i) <= 18'(BankWords));
      assume (group_words_i >= cmd_i.plane);
    end
    if (step_i) assume (live_q);
    // Properties of products.
    if (live_q && groups_left != '0) assume (rest_q >= plane_q);

    if (begun_q && live_q) begin
      // The address is in this channel's plane, within the bounds of the decoded transfer.
      assert (16'(address) == place_q + at_q && at_q < plane_q);
      assert (17'(place_q) + 17'(plane_q) <= 17'(end_q) && end_q <= 16'(BankWords));
      assert (bank == RowBits'(origin_q + channel_q));
      assert (last == (channel_q + 16'd1 == count_q && word_q + 16'd1 == words_q));

      // Invariants for the induction.
      assert (channel_q < count_q && word_q < words_q);
      assert (17'(place_q) + 17'(rest_q) == 17'(end_q) && first_q < plane_q);
      assert (16'(u_addr_gen.plane_address_q) == place_q && 16'(u_addr_gen.ring_q) == at_q);
      assert (16'(u_addr_gen.ring_first_q) == first_q && 16'(u_addr_gen.plane_q) == plane_q);
      assert (u_addr_gen.words_q == words_q && u_addr_gen.words_left_q == words_q - word_q);
      assert (u_addr_gen.channels_left_q == count_q - channel_q);
      assert (u_addr_gen.one_word_q == (words_q == 16'd1) &&
              u_addr_gen.word_last_q == (word_q + 16'd1 == words_q));
      assert (u_addr_gen.channel_last_q == (channel_q + 16'd1 == count_q) &&
              u_addr_gen.bank_last_q == (bank == '1));
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (live_q && last && channel_q == 16'd2 && word_q == 16'd1 && place_q != '0 &&
             bank == '0);
      cover (live_q && at_q == '0 && first_q != '0);
    end
  end
endmodule
