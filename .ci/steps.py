#!/usr/bin/env python3
"""Runs the steps that a change has to pass: .ci/run [--record | --fresh] [--list] [STEP…]

Two steps run beside each other. What a step prints comes when it has ended, in one piece; the first that fails ends the
run. The time of each is printed at the end, and then the closing lines of the tests.

A step with `sources` is evidence (.ci/evidence.py): it runs only where its sources differ from those of the record.
--record runs the evidence that is out of date, alone, and records what passes; --fresh runs all of it again. Names
choose steps; a name stands for all steps that begin with it.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import evidence

ROOT = evidence.ROOT
LOGS = ROOT / "target" / "ci"
# The simulated accelerator: RTL, its surroundings, and of the runtime what both compute with.
MODEL = (
    "hw/rtl/*.sv", "hw/sva/*", "hw/sim/Cargo.toml", "hw/sim/build.rs", "hw/sim/src/**/*", "runtime-nostd/src/npu/**/*",
    "runtime-nostd/src/kernels/**/*",
)
SIMULATION = (*MODEL, "hw/sim/tests/**/*")
# Coverage and the other sizes compile the same crates, in a folder of their own.
COVERAGE = "target/coverage/lines/build"
# Emitted benches: what compiles the program and writes the bench.
BENCHES = (
    "hw/tb/*", "compiler/crates/codegen/src/**/*", "compiler/crates/deploy/src/**/*", "tests/tests/accelerator.rs",
)
# What the command's debug probes are made of: the default build has none of it.
PROBES = (
    "Cargo.lock", "compiler/cli/Cargo.toml", "compiler/cli/src/cli/flash.rs", "compiler/cli/src/cli/probe.rs",
    "compiler/crates/boards/Cargo.toml", "compiler/crates/boards/src/image.rs", "compiler/crates/boards/src/link.rs",
    "compiler/crates/boards/src/probe.rs", "configs/boards/*.toml",
)
SYNTHESIS = (
    "hw/rtl/*.sv", "hw/syn/run", "hw/syn/requirements.txt", "hw/syn/synthesise.py", "hw/syn/prove.py", "hw/syn/ecp5.sv",
    "hw/syn/carry_in.v", "hw/syn/budget.txt",
)


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    command: list
    # Cargo's target folder, which one step has at a time.
    folder: str = ""
    # Patterns of the files that the result depends on, and text that it depends on.
    sources: tuple = ()
    text: str = ""

    def digest(self):
        return evidence.digest(self.sources, [*self.command, self.text])


def size(target, features, *tests):
    """The accelerator's tests at the sizes of another target."""
    command = ["env", f"NPU_TARGET={target}", "cargo", "test", "--locked", "--target-dir", COVERAGE]
    command += ["--package", "secateur-sim", "--features", features]
    command += [word for test in tests for word in ("--test", test)]
    sources = (*SIMULATION, f"configs/targets/{target}.toml")
    return Step(f"size-{target}", command, COVERAGE, sources)


def proofs():
    """A step for each block that hw/formal/run proves, with the sources that it names."""
    blocks = subprocess.run([ROOT / "hw/formal/run", "--blocks"], check=True, capture_output=True, text=True).stdout
    for block, needs in json.loads(blocks).items():
        command = ["hw/formal/run", "--block", block]
        yield Step(f"proof-{block}", command, sources=tuple(needs["sources"]), text=json.dumps(needs["proofs"]))


def check(*arguments):
    """The tests of the workspace, each with the features of all, so that nothing is compiled twice."""
    return ["./check", *arguments]


