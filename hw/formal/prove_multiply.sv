// npu_multiply_logic is a signed product of eight bits, a cycle on.
module prove_multiply #(
  parameter int unsigned WideBits = 8
) (
  input logic                         clk,
  input logic signed [7:0]            narrow,
  input logic signed [WideBits-1:0]   wide
);
  logic signed [WideBits+7:0] product, sum, sum_q;
  logic begun_q = 1'b0;
  npu_multiply_logic #(.WideBits(WideBits)) u_multiply (.*);

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    sum_q   <= sum;
  end

  // Term by term; the sign's is taken off.
  always_comb begin
    sum = '0;
    for (int i = 0; i < 7; i++)
      if (narrow[i]) sum += (WideBits + 8)'(wide) <<< i;
    if (narrow[7]) sum -= (WideBits + 8)'(wide) <<< 7;
    if (begun_q) assert (product == sum_q);
  end
endmodule
