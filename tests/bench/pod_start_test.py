#!/usr/bin/python3
"""The benchmark of Pod starts runs to its end, with a bound only a broken build would miss."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases


class PodStart(unittest.TestCase):
    def test_twenty_pods_in_sequence(self):
        with tempfile.TemporaryDirectory() as directory:
            out = pathlib.Path(directory) / "figures.json"
            done = subprocess.run([cases.SOURCE / "tests/bench/pod_start.py", "--json", out],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            print(done.stdout)
            if done.returncode == 77:
                self.skipTest(done.stdout.strip().removeprefix("skip: "))
            self.assertEqual(done.returncode, 0, done.stdout)
            figures = json.loads(out.read_text())
        results = os.environ.get("SAMPAN_RESULTS")
        if results:
            (pathlib.Path(results) / "pod_start_figures.json").write_text(json.dumps(figures))
        self.assertLess(figures["create_running_ms"]["p50"], 1000)
        self.assertLess(figures["per_pod_mib"], 8)


if __name__ == "__main__":
    cases.main()
