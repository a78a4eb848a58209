// One multiply-accumulator (or maximum unit) and its shadow, which keeps a tile's result while the
// next tile is computed.

module npu_mac #(
    // The product in logic instead of a DSP block.
    parameter bit Logic = 1'b0
) (
    input  logic               clk,
    input  logic signed [ 7:0] operand,
    input  logic signed [ 7:0] weight,
    // Two stages on: take the product, with the accumulator (`add`) or in its place; a maximum takes
    // it where it is greater.
    input  logic               take,
    input  logic               take_greater,
    input  logic               add,
    // One more.
    input  logic               done,
    output logic signed [npu_core_pkg::AccBits-1:0] shadow
);

  logic signed [15:0] product_q;
  localparam int unsigned AccBits = npu_core_pkg::AccBits;

  logic signed [AccBits-1:0] acc_q;
  logic [AccBits-1:0] sum;
  logic greater;

  npu_multiply #(
      .ABits(8),
      .BBits(8),
      .Inputs(1'b1),
      .Logic(Logic)
  ) u_multiply (
      .clk,
      .a(weight),
      .b(operand),
      .product_q
  );

  // Or equal, which changes nothing: the sign of acc − product − 1 is one adder without a carry in.
  logic [8:0] difference;
  npu_gated_sum #(
      .Bits(9),
      .Subtract(1'b1),
      .Borrow(1'b1)
  ) u_compare (
      .gate_a(1'b1),
      .a(9'(product_q)),
      .gate_b(1'b1),
      .b(9'(acc_q)),
      .sum(difference)
  );
  assign greater = difference[8];

  npu_gated_sum #(
      .Bits(AccBits)
  ) u_sum (
      .gate_a(1'b1),
      .a(AccBits'(product_q)),
      .gate_b(add),
      .b(acc_q),
      .sum
  );

  always_ff @(posedge clk) begin
    if (take || (take_greater && greater)) acc_q <= sum;
    if (done) shadow <= acc_q;
  end

endmodule
