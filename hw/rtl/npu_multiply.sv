// Signed multiplier: product_o = a_i · b_i, one cycle later, or two with `Inputs`.
//
// On an ECP5 it instantiates a DSP block with its internal registers, which synthesis would leave
// outside; with `Logic` it is built of LUTs; elsewhere synthesis infers it.

module npu_multiply #(
  parameter int unsigned ABits  = 18,    // at most 18 each
  parameter int unsigned BBits  = 18,
  // The operands are registered too.
  parameter bit          Inputs = 1'b0,
  // Build it in logic; `a_i` has eight bits then.
  parameter bit          Logic  = 1'b0
) (
  input  logic                          clk_i,
  input  logic signed [      ABits-1:0] a_i,
  input  logic signed [      BBits-1:0] b_i,
  output logic signed [ABits+BBits-1:0] product_o
);

  logic signed [ABits-1:0] a_q;
  logic signed [BBits-1:0] b_q;
  if (Inputs) begin : gen_inputs
    always_ff @(posedge clk_i) begin
      a_q <= a_i;
      b_q <= b_i;
    end
  end else begin : gen_wires
    assign a_q = a_i;
    assign b_q = b_i;
  end

  if (Logic) begin : gen_logic
    npu_multiply_logic #(
      .WideBits(BBits)
    ) u_logic (
      .clk_i,
      .narrow_i (a_q),
      .wide_i   (b_q),
      .product_o(product_o)
    );
  end else begin : gen_dsp
`ifdef NPU_ECP5
    logic [17:0] x, y;
    logic [35:0] p;
    // The operands are left-aligned: constant low bits need no wires, while sign extension would
    // have to reach every upper bit.
    assign x = {a_i, {18 - ABits{1'b0}}};
    assign y = {b_i, {18 - BBits{1'b0}}};
    assign product_o = p[35-:ABits+BBits];
    MULT18X18D #(
      .REG_INPUTA_CLK(Inputs ? "CLK0" : "NONE"),
      .REG_INPUTB_CLK(Inputs ? "CLK0" : "NONE"),
      .REG_OUTPUT_CLK("CLK0"),
      .REG_OUTPUT_CE ("CE0"),
      .REG_OUTPUT_RST("RST0")
    ) u_dsp (
      .CLK0   (clk_i),
      .CE0    (1'b1),
      .RST0   (1'b0),
      .SIGNEDA(1'b1),
      .SIGNEDB(1'b1),
      .SOURCEA(1'b0),
      .SOURCEB(1'b0),
      .A0     (x[0]),
      .A1     (x[1]),
      .A2     (x[2]),
      .A3     (x[3]),
      .A4     (x[4]),
      .A5     (x[5]),
      .A6     (x[6]),
      .A7     (x[7]),
      .A8     (x[8]),
      .A9     (x[9]),
      .A10    (x[10]),
      .A11    (x[11]),
      .A12    (x[12]),
      .A13    (x[13]),
      .A14    (x[14]),
      .A15    (x[15]),
      .A16    (x[16]),
      .A17    (x[17]),
      .B0     (y[0]),
      .B1     (y[1]),
      .B2     (y[2]),
      .B3     (y[3]),
      .B4     (y[4]),
      .B5     (y[5]),
      .B6     (y[6]),
      .B7     (y[7]),
      .B8     (y[8]),
      .B9     (y[9]),
      .B10    (y[10]),
      .B11    (y[11]),
      .B12    (y[12]),
      .B13    (y[13]),
      .B14    (y[14]),
      .B15    (y[15]),
      .B16    (y[16]),
      .B17    (y[17]),
      .C0     (1'b0),
      .C1     (1'b0),
      .C2     (1'b0),
      .C3     (1'b0),
      .C4     (1'b0),
      .C5     (1'b0),
      .C6     (1'b0),
      .C7     (1'b0),
      .C8     (1'b0),
      .C9     (1'b0),
      .C10    (1'b0),
      .C11    (1'b0),
      .C12    (1'b0),
      .C13    (1'b0),
      .C14    (1'b0),
      .C15    (1'b0),
      .C16    (1'b0),
      .C17    (1'b0),
      .P0     (p[0]),
      .P1     (p[1]),
      .P2     (p[2]),
      .P3     (p[3]),
      .P4     (p[4]),
      .P5     (p[5]),
      .P6     (p[6]),
      .P7     (p[7]),
      .P8     (p[8]),
      .P9     (p[9]),
      .P10    (p[10]),
      .P11    (p[11]),
      .P12    (p[12]),
      .P13    (p[13]),
      .P14    (p[14]),
      .P15    (p[15]),
      .P16    (p[16]),
      .P17    (p[17]),
      .P18    (p[18]),
      .P19    (p[19]),
      .P20    (p[20]),
      .P21    (p[21]),
      .P22    (p[22]),
      .P23    (p[23]),
      .P24    (p[24]),
      .P25    (p[25]),
      .P26    (p[26]),
      .P27    (p[27]),
      .P28    (p[28]),
      .P29    (p[29]),
      .P30    (p[30]),
      .P31    (p[31]),
      .P32    (p[32]),
      .P33    (p[33]),
      .P34    (p[34]),
      .P35    (p[35])
    );
`else
    always_ff @(posedge clk_i) product_o <= a_q * b_q;
`endif
  end

endmodule
