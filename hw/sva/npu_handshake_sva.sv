// Checks a valid/ready interface: an offer stays, with the same payload, until it is accepted.
//
// `withdraw_i` marks the cycles in which the sender may take its offer back (a stop, the end of a stream).
`include "npu_assert.svh"

module npu_handshake_sva #(
  parameter int unsigned Width = 1
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             withdraw_i,
  input logic             valid_i,
  input logic             ready_i,
  input logic [Width-1:0] payload_i
);
  `NPU_ASSERT(ValidStable_A, valid_i && !ready_i |=> valid_i, rst_ni && !withdraw_i)
  `NPU_ASSERT(PayloadStable_A, valid_i && !ready_i |=> $stable(payload_i), rst_ni && !withdraw_i)
endmodule
