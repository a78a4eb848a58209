// Rows × Lanes multiply-accumulators.
//
// The tap and its operands (0), both at the products (1), products (2), accumulators (3), shadow (4); `done`
// tells with stage 2 that a tile's last products are added. Weights come a stage ahead of the operands.

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

  logic add1_q, take1_q, take_greater1_q, last1_q, halves1_q;
  always_ff @(posedge clk) begin
    add1_q <= !tap.first && !maximum;
    take1_q <= tap.valid && (tap.first || !maximum);
    take_greater1_q <= tap.valid && maximum;
    last1_q <= tap.valid && tap.last;
    halves1_q <= tap.halves;
    done <= last1_q;
    done_halves <= halves1_q;
    if (rst) begin
      take1_q <= 1'b0;
      take_greater1_q <= 1'b0;
      last1_q <= 1'b0;
      done <= 1'b0;
    end
  end

  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
    // Registers of their own for every four lanes of a row: each of them drives a hundred adder inputs, and
    // weights go to products all over the device.
    for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
      logic add_q, take_q, take_greater_q, done_q;
      logic [7:0] weight_q;
      npu_replica #(
          .Width(12)
      ) u_control (
          .clk,
          .in ({add1_q, take1_q, take_greater1_q, done, weight[r]}),
          .out({add_q, take_q, take_greater_q, done_q, weight_q})
      );
      for (genvar l = 4 * i; l < 4 * i + 4; l++) begin : gen_lane
        npu_mac #(
            .Logic(r * npu_pkg::Lanes + l < npu_core_pkg::LogicMacs)
        ) u_mac (
            .clk,
            .operand(operand[r][8*l+:8]),
            .weight(weight_q),
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
