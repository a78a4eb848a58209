// Address generator: steps through the bank addresses of a transferred feature map in the order of
// its bytes in memory: channel by channel, and within a channel along its ring buffer.
//
// Units: one step is one vector (`Lanes` bytes). Channel c is in bank c mod `Rows`;
//    address_o = plane address of the channel's group + ring position
// where the ring position wraps to 0 at `plane` vectors and the plane address grows by `plane` from
// one group of `Rows` channels to the next.
module npu_addr_gen (
  input  logic                                           clk_i,
  input  logic                                           start_i,
  input  npu_pkg::transfer_t                             cmd_i,
  input  logic               [npu_pkg::BankAddrBits-1:0] plane_address_i,
  input  logic               [npu_pkg::BankAddrBits-1:0] ring_i,
  // The next vector is addressed in the next cycle.
  input  logic                                           step_i,
  output logic               [     npu_pkg::RowBits-1:0] bank_o,
  output logic               [npu_pkg::BankAddrBits-1:0] address_o,
  output logic                                           last_o
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;

  logic [npu_pkg::RowBits-1:0] bank_q;
  logic [AddrBits-1:0] plane_address_q, ring_first_q, ring_q;
  logic [AddrBits:0] plane_q;
  logic [15:0] words_q, words_left_q, channels_left_q;
  // These flags are computed one step ahead: a channel has a single vector; this is the channel's
  // last vector; this is the last channel; this is the last bank.
  logic one_word_q, word_last_q, channel_last_q, bank_last_q;

  assign bank_o = bank_q;
  assign address_o = plane_address_q + ring_q;
  assign last_o = word_last_q && channel_last_q;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      bank_q <= cmd_i.origin[npu_pkg::RowBits-1:0];
      plane_address_q <= plane_address_i;
      plane_q <= cmd_i.plane[AddrBits:0];
      ring_first_q <= ring_i;
      ring_q <= ring_i;
      words_q <= cmd_i.words;
      words_left_q <= cmd_i.words;
      channels_left_q <= cmd_i.count;
      one_word_q <= cmd_i.words == 16'd1;
      word_last_q <= cmd_i.words == 16'd1;
      channel_last_q <= cmd_i.count == 16'd1;
      bank_last_q <= cmd_i.origin[npu_pkg::RowBits-1:0] == '1;
    end else if (step_i) begin
      if (word_last_q) begin
        words_left_q <= words_q;
        channels_left_q <= channels_left_q - 1'b1;
        ring_q <= ring_first_q;
        bank_q <= bank_q + 1'b1;
        word_last_q <= one_word_q;
        channel_last_q <= channels_left_q == 16'd2;
        bank_last_q <= bank_q == npu_pkg::RowBits'(npu_pkg::Rows - 2);
        if (bank_last_q) plane_address_q <= plane_address_q + plane_q[AddrBits-1:0];
      end else begin
        words_left_q <= words_left_q - 1'b1;
        word_last_q <= words_left_q == 16'd2;
        ring_q <= (AddrBits + 1)'(ring_q) + 1'b1 == plane_q ? '0 : ring_q + 1'b1;
      end
    end
  end
endmodule
