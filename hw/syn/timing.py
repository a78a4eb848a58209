"""Summarises nextpnr's reports: clock, places used, and where the slowest paths run."""

import json
import pathlib
import re
import sys


def block(cell):
    """Blocks of a cell's name, from the outside: `u_exec/u_sequencer`."""
    parts = [re.sub(r"\[\d+\]", "", part) for part in re.split(r"[./]", cell)]
    return "/".join(part for part in parts if part.startswith("u_") and part != "u_top") or cell


def path(report):
    """The slowest path between registers: (ns, ns of routing, hops, from, to)."""
    found = []
    for critical in report.get("critical_paths", []):
        if not critical["from"].startswith("posedge") or not critical["to"].startswith("posedge"):
            continue
        hops = critical["path"]
        total = sum(hop["delay"] for hop in hops)
        routing = sum(hop["delay"] for hop in hops if hop["type"] == "routing")
        found.append((total, routing, sum(hop["type"] == "logic" for hop in hops),
                      hops[0]["from"]["cell"], hops[-1]["to"]["cell"]))
    return max(found)


def main():
    worst = None
    for name in sys.argv[1:]:
        report = json.loads(pathlib.Path(name).read_text())
        fmax = max(clock["achieved"] for clock in report["fmax"].values())
        used = {kind: f"{one['used']}/{one['available']}" for kind, one in report["utilization"].items()
                if kind in ("TRELLIS_COMB", "TRELLIS_FF", "TRELLIS_RAMW", "MULT18X18D", "DP16KD")}
        total, routing, levels, source, sink = path(report)
        print(f"{pathlib.Path(name).stem}: {fmax:.1f} MHz; {used}")
        print(f"  slowest path {total:.2f} ns, routing {routing:.2f} ns, {levels} cells: {block(source)} -> {block(sink)}")
        print(f"    {source} -> {sink}")
        worst = fmax if worst is None else min(worst, fmax)
    print(f"worst of {len(sys.argv) - 1}: {worst:.1f} MHz")


if __name__ == "__main__":
    main()
