// One multiply-accumulator (or maximum unit) and its shadow, which keeps a tile's result while the
// next tile is computed.

module npu_mac (
    input  logic               clk,
    input  logic signed [ 7:0] operand,
    input  logic signed [ 7:0] weight,
    input  logic               multiply,
    // One stage on.
    input  logic               accumulate,
    input  logic               first,
    input  logic               maximum,
    // One more.
    input  logic               done,
    output logic signed [31:0] shadow
);

  logic signed [15:0] product_q;
  logic signed [31:0] acc_q, sum;
  logic greater, replace;
  assign greater = $signed(product_q[7:0]) > $signed(acc_q[7:0]);
  assign replace = first || maximum;
  assign sum = acc_q + 32'(product_q);

  always_ff @(posedge clk) begin
    if (multiply) product_q <= operand * weight;
    // A maximum that is not greater keeps the accumulator: one enable, one choice.
    if (accumulate && (first || !maximum || greater)) acc_q <= replace ? 32'(product_q) : sum;
    if (done) shadow <= acc_q;
  end

endmodule
