// Checks a buffer of `Depth` entries whose sender counts the free entries instead of looking at a ready
// signal, or whose receiver knows what it holds: no push when full, no pop when empty.
`include "npu_assert.svh"

module npu_level_sva #(
  parameter int unsigned Depth = 8
) (
  input logic clk_i,
  input logic rst_ni,
  input logic push_i,
  input logic pop_i
);
  localparam int unsigned CountBits = $clog2(Depth + 1);

  logic [CountBits-1:0] level_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) level_q <= '0;
    else level_q <= level_q + CountBits'(push_i) - CountBits'(pop_i);
  end

  `NPU_ASSERT(LevelInRange_A, 32'(level_q) <= Depth)
  `NPU_ASSERT_NEVER(PushWhenFull_A, push_i && 32'(level_q) == Depth)
  `NPU_ASSERT_NEVER(PopWhenEmpty_A, pop_i && level_q == '0)
endmodule
