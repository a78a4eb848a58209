// Model in place of the address translation: a mark of channel, word and context, with the block's
// latency.
module npu_addr_translate (
  input  logic                                               clk_i,
  input  npu_core_pkg::layout_t                              layouts_i[2],
  input  logic                                               ctx_i,
  input  npu_core_pkg::channel_t                             channel_i,
  input  npu_core_pkg::word_t                                word_i,
  output logic                   [     npu_pkg::RowBits-1:0] bank_o,
  output logic                   [npu_pkg::BankAddrBits-1:0] addr_o
);
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned AddrBits = npu_pkg::BankAddrBits;
  typedef logic [RowBits+AddrBits-1:0] mark_t;
  function automatic mark_t mark(input logic of_ctx, input npu_core_pkg::channel_t of_channel,
                                 input npu_core_pkg::word_t of_word);
    return {
      of_channel[RowBits-1:0],
      of_word[AddrBits-1:0] ^ AddrBits'(of_channel >> RowBits) ^ {AddrBits{of_ctx}}
    };
  endfunction

  mark_t [2:0] marks_q;
  always_ff @(posedge clk_i) marks_q <= {marks_q[1:0], mark(ctx_i, channel_i, word_i)};
  assign {bank_o, addr_o} = marks_q[2];

  logic unused;
  assign unused = |{layouts_i[0], layouts_i[1], word_i};
endmodule
