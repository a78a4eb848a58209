// Signed multiplier in logic for devices with few DSP blocks: product_o = narrow_i · wide_i, one
// cycle later. The last addition follows the registers, which shortens the path from distant
// operands to them.
//
// Bits of the narrow operand are taken in pairs, whose two partial products are one gated sum; the
// pairs are added in a tree. Each adder is only as wide as both of its operands overlap.

module npu_multiply_logic #(
  parameter int unsigned WideBits = 8
) (
  input  logic                       clk_i,
  input  logic signed [         7:0] narrow_i,
  input  logic signed [WideBits-1:0] wide_i,
  output logic signed [WideBits+7:0] product_o
);

  localparam int unsigned PairBits = WideBits + 2;

  // The last bit is the sign; its partial product is subtracted.
  logic signed [PairBits-1:0] pairs[4];
  for (genvar i = 0; i < 4; i++) begin : gen_pair
    npu_gated_sum #(
      .Bits    (PairBits),
      .Subtract(i == 3)
    ) u_pair (
      .gate_a_i(narrow_i[2*i+1]),
      .a_i     ({wide_i[WideBits-1], wide_i, 1'b0}),
      .gate_b_i(narrow_i[2*i]),
      .b_i     ({{2{wide_i[WideBits-1]}}, wide_i}),
      .sum_o   (pairs[i])
    );
  end

  // Each level is kept: carry chains are smaller here than the compressor tree that synthesis would
  // build.
  (* keep *) logic signed [PairBits-1:0] low, high;
  (* keep *) logic signed [PairBits+1:0] upper;
  logic signed [PairBits-1:0] low_q, high_q;
  logic [1:0] lowest_q, middle_q;
  assign low = pairs[1] + (pairs[0] >>> 2);
  assign high = pairs[3] + (pairs[2] >>> 2);
  always_ff @(posedge clk_i) begin
    low_q <= low;
    lowest_q <= pairs[0][1:0];
    high_q <= high;
    middle_q <= pairs[2][1:0];
  end
  assign upper = $signed({high_q, middle_q}) + (PairBits + 2)'($signed(low_q[PairBits-1:2]));

  assign product_o = {upper, low_q[1:0], lowest_q};

endmodule
