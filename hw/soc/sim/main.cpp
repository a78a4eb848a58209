// Runs the whole system: clock, reset, UART. Memories are read from soc_rom.init and soc_flash.init in the working folder.
//
//     soc CYCLES
//
// What the system sends goes to standard output. The program ends with 0 when the system sends end of transmission (4), and
// with 3 after CYCLES cycles without it.
#include <cstdio>
#include <cstdlib>

#include "Vsoc.h"
#include "verilated.h"

int main(int argc, char **argv) {
  const unsigned long long limit = argc > 1 ? strtoull(argv[1], nullptr, 10) : 0;
  VerilatedContext context;
  Vsoc soc{&context};
  soc.serial_source_ready = 1;
  unsigned long long cycle = 0;
  bool ended = false;
  for (; cycle < limit && !ended; ++cycle) {
    soc.rst = cycle < 16;
    for (const int level : {1, 0}) {
      soc.clk = level;
      soc.eval();
    }
    if (soc.serial_source_valid && cycle >= 16) {
      const char byte = soc.serial_source_data;
      ended = byte == 4;
      if (!ended) putchar(byte);
      if (byte == '\n') fflush(stdout);
    }
  }
  fflush(stdout);
  return ended ? 0 : 3;
}
