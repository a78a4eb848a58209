// Signed product in logic, for the small products that would cost a DSP block each.

module npu_multiply_logic #(
    parameter int unsigned NarrowBits = 9,  // at most 16
    parameter int unsigned WideBits   = 18
) (
    input  logic signed [         NarrowBits-1:0] narrow,
    input  logic signed [           WideBits-1:0] wide,
    output logic signed [NarrowBits+WideBits-1:0] product
);

  localparam int unsigned Bits = NarrowBits + WideBits;

  // A term a bit, added up in a tree; the sign bit's term is taken off at the end. Each level is
  // kept, since carry chains are smaller here than the compressors that synthesis would make of it.
  logic signed [Bits-1:0] terms[16];
  (* keep *) logic signed [Bits-1:0] pairs[8], fours[4], eights[2];
  always_comb begin
    for (int unsigned i = 0; i < 16; i++) begin
      terms[i] = '0;
      if (i < NarrowBits - 1 && narrow[i%NarrowBits]) terms[i] = Bits'(wide) <<< i;
    end
    for (int unsigned i = 0; i < 8; i++) pairs[i] = terms[2*i] + terms[2*i+1];
    for (int unsigned i = 0; i < 4; i++) fours[i] = pairs[2*i] + pairs[2*i+1];
    for (int unsigned i = 0; i < 2; i++) eights[i] = fours[2*i] + fours[2*i+1];
    product = eights[0] + eights[1]
        - (narrow[NarrowBits-1] ? Bits'(wide) <<< (NarrowBits - 1) : '0);
  end

endmodule
