// One-hot multiplexer: word_o = words_i[index_i], combinational.
//
// An AND-OR tree takes five LUTs per bit of eight words; a multiplexer tree takes seven.

module npu_select #(
  parameter int unsigned Words = 8,  // a power of two
  parameter int unsigned Width = 32
) (
  input  logic [$clog2(Words)-1:0] index_i,
  input  logic [        Width-1:0] words_i[Words],
  output logic [        Width-1:0] word_o
);

  // Kept, since synthesis would turn it into a multiplexer tree again.
  (* keep *) logic [Words-1:0] chosen;
  always_comb begin
    chosen = '0;
    chosen[index_i] = 1'b1;
    word_o = '0;
    for (int unsigned i = 0; i < Words; i++) word_o |= words_i[i] & {Width{chosen[i]}};
  end

endmodule
