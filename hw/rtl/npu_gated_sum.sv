// Sum of two numbers, each of which counts or not: (gate_a ? a : 0) + (gate_b ? b : 0), or with
// `Subtract` (gate_b ? b : 0) − (gate_a ? a : 0), less one with `Borrow`.
//
// On an ECP5 gates and adder take one LUT a bit, which synthesis does not find by itself; elsewhere
// it may find something as good.

module npu_gated_sum #(
    parameter int unsigned Bits = 16,
    parameter bit Subtract = 1'b0,
    parameter bit Borrow = 1'b0
) (
    input  logic            gate_a,
    input  logic [Bits-1:0] a,
    input  logic            gate_b,
    input  logic [Bits-1:0] b,
    output logic [Bits-1:0] sum
);

`ifdef NPU_ECP5
  // A cell is two bits. Each is a LUT of (a, gate_a, b, gate_b) that says whether a carry passes;
  // where none passes, the LUT's quarter of (a, gate_a) alone is the carry.
  localparam int unsigned Cells = (Bits + 1) / 2;
  localparam logic [15:0] Table = Subtract ? 16'h8777 : 16'h7888;

  logic [2*Cells-1:0] wide_a, wide_b, wide_sum;
  logic [Cells:0] carry;
  assign wide_a = (2 * Cells)'(a);
  assign wide_b = (2 * Cells)'(b);
  assign carry[0] = Subtract && !Borrow;
  assign sum = wide_sum[Bits-1:0];
  for (genvar i = 0; i < Cells; i++) begin : gen_cell
    CCU2C #(
        .INIT0(Table),
        .INIT1(Table),
        .INJECT1_0("NO"),
        .INJECT1_1("NO")
    ) u_carry (
        .CIN(carry[i]),
        .A0(wide_a[2*i]),
        .B0(gate_a),
        .C0(wide_b[2*i]),
        .D0(gate_b),
        .A1(wide_a[2*i+1]),
        .B1(gate_a),
        .C1(wide_b[2*i+1]),
        .D1(gate_b),
        .S0(wide_sum[2*i]),
        .S1(wide_sum[2*i+1]),
        .COUT(carry[i+1])
    );
  end
`else
  logic [Bits-1:0] term_a, term_b;
  assign term_a = gate_a ? a : '0;
  assign term_b = gate_b ? b : '0;
  assign sum = Subtract ? term_b - term_a - Bits'(Borrow) : term_a + term_b;
`endif

endmodule
