"""Evidence of steps that take long: what passed, for which sources.

`.ci/evidence.toml` holds, for each of these steps, the SHA-256 of all that it depends on (the files, the command line)
and the line that sums up its result. A step whose sources still have that hash need not run again. Nothing else writes
the file than `record`, which `.ci/run --record` calls for a step that has just passed.
"""
import hashlib
import os
import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / ".ci" / "evidence.toml"
HEADER = "# Written by `.ci/run --record`: the steps that passed, and the SHA-256 of the sources for which they did.\n"


def files(patterns):
    """Paths of the files that the patterns name, from the root, sorted; each pattern must name one."""
    found = set()
    for pattern in patterns:
        matches = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern) if path.is_file()}
        matches = {name for name in matches if "__pycache__" not in name}
        if not matches:
            raise FileNotFoundError(f"no file is named {pattern}")
        found |= matches
    return sorted(found)


def digest(patterns, command):
    """SHA-256 over the command line and over each file's path and contents."""
    whole = hashlib.sha256(" ".join(command).encode() + b"\n")
    for name in files(patterns):
        whole.update(f"{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}  {name}\n".encode())
    return whole.hexdigest()


def recorded():
    """The records by step: `sources`, the hash, and `result`, the line that sums up."""
    return tomllib.loads(FILE.read_text()) if FILE.is_file() else {}


def record(step, sources, result, steps):
    """Adds the record of a step that has passed; records of steps that are not among `steps` any more go."""
    records = {name: entry for name, entry in recorded().items() if name in steps}
    records[step] = {"sources": sources, "result": result}
    lines = [HEADER]
    for name, entry in sorted(records.items()):
        lines.append(f'[{name}]\nsources = "{entry["sources"]}"\nresult = "{entry["result"]}"\n')
    # The file is whole at any moment, however a run ends.
    new = FILE.with_suffix(".new")
    new.write_text("\n".join(lines))
    os.replace(new, FILE)


def summary(output):
    """The last line of what a step printed, without times, so that a record does not change with the machine."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    line = re.sub(r"; finished in [\d.]+s", "", lines[-1] if lines else "passed")
    return line.replace("\\", "/").replace('"', "'")
