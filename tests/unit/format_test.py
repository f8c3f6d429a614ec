#!/usr/bin/python3
"""C and C++ sources are as clang-format would write them by .clang-format: nobody's editor decides."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

FOLDERS = ("base", "api", "runtime", "netns", "kubelet", "proxy", "master", "cli", "tests")


def unformatted(files):
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return sorted({line.split(":")[0] for line in run.stdout.splitlines() if "error:" in line})


@unittest.skipUnless(shutil.which("clang-format"), "clang-format")
class Format(unittest.TestCase):
    def test_sources_are_formatted(self):
        files = [str(path.relative_to(cases.SOURCE)) for folder in FOLDERS for path in sorted((cases.SOURCE / folder).rglob("*"))
                 if path.suffix in (".cc", ".h", ".c")]
        self.assertGreater(len(files), 500)
        os.chdir(cases.SOURCE)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            wrong = [name for found in pool.map(unformatted, (files[i:i + 40] for i in range(0, len(files), 40))) for name in found]
        self.assertEqual(wrong, [], "clang-format -i " + " ".join(wrong))

    def test_the_check_sees_what_is_not(self):
        run = subprocess.run(["clang-format", "--dry-run", "-Werror", f"--style=file:{cases.SOURCE}/.clang-format"],
                             input="int  x ;\n", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertNotEqual(run.returncode, 0)


if __name__ == "__main__":
    cases.main()
