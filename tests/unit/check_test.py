#!/usr/bin/python3
"""scripts/check finds nothing in the scripts that git knows, and finds what is wrong where something is."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases


def check(tree):
    return subprocess.run([tree / "scripts/check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@unittest.skipUnless(shutil.which("shellcheck") and shutil.which("pyflakes3"), "shellcheck and pyflakes3")
class Check(unittest.TestCase):
    def test_the_tree_is_clean(self):
        done = check(cases.SOURCE)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_mistakes_are_found(self):
        for name, text, expected in (("a", "#!/bin/bash\nrm $1\n", "SC2086"),
                                     ("b.py", "import os\n", "imported but unused"),
                                     ("c", "#!/usr/bin/python3\nprint(x)\n", "undefined name")):
            with tempfile.TemporaryDirectory() as directory:
                tree = pathlib.Path(directory)
                (tree / "scripts").mkdir()
                shutil.copy(cases.SOURCE / "scripts/check", tree / "scripts/check")
                (tree / "scripts" / name).write_text(text)
                subprocess.run(["git", "init", "-q", tree], check=True)
                done = check(tree)
                self.assertEqual(done.returncode, 1, f"{name}: {done.stdout}")
                self.assertIn(expected, done.stdout)


if __name__ == "__main__":
    cases.main()
