"""Proves that `npu_gated_sum` written in ECP5 cells is the sum that its other half states, with the cell that
`carry_in.v` puts at the head of its carry chain."""

import pathlib
import sys
import tempfile

from pyosys import libyosys as ys

# (bits, subtract, borrow): an odd and an even width of every kind.
KINDS = [(bits, subtract, borrow) for bits in (7, 12) for subtract, borrow in ((0, 0), (1, 0), (1, 1))]


def main():
    source = "hw/rtl/npu_gated_sum.sv"
    with tempfile.TemporaryDirectory() as folder:
        for bits, subtract, borrow in KINDS:
            parameters = f"-G Bits={bits} -G Subtract={subtract} -G Borrow={borrow}"
            for name, options in (("gold", ""), ("gate", "-D NPU_ECP5 --empty-blackboxes hw/syn/ecp5.sv")):
                design = ys.Design()
                design.run_pass(f"read_slang --top npu_gated_sum {parameters} {options} {source}")
                if name == "gate":
                    design.run_pass("delete CCU2C MULT18X18D")
                    design.run_pass("techmap -map hw/syn/carry_in.v")
                    design.run_pass("read_verilog +/lattice/ccu2c_sim.vh +/lattice/common_sim.vh")
                    design.run_pass("hierarchy -top npu_gated_sum")
                    design.run_pass("proc")
                    design.run_pass("flatten")
                design.run_pass("opt_clean")
                design.run_pass(f"rename npu_gated_sum {name}")
                design.run_pass(f"select {name}")
                design.run_pass(f"write_rtlil -selected {folder}/{name}.il")
            design = ys.Design()
            for name in ("gold", "gate"):
                design.run_pass(f"read_rtlil {folder}/{name}.il")
            design.run_pass("miter -equiv -flatten gold gate miter")
            design.run_pass("sat -verify -prove trigger 0 -show-inputs -set-def-inputs miter")
    print(f"proved: npu_gated_sum, {len(KINDS)} kinds", file=sys.stderr)


if __name__ == "__main__":
    main()
