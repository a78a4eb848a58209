// One lane of the requantiser, stages 2 to 20, without stalls.
//
//    a = acc + bias; product mode: a · (eltwise − z_res)
//    q = clamp(((a · m + 2^(s−1)) >> s) + z_out), then through the table if there is one
//    sum mode:
//    q = clamp((((q − z_main) · m_main + (eltwise − z_res) · m_res + 2^(t−1)) >> t) + z_add)
//
// Units: acc and bias int32, eltwise and q int8, m 18-bit fixed-point multipliers, s and t shifts.
// The hardware shifts by s − 1, and the bit below the result rounds: (x + 2^(s−1)) >> s = ((x >> (s
// − 1)) + 1) >> 1. A value of more than ten bits before that is outside every clamp and saturates.
// Numbers in names are the stage in which a register holds its value.

module npu_requant_lane (
  input  logic               clk_i,
  // Stage 2.
  input  logic signed [31:0] acc_i,
  input  logic signed [31:0] bias_i,
  input  logic signed [ 7:0] eltwise_i,
  input  logic signed [ 7:0] z_res_i,
  // The element-wise value is multiplied by `m_res_i`, or by the accumulator in product mode.
  input  logic               multiply_i,
  input  logic signed [17:0] m_res_i,
  // Stage 5: product mode replaces the accumulator by that product; `eltwise_early_o` is the
  // product for stage 16.
  input  logic               multiplied_i,
  input  logic signed [17:0] m_pos_i,
  input  logic signed [17:0] m_neg_i,
  output logic signed [26:0] eltwise_early_o,
  // Stages 8 and 9: shift by a multiple of eight (one-hot), and the rest. The masks select the bits
  // that must equal the sign: bits 16 to 48 in groups of eight, then bits 9 to 15.
  input  logic        [ 5:0] shift_high_i,
  input  logic        [ 4:0] mask_high_i,
  input  logic        [ 2:0] shift_low_i,
  input  logic        [ 6:0] mask_low_i,
  // Stage 10.
  input  logic signed [ 7:0] z_out_i,
  input  logic signed [ 7:0] lo_i,
  input  logic signed [ 7:0] hi_i,
  // Stage 11 to the table, stage 13 back.
  output logic signed [ 7:0] code_o,
  input  logic               use_table_i,
  input  logic signed [ 7:0] looked_up_i,
  // Stages 14 to 16.
  input  logic signed [ 7:0] z_main_i,
  input  logic signed [17:0] m_main_i,
  input  logic signed [26:0] eltwise_late_i,
  // Stage 18: shift of the sum by a multiple of eight, and a mask of the bits 9 to 26 that must
  // equal the sign. Stage 19: the rest of the shift.
  input  logic        [ 1:0] shift_add_high_i,
  input  logic        [17:0] mask_add_i,
  input  logic        [ 2:0] shift_add_low_i,
  // Stage 20.
  input  logic signed [ 7:0] z_add_i,
  input  logic signed [ 7:0] lo_add_i,
  input  logic signed [ 7:0] hi_add_i,
  input  logic               add_i,
  // Stage 21.
  output logic        [ 7:0] result_o
);

  // Returns ten bits of a wider number whose upper bits must all equal its sign, else the nearest
  // bound.
  function automatic logic signed [9:0] saturate(input logic sign, input logic fits,
                                                 input logic [9:0] bits);
    return fits ? bits : {sign, {9{!sign}}};
  endfunction

  logic signed [31:0] biased, a3_q, a4_q, a5_q, a6_q;
  logic signed [8:0] deviation3_q;
  logic signed [17:0] factor3_q;
  logic signed [26:0] eltwise5_q;
  logic signed [17:0] m6_q;
  logic signed [35:0] low7_q;
  logic signed [32:0] high7_q;
  logic signed [49:0] sum8_q;
  logic [16:0] coarse;
  logic signed [16:0] part9_q;
  logic [9:0] fine;
  logic over9_q, sign9_q, fits9;
  logic signed [9:0] y10_q;
  logic signed [7:0] q10, q11_q, q12_q, q13_q, q14_q, sum20;
  logic [20:15][7:0] q_q;
  logic signed [8:0] deviation15_q;
  logic signed [26:0] main17_q, eltwise17_q;
  logic signed [27:0] sum18_q;
  logic signed [16:0] part19_q;
  logic [9:0] fine_add;
  logic fits19_q, sign19_q;
  logic signed [9:0] y20_q;

  npu_multiply_nine u_eltwise (
    .clk_i,
    .narrow_i (deviation3_q),
    .wide_i   (factor3_q),
    .product_o(eltwise5_q)
  );
  assign eltwise_early_o = eltwise5_q;
  // One DSP block multiplies the low 17 bits, another the upper 15.
  npu_multiply #(
    .ABits(18),
    .BBits(18)
  ) u_low (
    .clk_i,
    .a_i      ({1'b0, a6_q[16:0]}),
    .b_i      (m6_q),
    .product_o(low7_q)
  );
  npu_multiply #(
    .ABits(15),
    .BBits(18)
  ) u_high (
    .clk_i,
    .a_i      (a6_q[31:17]),
    .b_i      (m6_q),
    .product_o(high7_q)
  );
  npu_multiply_nine u_main (
    .clk_i,
    .narrow_i (deviation15_q),
    .wide_i   (m_main_i),
    .product_o(main17_q)
  );

  npu_clamp u_clamp (
    .y_i   (y10_q),
    .zero_i(z_out_i),
    .low_i (lo_i),
    .high_i(hi_i),
    .code_o(q10)
  );
  npu_clamp u_clamp_sum (
    .y_i   (y20_q),
    .zero_i(z_add_i),
    .low_i (lo_add_i),
    .high_i(hi_add_i),
    .code_o(sum20)
  );

  assign biased = acc_i + bias_i;
  assign code_o = q11_q;
  // The shift by a multiple of eight is an AND-OR tree.
  logic [56:0] extended;
  logic [40:0] extended_add;
  logic [4:0] mixed;
  assign extended = {{7{sum8_q[49]}}, sum8_q};
  assign extended_add = {{13{sum18_q[27]}}, sum18_q};
  always_comb begin
    coarse = '0;
    for (int unsigned i = 0; i < 6; i++) coarse |= extended[8*i+:17] & {17{shift_high_i[i]}};
    for (int unsigned i = 0; i < 5; i++) mixed[i] = extended[8*i+16+:8] != {8{sum8_q[49]}};
  end
  assign fits9 = !over9_q && ((part9_q[15:9] ^ {7{sign9_q}}) & mask_low_i) == '0;
  assign fine = 10'(part9_q >>> shift_low_i);
  assign fine_add = 10'(part19_q >>> shift_add_low_i);

  always_ff @(posedge clk_i) begin
    a3_q <= biased;
    factor3_q <= multiply_i ? 18'($signed(biased[8:0])) : m_res_i;
    deviation3_q <= 9'(eltwise_i) - 9'(z_res_i);
    a4_q <= a3_q;
    a5_q <= a4_q;
    a6_q <= multiplied_i ? 32'(eltwise5_q) : a5_q;
    m6_q <= (multiplied_i ? eltwise5_q[26] : a5_q[31]) ? m_neg_i : m_pos_i;

    sum8_q <= 50'(low7_q) + {high7_q, 17'b0};
    part9_q <= coarse;
    over9_q <= (mixed & mask_high_i) != '0;
    sign9_q <= sum8_q[49];
    y10_q <= saturate(sign9_q, fits9, fine);

    q11_q <= q10;
    q12_q <= q11_q;
    q13_q <= q12_q;
    q14_q <= use_table_i ? looked_up_i : q13_q;

    deviation15_q <= 9'(q14_q) - 9'(z_main_i);
    q_q <= {q_q[19:15], q14_q};
    eltwise17_q <= eltwise_late_i;
    sum18_q <= 28'(main17_q) + 28'(eltwise17_q);
    part19_q <= extended_add[8*shift_add_high_i+:17];
    fits19_q <= ((sum18_q[26:9] ^ {18{sum18_q[27]}}) & mask_add_i) == '0;
    sign19_q <= sum18_q[27];
    y20_q <= saturate(sign19_q, fits19_q, fine_add);
    result_o <= add_i ? sum20 : q_q[20];
  end

endmodule
