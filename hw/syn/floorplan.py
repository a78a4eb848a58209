"""Places the DSP blocks and block RAMs of the accelerator on an LFE5U-85F, before nextpnr places the rest.

Left alone, nextpnr puts products where they are far from what adds them up: wires are half as long
again, and routing does not end. Here each lane of the array, its requantiser and its tables are a strip
from the top to the bottom of the device, and each bank's memories stand side by side.

    floorplan.py NETLIST.json        rewrites the netlist with a BEL for each of these cells
"""

import json
import pathlib
import re
import sys

# Of the Trellis database: 13 groups of columns, two columns more behind the middle; rows from the top.
GROUPS = [4 + 9 * group + (2 if group > 6 else 0) for group in range(13)]
LEFT, RIGHT = GROUPS[0], GROUPS[-1] + 8
COLUMNS = {
    "MULT18X18D": sorted((x + at, f"MULT18_{at}") for x in GROUPS for at in (0, 1, 4, 5)),
    "DP16KD": sorted((x + 2 * at, f"EBR{at}") for x in GROUPS for at in range(4)),
}
ROWS = {"MULT18X18D": (58, 34, 10), "DP16KD": (22, 46, 70, 82)}


def share(index, count):
    """Middle of the part `index` of `count` across the device."""
    return LEFT + (index + 0.5) * (RIGHT - LEFT) / count


def number(pattern, name):
    found = re.search(pattern, name)
    return int(found[1]) if found else None


class Floorplan:
    """Which cells stand in which row of sites, and where in it they would like to be."""

    def __init__(self, cells):
        self.cells = cells
        self.rows = {(kind, y): [] for kind, ys in ROWS.items() for y in ys}
        self.lanes = 1 + max(number(r"gen_lane\[(\d+)\]", name) or 0 for name in cells)

    def named(self, kind, pattern):
        """Cells of a kind whose name has `pattern`, in the order of its last number."""
        names = [name for name, cell in self.cells.items() if cell["type"] == kind and re.search(pattern, name)]
        return sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])

    def put(self, name, x, rows):
        """In the first of `rows` that has a site left."""
        kind = self.cells[name]["type"]
        for y in rows:
            if len(self.rows[kind, y]) < len(COLUMNS[kind]):
                self.rows[kind, y].append((x, name))
                return
        sys.exit(f"floorplan: no site is left for {name}")

    def lane(self, name):
        return share(number(r"gen_lane\[(\d+)\]", name), self.lanes)

    def products(self):
        """Requantisers in the upper row, then the array's rows from the last to the first."""
        for name in self.named("MULT18X18D", r"\.u_requant\..*gen_lane"):
            self.put(name, self.lane(name), ROWS["MULT18X18D"])
        array = self.named("MULT18X18D", r"\.u_array\.")
        others = set(self.named("MULT18X18D", "")) - set(array) - set(self.named("MULT18X18D", "gen_lane"))
        for name in sorted(others):
            self.put(name, share(0, 1), ROWS["MULT18X18D"])
        rows = {name: number(r"gen_row\[(\d+)\]", name) for name in array}
        for name in sorted(array, key=lambda name: -rows[name]):
            self.put(name, self.lane(name), ROWS["MULT18X18D"])

    def memories(self):
        """Banks and weights among the array, tables and what the requantiser keeps beside its lanes."""
        banks = self.named("DP16KD", r"\.gen_bank\[")
        parts = max(1, len(banks) // (1 + max(number(r"gen_bank\[(\d+)\]", name) for name in banks)))
        whole = len(COLUMNS["DP16KD"]) // parts * parts
        for at, name in enumerate(banks[:whole]):
            self.put(name, share(at, min(whole, len(banks))), (22,))
        # What is left goes to both sides of the weights, a bank at a time.
        rest = banks[whole:]
        for at, name in enumerate(rest):
            bank, part = divmod(at, parts)
            self.put(name, share(part, 4 * parts) if bank % 2 == 0 else share(3 * parts + part, 4 * parts), (46, 82))
        for name in self.named("DP16KD", r"\.u_weights\."):
            self.put(name, share(0, 1), (46, 82))
        for name in self.named("DP16KD", r"\.u_requant\..*gen_lane"):
            self.put(name, self.lane(name), (70, 82))
        shared = self.named("DP16KD", r"\.u_requant\.(?!.*gen_lane)")
        for at, name in enumerate(shared):
            self.put(name, share(at, len(shared)), (70, 82))

    def write(self):
        """Gives each cell the site that is nearest to its wish, in the order of the wishes."""
        for (kind, y), wishes in self.rows.items():
            sites, at = COLUMNS[kind], 0
            spare = len(sites) - len(wishes)
            for x, name in sorted(wishes):
                while spare and abs(sites[at + 1][0] - x) < abs(sites[at][0] - x):
                    at, spare = at + 1, spare - 1
                column, site = sites[at]
                self.cells[name]["attributes"]["BEL"] = f"X{column}/Y{y}/{site}"
                at += 1


def main():
    path = pathlib.Path(sys.argv[1])
    netlist = json.loads(path.read_text())
    cells = next(m["cells"] for m in netlist["modules"].values() if int(m["attributes"].get("top", "0"), 2))
    plan = Floorplan(cells)
    plan.products()
    plan.memories()
    plan.write()
    path.write_text(json.dumps(netlist))


if __name__ == "__main__":
    main()