def steps():
    """All steps. Those that have Cargo's usual folder one after the other come first, the others go beside them."""
    thumb = ["cargo", "build", "--package", "secateur-runtime", "--release", "--locked", "--target", "thumbv7em-none-eabihf"]
    # That it links; the tests compare what the same code prints on this machine.
    aarch64 = ["env", "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld", "CARGO_PROFILE_RELEASE_OPT_LEVEL=0"]
    aarch64 += ["CARGO_PROFILE_RELEASE_DEBUG=false", "cargo", "build", "--package", "secateur-run", "--release", "--locked"]
    aarch64 += ["--target", "aarch64-unknown-linux-musl"]
    lints = ["cargo", "clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]
    # Lint, and what can be tested with mocks: minutes, since probe-rs is compiled.
    probe = "cargo clippy --locked --package secateur --package secateur-boards --features secateur/probe -- -D warnings"
    probe += " && cargo test --locked --package secateur-boards --features probe --lib probe"
    long = ["stalled_frames", "test_bench"]
    skip = [word for name in long for word in ("--skip", name)]
    frames, benches = (check("--test", "system", "--", "--ignored", name) for name in long)
    return [
        Step("clippy", lints, "target"),
        Step("tests", check("--", "--include-ignored", *skip), "target"),
        Step("32-bit", ["runtime-nostd/check-32bit"], "target"),
        Step("format", ["cargo", "fmt", "--all", "--check"]),
        Step("deny", [".ci/deny"]),
        Step("rtl-lint", ["hw/lint/run"]),
        Step("firmware", ["runtime-nostd/firmware/check"], "target/firmware"),
        Step("thumbv7em", thumb, "target/release"),
        Step("aarch64", aarch64, "target/release"),
        Step("demo", ["./demo"], "target/release"),
        Step("miri", ["runtime-nostd/check-miri"], "target/miri"),
        Step("coverage", ["hw/coverage/run"], COVERAGE, (*SIMULATION, "configs/targets/npu-8x16.toml", "hw/coverage/run")),
        Step("synthesis", ["hw/syn/run", "--check"], sources=SYNTHESIS),
        Step("probe", ["bash", "-c", probe], "target", PROBES),
        Step("frames", frames, "target", (*MODEL, "tests/tests/accelerator.rs")),
        Step("benches", benches, "target", (*MODEL, *BENCHES)),
        *(size(f"npu-{target}", "unit", "core") for target in ("8x16-d2", "4x8", "8x8", "4x16", "16x16")),
        *(size(f"npu-{target}", "rtl", "rtl", "faults") for target in ("4x8-axi4", "16x16-axi16")),
        *proofs(),
    ]


class Run:
    """Steps under way: two workers take the next one whose folder is free."""

    def __init__(self, chosen, record, names):
        self.waiting, self.record, self.names = list(chosen), record, names
        self.state = threading.Condition()
        self.folders, self.children, self.times = set(), set(), {}
        self.failed = None

    def take(self):
        """The next step whose folder no other has; None when there is none left, or one has failed."""
        with self.state:
            while self.waiting and not self.failed:
                for step in self.waiting:
                    if not step.folder or step.folder not in self.folders:
                        self.waiting.remove(step)
                        self.folders.add(step.folder)
                        print(f"== begun: {step.name}", flush=True)
                        return step
                self.state.wait()
        return None

    def work(self):
        while step := self.take():
            begin = time.monotonic()
            sources = step.digest() if step.sources else None
            log = LOGS / f"{step.name}.log"
            with open(log, "w") as output:
                child = subprocess.Popen(
                    step.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True)
                with self.state:
                    self.children.add(child)
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
            with self.state:
                self.children.remove(child)
                self.times[step.name] = time.monotonic() - begin, usage.ru_utime + usage.ru_stime
                self.ended(step, child.returncode, log.read_text(errors="replace"), sources)
                self.folders.discard(step.folder)
                self.state.notify_all()

    def ended(self, step, status, output, sources):
        if self.failed:
            return
        print(f"== {step.name}: {' '.join(step.command)}\n{output}", end="")
        print(f"== {self.times[step.name][0]:.0f} s, status {status}: {step.name}", flush=True)
        if status:
            self.failed = step.name
            self.stop()
        elif self.record and sources:
            if step.digest() == sources:
                evidence.record(step.name, sources, evidence.summary(output), self.names)
            else:
                print(f"== not recorded, its sources changed meanwhile: {step.name}", flush=True)

    def stop(self):
        for child in self.children:
            try:
                os.killpg(child.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass

    def all(self):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            try:
                for worker in [pool.submit(self.work) for _ in range(2)]:
                    worker.result()
            except BaseException:
                self.failed = self.failed or "the run"
                self.stop()
                raise


def choose(options):
    """The steps to run, and what is said of each evidence that need not."""
    chosen, current = [], {}
    records = evidence.recorded()
    for step in steps():
        if options.names and not any(step.name.startswith(name) for name in options.names):
            continue
        if step.sources and not options.fresh:
            entry = records.get(step.name)
            if entry and entry["sources"] == step.digest():
                current[step.name] = f"recorded for these sources: {entry['result']}"
                continue
        if step.sources or not options.record:
            chosen.append(step)
    return chosen, current


def main():
    parser = argparse.ArgumentParser(prog=".ci/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="STEP")
    parser.add_argument("--list", action="store_true", help="say what would run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--record", action="store_true", help="run evidence that is out of date, and record it")
    how.add_argument("--fresh", action="store_true", help="run evidence that is recorded, too")
    options = parser.parse_args()
    names = {step.name for step in steps()}
    for name in options.names:
        if not any(known.startswith(name) for known in names):
            sys.exit(f"error: no step begins with {name}; --list tells their names")
    chosen, current = choose(options)
    for name, why in current.items():
        print(f"skipped: {name}, {why}")
    if options.list:
        print(*(f"to run: {step.name}" for step in chosen), sep="\n")
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    run, begin = Run(chosen, options.record, names), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run.all()
    for name, (seconds, processor) in run.times.items():
        print(f"{name:24} {seconds:6.0f} s {processor:6.0f} s of one processor")
    seconds, processor = time.monotonic() - begin, sum(processor for _, processor in run.times.values())
    print(f"{'all':24} {seconds:6.0f} s {processor:6.0f} s of one processor")
    if run.failed:
        sys.exit(f"failed: {run.failed}")
    stale = [step.name for step in chosen if step.sources and not options.record and not options.fresh]
    if stale:
        print(f"not recorded: {' '.join(stale)}; .ci/run --record runs and records them")
    # The tests' own closing lines end the run.
    tests = LOGS / "tests.log"
    if "tests" in run.times:
        print(*[line for line in tests.read_text().splitlines() if line.startswith("test result")][-5:], sep="\n")


if __name__ == "__main__":
    main()
