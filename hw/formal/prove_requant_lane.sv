// npu_requant_lane: products are rounded, shifted, offset by the zero point and clamped as the
// numeric contract says, for every product; each shift from 1 to 47 is a case.
//
// Products are arbitrary numbers here (see `multiply`). The contract's (x + 2^(s−1)) >> s is
// written as ((x >> (s − 1)) + 1) >> 1, which is equal: the bits below s − 1 never carry.
module prove_requant_lane #(
  parameter int unsigned Shift = 1
) (
  input logic               clk_i,
  input logic signed [31:0] acc_i,
  input logic signed [31:0] bias_i,
  input logic signed [ 7:0] eltwise_i,
  input logic signed [ 7:0] z_res_i,
  input logic               multiply_i,
  input logic signed [17:0] m_res_i,
  input logic               multiplied_i,
  input logic signed [17:0] m_pos_i,
  input logic signed [17:0] m_neg_i,
  input logic signed [ 7:0] z_out_i,
  input logic signed [ 7:0] lo_i,
  input logic signed [ 7:0] hi_i,
  input logic               use_table_i,
  input logic signed [ 7:0] looked_up_i,
  input logic signed [ 7:0] z_main_i,
  input logic signed [17:0] m_main_i,
  input logic signed [26:0] eltwise_late_i,
  input logic signed [ 7:0] z_add_i,
  input logic signed [ 7:0] lo_add_i,
  input logic signed [ 7:0] hi_add_i,
  input logic               add_i
);
  // Shifts and masks as npu_requant computes them.
  logic [5:0] less8_q;
  logic [5:0] shift_high;
  logic [4:0] mask_high;
  logic [2:0] shift_low;
  logic [6:0] mask_low;
  logic [5:0] less7;
  logic [7:0] less_add17;
  logic [4:0] shift_add18_q;
  logic [17:0] mask_add;
  logic [2:0] shift_add_low;
  assign less7 = 6'(Shift - 1);
  assign less_add17 = 8'(Shift - 1);
  always_ff @(posedge clk_i) begin
    less8_q <= less7;
    for (int i = 0; i < 6; i++) shift_high[i] <= less7[5:3] == 3'(i);
    for (int i = 0; i < 5; i++) mask_high[i] <= less7[5:3] <= 3'(i);
    for (int i = 0; i < 7; i++) mask_low[i] <= less8_q[2:0] <= 3'(i);
    shift_low <= less8_q[2:0];
    shift_add18_q <= less_add17 > 8'd31 ? 5'd31 : less_add17[4:0];
    for (int i = 0; i < 18; i++) mask_add[i] <= less_add17 <= 8'(i);
    shift_add_low <= shift_add18_q[2:0];
  end

  logic signed [26:0] eltwise_early;
  logic signed [7:0] code;
  logic [7:0] result;
  npu_requant_lane u_lane (
    .clk_i,
    .acc_i,
    .bias_i,
    .eltwise_i,
    .z_res_i,
    .multiply_i,
    .m_res_i,
    .multiplied_i,
    .m_pos_i,
    .m_neg_i,
    .eltwise_early_o (eltwise_early),
    .shift_high_i    (shift_high),
    .mask_high_i     (mask_high),
    .shift_low_i     (shift_low),
    .mask_low_i      (mask_low),
    .z_out_i,
    .lo_i,
    .hi_i,
    .code_o          (code),
    .use_table_i,
    .looked_up_i,
    .z_main_i,
    .m_main_i,
    .eltwise_late_i,
    .shift_add_high_i(shift_add18_q[4:3]),
    .mask_add_i      (mask_add),
    .shift_add_low_i (shift_add_low),
    .z_add_i,
    .lo_add_i,
    .hi_add_i,
    .add_i,
    .result_o        (result)
  );

  function automatic logic signed [7:0] contract(
      input logic signed [49:0] x, input logic [7:0] less, input logic signed [7:0] zero,
      input logic signed [7:0] low, input logic signed [7:0] high);
    logic signed [51:0] value;
    value = ((52'(x >>> less) + 52'sd1) >>> 1) + 52'(zero);
    if (value > 52'(high)) return high;
    if (value < 52'(low)) return low;
    return value[7:0];
  endfunction

  // The number in stage 8 and its expected result in stage 11; the same for the sum in stages 18
  // and 21.
  logic [3:0] age_q = '0;
  logic signed [49:0] x9_q, x10_q;
  logic signed [27:0] x19_q, x20_q;
  logic [5:0] less9_q, less10_q;
  logic [7:0] less18_q, less19_q, less20_q;
  logic signed [7:0] code11_q, sum21_q;
  logic add_q;
  logic [49:0] sum8_q;
  logic signed [27:0] sum18_q;
  always_ff @(posedge clk_i) begin
    if (age_q != '1) age_q <= age_q + 1'b1;
    x9_q <= $signed(u_lane.sum8_q);
    x10_q <= x9_q;
    less9_q <= less8_q;
    less10_q <= less9_q;
    code11_q <= contract(x10_q, 8'(less10_q), z_out_i, lo_i, hi_i);
    less18_q <= less_add17;
    less19_q <= less18_q;
    less20_q <= less19_q;
    x19_q <= $signed(u_lane.sum18_q);
    x20_q <= x19_q;
    sum21_q <= contract(50'(x20_q), less20_q, z_add_i, lo_add_i, hi_add_i);
    add_q <= add_i;
    sum8_q <= 50'($signed(u_lane.low7_q)) + {u_lane.high7_q, 17'b0};
    sum18_q <= 28'($signed(u_lane.main17_q)) + 28'($signed(u_lane.eltwise17_q));
  end

  always_comb begin
    assume (lo_i <= hi_i && lo_add_i <= hi_add_i);
    if (age_q >= 4'd6) begin
      assert (u_lane.sum8_q == sum8_q && u_lane.sum18_q == sum18_q);
      assert (code == code11_q);
      if (add_q) assert ($signed(result) == sum21_q);
    end
  end

  always_comb begin
    if (age_q == 4'd9) cover (code == 8'sd5 && result == 8'd200 && add_q && hi_i > 8'sd5);
  end
endmodule
