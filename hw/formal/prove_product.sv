// What the proofs of transfers know of products. A product, as a sum of shifted values, loses its first
// term when the factor loses its lowest bit; it is no less than the value; it grows by the value when the
// factor grows by one.
module prove_product #(
  parameter int unsigned FactorBits = 16,
  parameter int unsigned ValueBits = 32,
  // A sum of many terms is a matter for few bits.
  parameter bit Counting = 1'b0
) (
  input logic                  clk,
  input logic [FactorBits-1:0] factor,
  input logic [ValueBits-1:0]  value
);
  localparam int unsigned Bits = FactorBits + ValueBits;

  // The first term outermost.
  function automatic logic [Bits-1:0] product(input logic [FactorBits-1:0] f, input logic [Bits-1:0] v);
    logic [Bits-1:0] sum;
    sum = '0;
    for (int i = FactorBits - 1; i >= 0; i--) sum = (f[i] ? v << i : '0) + sum;
    return sum;
  endfunction

  logic [Bits-1:0] whole;
  assign whole = product(factor, Bits'(value));
  always_comb begin
    if (!Counting) begin
      assert (whole == (factor[0] ? Bits'(value) : '0) + product(factor >> 1, Bits'(value) << 1));
      assert (factor != '0 || whole == '0);
    end else begin
      if (factor != '0) assert (whole >= Bits'(value));
      if (factor != '1) assert (product(factor + 1'b1, Bits'(value)) == whole + Bits'(value));
    end
  end
endmodule
