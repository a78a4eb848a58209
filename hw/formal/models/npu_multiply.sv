// In place of the products: any number, which the solver picks for the wire that nothing drives.
module npu_multiply #(
  parameter int unsigned ABits = 18,
  parameter int unsigned BBits = 18,
  parameter bit          Inputs = 1'b0,
  parameter bit          Logic = 1'b0
) (
  input  logic                          clk,
  input  logic signed [ABits-1:0]       a,
  input  logic signed [BBits-1:0]       b,
  output logic signed [ABits+BBits-1:0] product_q
);
  logic signed [ABits+BBits-1:0] free;
  always_ff @(posedge clk) product_q <= free;
endmodule
