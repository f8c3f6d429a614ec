#!/usr/bin/python3
"""Runs the benchmarks and writes what they print into docs/benchmarks.md, between the markers
<!-- begin NAME --> and <!-- end NAME -->. A benchmark that cannot run here leaves its part alone."""
import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

BENCHES = ("pod_start", "volumes", "runtime", "sampan_run", "api", "controllers")
PAGE = cases.SOURCE / "docs/benchmarks.md"


def put(text, name, block):
    pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
    if not re.search(pattern, text, re.S):
        sys.exit(f"report: {PAGE} has no markers for {name}")
    return re.sub(pattern, lambda m: m[1] + block + m[2], text, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", nargs="*", help=f"of {', '.join(BENCHES)}; default: all")
    args = parser.parse_args()
    for name in args.bench or BENCHES:
        program = cases.SOURCE / "tests/bench" / f"{name}.py"
        if not program.exists():
            print(f"{name}: {program} is not there")
            continue
        done = subprocess.run([program], stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, SAMPAN_BIN_DIR=str(cases.BIN)))
        print(done.stdout, end="")
        if done.returncode == 77:
            continue
        if done.returncode != 0:
            sys.exit(f"report: {name} failed with {done.returncode}; {PAGE} is unchanged")
        block = f"`tests/bench/{name}.py`, {datetime.date.today()}:\n\n```\n{done.stdout.rstrip()}\n```\n"
        PAGE.write_text(put(PAGE.read_text(), name, block))


if __name__ == "__main__":
    main()
