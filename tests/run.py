#!/usr/bin/python3
"""Runs the tests of one build tree with ctest and counts what they really did.

Every GoogleTest case and every case of a script counts as one; a program that dies counts as one
failure. Reads only what the tests wrote into <build>/results. Never decides that a test may fail.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

SLOWEST = 10
LAYERS = ("unit", "prop", "sim", "fuzz", "root", "fault", "e2e", "vm", "bench")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, type=pathlib.Path)
    parser.add_argument("--also", action="append", default=[], metavar="BUILD=NAME,…",
                        help="these tests of another build tree, too")
    parser.add_argument("selected", nargs="*", help="layers, or parts of tests' names")
    return parser.parse_args()


def known_tests(build):
    text = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    tests = {}
    for test in json.loads(text)["tests"]:
        labels = [p["value"] for p in test.get("properties", []) if p["name"] == "LABELS"]
        tests[test["name"]] = labels[0][0] if labels else "unit"
    return tests


def choose(tests, selected):
    if not selected:
        return list(tests)
    chosen = [name for name, layer in tests.items()
              if any(word == layer if word in LAYERS else word in name for word in selected)]
    for word in selected:
        if word not in LAYERS and not any(word in name for name in tests):
            sys.exit(f"run: no test has {word!r} in its name; ctest --test-dir BUILD -N lists them")
    return chosen


def gtest_cases(path):
    cases = []
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None:
            cases.append((name, "failed", case.find("failure").get("message", "")))
        elif skipped is not None:
            lines = [l for l in (skipped.get("message") or "").splitlines()
                     if l.strip() and not re.match(r"^\S+:\d+$", l.strip())]
            cases.append((name, "skipped", " ".join(lines) or "no reason given"))
        elif case.get("status") == "run":
            cases.append((name, "passed", ""))
    return cases


def cases_of(test, status, output, results):
    """[(case, passed|failed|skipped, reason)] of one ctest test."""
    cases = []
    if (results / f"{test}.xml").exists():
        cases = gtest_cases(results / f"{test}.xml")
    elif (results / f"{test}.json").exists():
        cases = [tuple(case) for case in json.loads((results / f"{test}.json").read_text())]
    if status == "failed" and not any(case[1] == "failed" for case in cases):
        last = output.strip().splitlines()[-1:] or ["no output"]
        cases.append((test, "failed", last[0]))
    if cases:
        return cases
    reason = ""
    if status == "skipped":
        found = re.findall(r"^skip: (.*)$", output, re.M)
        reason = found[-1] if found else "no reason given"
    return [(test, status, reason)]


class Outcome:
    """What all trees together came to."""
    def __init__(self):
        self.totals = {"passed": 0, "failed": 0, "skipped": 0}
        self.failed, self.skipped, self.took, self.tests, self.ok = [], {}, [], 0, True

    def add(self, test, verdict, case, reason):
        self.totals[verdict] += 1
        if verdict == "failed":
            self.failed.append(f"{test}: {case}: {reason}".replace("\n", " ")[:300])
        elif verdict == "skipped":
            self.skipped.setdefault((test, reason.removeprefix("skip: ")), []).append(case)


def run(build, chosen, outcome, prefix=""):
    """ctest over the chosen tests of one tree; returns where their outputs are."""
    results = build / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    junit = results / "ctest.junit"
    environment = dict(os.environ, GTEST_OUTPUT=f"xml:{results}/", GTEST_COLOR="no",
                       SAMPAN_RESULTS=str(results))
    pattern = "^(" + "|".join(re.escape(name) for name in chosen) + ")$"
    ctest = subprocess.run(
        ["ctest", "--test-dir", build, "-R", pattern, "-j", str(os.cpu_count() or 1),
         "--output-on-failure", "--no-label-summary", "--output-junit", junit,
         "--test-output-size-passed", "65536", "--test-output-size-failed", "1048576"],
        env=environment)
    if not junit.exists():
        sys.exit(f"run: ctest ended with {ctest.returncode} and wrote no results")
    outcome.ok = outcome.ok and ctest.returncode in (0, 8) and bool(chosen)
    outcome.tests += len(chosen)

    seen = set()
    for test in ET.parse(junit).getroot().iter("testcase"):
        name, output = test.get("name"), test.findtext("system-out") or ""
        seen.add(name)
        outcome.took.append((float(test.get("time") or 0), prefix + name))
        status = {"run": "passed", "fail": "failed"}.get(test.get("status"), "failed")
        if test.find("skipped") is not None and "SKIP_RETURN_CODE" in (
                test.find("skipped").get("message") or ""):
            status = "skipped"
        (results / f"{name}.log").write_text(output)
        for case, verdict, reason in cases_of(name, status, output, results):
            outcome.add(prefix + name, verdict, case, reason)
    for name in chosen:
        if name not in seen:
            outcome.add(prefix + name, "failed", name, "did not run")
    return results.relative_to(os.getcwd()) if results.is_relative_to(os.getcwd()) else results


def main():
    args = arguments()
    started, outcome = time.monotonic(), Outcome()
    build = args.build.resolve()
    where = [run(build, choose(known_tests(build), args.selected), outcome)]
    for other in args.also:
        path, _, names = other.partition("=")
        tree = pathlib.Path(path).resolve()
        known = known_tests(tree)
        chosen = names.split(",")
        for name in chosen:
            if name not in known:
                sys.exit(f"run: {tree} has no test {name}; ctest --test-dir {tree} -N lists them")
        where.append(run(tree, chosen, outcome, f"{tree.name}: "))

    print(f"\n{outcome.tests} tests in {time.monotonic() - started:.0f} s; outputs in {' and '.join(map(str, where))}")
    if len(outcome.took) > SLOWEST:
        print("slowest: " + ", ".join(f"{name} {seconds:.0f} s"
                                      for seconds, name in sorted(outcome.took, reverse=True)[:SLOWEST]))
    for (name, reason), cases in outcome.skipped.items():
        what = cases[0] if len(cases) == 1 else f"{len(cases)} cases"
        print(f"skipped: {name}: {what}: {reason}")
    for line in outcome.failed:
        print(f"failed: {line}")
    totals = outcome.totals
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    sys.exit(1 if totals["failed"] or not outcome.ok else 0)


if __name__ == "__main__":
    main()
