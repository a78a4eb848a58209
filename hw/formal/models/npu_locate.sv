// In place of the address: a mark of channel, word and command, as late as the block's answer.
module npu_locate (
  input  logic                             clk,
  input  npu_core_pkg::place_t             places[2],
  input  logic                             side,
  input  npu_core_pkg::channel_t           channel,
  input  npu_core_pkg::word_t              word,
  output logic [npu_pkg::RowBits-1:0]      bank,
  output logic [npu_pkg::BankAddrBits-1:0] addr
);
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  typedef logic [RowBits+AddrBits-1:0] mark_t;
  function automatic mark_t mark(input logic of_side, input npu_core_pkg::channel_t of_channel,
                                 input npu_core_pkg::word_t of_word);
    return {of_channel[RowBits-1:0], of_word[AddrBits-1:0] ^ AddrBits'(of_channel >> RowBits) ^ {AddrBits{of_side}}};
  endfunction

  mark_t [2:0] marks_q;
  always_ff @(posedge clk) marks_q <= {marks_q[1:0], mark(side, channel, word)};
  assign {bank, addr} = marks_q[2];

  logic unused;
  assign unused = |{places[0], places[1], word};
endmodule
