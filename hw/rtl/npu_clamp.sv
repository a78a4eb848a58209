// Rounds half up, adds the zero point and clamps:
//    code_o = min(max(((y_i + 1) >> 1) + zero_i, low_i), high_i)
// Units: `y_i` is twice the scaled value (its lowest bit is the rounding bit); all others are int8
// quantised values. Combinational.

module npu_clamp (
  input  logic signed [9:0] y_i,
  input  logic signed [7:0] zero_i,
  input  logic signed [7:0] low_i,
  input  logic signed [7:0] high_i,  // at least `low_i`
  output logic signed [7:0] code_o
);

  logic signed [10:0] doubled;
  logic signed [9:0] value;
  assign doubled = 11'(y_i) + 11'($signed({zero_i, 1'b1}));
  assign value = doubled[10:1];

  // The comparisons are "value <= low" and "value >= high". On equality either branch gives the
  // same result, so the sign of a difference without carry-in suffices.
  logic [10:0] above_low, below_high;
  npu_gated_sum #(
    .Bits    (11),
    .Subtract(1'b1),
    .Borrow  (1'b1)
  ) u_low (
    .gate_a_i(1'b1),
    .a_i     (11'(low_i)),
    .gate_b_i(1'b1),
    .b_i     (11'(value)),
    .sum_o   (above_low)
  );
  npu_gated_sum #(
    .Bits    (11),
    .Subtract(1'b1),
    .Borrow  (1'b1)
  ) u_high (
    .gate_a_i(1'b1),
    .a_i     (11'(value)),
    .gate_b_i(1'b1),
    .b_i     (11'(high_i)),
    .sum_o   (below_high)
  );

  always_comb begin
    code_o = value[7:0];
    if (above_low[10]) code_o = low_i;
    if (below_high[10]) code_o = high_i;
  end

endmodule
