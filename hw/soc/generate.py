#!/usr/bin/env python3
"""Writes a system round the accelerator: VexRiscv, LiteDRAM, UART, timer, interrupt.

    python3 generate.py OUT --axi-bytes 4 --clock 50000000                       for a simulation
    python3 generate.py OUT --axi-bytes 4 --clock 50000000 --board ulx3s-85f     for a board

OUT gets `soc.v`, the processor's `VexRiscv.v` and `soc.json`: registers, memory regions and the memory's start-up, from
which the firmware's constants are made; for a board `soc.lpf` as well, its pins and clocks. LiteX is a generator here
and nothing else: what decides numbers is in the compiler and the firmware. Needs the packages of requirements.txt.
"""

import argparse
import json
import os
import pathlib
import re
import shutil

import pythondata_cpu_vexriscv
from litedram import modules
from litedram.frontend.wishbone import LiteDRAMWishbone2Native
from litedram.init import get_sdram_phy_init_sequence
from litedram.phy.model import SDRAMPHYModel
from litex.build.generic_platform import GenericPlatform, Pins, Subsignal
from litex.gen import ClockDomain, ClockSignal, LiteXModule, ResetSignal
from litex.soc.integration import export
from litex.soc.integration.soc import SoCRegion
from litex.soc.integration.soc_core import SoCCore
from litex.soc.interconnect import axi, wishbone
from litex.soc.interconnect.csr_eventmanager import EventManager, EventSourceLevel
from migen import Instance, Signal

# Where things lie. What is at 0x8000_0000 and above is not cached by the processor.
ROM, FLASH, SRAM = 0x0000_0000, 0x2000_0000, 0x1000_0000
MEMORY, SHARED, NPU, CSR = 0x4000_0000, 0xC000_0000, 0x9000_0000, 0xF000_0000

SIMULATED_PINS = [
    ("clk", 0, Pins(1)),
    ("rst", 0, Pins(1)),
    (
        "serial",
        0,
        *(Subsignal(f"{side}_{name}", Pins(width)) for side in ("source", "sink")
          for name, width in (("valid", 1), ("ready", 1), ("data", 8))),
    ),
]


class Clock(LiteXModule):
    """The simulation's clock and reset."""

    def __init__(self, platform):
        self.cd_sys = ClockDomain()
        self.comb += [
            self.cd_sys.clk.eq(platform.request("clk")),
            self.cd_sys.rst.eq(platform.request("rst")),
        ]


class Simulated:
    """No board: memories are files, the memory is LiteDRAM's model."""

    uart = "sim"
    rom = 0x4_0000

    def __init__(self, axi_bytes):
        self.platform = GenericPlatform("sim", SIMULATED_PINS)
        self.axi_bytes = axi_bytes

    def clocks(self, clock):
        return Clock(self.platform)

    def memory(self, system, clock):
        # The controller moves one word of `axi_bytes` a cycle.
        if self.axi_bytes == 4:
            module, width = modules.MT48LC16M16(clock, "1:1"), 32
        else:
            module, width = modules.MT41K128M16(clock, "1:4"), 16
        return SDRAMPHYModel(module=module, data_width=width, clk_freq=clock), module

    def add_flash(self, system, address):
        system.add_rom("flash", address, 0x80_0000)
        return address, 0x80_0000


class Npu(LiteXModule):
    """`npu_soc`: its registers on the system's bus, its memory by a LiteDRAM port of its own."""

    def __init__(self, port, axi_bytes, size):
        assert port.data_width == 8 * axi_bytes, "the accelerator's bus is as wide as the memory controller"
        self.bus = bus = axi.AXILiteInterface(data_width=32, address_width=32)
        self.ev = EventManager()
        self.ev.npu = EventSourceLevel(description="a frame is done, or the accelerator has stopped")
        self.ev.finalize()
        address = Signal(32)
        self.comb += [
            port.cmd.addr.eq(address),
            port.cmd.last.eq(1),
            port.wdata.valid.eq(1),
            port.rdata.ready.eq(1),
        ]
        lite = {}
        for channel, fields in (("aw", ("addr",)), ("w", ("data", "strb")), ("ar", ("addr",))):
            source = getattr(bus, channel)
            lite[f"i_s_axi_{channel}valid_i"] = source.valid
            lite[f"o_s_axi_{channel}ready_o"] = source.ready
            for field in fields:
                lite[f"i_s_axi_{channel}{field}_i"] = getattr(source, field)[:8] if field == "addr" else getattr(source, field)
        for channel, fields in (("b", ("resp",)), ("r", ("data", "resp"))):
            sink = getattr(bus, channel)
            lite[f"o_s_axi_{channel}valid_o"] = sink.valid
            lite[f"i_s_axi_{channel}ready_i"] = sink.ready
            for field in fields:
                lite[f"o_s_axi_{channel}{field}_o"] = getattr(sink, field)
        self.specials += Instance(
            "npu_soc",
            p_MemoryBase=MEMORY,
            p_MemorySize=size,
            i_clk_i=ClockSignal(),
            i_rst_i=ResetSignal(),
            o_cmd_valid_o=port.cmd.valid,
            i_cmd_ready_i=port.cmd.ready,
            o_cmd_we_o=port.cmd.we,
            o_cmd_addr_o=address,
            i_wdata_ready_i=port.wdata.ready,
            o_wdata_o=port.wdata.data,
            o_wdata_we_o=port.wdata.we,
            i_rdata_valid_i=port.rdata.valid,
            i_rdata_i=port.rdata.data,
            o_irq_o=self.ev.npu.trigger,
            **lite,
        )


