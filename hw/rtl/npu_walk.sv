// Walks the words of a map transfer in the order in which their bytes stand in memory: channel by
// channel, within each along its ring.
module npu_walk (
  input  logic                             clk,
  input  logic                             start,
  input  npu_pkg::transfer_t               cmd,
  input  logic [npu_pkg::BankAddrBits-1:0] plane_address,
  input  logic [npu_pkg::BankAddrBits-1:0] ring,
  // Moves on to the next word.
  input  logic                             step,
  output logic [npu_pkg::RowBits-1:0]      bank,
  output logic [npu_pkg::BankAddrBits-1:0] address,
  output logic                             last
);
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;

  logic [npu_pkg::RowBits-1:0] bank_q;
  logic [AddrBits-1:0] plane_address_q, ring_first_q, ring_q;
  logic [AddrBits:0]   plane_q;
  logic [15:0] words_q, words_left_q, channels_left_q;
  // Registered ahead: a channel has one word, the word and the channel are the last, the bank is.
  logic one_word_q, word_last_q, channel_last_q, bank_last_q;

  assign bank    = bank_q;
  assign address = plane_address_q + ring_q;
  assign last    = word_last_q && channel_last_q;

  always_ff @(posedge clk) begin
    if (start) begin
      bank_q          <= cmd.origin[npu_pkg::RowBits-1:0];
      plane_address_q <= plane_address;
      plane_q         <= cmd.plane[AddrBits:0];
      ring_first_q    <= ring;
      ring_q          <= ring;
      words_q         <= cmd.words;
      words_left_q    <= cmd.words;
      channels_left_q <= cmd.count;
      one_word_q      <= cmd.words == 16'd1;
      word_last_q     <= cmd.words == 16'd1;
      channel_last_q  <= cmd.count == 16'd1;
      bank_last_q     <= cmd.origin[npu_pkg::RowBits-1:0] == '1;
    end else if (step) begin
      if (word_last_q) begin
        words_left_q    <= words_q;
        channels_left_q <= channels_left_q - 1'b1;
        ring_q          <= ring_first_q;
        bank_q          <= bank_q + 1'b1;
        word_last_q     <= one_word_q;
        channel_last_q  <= channels_left_q == 16'd2;
        bank_last_q     <= bank_q == npu_pkg::RowBits'(npu_pkg::Rows - 2);
        if (bank_last_q) plane_address_q <= plane_address_q + plane_q[AddrBits-1:0];
      end else begin
        words_left_q <= words_left_q - 1'b1;
        word_last_q  <= words_left_q == 16'd2;
        ring_q       <= (AddrBits + 1)'(ring_q) + 1'b1 == plane_q ? '0 : ring_q + 1'b1;
      end
    end
  end
endmodule
