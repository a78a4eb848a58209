"""Maps a generated system for an ECP5 and puts the accelerator's netlist into it.

    assemble.py SYSTEM ACCELERATOR.json OUT.json [--no-dsp]

SYSTEM is what `generate.py` wrote, with the contents of its memories; ACCELERATOR.json the netlist of `npu_soc` that
`hw/syn/synthesise.py` wrote. OUT.json is one flat netlist of both, for place and route. The two are mapped apart
because the accelerator is mapped block by block, and LiteX's Verilog in one piece.
"""

import argparse
import json
import os
import pathlib
import tempfile

from pyosys import libyosys as ys

# The module that the system has as a black box.
ACCELERATOR = "npu_soc"
# Parameters that the instance has; the netlist has their values already.
PARAMETERS = ("MemoryBase", "MemorySize")


def black_box(module):
    """The accelerator's ports without what is behind them."""
    def port(name, one):
        width = f"[{len(one['bits']) - 1}:0] " if len(one["bits"]) > 1 else ""
        return f"{one['direction']} {width}{name}"

    ports = ", ".join(port(name, one) for name, one in module["ports"].items())
    parameters = ", ".join(f"parameter {name} = 0" for name in PARAMETERS)
    return f"(* blackbox *) module {ACCELERATOR} #({parameters}) ({ports}); endmodule\n"


def run(design, *commands):
    for command in commands:
        design.run_pass(command)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("system", type=pathlib.Path)
    parser.add_argument("accelerator", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--no-dsp", action="store_true", help="products of the processor in logic")
    options = parser.parse_args()
    accelerator, out = options.accelerator.resolve(), options.out.resolve()
    netlist = json.loads(accelerator.read_text())
    # The library's cells that the file holds too are in the system's design already.
    netlist["modules"] = {ACCELERATOR: netlist["modules"][ACCELERATOR]}
    module = netlist["modules"][ACCELERATOR]
    module["attributes"] = {name: value for name, value in module["attributes"].items() if name != "top"}

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "black_box.v").write_text(black_box(module))
        (folder / "accelerator.json").write_text(json.dumps(netlist))
        # Contents of memories are files beside the Verilog.
        os.chdir(options.system)
        system = ys.Design()
        run(
            system,
            f"read_verilog {folder}/black_box.v",
            "read_verilog VexRiscv.v",
            "read_verilog soc.v",
            f"synth_ecp5 -abc9 {'-nodsp' if options.no_dsp else ''} -top soc",
            f"delete ={ACCELERATOR}",
        )
        run(system, f"write_rtlil {folder}/system.il")
        whole = ys.Design()
        run(
            whole,
            f"read_rtlil {folder}/system.il",
            f"read_json {folder}/accelerator.json",
            # The netlist has the instance's parameters built in.
            *(f"setparam -unset {name} t:{ACCELERATOR}" for name in PARAMETERS),
            "hierarchy -top soc",
            "flatten",
            "opt_clean",
            "stat",
            f"write_json {out}",
        )


if __name__ == "__main__":
    main()
