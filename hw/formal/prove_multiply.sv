// npu_multiply_logic: the output is the signed product of eight bits, one cycle later.
module prove_multiply #(
  parameter int unsigned WideBits = 8
) (
  input logic                       clk_i,
  input logic signed [         7:0] narrow_i,
  input logic signed [WideBits-1:0] wide_i
);
  logic signed [WideBits+7:0] product, sum, sum_q;
  logic begun_q = 1'b0;
  npu_multiply_logic #(
    .WideBits(WideBits)
  ) u_multiply (
    .clk_i,
    .narrow_i,
    .wide_i,
    .product_o(product)
  );

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    sum_q <= sum;
  end

  // Sum of partial products; that of the sign is subtracted.
  always_comb begin
    sum = '0;
    for (int i = 0; i < 7; i++) if (narrow_i[i]) sum += (WideBits + 8)'(wide_i) <<< i;
    if (narrow_i[7]) sum -= (WideBits + 8)'(wide_i) <<< 7;
    if (begun_q) assert (product == sum_q);
  end
endmodule
