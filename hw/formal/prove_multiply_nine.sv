// npu_multiply_nine: the output is the signed product of nine bits, two cycles later.
module prove_multiply_nine #(
  parameter int unsigned WideBits = 18
) (
  input logic                       clk_i,
  input logic signed [         8:0] narrow_i,
  input logic signed [WideBits-1:0] wide_i
);
  logic signed [WideBits+8:0] product_q, sum;
  npu_multiply_nine #(
    .WideBits(WideBits)
  ) u_multiply (
    .clk_i,
    .narrow_i,
    .wide_i,
    .product_o(product_q)
  );

  // Inputs of one and two cycles ago.
  logic [1:0] begun_q = '0;
  logic signed [1:0][8:0] narrow_q;
  logic signed [1:0][WideBits-1:0] wide_q;
  always_ff @(posedge clk_i) begin
    begun_q <= {begun_q[0], 1'b1};
    narrow_q <= {narrow_q[0], narrow_i};
    wide_q <= {wide_q[0], wide_i};
  end

  // Sum of partial products; that of the sign is subtracted.
  always_comb begin
    sum = '0;
    for (int i = 0; i < 8; i++)
    if (narrow_q[1][i]) sum += (WideBits + 9)'($signed(wide_q[1])) <<< i;
    if (narrow_q[1][8]) sum -= (WideBits + 9)'($signed(wide_q[1])) <<< 8;
    if (begun_q[1]) assert (product_q == sum);
  end
endmodule
