// Rows × Lanes multiply-accumulators.
//
// Operands (0), products (1), accumulators (2), shadow (3); `done` tells with stage 2 that a tile's
// accumulators are complete.

module npu_array (
    input  logic                      clk,
    input  logic                      rst,
    input  npu_pkg::exec_t            commands[2],
    input  npu_core_pkg::tap_t        tap,
    input  logic               [127:0] operand[npu_pkg::Rows],
    input  logic               [npu_pkg::Rows-1:0][7:0] weight,
    output logic                      done,
    output logic signed        [ 31:0] shadow[npu_pkg::Rows][npu_pkg::Lanes]
);

  logic accumulate_q, first_q, last_q, maximum_q;

  always_ff @(posedge clk) begin
    accumulate_q <= tap.valid;
    first_q <= tap.first;
    last_q <= tap.valid && tap.last;
    maximum_q <= commands[tap.side].mode == npu_pkg::ModeMaximum;
    done <= last_q;
    if (rst) begin
      accumulate_q <= 1'b0;
      last_q <= 1'b0;
      done <= 1'b0;
    end
  end

  for (genvar r = 0; r < npu_pkg::Rows; r++) begin : gen_row
    for (genvar l = 0; l < npu_pkg::Lanes; l++) begin : gen_lane
      npu_mac u_mac (
          .clk,
          .operand(operand[r][8*l+:8]),
          .weight(weight[r]),
          .multiply(tap.valid),
          .accumulate(accumulate_q),
          .first(first_q),
          .maximum(maximum_q),
          .done,
          .shadow(shadow[r][l])
      );
    end
  end

endmodule
