// Signed multiplier of 9 × `WideBits` bits in logic, for products that would cost a DSP block each:
// product_o = narrow_i · wide_i, two cycles later.
//
// Bits of the narrow operand are taken in pairs, whose two partial products are one gated sum; the
// pairs are added in a tree, and the sign's partial product is subtracted. Each adder is only as
// wide as both of its operands overlap.

module npu_multiply_nine #(
  parameter int unsigned WideBits = 18
) (
  input  logic                       clk_i,
  input  logic signed [         8:0] narrow_i,
  input  logic signed [WideBits-1:0] wide_i,
  // Two stages later.
  output logic signed [WideBits+8:0] product_o
);

  localparam int unsigned PairBits = WideBits + 2;

  logic signed [PairBits-1:0] pairs[4];
  for (genvar i = 0; i < 4; i++) begin : gen_pair
    npu_gated_sum #(
      .Bits(PairBits)
    ) u_pair (
      .gate_a_i(narrow_i[2*i+1]),
      .a_i     ({wide_i[WideBits-1], wide_i, 1'b0}),
      .gate_b_i(narrow_i[2*i]),
      .b_i     ({{2{wide_i[WideBits-1]}}, wide_i}),
      .sum_o   (pairs[i])
    );
  end

  logic signed [PairBits-1:0] low_q, high_q;
  logic [1:0] lowest_q, middle_q;
  logic signed [WideBits-1:0] wide_q;
  logic sign_q;
  always_ff @(posedge clk_i) begin
    low_q <= pairs[1] + (pairs[0] >>> 2);
    lowest_q <= pairs[0][1:0];
    high_q <= pairs[3] + (pairs[2] >>> 2);
    middle_q <= pairs[2][1:0];
    wide_q <= wide_i;
    sign_q <= narrow_i[8];
  end

  // Kept: carry chains are smaller here than the compressor tree that synthesis would build.
  (* keep *) logic signed [PairBits+1:0] upper;
  assign upper = $signed({high_q, middle_q}) + (PairBits + 2)'($signed(low_q[PairBits-1:2]));

  logic [WideBits:0] top;
  npu_gated_sum #(
    .Bits    (WideBits + 1),
    .Subtract(1'b1)
  ) u_sign (
    .gate_a_i(sign_q),
    .a_i     ({wide_q[WideBits-1], wide_q}),
    .gate_b_i(1'b1),
    .b_i     ((WideBits + 1)'($signed(upper[PairBits+1:4]))),
    .sum_o   (top)
  );
  always_ff @(posedge clk_i) product_o <= {top, upper[3:0], low_q[1:0], lowest_q};

endmodule
