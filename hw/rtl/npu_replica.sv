// A register of which there are several with the same contents, each for a part of what they drive.
// Synthesis keeps blocks apart until everything is mapped, and so does not make one of them again.

module npu_replica #(
    parameter int unsigned Width = 1
) (
    input  logic             clk,
    input  logic [Width-1:0] in,
    output logic [Width-1:0] out
);

  always_ff @(posedge clk) out <= in;

endmodule
