"""What the tests written in Python share: unittest, with each case reported to tests/run.py.

A case that cannot run here calls self.skipTest("<missing capability>"); a script all of whose
cases are skipped exits with 77, as ctest expects. Owns no state outside SAMPAN_RESULTS.
"""
import json
import os
import pathlib
import sys
import unittest

SOURCE = pathlib.Path(os.environ.get("SAMPAN_SOURCE_DIR",
                                     pathlib.Path(__file__).resolve().parent.parent))


def _preset_bin():
    for preset in ("release", "dev"):
        if (SOURCE / "build" / preset / "bin").is_dir():
            return SOURCE / "build" / preset / "bin"
    return SOURCE / "build/release/bin"


BIN = pathlib.Path(os.environ.get("SAMPAN_BIN_DIR") or _preset_bin())


def machine():
    """One line for figures: what they were measured on."""
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) >> 20
    return f"{os.cpu_count()} x {cpu}, {memory} GiB, Linux {os.uname().release}"


class _Result(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = []

    def _add(self, test, verdict, reason=""):
        self.cases.append((test.id().removeprefix("__main__."), verdict, reason))

    def addSuccess(self, test):
        super().addSuccess(test)
        self._add(test, "passed")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._add(test, "skipped", reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._add(test, "failed", str(err[1]).strip()[:400])

    def addError(self, test, err):
        super().addError(test, err)
        self._add(test, "failed", f"{err[0].__name__}: {err[1]}".strip()[:400])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._add(subtest, "failed", str(err[1]).strip()[:400])


def main():
    program = unittest.main(exit=False, verbosity=2, testRunner=unittest.TextTestRunner(
        resultclass=_Result, verbosity=2, stream=sys.stdout))
    result = program.result
    name = pathlib.Path(sys.argv[0]).stem
    if os.environ.get("SAMPAN_RESULTS"):
        (pathlib.Path(os.environ["SAMPAN_RESULTS"]) / f"{name}.json").write_text(
            json.dumps(result.cases))
    if not result.wasSuccessful() or not result.cases:
        sys.exit(1)
    if all(case[1] == "skipped" for case in result.cases):
        for case in result.cases:
            print(f"skip: {case[2]}")
        sys.exit(77)
