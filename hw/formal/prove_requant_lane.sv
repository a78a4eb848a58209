// npu_requant_lane: what becomes of its products is rounded, shifted, moved by the zero point and clamped
// as the contract says, for every product; the shift, from 1 to 47, is a case each.
//
// Products are any numbers here (see `multiply`). The contract's (x + 2^(s−1)) >> s is written as
// ((x >> (s − 1)) + 1) >> 1, which is the same: the bits below s − 1 never carry.
module prove_requant_lane #(
  parameter int unsigned Shift = 1
) (
  input logic               clk,
  input logic signed [31:0] acc,
  input logic signed [31:0] bias,
  input logic signed [7:0]  second,
  input logic signed [7:0]  z_res,
  input logic               multiply,
  input logic signed [17:0] m_res,
  input logic               multiplied,
  input logic signed [17:0] m_pos,
  input logic signed [17:0] m_neg,
  input logic signed [7:0]  z_out,
  input logic signed [7:0]  lo,
  input logic signed [7:0]  hi,
  input logic               use_table,
  input logic signed [7:0]  looked_up,
  input logic signed [7:0]  z_main,
  input logic signed [17:0] m_main,
  input logic signed [26:0] second_late,
  input logic signed [7:0]  z_add,
  input logic signed [7:0]  lo_add,
  input logic signed [7:0]  hi_add,
  input logic               add
);
  // Shifts and masks as npu_requant makes them.
  logic [5:0]  less8_q;
  logic [5:0]  shift_high;
  logic [4:0]  mask_high;
  logic [2:0]  shift_low;
  logic [6:0]  mask_low;
  logic [5:0]  less7;
  logic [7:0]  less_add17;
  logic [4:0]  shift_add18_q;
  logic [17:0] mask_add;
  logic [2:0]  shift_add_low;
  assign less7      = 6'(Shift - 1);
  assign less_add17 = 8'(Shift - 1);
  always_ff @(posedge clk) begin
    less8_q <= less7;
    for (int i = 0; i < 6; i++) shift_high[i] <= less7[5:3] == 3'(i);
    for (int i = 0; i < 5; i++) mask_high[i] <= less7[5:3] <= 3'(i);
    for (int i = 0; i < 7; i++) mask_low[i] <= less8_q[2:0] <= 3'(i);
    shift_low     <= less8_q[2:0];
    shift_add18_q <= less_add17 > 8'd31 ? 5'd31 : less_add17[4:0];
    for (int i = 0; i < 18; i++) mask_add[i] <= less_add17 <= 8'(i);
    shift_add_low <= shift_add18_q[2:0];
  end

  logic signed [26:0] second_early;
  logic signed [7:0]  code;
  logic [7:0]         result;
  npu_requant_lane u_lane (
    .clk, .acc, .bias, .second, .z_res, .multiply, .m_res, .multiplied, .m_pos, .m_neg, .second_early,
    .shift_high, .mask_high, .shift_low, .mask_low, .z_out, .lo, .hi, .code, .use_table, .looked_up,
    .z_main, .m_main, .second_late, .shift_add_high(shift_add18_q[4:3]), .mask_add, .shift_add_low,
    .z_add, .lo_add, .hi_add, .add, .result
  );

  function automatic logic signed [7:0] contract(input logic signed [49:0] x, input logic [7:0] less,
                                                 input logic signed [7:0] zero,
                                                 input logic signed [7:0] low, input logic signed [7:0] high);
    logic signed [51:0] value;
    value = ((52'(x >>> less) + 52'sd1) >>> 1) + 52'(zero);
    if (value > 52'(high)) return high;
    if (value < 52'(low)) return low;
    return value[7:0];
  endfunction

  // The number in stage 8 and what it has to become in stage 11; of the sum in 18 and 21.
  logic [3:0] age_q = '0;
  logic signed [49:0] x9_q, x10_q;
  logic signed [27:0] x19_q, x20_q;
  logic [5:0]         less9_q, less10_q;
  logic [7:0]         less18_q, less19_q, less20_q;
  logic signed [7:0]  code11_q, sum21_q;
  logic               add_q;
  logic [49:0]        sum8_q;
  logic signed [27:0] sum18_q;
  always_ff @(posedge clk) begin
    if (age_q != '1) age_q <= age_q + 1'b1;
    x9_q     <= $signed(u_lane.sum8_q);
    x10_q    <= x9_q;
    less9_q  <= less8_q;
    less10_q <= less9_q;
    code11_q <= contract(x10_q, 8'(less10_q), z_out, lo, hi);
    less18_q <= less_add17;
    less19_q <= less18_q;
    less20_q <= less19_q;
    x19_q    <= $signed(u_lane.sum18_q);
    x20_q    <= x19_q;
    sum21_q  <= contract(50'(x20_q), less20_q, z_add, lo_add, hi_add);
    add_q    <= add;
    sum8_q   <= 50'($signed(u_lane.low7_q)) + {u_lane.high7_q, 17'b0};
    sum18_q  <= 28'($signed(u_lane.main17_q)) + 28'($signed(u_lane.second17_q));
  end

  always_comb begin
    assume (lo <= hi && lo_add <= hi_add);
    if (age_q >= 4'd6) begin
      assert (u_lane.sum8_q == sum8_q && u_lane.sum18_q == sum18_q);
      assert (code == code11_q);
      if (add_q) assert ($signed(result) == sum21_q);
    end
  end

  always_comb begin
    if (age_q == 4'd9) cover (code == 8'sd5 && result == 8'd200 && add_q && hi > 8'sd5);
  end
endmodule
