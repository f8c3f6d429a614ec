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


def main():
    args = arguments()
    build = args.build.resolve()
    tests = known_tests(build)
    chosen = choose(tests, args.selected)
    results = build / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    junit = results / "ctest.junit"
    environment = dict(os.environ, GTEST_OUTPUT=f"xml:{results}/", GTEST_COLOR="no",
                       SAMPAN_RESULTS=str(results))
    started = time.monotonic()
    pattern = "^(" + "|".join(re.escape(name) for name in chosen) + ")$"
    ctest = subprocess.run(
        ["ctest", "--test-dir", build, "-R", pattern, "-j", str(os.cpu_count() or 1),
         "--output-on-failure", "--no-label-summary", "--output-junit", junit,
         "--test-output-size-passed", "65536", "--test-output-size-failed", "1048576"],
        env=environment)
    if not junit.exists():
        sys.exit(f"run: ctest ended with {ctest.returncode} and wrote no results")

    totals = {"passed": 0, "failed": 0, "skipped": 0}
    failed, skipped, seen, took = [], {}, set(), []
    for test in ET.parse(junit).getroot().iter("testcase"):
        name, output = test.get("name"), test.findtext("system-out") or ""
        seen.add(name)
        took.append((float(test.get("time") or 0), name))
        status = {"run": "passed", "fail": "failed"}.get(test.get("status"), "failed")
        if test.find("skipped") is not None and "SKIP_RETURN_CODE" in (
                test.find("skipped").get("message") or ""):
            status = "skipped"
        (results / f"{name}.log").write_text(output)
        for case, verdict, reason in cases_of(name, status, output, results):
            totals[verdict] += 1
            if verdict == "failed":
                failed.append(f"{name}: {case}: {reason}".replace("\n", " ")[:300])
            elif verdict == "skipped":
                skipped.setdefault((name, reason.removeprefix("skip: ")), []).append(case)
    for name in chosen:
        if name not in seen:
            totals["failed"] += 1
            failed.append(f"{name}: did not run")

    print(f"\n{len(chosen)} tests in {time.monotonic() - started:.0f} s; "
          f"outputs in {results.relative_to(os.getcwd()) if results.is_relative_to(os.getcwd()) else results}")
    if len(took) > SLOWEST:
        print("slowest: " + ", ".join(f"{name} {seconds:.0f} s" for seconds, name in sorted(took, reverse=True)[:SLOWEST]))
    for (name, reason), cases in skipped.items():
        what = cases[0] if len(cases) == 1 else f"{len(cases)} cases"
        print(f"skipped: {name}: {what}: {reason}")
    for line in failed:
        print(f"failed: {line}")
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    sys.exit(1 if totals["failed"] or ctest.returncode not in (0, 8) or not chosen else 0)


if __name__ == "__main__":
    main()
