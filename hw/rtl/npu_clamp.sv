// Rounds half up, adds the zero point and clamps: min(max(((y + 1) >> 1) + zero, low), high).

module npu_clamp (
    input  logic signed [9:0] y,
    input  logic signed [7:0] zero,
    input  logic signed [7:0] low,
    input  logic signed [7:0] high,  // at least `low`
    output logic signed [7:0] code
);

  logic signed [10:0] doubled;
  logic signed [9:0] value;
  assign doubled = 11'(y) + 11'($signed({zero, 1'b1}));
  assign value   = doubled[10:1];

  // At most `low`, at least `high`: equal ones may count as either, and so a sign without a carry in
  // decides.
  logic [10:0] above_low, below_high;
  npu_gated_sum #(
      .Bits(11),
      .Subtract(1'b1),
      .Borrow(1'b1)
  ) u_low (
      .gate_a(1'b1),
      .a(11'(low)),
      .gate_b(1'b1),
      .b(11'(value)),
      .sum(above_low)
  );
  npu_gated_sum #(
      .Bits(11),
      .Subtract(1'b1),
      .Borrow(1'b1)
  ) u_high (
      .gate_a(1'b1),
      .a(11'(value)),
      .gate_b(1'b1),
      .b(11'(high)),
      .sum(below_high)
  );

  always_comb begin
    code = value[7:0];
    if (above_low[10]) code = low;
    if (below_high[10]) code = high;
  end

endmodule
