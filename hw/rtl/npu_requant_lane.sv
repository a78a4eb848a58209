// One lane of the requantiser; sixteen stages without a stall.
//
//   a = acc + bias; times (second − z_res) in a product
//   q = clamp(((a · m + 2^(s−1)) >> s) + z_out), through the table if there is one
//   sum: q = clamp((((q − z_main) · m_main + (second − z_res) · m_res + 2^(s'−1)) >> s') + z_add)
//
// Shifts are by s − 1; the bit below the result rounds: (x + 2^(s−1)) >> s = ((x >> (s − 1)) + 1) >> 1.
// What exceeds ten bits before that is outside every clamp and saturates.

module npu_requant_lane (
    input  logic               clk,
    // Stage 1.
    input  logic signed [31:0] acc,
    input  logic signed [31:0] bias,
    input  logic signed [ 7:0] second,
    input  logic signed [ 7:0] z_res,
    // Stage 2: the second map's value times m_res, or times the accumulator in a product.
    input  logic               multiply,
    input  logic signed [17:0] m_res,
    // Stage 3, and the product of the second map for stage 13.
    input  logic signed [17:0] m_pos,
    input  logic signed [17:0] m_neg,
    output logic signed [26:0] second_early,
    // Stages 6 and 7: shift by a multiple of eight (one bit of six), and the rest. Masks tell what has
    // to be sign: bits 16 to 48 in groups of eight, then bits 9 to 15.
    input  logic        [ 5:0] shift_high,
    input  logic        [ 4:0] mask_high,
    input  logic        [ 2:0] shift_low,
    input  logic        [ 6:0] mask_low,
    // Stage 8.
    input  logic signed [ 7:0] z_out,
    input  logic signed [ 7:0] lo,
    input  logic signed [ 7:0] hi,
    // Stage 9 to the table, stage 10 back.
    output logic signed [ 7:0] code,
    input  logic               use_table,
    input  logic signed [ 7:0] looked_up,
    // Stages 11 to 15.
    input  logic signed [ 7:0] z_main,
    input  logic signed [17:0] m_main,
    input  logic signed [26:0] second_late,
    // Shift of the sum, and which of the bits 9 to 26 have to be sign.
    input  logic        [ 4:0] shift_add,
    input  logic        [17:0] mask_add,
    input  logic signed [ 7:0] z_add,
    input  logic signed [ 7:0] lo_add,
    input  logic signed [ 7:0] hi_add,
    input  logic               add,
    // Stage 16.
    output logic        [ 7:0] result
);

  // Ten bits of a wider number whose upper bits must all be its sign.
  function automatic logic signed [9:0] saturate(input logic sign, input logic fits,
                                                 input logic [9:0] bits);
    return fits ? bits : {sign, {9{!sign}}};
  endfunction

  logic signed [31:0] a2_q, a3_q, a4_q;
  logic signed [8:0] deviation2_q;
  logic signed [26:0] second2;
  logic signed [17:0] m4_q;
  logic signed [35:0] low5_q;
  logic signed [32:0] high5_q;
  logic signed [49:0] sum6_q;
  logic [16:0] coarse;
  logic signed [16:0] part7_q;
  logic [9:0] fine, shifted;
  logic over7_q, sign7_q;
  logic signed [9:0] y8_q;
  logic signed [7:0] q9, sum15, q9_q, q10_q, q11_q, q12_q, q13_q, q14_q, q15_q;
  logic signed [8:0] deviation12_q;
  logic signed [26:0] main12, main13_q;
  logic signed [27:0] sum14_q;
  logic signed [9:0] y15_q;

  npu_multiply_logic #(.NarrowBits(9), .WideBits(18)) u_second (
      .narrow (deviation2_q),
      .wide   (multiply ? 18'($signed(a2_q[8:0])) : m_res),
      .product(second2)
  );
  // A DSP block for the low 17 bits, another for the upper fifteen.
  npu_multiply #(.ABits(18), .BBits(18)) u_low (
      .clk,
      .enable(1'b1),
      .a({1'b0, a4_q[16:0]}),
      .b(m4_q),
      .product_q(low5_q)
  );
  npu_multiply #(.ABits(15), .BBits(18)) u_high (
      .clk,
      .enable(1'b1),
      .a(a4_q[31:17]),
      .b(m4_q),
      .product_q(high5_q)
  );
  npu_multiply_logic #(.NarrowBits(9), .WideBits(18)) u_main (
      .narrow (deviation12_q),
      .wide   (m_main),
      .product(main12)
  );

  npu_clamp u_clamp (
      .y(y8_q),
      .zero(z_out),
      .low(lo),
      .high(hi),
      .code(q9)
  );
  npu_clamp u_clamp_sum (
      .y(y15_q),
      .zero(z_add),
      .low(lo_add),
      .high(hi_add),
      .code(sum15)
  );

  assign code = q9_q;
  // One shift by a multiple of eight, as a sum of gated words.
  logic [56:0] extended;
  logic [4:0] mixed;
  assign extended = {{7{sum6_q[49]}}, sum6_q};
  always_comb begin
    coarse = '0;
    for (int unsigned i = 0; i < 6; i++) coarse |= extended[8*i+:17] & {17{shift_high[i]}};
    for (int unsigned i = 0; i < 5; i++) mixed[i] = extended[8*i+16+:8] != {8{sum6_q[49]}};
  end
  assign fine = 10'(part7_q >>> shift_low);
  assign shifted = 10'(sum14_q >>> shift_add);

  always_ff @(posedge clk) begin
    a2_q <= acc + bias;
    deviation2_q <= 9'(second) - 9'(z_res);

    a3_q <= multiply ? 32'(second2) : a2_q;
    second_early <= second2;

    a4_q <= a3_q;
    m4_q <= a3_q[31] ? m_neg : m_pos;

    sum6_q <= 50'(low5_q) + {high5_q, 17'b0};

    part7_q <= coarse;
    over7_q <= (mixed & mask_high) != '0;
    sign7_q <= sum6_q[49];
    y8_q <= saturate(sign7_q, !over7_q && ((part7_q[15:9] ^ {7{sign7_q}}) & mask_low) == '0, fine);
    q9_q <= q9;

    q10_q <= q9_q;
    q11_q <= use_table ? looked_up : q10_q;

    deviation12_q <= 9'(q11_q) - 9'(z_main);
    q12_q <= q11_q;
    main13_q <= main12;
    q13_q <= q12_q;
    sum14_q <= 28'(main13_q) + 28'(second_late);
    q14_q <= q13_q;
    y15_q <= saturate(sum14_q[27], ((sum14_q[26:9] ^ {18{sum14_q[27]}}) & mask_add) == '0, shifted);
    q15_q <= q14_q;
    result <= add ? sum15 : q15_q;
  end

endmodule
