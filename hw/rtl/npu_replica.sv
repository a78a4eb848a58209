// Register duplicated for fan-out: q_o is d_i one cycle later. It is a module of its own so that
// synthesis, which keeps modules apart until they are mapped, does not merge the copies.

module npu_replica #(
  parameter int unsigned Width = 1
) (
  input  logic             clk_i,
  input  logic [Width-1:0] d_i,
  output logic [Width-1:0] q_o
);

  always_ff @(posedge clk_i) q_o <= d_i;

endmodule
