// Checks a first-in first-out buffer (npu_fifo): the count is in range, flags follow it, and the
// oldest entry is stable until it is popped.
`include "npu_assert.svh"

module npu_fifo_sva #(
  parameter int unsigned Width = 64,
  parameter int unsigned Depth = 16
) (
  input logic                   clk_i,
  input logic                   rst_ni,
  input logic                   push_valid_i,
  input logic                   push_ready_i,
  input logic                   pop_valid_i,
  input logic                   pop_ready_i,
  input logic [      Width-1:0] pop_data_i,
  input logic [$clog2(Depth):0] count_i
);
  localparam int unsigned CountBits = $clog2(Depth) + 1;

  // Entries according to the handshakes.
  logic [CountBits-1:0] level_q;
  logic push, pop;
  assign push = push_valid_i && push_ready_i;
  assign pop = pop_valid_i && pop_ready_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) level_q <= '0;
    else level_q <= level_q + CountBits'(push) - CountBits'(pop);
  end

  `NPU_ASSERT(CountInRange_A, 32'(count_i) <= Depth)
  `NPU_ASSERT(CountIsLevel_A, count_i == level_q)
  `NPU_ASSERT_NEVER(PushWhenFull_A, push && 32'(level_q) == Depth)
  `NPU_ASSERT_NEVER(PopWhenEmpty_A, pop && level_q == '0)
  `NPU_ASSERT(DataStable_A, pop_valid_i && !pop_ready_i |=> pop_valid_i && $stable(pop_data_i))
endmodule
