"""Synthesises the accelerator block by block and reports its size.

Blocks are kept apart while they are mapped, so a block that stands 128 times is mapped once; the
netlist that goes to place and route is flat. What is counted is the sum over that netlist's blocks.
"""

import argparse
import json
import pathlib
import re
import sys
import tempfile

from pyosys import libyosys as ys

# Mapped together with the block that holds them: small, or shaped by their surroundings.
INNER = {
    "npu_axi_width", "npu_clamp",
    "npu_delay", "npu_exec_legal", "npu_fifo", "npu_gated_sum", "npu_addr_translate", "npu_multiply",
    "npu_multiply_logic", "npu_cmd_decode", "npu_ram", "npu_select", "npu_burst_splitter", "npu_tile_iterator", "npu_addr_gen",
}
# Above every number that the front end gives to a name.
FRESH = 100_000_000
# An ECP5, whose sizes differ in what they have.
ECP5 = {
    # As `synth_ecp5` does it, but with wires as long as they turn out to be (in picoseconds); paths that
    # are shorter than 6 ns with them give way to area.
    "synth": "synth_ecp5 -nowidelut -top {top} -run :map_luts; techmap -map +/lattice/latches_map.v; "
             "scratchpad -set abc9.D 6000; abc9 -maxlut 4 -W 1000; clean; "
             "synth_ecp5 -nowidelut -top {top} -run map_cells:; techmap -map hw/syn/carry_in.v",
    "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    "ff": {"TRELLIS_FF": 1},
    "dsp": {"MULT18X18D": 1},
    "ram": {"DP16KD": 1},
    "options": "-D NPU_ECP5 --empty-blackboxes hw/syn/ecp5.sv",
}
# A Gowin Arora; distributed RAM of 16 words of four bits takes the eight LUTs of a block.
GW2A = {
    "synth": "synth_gowin -family gw2a -noiopads -nowidelut -top {top}",
    "lut": {**{f"LUT{n}": 1 for n in range(1, 5)}, "ALU": 1, "RAM16SDP4": 8},
    "ff": {f"DFF{kind}": 1 for kind in ("", "E", "S", "SE", "R", "RE", "P", "PE", "C", "CE")},
    "dsp": {"MULT9X9": 0.5, "MULT18X18": 1},
    "ram": {"SDPB": 1, "SDPX9B": 1, "DPB": 1, "DPX9B": 1, "SP": 1, "SPX9": 1},
    "options": "",
}
# Per device: cells of the device's library, how many places each one takes, and how many there are.
DEVICES = {
    "ecp5-25f": {**ECP5, "has": {"lut": 24288, "ff": 24288, "dsp": 28, "ram": 56}},
    "ecp5-45f": {**ECP5, "has": {"lut": 43848, "ff": 43848, "dsp": 72, "ram": 108}},
    "ecp5-85f": {**ECP5, "has": {"lut": 83640, "ff": 83640, "dsp": 156, "ram": 208}},
    "gw2a-18": {**GW2A, "has": {"lut": 20736, "ff": 15552, "dsp": 48, "ram": 46}},
    "gw2a-55": {**GW2A, "has": {"lut": 54720, "ff": 41040, "dsp": 40, "ram": 140}},
    "xc7z020": {
        # Without the cells that only instances name: abc9 goes through the library for every block.
        "synth": "read_verilog -lib -specify +/xilinx/cells_sim.v; hierarchy -check -top {top}; "
                 "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -top {top} -run prepare:",
        "lut": {**{f"LUT{n}": 1 for n in range(1, 7)}, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2,
                "RAM64X1D": 2, "RAM128X1D": 4, "SRL16E": 1, "SRLC32E": 1},
        "ff": {name: 1 for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "dsp": {"DSP48E1": 1},
        # In halves of 18 kbit.
        "ram": {"RAMB36E1": 2, "RAMB18E1": 1},
        "has": {"lut": 53200, "ff": 106400, "dsp": 220, "ram": 280},
        "options": "",
    },
}
COLUMNS = ("lut", "ff", "dsp", "ram")


def unique(text):
    """Merges modules of an RTLIL text that are equal but for their names; the front end writes one
    for every instance. Returns the text with each kind once, named after its source module."""
    modules = {}
    for match in re.finditer(r"^module (\\npu_\S+)\n(.*?)^end\n", text, re.M | re.S):
        body = re.sub(r"^\s*attribute \\(src|hdlname|scopename|\S*loc\S*) .*\n", "", match[2], flags=re.M)
        modules[match[1]] = body
    kinds, renamed, used, bases = {}, {}, {}, {}

    def kind(name):
        if name in renamed:
            return renamed[name]
        body = re.sub(r"^(  cell )(\\\S+)( )", lambda m: m[1] + (kind(m[2]) if m[2] in modules else m[2]) + m[3],
                      modules[name], flags=re.M)
        numbers = {}
        shape = re.sub(r"(?<=\$)\d+", lambda m: str(numbers.setdefault(m[0], len(numbers))), body)
        if shape not in kinds:
            base = name.split("$")[0]
            used[base] = used.get(base, 0) + 1
            kinds[shape] = (base if used[base] == 1 else f"{base}_{used[base]}", body)
            bases[kinds[shape][0]] = base
        renamed[name] = kinds[shape][0]
        return renamed[name]

    for name in modules:
        kind(name)
    keep = "attribute \\keep_hierarchy 1\n"
    return f"autoidx {FRESH}\n" + "".join(
        ("" if bases[name].lstrip("\\") in INNER else keep) + f"module {name}\n{body}end\n"
        for name, body in kinds.values())


def count(cells, library):
    """Cells of one module by column."""
    return {column: sum(cells.get(cell, 0) * places for cell, places in library[column].items()) for column in COLUMNS}


def report(stat, top, library):
    """Rows (block, instances, count of one) of all blocks below `top`, and the sum."""
    cells = {name.lstrip("\\"): module["num_cells_by_type"] for name, module in stat["modules"].items()}
    instances = {name: 0 for name in cells}

    def visit(name, times):
        instances[name] += times
        for cell, number in cells[name].items():
            if cell in cells:
                visit(cell, times * number)

    visit(top, 1)
    rows = [(name, instances[name], count(cells[name], library)) for name in sorted(cells) if instances[name]]
    total = {column: sum(times * one[column] for _, times, one in rows) for column in COLUMNS}
    return rows, total


def table(rows, total, library):
    lines = [f"{'block':24} {'count':>5} " + " ".join(f"{c:>7}" for c in ("LUT", "FF", "DSP", "RAM")) + "   all: LUT"]
    for name, times, one in sorted(rows, key=lambda row: -row[1] * row[2]["lut"]):
        lines.append(f"{name:24} {times:5} " + " ".join(f"{one[c]:7}" for c in COLUMNS) + f"   {times * one['lut']:8}")
    lines.append(f"{'total':24} {'':5} " + " ".join(f"{total[c]:7}" for c in COLUMNS))
    share = " ".join(f"{100 * total[c] / library['has'][c]:6.1f}%" for c in COLUMNS)
    lines.append(f"{'of the device':24} {'':5} {share}")
    return "\n".join(lines)


def check(rows, total, budget, write):
    """Compares LUT, DSP and block RAM with the budget file; a block may grow by a twentieth."""
    found = {name: [times] + [one[c] for c in COLUMNS] for name, times, one in rows}
    found["total"] = [1] + [total[c] for c in COLUMNS]
    if write:
        lines = [f"{name:24} " + " ".join(f"{v:6}" for v in values) for name, values in sorted(found.items())]
        budget.write_text("# block count LUT FF DSP RAM; written by hw/syn/run --write-budget\n" + "\n".join(lines) + "\n")
        return 0
    allowed = {}
    for line in budget.read_text().splitlines():
        if line and not line.startswith("#"):
            name, *values = line.split()
            allowed[name] = [int(value) for value in values]
    faults = []
    for name, values in found.items():
        if name not in allowed:
            faults.append(f"{name}: not in {budget}")
            continue
        limits = [limit + max(limit // 20, 4) for limit in allowed[name][:3]] + allowed[name][3:]
        for what, value, limit in zip(("count", "LUT", "FF", "DSP", "RAM"), values, limits):
            if value > limit:
                faults.append(f"{name}: {value} {what}, at most {limit}")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if not faults:
        sums = ", ".join(f"{total[c]} {c.upper()}" for c in COLUMNS)
        print(f"{len(rows)} blocks within their budget: {sums}", file=sys.stderr)
    return 1 if faults else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", choices=DEVICES)
    parser.add_argument("--top", default="npu_top")
    parser.add_argument("--netlist", type=pathlib.Path, help="flat netlist for place and route (JSON)")
    parser.add_argument("--stat", type=pathlib.Path, help="the counts, as JSON")
    parser.add_argument("--budget", type=pathlib.Path)
    parser.add_argument("--write-budget", action="store_true")
    parser.add_argument("sources", nargs="+")
    args = parser.parse_args()
    library = DEVICES[args.device]

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        design = ys.Design()
        options = f"--keep-hierarchy --top {args.top} -D NPU_DSP={library['has']['dsp']} {library['options']}"
        design.run_pass(f"read_slang {options} " + " ".join(args.sources))
        design.run_pass(f"write_rtlil {folder}/all.il")
        design = ys.Design()
        (folder / "unique.il").write_text(unique((folder / "all.il").read_text()))
        design.run_pass(f"read_rtlil {folder}/unique.il")
        for command in library["synth"].format(top=args.top).split("; "):
            design.run_pass(command)
        design.run_pass(f"tee -q -o {folder}/stat.json stat -json")
        stat = json.loads((folder / "stat.json").read_text())
        rows, total = report(stat, args.top, library)
        print(table(rows, total, library), file=sys.stderr)
        if args.stat:
            blocks = {name: {"count": times, **one} for name, times, one in rows}
            args.stat.write_text(json.dumps({"device": args.device, "total": total, "blocks": blocks}, indent=1))
        if args.netlist:
            design.run_pass("setattr -mod -unset keep_hierarchy *")
            design.run_pass("flatten")
            design.run_pass("opt_clean")
            design.run_pass(f"write_json {args.netlist}")
    return check(rows, total, args.budget, args.write_budget) if args.budget else 0


if __name__ == "__main__":
    sys.exit(main())
