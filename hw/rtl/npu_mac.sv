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
  logic signed [31:0] acc_q;
  logic greater;
  assign greater = $signed(product_q[7:0]) > $signed(acc_q[7:0]);

  always_ff @(posedge clk) begin
    if (multiply) product_q <= operand * weight;
    if (accumulate) begin
      if (first || (maximum && greater)) acc_q <= 32'(product_q);
      else if (!maximum) acc_q <= acc_q + 32'(product_q);
    end
    if (done) shadow <= acc_q;
  end

endmodule