class System(SoCCore):
    """The whole, for a board or its simulation."""

    def __init__(self, board, clock, axi_bytes):
        self.mem_map = {"rom": ROM, "sram": SRAM, "main_ram": MEMORY, "csr": CSR}
        SoCCore.__init__(
            self,
            board.platform,
            clk_freq=clock,
            cpu_type="vexriscv",
            cpu_variant="standard",
            integrated_rom_size=board.rom,
            integrated_sram_size=0x4000,
            uart_name=board.uart,
            ident="",
        )
        self.crg = board.clocks(clock)
        # What the program and its data are loaded from.
        self.job = board.add_flash(self, FLASH)
        self.sdrphy, memory = board.memory(self, clock)
        # A second-level cache would not see what the accelerator writes.
        self.add_sdram("sdram", phy=self.sdrphy, module=memory, l2_cache_size=0)
        size = self.bus.regions["main_ram"].size
        self.npu = Npu(self.sdram.crossbar.get_port(), axi_bytes, size)
        self.bus.add_slave("npu", self.npu.bus, SoCRegion(NPU, 0x100, cached=False))
        self.irq.add("npu")
        # The same memory past the processor's caches, for what it shares with the accelerator.
        port = self.sdram.crossbar.get_port()
        shared = wishbone.Interface(data_width=32, address_width=32, addressing="word")
        wide = wishbone.Interface(data_width=port.data_width, address_width=32, addressing="word")
        self.submodules += wishbone.Converter(shared, wide)
        self.submodules += LiteDRAMWishbone2Native(wide, port, base_address=SHARED)
        self.bus.add_slave("shared", shared, SoCRegion(SHARED, size, cached=False))


def start_up(system):
    """The memory's commands: address, bank, register `command` or `control`, value, cycles to wait after it."""
    control = {"SEL": 1, "CKE": 2, "ODT": 4, "RESET_N": 8}
    command = {"CS": 1, "WE": 2, "CAS": 4, "RAS": 8, "WRDATA": 16, "RDDATA": 32}
    settings = system.sdram.controller.settings
    sequence, _ = get_sdram_phy_init_sequence(settings.phy, settings.timing)
    steps = []
    for comment, address, bank, flags, delay in sequence:
        kind = "control" if "DFII_CONTROL" in flags else "command"
        names = control if kind == "control" else command
        value = sum(names[flag.split("_", 2)[2]] for flag in flags.split("|"))
        steps.append({"what": comment, "kind": kind, "value": value, "address": address, "bank": bank, "wait": delay})
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--axi-bytes", type=int, choices=[4, 16], default=4)
    parser.add_argument("--clock", type=int, default=50_000_000, help="Hz")
    parser.add_argument("--board", help="of boards.py; a simulation without it")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.board:
        # Its packages are not needed for a simulation.
        import boards

        board = boards.BOARDS[options.board]()
    else:
        board = Simulated(options.axi_bytes)
    system = System(board, options.clock, options.axi_bytes)
    system.finalize()
    os.chdir(options.out)
    verilog = board.platform.get_verilog(system, name="soc")
    verilog.write("soc.v")
    text = pathlib.Path("soc.v").read_text()
    # The same system gives the same bytes.
    pathlib.Path("soc.v").write_text(re.sub(r"^// Date .*\n", "", text, flags=re.M))
    folder = pathlib.Path(pythondata_cpu_vexriscv.data_location)
    shutil.copy(folder / "VexRiscv.v", "VexRiscv.v")
    found = json.loads(export.get_csr_json(system.csr_regions, system.constants, system.mem_regions))
    found["interrupt"] = system.irq.locs["npu"]
    found["dram_start_up"] = start_up(system)
    found["memories"]["flash"] = dict(zip(("base", "size", "type"), (*system.job, "cached")))
    if options.board:
        boards.constraints(board.platform, verilog.ns)
        found["device"] = boards.device(board.platform)
    pathlib.Path("soc.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
