#!/usr/bin/python3
"""Every header compiles alone, without the precompiled header. A header whose text and whose
headers of ours did not change since it last passed is not compiled again."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

FOLDERS = ("base", "api", "runtime", "netns", "kubelet", "proxy", "master", "cli")
BUILD = cases.BIN.parent
FLAGS = ["-std=gnu++20", "-fsyntax-only", "-O0", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-function", "-DFMT_HEADER_ONLY=1", "-I", str(cases.SOURCE), "-I", str(BUILD / "generated")]


def library_flags():
    """-isystem and -D of the build itself: libnl's headers, for one, are not in /usr/include."""
    commands = BUILD / "compile_commands.json"
    flags = []
    if commands.exists():
        for entry in json.loads(commands.read_text()):
            words = shlex.split(entry["command"])
            for word, after in zip(words, words[1:] + [""]):
                if word == "-isystem":
                    flags += [word, after]
                elif word.startswith("-I/usr"):
                    flags.append(word)
    unique = []
    for pair in [tuple(flags[i:i + 2]) if flags[i] == "-isystem" else (flags[i],)
                 for i in range(len(flags)) if flags[i].startswith("-")]:
        if pair not in unique:
            unique.append(pair)
    return [word for pair in unique for word in pair]


def closure(header, texts, seen):
    if header in seen or header not in texts:
        return seen
    seen.add(header)
    for included in re.findall(r'^\s*#\s*include\s*"([^"]+)"', texts[header], re.M):
        closure(included, texts, seen)
    return seen


class HeadersAlone(unittest.TestCase):
    def test_every_header_compiles_alone(self):
        texts = {str(path.relative_to(cases.SOURCE)): path.read_text()
                 for folder in FOLDERS for path in sorted((cases.SOURCE / folder).rglob("*.h"))
                 if path.name != "pch.h"}
        self.assertGreater(len(texts), 8)
        flags = FLAGS + library_flags()
        compiler = subprocess.run(["c++", "--version"], stdout=subprocess.PIPE, check=True).stdout
        salt = compiler + " ".join(flags).encode()
        keys = {header: hashlib.sha256(salt + b"".join(
                    texts[h].encode() for h in sorted(closure(header, texts, set())))).hexdigest()
                for header in texts}
        memory = BUILD / "headers_alone.json"
        passed = set(json.loads(memory.read_text())) if memory.exists() else set()

        def check(header):
            run = subprocess.run(["c++", *flags, "-x", "c++", "-include",
                                  str(cases.SOURCE / header), "/dev/null"],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return header, run.returncode, run.stdout

        todo = [header for header in texts if keys[header] not in passed]
        failed = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for header, code, output in pool.map(check, todo):
                if code == 0:
                    passed.add(keys[header])
                else:
                    failed.append(f"{header}:\n{output[:1500]}")
        BUILD.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(sorted(passed & set(keys.values()))))
        print(f"{len(texts)} headers, {len(todo)} compiled")
        self.assertEqual(failed, [], "\n".join(failed))

    def test_the_check_sees_a_header_that_needs_another(self):
        run = subprocess.run(["c++", *FLAGS, "-x", "c++", "-"], input="std::string x();\n",
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertNotEqual(run.returncode, 0)


if __name__ == "__main__":
    cases.main()
