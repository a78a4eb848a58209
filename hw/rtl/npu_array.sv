// MAC array: `Rows` × `Lanes` multiply-accumulators.
//
// Row r accumulates output channel r of the group, lane l accumulates pixel l of the tile:
//    acc[r][l] += operand[r][l] · weight[r]      (maximum mode: max instead of +)
// Latency in cycles after `tap_i` and `operand_i`: 1 both at the multipliers, 2 products, 3
// accumulators, 4 shadow registers. `done_o` marks with stage 2 that a tile's last products are
// being added. Weights arrive one stage before the operands.

module npu_array (
  input logic clk_i,
  input logic rst_ni,
  input npu_pkg::exec_t commands_i[2],
  input npu_core_pkg::tap_t tap_i,
  input logic [8*npu_pkg::Lanes-1:0] operand_i[npu_pkg::Rows],
  input logic [npu_pkg::Rows-1:0][7:0] weight_i,
  output logic done_o,
  output logic done_halves_o,
  output logic signed [npu_core_pkg::AccBits-1:0] shadow_o[npu_pkg::Rows][npu_pkg::Lanes]
);

  logic maximum;
  assign maximum = commands_i[tap_i.ctx].mode == npu_pkg::ModeMaximum;

  logic add1_q, take1_q, take_greater1_q, last1_q, halves1_q;
  always_ff @(posedge clk_i) begin
    add1_q <= !tap_i.first && !maximum;
    take1_q <= tap_i.valid && (tap_i.first || !maximum);
    take_greater1_q <= tap_i.valid && maximum;
    last1_q <= tap_i.valid && tap_i.last;
    halves1_q <= tap_i.halves;
    done_o <= last1_q;
    done_halves_o <= halves1_q;
    if (!rst_ni) begin
      take1_q <= 1'b0;
      take_greater1_q <= 1'b0;
      last1_q <= 1'b0;
      done_o <= 1'b0;
    end
  end

  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
    // Every four lanes of a row have their own copy of the control registers, because each drives
    // about a hundred adder inputs and weights are routed to multipliers across the device.
    for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
      logic add_q, take_q, take_greater_q, done_q;
      logic [7:0] weight_q;
      npu_replica #(
        .Width(12)
      ) u_control (
        .clk_i,
        .d_i({add1_q, take1_q, take_greater1_q, done_o, weight_i[r]}),
        .q_o({add_q, take_q, take_greater_q, done_q, weight_q})
      );
      for (genvar l = 4 * i; l < 4 * i + 4; l++) begin : gen_lane
        npu_mac #(
          .Logic(r * npu_pkg::Lanes + l < npu_core_pkg::LogicMacs)
        ) u_mac (
          .clk_i,
          .operand_i     (operand_i[r][8*l+:8]),
          .weight_i      (weight_q),
          .take_i        (take_q),
          .take_greater_i(take_greater_q),
          .add_i         (add_q),
          .done_i        (done_q),
          .shadow_o      (shadow_o[r][l])
        );
      end
    end
  end

endmodule
