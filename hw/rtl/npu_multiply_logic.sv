// Signed product in logic, for the small products that would cost a DSP block each.
//
// Bits of the narrow operand are taken in pairs, whose two terms are one gated sum; the pairs are
// added up in a tree. Every level only adds where both of its operands have bits.

module npu_multiply_logic #(
    parameter int unsigned NarrowBits = 9,  // 8 or 9
    parameter int unsigned WideBits   = 18
) (
    input  logic signed [         NarrowBits-1:0] narrow,
    input  logic signed [           WideBits-1:0] wide,
    output logic signed [NarrowBits+WideBits-1:0] product
);

  localparam int unsigned PairBits = WideBits + 2;

  // The last bit of eight is the sign, whose term is taken off.
  logic signed [PairBits-1:0] pairs[4];
  for (genvar i = 0; i < 4; i++) begin : gen_pair
    npu_gated_sum #(
        .Bits(PairBits),
        .Subtract(2 * i + 2 == NarrowBits)
    ) u_pair (
        .gate_a(narrow[2*i+1]),
        .a({wide[WideBits-1], wide, 1'b0}),
        .gate_b(narrow[2*i]),
        .b({{2{wide[WideBits-1]}}, wide}),
        .sum(pairs[i])
    );
  end

  // Each level is kept, since carry chains are smaller here than the compressors that synthesis would
  // make of a sum of many terms.
  (* keep *) logic signed [PairBits-1:0] low, high;
  (* keep *) logic signed [PairBits+1:0] upper;
  assign low   = pairs[1] + (pairs[0] >>> 2);
  assign high  = pairs[3] + (pairs[2] >>> 2);
  assign upper = $signed({high, pairs[2][1:0]}) + (PairBits + 2)'($signed(low[PairBits-1:2]));

  if (NarrowBits == 8) begin : gen_eight
    assign product = {upper, low[1:0], pairs[0][1:0]};
  end else begin : gen_nine
    logic [WideBits:0] top;
    npu_gated_sum #(
        .Bits(WideBits + 1),
        .Subtract(1'b1)
    ) u_sign (
        .gate_a(narrow[8]),
        .a({wide[WideBits-1], wide}),
        .gate_b(1'b1),
        .b((WideBits + 1)'($signed(upper[PairBits+1:4]))),
        .sum(top)
    );
    assign product = {top, upper[3:0], low[1:0], pairs[0][1:0]};
  end

endmodule
