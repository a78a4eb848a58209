// Signed product of nine bits and eighteen in logic, over two stages, for products that would cost a
// DSP block each.
//
// Bits of the narrow operand are taken in pairs, whose two terms are one gated sum; the pairs are
// added up in a tree, and the sign's term is taken off. Every level only adds where both of its operands
// have bits.

module npu_multiply_nine #(
    parameter int unsigned WideBits = 18
) (
    input  logic                       clk,
    input  logic signed [         8:0] narrow,
    input  logic signed [WideBits-1:0] wide,
    // Two stages on.
    output logic signed [WideBits+8:0] product_q
);

  localparam int unsigned PairBits = WideBits + 2;

  logic signed [PairBits-1:0] pairs[4];
  for (genvar i = 0; i < 4; i++) begin : gen_pair
    npu_gated_sum #(
        .Bits(PairBits)
    ) u_pair (
        .gate_a(narrow[2*i+1]),
        .a({wide[WideBits-1], wide, 1'b0}),
        .gate_b(narrow[2*i]),
        .b({{2{wide[WideBits-1]}}, wide}),
        .sum(pairs[i])
    );
  end

  logic signed [PairBits-1:0] low_q, high_q;
  logic [1:0] lowest_q, middle_q;
  logic signed [WideBits-1:0] wide_q;
  logic sign_q;
  always_ff @(posedge clk) begin
    low_q <= pairs[1] + (pairs[0] >>> 2);
    lowest_q <= pairs[0][1:0];
    high_q <= pairs[3] + (pairs[2] >>> 2);
    middle_q <= pairs[2][1:0];
    wide_q <= wide;
    sign_q <= narrow[8];
  end

  // Kept, since carry chains are smaller here than the compressors that synthesis would make of a sum
  // of many terms.
  (* keep *) logic signed [PairBits+1:0] upper;
  assign upper = $signed({high_q, middle_q}) + (PairBits + 2)'($signed(low_q[PairBits-1:2]));

  logic [WideBits:0] top;
  npu_gated_sum #(
      .Bits(WideBits + 1),
      .Subtract(1'b1)
  ) u_sign (
      .gate_a(sign_q),
      .a({wide_q[WideBits-1], wide_q}),
      .gate_b(1'b1),
      .b((WideBits + 1)'($signed(upper[PairBits+1:4]))),
      .sum(top)
  );
  always_ff @(posedge clk) product_q <= {top, upper[3:0], low_q[1:0], lowest_q};

endmodule
