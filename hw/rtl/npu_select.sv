// One of several words, as a sum of gated words: five LUTs a bit of eight words, where a tree of
// choices takes seven.

module npu_select #(
    parameter int unsigned Words = 8,  // a power of two
    parameter int unsigned Width = 32
) (
    input  logic [$clog2(Words)-1:0] index,
    input  logic [        Width-1:0] words[Words],
    output logic [        Width-1:0] out
);

  // Kept, or synthesis would make choices of it again.
  (* keep *) logic [Words-1:0] chosen;
  always_comb begin
    chosen = '0;
    chosen[index] = 1'b1;
    out = '0;
    for (int unsigned i = 0; i < Words; i++) out |= words[i] & {Width{chosen[i]}};
  end

endmodule
