// Properties of products that the proofs of transfers rely on: a product, as a sum of shifted
// values, loses its first term when the factor loses its lowest bit; it is no less than the value;
// it grows by the value when the factor grows by one.
module prove_product #(
  parameter int unsigned FactorBits = 16,
  parameter int unsigned ValueBits  = 32,
  // Prove the growth property, which the solver manages for few bits only.
  parameter bit          Counting   = 1'b0
) (
  input logic                  clk_i,
  input logic [FactorBits-1:0] factor_i,
  input logic [ ValueBits-1:0] value_i
);
  localparam int unsigned Bits = FactorBits + ValueBits;

  // The first term is outermost.
  function automatic logic [Bits-1:0] product(input logic [FactorBits-1:0] f,
                                              input logic [Bits-1:0] v);
    logic [Bits-1:0] sum;
    sum = '0;
    for (int i = FactorBits - 1; i >= 0; i--) sum = (f[i] ? v << i : '0) + sum;
    return sum;
  endfunction

  logic [Bits-1:0] whole;
  assign whole = product(factor_i, Bits'(value_i));
  always_comb begin
    if (!Counting) begin
      assert (whole == (factor_i[0] ? Bits'(value_i) : '0) + product(
          factor_i >> 1, Bits'(value_i) << 1
      ));
      assert (factor_i != '0 || whole == '0);
    end else begin
      if (factor_i != '0) assert (whole >= Bits'(value_i));
      if (factor_i != '1)
        assert (product(factor_i + 1'b1, Bits'(value_i)) == whole + Bits'(value_i));
    end
  end
endmodule
