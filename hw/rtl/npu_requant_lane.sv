// One lane of the requantiser; stages 2 to 20 without a stall.
//
//   a = acc + bias; times (second − z_res) in a product
//   q = clamp(((a · m + 2^(s−1)) >> s) + z_out), through the table if there is one
//   sum: q = clamp((((q − z_main) · m_main + (second − z_res) · m_res + 2^(s'−1)) >> s') + z_add)
//
// Shifts are by s − 1; the bit below the result rounds: (x + 2^(s−1)) >> s = ((x >> (s − 1)) + 1) >> 1.
// What exceeds ten bits before that is outside every clamp and saturates. Numbers in names are the
// stage in which a register has its value.

module npu_requant_lane (
    input  logic               clk,
    // Stage 2.
    input  logic signed [31:0] acc,
    input  logic signed [31:0] bias,
    input  logic signed [ 7:0] second,
    input  logic signed [ 7:0] z_res,
    // The second map's value times m_res, or times the accumulator in a product.
    input  logic               multiply,
    input  logic signed [17:0] m_res,
    // Stage 5: that product in the accumulator's place, and the product of the second map for stage 16.
    input  logic               multiplied,
    input  logic signed [17:0] m_pos,
    input  logic signed [17:0] m_neg,
    output logic signed [26:0] second_early,
    // Stages 8 and 9: shift by a multiple of eight (one bit of six), and the rest. Masks tell what has
    // to be sign: bits 16 to 48 in groups of eight, then bits 9 to 15.
    input  logic        [ 5:0] shift_high,
    input  logic        [ 4:0] mask_high,
    input  logic        [ 2:0] shift_low,
    input  logic        [ 6:0] mask_low,
    // Stage 10.
    input  logic signed [ 7:0] z_out,
    input  logic signed [ 7:0] lo,
    input  logic signed [ 7:0] hi,
    // Stage 11 to the table, stage 13 back.
    output logic signed [ 7:0] code,
    input  logic               use_table,
    input  logic signed [ 7:0] looked_up,
    // Stages 14 to 16.
    input  logic signed [ 7:0] z_main,
    input  logic signed [17:0] m_main,
    input  logic signed [26:0] second_late,
    // Stage 18: shift of the sum by a multiple of eight, and which of the bits 9 to 26 have to be sign;
    // stage 19: the rest of the shift.
    input  logic        [ 1:0] shift_add_high,
    input  logic        [17:0] mask_add,
    input  logic        [ 2:0] shift_add_low,
    // Stage 20.
    input  logic signed [ 7:0] z_add,
    input  logic signed [ 7:0] lo_add,
    input  logic signed [ 7:0] hi_add,
    input  logic               add,
    // Stage 21.
    output logic        [ 7:0] result
);

  // Ten bits of a wider number whose upper bits must all be its sign.
  function automatic logic signed [9:0] saturate(input logic sign, input logic fits,
                                                 input logic [9:0] bits);
    return fits ? bits : {sign, {9{!sign}}};
  endfunction

  logic signed [31:0] biased, a3_q, a4_q, a5_q, a6_q;
  logic signed [8:0] deviation3_q;
  logic signed [17:0] factor3_q;
  logic signed [26:0] second5_q;
  logic signed [17:0] m6_q;
  logic signed [35:0] low7_q;
  logic signed [32:0] high7_q;
  logic signed [49:0] sum8_q;
  logic [16:0] coarse;
  logic signed [16:0] part9_q;
  logic [9:0] fine;
  logic over9_q, sign9_q;
  logic signed [9:0] y10_q;
  logic signed [7:0] q10, q11_q, q12_q, q13_q, q14_q, sum20;
  logic [20:15][7:0] q_q;
  logic signed [8:0] deviation15_q;
  logic signed [26:0] main17_q, second17_q;
  logic signed [27:0] sum18_q;
  logic signed [16:0] part19_q;
  logic [9:0] fine_add;
  logic fits19_q, sign19_q;
  logic signed [9:0] y20_q;

  npu_multiply_nine u_second (
      .clk,
      .narrow(deviation3_q),
      .wide(factor3_q),
      .product_q(second5_q)
  );
  assign second_early = second5_q;
  // A DSP block for the low 17 bits, another for the upper fifteen.
  npu_multiply #(.ABits(18), .BBits(18)) u_low (
      .clk,
      .a({1'b0, a6_q[16:0]}),
      .b(m6_q),
      .product_q(low7_q)
  );
  npu_multiply #(.ABits(15), .BBits(18)) u_high (
      .clk,
      .a(a6_q[31:17]),
      .b(m6_q),
      .product_q(high7_q)
  );
  npu_multiply_nine u_main (
      .clk,
      .narrow(deviation15_q),
      .wide(m_main),
      .product_q(main17_q)
  );

  npu_clamp u_clamp (
      .y(y10_q),
      .zero(z_out),
      .low(lo),
      .high(hi),
      .code(q10)
  );
  npu_clamp u_clamp_sum (
      .y(y20_q),
      .zero(z_add),
      .low(lo_add),
      .high(hi_add),
      .code(sum20)
  );

  assign biased = acc + bias;
  assign code = q11_q;
  // One shift by a multiple of eight, as a sum of gated words.
  logic [56:0] extended;
  logic [40:0] extended_add;
  logic [4:0] mixed;
  assign extended = {{7{sum8_q[49]}}, sum8_q};
  assign extended_add = {{13{sum18_q[27]}}, sum18_q};
  always_comb begin
    coarse = '0;
    for (int unsigned i = 0; i < 6; i++) coarse |= extended[8*i+:17] & {17{shift_high[i]}};
    for (int unsigned i = 0; i < 5; i++) mixed[i] = extended[8*i+16+:8] != {8{sum8_q[49]}};
  end
  assign fine = 10'(part9_q >>> shift_low);
  assign fine_add = 10'(part19_q >>> shift_add_low);

  always_ff @(posedge clk) begin
    a3_q <= biased;
    factor3_q <= multiply ? 18'($signed(biased[8:0])) : m_res;
    deviation3_q <= 9'(second) - 9'(z_res);
    a4_q <= a3_q;
    a5_q <= a4_q;
    a6_q <= multiplied ? 32'(second5_q) : a5_q;
    m6_q <= (multiplied ? second5_q[26] : a5_q[31]) ? m_neg : m_pos;

    sum8_q <= 50'(low7_q) + {high7_q, 17'b0};
    part9_q <= coarse;
    over9_q <= (mixed & mask_high) != '0;
    sign9_q <= sum8_q[49];
    y10_q <= saturate(sign9_q, !over9_q && ((part9_q[15:9] ^ {7{sign9_q}}) & mask_low) == '0, fine);

    q11_q <= q10;
    q12_q <= q11_q;
    q13_q <= q12_q;
    q14_q <= use_table ? looked_up : q13_q;

    deviation15_q <= 9'(q14_q) - 9'(z_main);
    q_q <= {q_q[19:15], q14_q};
    second17_q <= second_late;
    sum18_q <= 28'(main17_q) + 28'(second17_q);
    part19_q <= extended_add[8*shift_add_high+:17];
    fits19_q <= ((sum18_q[26:9] ^ {18{sum18_q[27]}}) & mask_add) == '0;
    sign19_q <= sum18_q[27];
    y20_q <= saturate(sign19_q, fits19_q, fine_add);
    result <= add ? sum20 : q_q[20];
  end

endmodule
