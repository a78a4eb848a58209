// Rows × Lanes multiply-accumulators.
//
// Operands (0), products (1), accumulators (2), shadow (3); `done` tells with stage 2 that a tile's
// accumulators are complete.

module npu_array (
    input  logic                      clk,
    input  logic                      rst,
    input  npu_pkg::exec_t            commands[2],
    input  npu_core_pkg::tap_t        tap,
    input  logic               [8*npu_pkg::Lanes-1:0] operand[npu_pkg::Rows],
    input  logic               [npu_pkg::Rows-1:0][7:0] weight,
    output logic                      done,
    output logic                      done_halves,
    output logic signed [npu_core_pkg::AccBits-1:0] shadow[npu_pkg::Rows][npu_pkg::Lanes]
);

  // For every row a register of its own: each of them drives a thousand adder inputs.
  (* keep *) logic [npu_pkg::Rows-1:0] add_q, take_q, take_greater_q;
  logic maximum, last_q, halves_q;
  assign maximum = commands[tap.side].mode == npu_pkg::ModeMaximum;

  always_ff @(posedge clk) begin
    add_q <= {npu_pkg::Rows{!tap.first && !maximum}};
    take_q <= {npu_pkg::Rows{tap.valid && (tap.first || !maximum)}};
    take_greater_q <= {npu_pkg::Rows{tap.valid && maximum}};
    last_q <= tap.valid && tap.last;
    done <= last_q;
    halves_q <= tap.halves;
    done_halves <= halves_q;
    if (rst) begin
      take_q <= '0;
      take_greater_q <= '0;
      last_q <= 1'b0;
      done <= 1'b0;
    end
  end

  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
    for (genvar l = 0; l < npu_pkg::Lanes; l++) begin : gen_lane
      npu_mac #(
          .Logic(r * npu_pkg::Lanes + l < npu_core_pkg::LogicMacs)
      ) u_mac (
          .clk,
          .operand(operand[r][8*l+:8]),
          .weight(weight[r]),
          .multiply(tap.valid),
          .take(take_q[r]),
          .take_greater(take_greater_q[r]),
          .add(add_q[r]),
          .done,
          .shadow(shadow[r][l])
      );
    end
  end

endmodule
