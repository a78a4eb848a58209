"""Places the DSP blocks and block RAMs of the accelerator on an LFE5U-85F, before nextpnr places the rest.

Left alone, nextpnr puts products where they are far from what adds them up: wires are half as long
again, and routing does not end. Here each lane of the array, its requantiser and its tables are a strip
from the top to the bottom of the device, and each bank's memories stand side by side.

    floorplan.py NETLIST.json        rewrites the netlist with a BEL for each of these cells, and what router2
                                     has no option for
"""

import collections
import json
import math
import pathlib
import re
import sys

# Of the Trellis database: 13 groups of columns, two columns more behind the middle; rows from the top.
GROUPS = [4 + 9 * group + (2 if group > 6 else 0) for group in range(13)]
SITES = {
    "MULT18X18D": [(at, f"MULT18_{at}") for at in (0, 1, 4, 5)],
    "DP16KD": [(2 * at, f"EBR{at}") for at in range(4)],
}
ROWS = {"MULT18X18D": (58, 34, 10), "DP16KD": (22, 46, 70, 82)}
# Places for logic of a group of columns, and how many of them may be taken: what is fuller is hard to route.
PLACES, FILL = 83640 / len(GROUPS), 0.62
LOGIC = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}
# By how much another net on a wire grows dearer in each round of --router2-alt-weights, from 5 on: without growth
# the last disputes take hundreds of rounds, with more the detours take the wires of others. And how many tiles
# beyond its ends a net may go round what is full.
ROUTER = {"router2/currCongWeightMult": "0.1", "router2/bbMargin/x": "8", "router2/bbMargin/y": "8"}


def number(pattern, name):
    found = re.search(pattern, name)
    return int(found[1]) if found else None


class Floorplan:
    """Which cells stand in which row of sites, and where in it they would like to be."""

    def __init__(self, cells):
        self.cells = cells
        # As many groups of columns as are needed, in the middle: wires are shorter in a small part of the device.
        kinds = collections.Counter(cell["type"] for cell in cells.values())
        needed = [sum(kinds[kind] * places for kind, places in LOGIC.items()) / (PLACES * FILL)]
        needed += [kinds[kind] / (len(sites) * len(ROWS[kind])) for kind, sites in SITES.items()]
        count = min(len(GROUPS), math.ceil(max(needed)))
        skipped = (len(GROUPS) - count) // 2
        groups = GROUPS[skipped:skipped + count]
        self.left, self.right = groups[0], groups[-1] + 8
        self.columns = {kind: sorted((x + at, site) for x in groups for at, site in sites)
                        for kind, sites in SITES.items()}
        self.rows = {(kind, y): [] for kind, ys in ROWS.items() for y in ys}
        self.lanes = 1 + max(number(r"gen_lane\[(\d+)\]", name) or 0 for name in cells)

    def share(self, index, count):
        """Middle of the part `index` of `count` across the columns."""
        return self.left + (index + 0.5) * (self.right - self.left) / count

    def named(self, kind, pattern):
        """Cells of a kind whose name has `pattern`, in the order of its last number."""
        names = [name for name, cell in self.cells.items() if cell["type"] == kind and re.search(pattern, name)]
        return sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])

    def put(self, name, x, rows):
        """In the first of `rows` that has a site left."""
        kind = self.cells[name]["type"]
        for y in rows:
            if len(self.rows[kind, y]) < len(self.columns[kind]):
                self.rows[kind, y].append((x, name))
                return
        sys.exit(f"floorplan: no site is left for {name}")

    def lane(self, name):
        return self.share(number(r"gen_lane\[(\d+)\]", name), self.lanes)

    def products(self):
        """Requantisers in the upper row, then the array's rows from the last to the first."""
        for name in self.named("MULT18X18D", r"\.u_requant\..*gen_lane"):
            self.put(name, self.lane(name), ROWS["MULT18X18D"])
        array = self.named("MULT18X18D", r"\.u_array\.")
        others = set(self.named("MULT18X18D", "")) - set(array) - set(self.named("MULT18X18D", "gen_lane"))
        for name in sorted(others):
            self.put(name, self.share(0, 1), ROWS["MULT18X18D"])
        rows = {name: number(r"gen_row\[(\d+)\]", name) for name in array}
        for name in sorted(array, key=lambda name: -rows[name]):
            self.put(name, self.lane(name), ROWS["MULT18X18D"])

    def memories(self):
        """Each bank in a block of columns, over three rows of sites; weights everywhere; tables and what the
        requantiser keeps at the bottom, beside its lanes. Where memories stand side by side, and in the middle
        of the device, wires run out first: no row is filled before the others."""
        banks = self.named("DP16KD", r"\.gen_bank\[")
        count = 1 + max(number(r"gen_bank\[(\d+)\]", name) for name in banks)
        for at, name in enumerate(banks):
            bank, part = divmod(at, len(banks) // count)
            rows = ROWS["DP16KD"][part % 3:3] + ROWS["DP16KD"][:part % 3]
            self.put(name, self.share(bank, count) + part // 3, rows + (82,))
        # The skip list's blocks lead to one choice and stand in the middle.
        for name in self.named("DP16KD", r"\.u_weights\.u_control"):
            self.put(name, self.share(0, 1), (46, 22, 70, 82))
        weights = self.named("DP16KD", r"\.u_weights\.(?!u_control)")
        for at, name in enumerate(weights):
            self.put(name, self.share(at, len(weights)), ROWS["DP16KD"][at % 3:] + ROWS["DP16KD"][:at % 3])
        for at, name in enumerate(self.named("DP16KD", r"\.u_requant\..*gen_lane")):
            self.put(name, self.lane(name), (82, 70, 46, 22) if at % 4 else (70, 82, 46, 22))
        shared = self.named("DP16KD", r"\.u_requant\.(?!.*gen_lane)")
        for at, name in enumerate(shared):
            self.put(name, self.share(at, len(shared)), (82, 70, 46, 22))

    def write(self):
        """Gives each cell the site that is nearest to its wish, in the order of the wishes."""
        for (kind, y), wishes in self.rows.items():
            sites, at = self.columns[kind], 0
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
    top = next(m for m in netlist["modules"].values() if int(m["attributes"].get("top", "0"), 2))
    top["settings"] = top.get("settings", {}) | ROUTER
    plan = Floorplan(top["cells"])
    plan.products()
    plan.memories()
    plan.write()
    path.write_text(json.dumps(netlist))


if __name__ == "__main__":
    main()
