// Assertion macros of the accelerator.
//
// The checkers in this folder are bound to the blocks of hw/rtl (npu_bind.sv), which know nothing of
// them: synthesis and the proofs read hw/rtl alone. Simulators read both; Verilator needs --assert.
//
// A property is sampled at the rising edge of `clk_i` and holds in every cycle without reset.

`ifndef NPU_ASSERT_SVH
`define NPU_ASSERT_SVH

// PROP holds in every cycle in which RST_N is high.
`define NPU_ASSERT(NAME, PROP, RST_N = rst_ni) \
  NAME : assert property (@(posedge clk_i) disable iff (!(RST_N)) (PROP)) \
  else $error("the property does not hold");

// SIGNAL is high in no cycle in which RST_N is high.
`define NPU_ASSERT_NEVER(NAME, SIGNAL, RST_N = rst_ni) \
  `NPU_ASSERT(NAME, !(SIGNAL), RST_N)

`endif  // NPU_ASSERT_SVH
