// Model in place of the multiplier: any product, which the solver chooses for the undriven wire.
module npu_multiply #(
  parameter int unsigned ABits  = 18,
  parameter int unsigned BBits  = 18,
  parameter bit          Inputs = 1'b0,
  parameter bit          Logic  = 1'b0
) (
  input  logic                          clk_i,
  input  logic signed [      ABits-1:0] a_i,
  input  logic signed [      BBits-1:0] b_i,
  output logic signed [ABits+BBits-1:0] product_o
);
  logic signed [ABits+BBits-1:0] free;
  always_ff @(posedge clk_i) product_o <= free;
endmodule
