// Signed product of eight bits and more in logic, where DSP blocks are scarce, a cycle on. Its last sum
// stands behind the registers: less has to happen between far operands and them.
//
// Bits of the narrow operand are taken in pairs, whose two terms are one gated sum; the pairs are
// added up in a tree. Every level only adds where both of its operands have bits.

module npu_multiply_logic #(
    parameter int unsigned WideBits = 8
) (
    input  logic                       clk,
    input  logic signed [         7:0] narrow,
    input  logic signed [WideBits-1:0] wide,
    output logic signed [WideBits+7:0] product
);

  localparam int unsigned PairBits = WideBits + 2;

  // The last bit is the sign, whose term is taken off.
  logic signed [PairBits-1:0] pairs[4];
  for (genvar i = 0; i < 4; i++) begin : gen_pair
    npu_gated_sum #(
        .Bits(PairBits),
        .Subtract(i == 3)
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
  logic signed [PairBits-1:0] low_q, high_q;
  logic [1:0] lowest_q, middle_q;
  assign low   = pairs[1] + (pairs[0] >>> 2);
  assign high  = pairs[3] + (pairs[2] >>> 2);
  always_ff @(posedge clk) begin
    low_q <= low;
    lowest_q <= pairs[0][1:0];
    high_q <= high;
    middle_q <= pairs[2][1:0];
  end
  assign upper = $signed({high_q, middle_q}) + (PairBits + 2)'($signed(low_q[PairBits-1:2]));

  assign product = {upper, low_q[1:0], lowest_q};

endmodule
