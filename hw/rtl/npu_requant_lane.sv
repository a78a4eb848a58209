// One lane of the requantiser; seventeen stages without a stall.
//
//   a = acc + bias; times (second − z_res) in a product
//   q = clamp(((a · m + 2^(s−1)) >> s) + z_out), through the table if there is one
//   sum: q = clamp((((q − z_main) · m_main + (second − z_res) · m_res + 2^(s'−1)) >> s') + z_add)

module npu_requant_lane (
    input  logic               clk,
    // Stage 1.
    input  logic signed [31:0] acc,
    input  logic signed [31:0] bias,
    input  logic signed [ 7:0] second,
    input  logic signed [ 7:0] z_res,
    // Stage 2.
    input  logic               multiply,
    // Stage 3.
    input  logic signed [17:0] m_pos,
    input  logic signed [17:0] m_neg,
    // Stages 6, 7 and 8: 2^(s−1), multiples of eight and the rest of s.
    input  logic        [46:0] half,
    input  logic        [ 2:0] shift_high,
    input  logic        [ 2:0] shift_low,
    // Stage 10.
    input  logic signed [ 7:0] z_out,
    input  logic signed [ 7:0] lo,
    input  logic signed [ 7:0] hi,
    // Stage 11 to the table, stage 12 back.
    output logic signed [ 7:0] code,
    input  logic               use_table,
    input  logic signed [ 7:0] looked_up,
    // Stages 13 to 17.
    input  logic signed [ 7:0] z_main,
    input  logic signed [17:0] m_main,
    input  logic signed [17:0] m_res,
    input  logic        [31:0] half_add,
    input  logic        [ 4:0] shift_add,
    input  logic signed [ 7:0] z_add,
    input  logic signed [ 7:0] lo_add,
    input  logic signed [ 7:0] hi_add,
    input  logic               add,
    // Stage 18.
    output logic        [ 7:0] result
);

  function automatic logic signed [7:0] clamp(input logic signed [10:0] y,
                                              input logic signed [7:0] zero,
                                              input logic signed [7:0] low,
                                              input logic signed [7:0] high);
    logic signed [11:0] value;
    value = 12'(y) + 12'(zero);
    if (value < 12'(low)) value = 12'(low);
    if (value > 12'(high)) value = 12'(high);
    return value[7:0];
  endfunction

  // Far outside every clamp, whatever the zero point.
  localparam logic signed [10:0] Most = 11'sd1023;

  logic signed [31:0] a2_q, a3_q, a4_q;
  logic [14:2][8:0] deviation_q;
  logic signed [17:0] m4_q;
  logic signed [35:0] low5_q;
  logic signed [32:0] high5_q;
  logic signed [49:0] sum6_q, sum7_q, sum8_q, sum9_q;
  logic signed [10:0] y10_q;
  logic signed [7:0] q11_q, q12_q, q13_q, q14_q, q15_q, q16_q, q17_q;
  logic signed [8:0] deviation14_q;
  logic signed [26:0] main15_q, second15_q;
  logic signed [32:0] sum16_q, shifted;
  logic signed [10:0] y17_q;

  assign code = q11_q;
  assign shifted = sum16_q >>> shift_add;

  always_ff @(posedge clk) begin
    a2_q <= acc + bias;
    deviation_q <= {deviation_q[13:2], 9'(second) - 9'(z_res)};

    a3_q <= multiply ? 32'($signed(a2_q[8:0]) * $signed(deviation_q[2])) : a2_q;

    a4_q <= a3_q;
    m4_q <= a3_q[31] ? m_neg : m_pos;

    // One DSP for the low 17 bits; the upper fifteen in logic.
    low5_q <= $signed({1'b0, a4_q[16:0]}) * m4_q;
    high5_q <= $signed(a4_q[31:17]) * m4_q;
    sum6_q <= 50'(low5_q) + {high5_q, 17'b0};
    sum7_q <= sum6_q + $signed({3'b0, half});
    sum8_q <= sum7_q >>> {shift_high, 3'b0};
    sum9_q <= sum8_q >>> shift_low;
    if (sum9_q > 50'(Most)) y10_q <= Most;
    else if (sum9_q < -50'(Most)) y10_q <= -Most;
    else y10_q <= sum9_q[10:0];
    q11_q <= clamp(y10_q, z_out, lo, hi);

    q12_q <= q11_q;
    q13_q <= use_table ? looked_up : q12_q;

    deviation14_q <= 9'(q13_q) - 9'(z_main);
    q14_q <= q13_q;
    main15_q <= deviation14_q * m_main;
    second15_q <= $signed(deviation_q[14]) * m_res;
    q15_q <= q14_q;
    sum16_q <= 33'(main15_q) + 33'(second15_q) + $signed({1'b0, half_add});
    q16_q <= q15_q;
    if (shifted > 33'(Most)) y17_q <= Most;
    else if (shifted < -33'(Most)) y17_q <= -Most;
    else y17_q <= shifted[10:0];
    q17_q  <= q16_q;
    result <= add ? clamp(y17_q, z_add, lo_add, hi_add) : q17_q;
  end

endmodule
