// Signed product in logic, for the small products that would cost a DSP block each.

module npu_multiply_logic #(
    parameter int unsigned NarrowBits = 9,
    parameter int unsigned WideBits   = 18
) (
    input  logic signed [         NarrowBits-1:0] narrow,
    input  logic signed [           WideBits-1:0] wide,
    output logic signed [NarrowBits+WideBits-1:0] product
);

  localparam int unsigned Bits = NarrowBits + WideBits;

  // Bit by bit; the sign bit counts negative.
  always_comb begin
    product = '0;
    for (int unsigned i = 0; i < NarrowBits - 1; i++) begin
      if (narrow[i]) product = product + (Bits'(wide) <<< i);
    end
    if (narrow[NarrowBits-1]) product = product - (Bits'(wide) <<< (NarrowBits - 1));
  end

endmodule
