// npu_multiply_logic is a signed product.
module prove_multiply #(
  parameter int unsigned NarrowBits = 9,
  parameter int unsigned WideBits = 18
) (
  input logic                         clk,
  input logic signed [NarrowBits-1:0] narrow,
  input logic signed [WideBits-1:0]   wide
);
  logic signed [NarrowBits+WideBits-1:0] product, sum;
  npu_multiply_logic #(.NarrowBits(NarrowBits), .WideBits(WideBits)) u_multiply (.*);

  // Term by term; the sign's is taken off.
  always_comb begin
    sum = '0;
    for (int i = 0; i < NarrowBits - 1; i++)
      if (narrow[i]) sum += (NarrowBits + WideBits)'(wide) <<< i;
    if (narrow[NarrowBits-1]) sum -= (NarrowBits + WideBits)'(wide) <<< (NarrowBits - 1);
    assert (product == sum);
  end
endmodule
