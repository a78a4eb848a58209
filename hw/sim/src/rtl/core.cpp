// The Verilated core alone behind a C interface: one call a clock cycle.
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "Vnpu_exec.h"
#include "Vnpu_exec___024root.h"
#include "verilated.h"
#if VM_COVERAGE
#include <unistd.h>

#include "verilated_cov.h"
#endif

extern "C" {

// Ports of 64 bits or less are numbers, wider ones arrays of words: either way bytes in order. NPU_ROWS is
// the array's height.
//
// The same fields, in the same order, as `Inputs` and `Outputs` in unit.rs.
struct CoreInputs {
  uint8_t cmd[96];
  uint8_t ld_data[16], lw_data[20], lp_data[16], lt_data[8];
  uint8_t rst, cmd_valid;
  uint8_t ld_valid, ld_bank, st_valid, st_bank;
  uint8_t lw_valid, lp_valid, lt_valid, lt_select, lt_addr;
  uint16_t ld_addr, ld_be, st_addr, lw_addr, lp_addr;
};

struct CoreOutputs {
  uint8_t st_rdata[16];
  uint16_t skipped;
  uint8_t cmd_ready, done, illegal, ld_ready, st_ready, st_rvalid;
  uint8_t busy_mac, stall_drain, stall_residual, idle;
};

struct Core {
  VerilatedContext context;
  std::unique_ptr<Vnpu_exec> top;
};

Core *npu_core_new() {
  auto *core = new Core;
  core->top = std::make_unique<Vnpu_exec>(&core->context);
  return core;
}

void npu_core_free(Core *core) {
  core->top->final();
#if VM_COVERAGE
  // One file a process and model, which hw/coverage/run adds up.
  static std::atomic<int> files{0};
  const std::string name = std::string(std::getenv("NPU_COVERAGE")) + ".core." + std::to_string(getpid()) + "."
      + std::to_string(files++);
  core->context.coveragep()->write(name.c_str());
#endif
  delete core;
}

// Applies the inputs, reads the outputs as they stand before the rising edge, passes the edge.
void npu_core_cycle(Core *core, const CoreInputs *in, CoreOutputs *out) {
  Vnpu_exec &top = *core->top;
  top.rst_ni = !in->rst;
  top.cmd_valid_i = in->cmd_valid;
  std::memcpy(top.cmd_i.data(), in->cmd, sizeof in->cmd);
  top.ld_valid_i = in->ld_valid;
  top.ld_bank_i = in->ld_bank;
  top.ld_addr_i = in->ld_addr;
  top.ld_be_i = in->ld_be;
  std::memcpy(&top.ld_data_i, in->ld_data, sizeof top.ld_data_i);
  top.st_valid_i = in->st_valid;
  top.st_bank_i = in->st_bank;
  top.st_addr_i = in->st_addr;
  top.lw_valid_i = in->lw_valid;
  top.lw_addr_i = in->lw_addr;
  std::memcpy(&top.lw_data_i, in->lw_data, sizeof top.lw_data_i);
  top.lp_valid_i = in->lp_valid;
  top.lp_addr_i = in->lp_addr;
  std::memcpy(top.lp_data_i.data(), in->lp_data, sizeof in->lp_data);
  top.lt_valid_i = in->lt_valid;
  top.lt_select_i = in->lt_select;
  top.lt_addr_i = in->lt_addr;
  std::memcpy(&top.lt_data_i, in->lt_data, sizeof in->lt_data);
  top.clk_i = 0;
  top.eval();
  std::memcpy(out->st_rdata, &top.st_rdata_o, sizeof top.st_rdata_o);
  out->skipped = top.skipped_o;
  out->cmd_ready = top.cmd_ready_o;
  out->done = top.done_o;
  out->illegal = top.illegal_o;
  out->ld_ready = top.ld_ready_o;
  out->st_ready = top.st_ready_o;
  out->st_rvalid = top.st_rvalid_o;
  out->busy_mac = top.busy_mac_o;
  out->stall_drain = top.stall_drain_o;
  out->stall_residual = top.stall_residual_o;
  out->idle = top.idle_o;
  top.clk_i = 1;
  top.eval();
}

// Returns a vector (one byte per lane) of a bank.
uint8_t *npu_core_word(Core *core, uint32_t bank, uint32_t address) {
  auto &root = *core->top->rootp;
#define BANK(i) \
  case i: \
    return reinterpret_cast<uint8_t *>( \
        &root.npu_exec__DOT__u_bank_arbiter__DOT__gen_bank__BRA__##i##__KET____DOT__u_bank__DOT__mem[address])
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
  return nullptr;
}
}
