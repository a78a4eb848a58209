// One multiply-accumulator (or maximum unit) with a shadow register that keeps a tile's result
// while the next tile is computed.
//
// Units: int8 operand and weight, accumulator of `AccBits` bits.
//    acc = (add_i ? acc : 0) + operand_i · weight_i      if take_i
//    acc = max(acc, product)      if take_greater_i

module npu_mac #(
  // Multiplier in logic instead of a DSP block.
  parameter bit Logic = 1'b0
) (
  input  logic                                    clk_i,
  input  logic signed [                      7:0] operand_i,
  input  logic signed [                      7:0] weight_i,
  // Two stages after the operands: accept the product, added to the accumulator (`add_i`) or
  // instead of it; maximum mode accepts it only if it is greater.
  input  logic                                    take_i,
  input  logic                                    take_greater_i,
  input  logic                                    add_i,
  // One stage later: copy the accumulator to the shadow register.
  input  logic                                    done_i,
  output logic signed [npu_core_pkg::AccBits-1:0] shadow_o
);

  logic signed [15:0] product_q;
  localparam int unsigned AccBits = npu_core_pkg::AccBits;

  logic signed [AccBits-1:0] acc_q;
  logic [AccBits-1:0] sum;
  logic greater;

  npu_multiply #(
    .ABits (8),
    .BBits (8),
    .Inputs(1'b1),
    .Logic (Logic)
  ) u_multiply (
    .clk_i,
    .a_i      (weight_i),
    .b_i      (operand_i),
    .product_o(product_q)
  );

  // "Greater or equal" would change nothing, so the sign of acc − product − 1 decides: one adder
  // without carry-in.
  logic [8:0] difference;
  npu_gated_sum #(
    .Bits    (9),
    .Subtract(1'b1),
    .Borrow  (1'b1)
  ) u_compare (
    .gate_a_i(1'b1),
    .a_i     (9'(product_q)),
    .gate_b_i(1'b1),
    .b_i     (9'(acc_q)),
    .sum_o   (difference)
  );
  assign greater = difference[8];

  npu_gated_sum #(
    .Bits(AccBits)
  ) u_sum (
    .gate_a_i(1'b1),
    .a_i     (AccBits'(product_q)),
    .gate_b_i(add_i),
    .b_i     (acc_q),
    .sum_o   (sum)
  );

  always_ff @(posedge clk_i) begin
    if (take_i || (take_greater_i && greater)) acc_q <= sum;
    if (done_i) shadow_o <= acc_q;
  end

endmodule
