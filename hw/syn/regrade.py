"""Prepares a routed design so that nextpnr keeps every wire of it and only works out its timing. Router1 leaves
what is routed as it is, router2 would route it anew, and the router is a setting that the design carries.

    regrade.py ROUTED.json OUT.json
"""

import json
import pathlib
import sys


def main():
    design = json.loads(pathlib.Path(sys.argv[1]).read_text())
    for module in design["modules"].values():
        if "router" in module.get("settings", {}):
            module["settings"]["router"] = "router1"
    pathlib.Path(sys.argv[2]).write_text(json.dumps(design))


if __name__ == "__main__":
    main()
