"""Darknet's .cfg for the scripts that compare with other programs."""

import pathlib


def sections(path):
    """The cfg's sections: (name, options)."""
    found = []
    for line in pathlib.Path(path).read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("["):
            found.append((line.strip("[]"), {}))
        elif "=" in line:
            key, value = line.split("=", 1)
            found[-1][1][key.strip()] = value.strip()
    return found
