// Sum of two gated numbers, combinational:
//    sum_o = (gate_a_i ? a_i : 0) + (gate_b_i ? b_i : 0)
//    Subtract: sum_o = (gate_b_i ? b_i : 0) − (gate_a_i ? a_i : 0) − Borrow
// On an ECP5 gates and adder take one LUT per bit, which synthesis does not find by itself.

module npu_gated_sum #(
  parameter int unsigned Bits     = 16,
  parameter bit          Subtract = 1'b0,
  parameter bit          Borrow   = 1'b0
) (
  input  logic            gate_a_i,
  input  logic [Bits-1:0] a_i,
  input  logic            gate_b_i,
  input  logic [Bits-1:0] b_i,
  output logic [Bits-1:0] sum_o
);

`ifdef NPU_ECP5
  // A cell computes two bits. Each LUT of (a, gate_a, b, gate_b) says whether a carry passes; where
  // none passes, the LUT's quarter of (a, gate_a) alone is the carry.
  localparam int unsigned Cells = (Bits + 1) / 2;
  localparam logic [15:0] Table = Subtract ? 16'h8777 : 16'h7888;

  logic [2*Cells-1:0] wide_a, wide_b, wide_sum;
  logic [Cells:0] carry;
  assign wide_a = (2 * Cells)'(a_i);
  assign wide_b = (2 * Cells)'(b_i);
  assign carry[0] = Subtract && !Borrow;
  assign sum_o = wide_sum[Bits-1:0];
  for (genvar i = 0; i < Cells; i++) begin : gen_cell
    CCU2C #(
      .INIT0    (Table),
      .INIT1    (Table),
      .INJECT1_0("NO"),
      .INJECT1_1("NO")
    ) u_carry (
      .CIN (carry[i]),
      .A0  (wide_a[2*i]),
      .B0  (gate_a_i),
      .C0  (wide_b[2*i]),
      .D0  (gate_b_i),
      .A1  (wide_a[2*i+1]),
      .B1  (gate_a_i),
      .C1  (wide_b[2*i+1]),
      .D1  (gate_b_i),
      .S0  (wide_sum[2*i]),
      .S1  (wide_sum[2*i+1]),
      .COUT(carry[i+1])
    );
  end
`else
  logic [Bits-1:0] term_a, term_b;
  assign term_a = gate_a_i ? a_i : '0;
  assign term_b = gate_b_i ? b_i : '0;
  assign sum_o = Subtract ? term_b - term_a - Bits'(Borrow) : term_a + term_b;
`endif

endmodule
