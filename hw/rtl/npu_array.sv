// Rows × Lanes multiply-accumulators.
//
// Operands (0), products (1), accumulators (2), shadow (3); `done` tells with stage 1 that a tile's
// last products are added.

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

  logic maximum;
  assign maximum = commands[tap.side].mode == npu_pkg::ModeMaximum;

  always_ff @(posedge clk) begin
    done <= !rst && tap.valid && tap.last;
    done_halves <= tap.halves;
  end

  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
    // Registers of their own for every four lanes of a row: each of them drives a hundred adder inputs.
    for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
      logic add_q, take_q, take_greater_q, done_q;
      npu_replica #(
          .Width(4)
      ) u_control (
          .clk,
          .in ({
            !tap.first && !maximum,
            !rst && tap.valid && (tap.first || !maximum),
            !rst && tap.valid && maximum,
            done
          }),
          .out({add_q, take_q, take_greater_q, done_q})
      );
      for (genvar l = 4 * i; l < 4 * i + 4; l++) begin : gen_lane
        npu_mac #(
            .Logic(r * npu_pkg::Lanes + l < npu_core_pkg::LogicMacs)
        ) u_mac (
            .clk,
            .operand(operand[r][8*l+:8]),
            .weight(weight[r]),
            .take(take_q),
            .take_greater(take_greater_q),
            .add(add_q),
            .done(done_q),
            .shadow(shadow[r][l])
        );
      end
    end
  end

endmodule
