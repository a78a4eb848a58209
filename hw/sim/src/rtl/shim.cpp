// The Verilated accelerator behind a C interface: one call a clock cycle.
#include <cstdint>
#include <cstring>
#include <memory>

#include "Vnpu_top.h"
#include "Vnpu_top___024root.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_fst_c.h"
#endif
#if VM_COVERAGE
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "verilated_cov.h"
#endif

extern "C" {

// Ports of 64 bits or less are numbers, wider ones arrays of words: either way bytes in order, of which
// the data bus has NPU_AXI_BYTES.
//
// The same fields, in the same order, as `Inputs` and `Outputs` in model.rs.
struct Inputs {
  uint8_t m_axi_rdata[16];
  uint32_t s_axi_wdata;
  uint8_t rst;
  uint8_t s_axi_awvalid, s_axi_awaddr, s_axi_wvalid, s_axi_bready, s_axi_arvalid, s_axi_araddr, s_axi_rready;
  uint8_t m_axi_arready, m_axi_rvalid, m_axi_rresp, m_axi_rlast;
  uint8_t m_axi_awready, m_axi_wready, m_axi_bvalid, m_axi_bresp;
};

struct Outputs {
  uint8_t m_axi_wdata[16];
  uint32_t s_axi_rdata, m_axi_araddr, m_axi_awaddr;
  uint16_t m_axi_wstrb;
  uint8_t s_axi_awready, s_axi_bvalid, s_axi_arready, s_axi_rvalid;
  uint8_t m_axi_arvalid, m_axi_arlen, m_axi_arsize, m_axi_rready;
  uint8_t m_axi_awvalid, m_axi_awlen, m_axi_awsize, m_axi_wvalid, m_axi_wlast, m_axi_bready;
  uint8_t irq, event_taken, event_finished;
};
}

namespace {

struct Model {
  VerilatedContext context;
  std::unique_ptr<Vnpu_top> top;
#if VM_TRACE
  std::unique_ptr<VerilatedFstC> waves;
  uint64_t time = 0;

  void dump() {
    if (waves) waves->dump(time);
    time++;
  }

  void close() {
    if (waves) waves->close();
    waves.reset();
  }
#else
  void dump() {}
  void close() {}
#endif
};

}  // namespace

extern "C" {

Model *npu_new() {
  auto *model = new Model;
#if VM_TRACE
  model->context.traceEverOn(true);
#endif
  model->top = std::make_unique<Vnpu_top>(&model->context);
  return model;
}

void npu_free(Model *model) {
  model->close();
  model->top->final();
#if VM_COVERAGE
  // One file a process and model, which hw/coverage/run adds up.
  static std::atomic<int> files{0};
  const std::string name = std::string(std::getenv("NPU_COVERAGE")) + ".top." + std::to_string(getpid()) + "."
      + std::to_string(files++);
  model->context.coveragep()->write(name.c_str());
#endif
  delete model;
}

// Applies the inputs, reads the outputs as they stand before the rising edge, passes the edge.
void npu_cycle(Model *model, const Inputs *in, Outputs *out) {
  Vnpu_top &top = *model->top;
  top.rst_ni = !in->rst;
  top.s_axi_awvalid_i = in->s_axi_awvalid;
  top.s_axi_awaddr_i = in->s_axi_awaddr;
  top.s_axi_wvalid_i = in->s_axi_wvalid;
  top.s_axi_wdata_i = in->s_axi_wdata;
  top.s_axi_wstrb_i = 15;
  top.s_axi_bready_i = in->s_axi_bready;
  top.s_axi_arvalid_i = in->s_axi_arvalid;
  top.s_axi_araddr_i = in->s_axi_araddr;
  top.s_axi_rready_i = in->s_axi_rready;
  top.m_axi_arready_i = in->m_axi_arready;
  top.m_axi_rvalid_i = in->m_axi_rvalid;
  std::memcpy(&top.m_axi_rdata_i, in->m_axi_rdata, NPU_AXI_BYTES);
  top.m_axi_rresp_i = in->m_axi_rresp;
  top.m_axi_rlast_i = in->m_axi_rlast;
  top.m_axi_awready_i = in->m_axi_awready;
  top.m_axi_wready_i = in->m_axi_wready;
  top.m_axi_bvalid_i = in->m_axi_bvalid;
  top.m_axi_bresp_i = in->m_axi_bresp;
  top.clk_i = 0;
  top.eval();
  std::memcpy(out->m_axi_wdata, &top.m_axi_wdata_o, NPU_AXI_BYTES);
  out->s_axi_rdata = top.s_axi_rdata_o;
  out->m_axi_araddr = top.m_axi_araddr_o;
  out->m_axi_awaddr = top.m_axi_awaddr_o;
  out->s_axi_awready = top.s_axi_awready_o;
  out->s_axi_bvalid = top.s_axi_bvalid_o;
  out->s_axi_arready = top.s_axi_arready_o;
  out->s_axi_rvalid = top.s_axi_rvalid_o;
  out->m_axi_arvalid = top.m_axi_arvalid_o;
  out->m_axi_arlen = top.m_axi_arlen_o;
  out->m_axi_arsize = top.m_axi_arsize_o;
  out->m_axi_rready = top.m_axi_rready_o;
  out->m_axi_awvalid = top.m_axi_awvalid_o;
  out->m_axi_awlen = top.m_axi_awlen_o;
  out->m_axi_awsize = top.m_axi_awsize_o;
  out->m_axi_wvalid = top.m_axi_wvalid_o;
  out->m_axi_wstrb = top.m_axi_wstrb_o;
  out->m_axi_wlast = top.m_axi_wlast_o;
  out->m_axi_bready = top.m_axi_bready_o;
  out->irq = top.irq_o;
  out->event_taken = top.event_taken_o;
  out->event_finished = top.event_finished_o;
  model->dump();
  top.clk_i = 1;
  top.eval();
  model->dump();
}

// Starts writing waves to a file; those of an earlier file end. Nothing where the model has none.
void npu_waves_open(Model *model, const char *path) {
  model->close();
#if VM_TRACE
  model->waves = std::make_unique<VerilatedFstC>();
  model->top->trace(model->waves.get(), 99);
  model->waves->open(path);
#else
  (void)path;
#endif
}

void npu_waves_close(Model *model) { model->close(); }

// Copies the counter registers, in their order.
void npu_counters(const Model *model, uint32_t *counters) {
  const auto &values = model->top->rootp->npu_top__DOT__counters;
  for (int i = 0; i < 13; i++) counters[i] = values[i];
}

// Copies a vector (NPU_LANES bytes) out of a bank of NPU_ROWS.
void npu_bank_word(const Model *model, uint32_t bank, uint32_t address, uint8_t *bytes) {
  const auto &root = *model->top->rootp;
  const void *word = nullptr;
#define BANK(i) \
  case i: \
    word = &root.npu_top__DOT__u_exec__DOT__u_bank_arbiter__DOT__gen_bank__BRA__##i##__KET____DOT__u_bank__DOT__mem[address]; \
    break
  switch (bank) {
    BANK(0);
    BANK(1);
    BANK(2);
    BANK(3);
#if NPU_ROWS > 4
    BANK(4);
    BANK(5);
    BANK(6);
    BANK(7);
#endif
#if NPU_ROWS > 8
    BANK(8);
    BANK(9);
    BANK(10);
    BANK(11);
    BANK(12);
    BANK(13);
    BANK(14);
    BANK(15);
#endif
  }
#undef BANK
  std::memcpy(bytes, word, NPU_LANES);
}
}
