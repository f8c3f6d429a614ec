#!/usr/bin/python3
"""Every header compiles alone, without the build's precompiled header. A header whose text and whose
headers of ours did not change since it last passed is not compiled again.

Most of the work would be to read the same large headers (Boost.JSON's for one) hundreds of times. So some
headers of ours are precompiled here, and a header is compiled behind one of them only if it includes that
one itself, directly or not. That changes nothing about what it has to include: what it includes is
checked alone as well, and a header's own text stands behind its includes."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

FOLDERS = ("base", "api", "runtime", "netns", "kubelet", "proxy", "master", "cli")
BUILD = cases.BIN.parent
PRECOMPILED = 8  # some 3 s and 100 MiB each; more of them save less than they cost
# What reading a header costs, in those of the standard library.
WEIGHTS = ((re.compile(r"boost/beast|CLI/"), 60), (re.compile(r"boost/json"), 30), (re.compile(r"/"), 2))
FLAGS = ["-std=gnu++20", "-O0", "-Wall", "-Wextra", "-Werror",
         "-Wno-unused-function", "-I", str(cases.SOURCE), "-I", str(BUILD / "generated")]


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


def weight(headers, texts):
    """What reading all of `headers` costs, with what they include of others."""
    foreign = {name for header in headers
               for name in re.findall(r"^\s*#\s*include\s*<([^>]+)>", texts[header], re.M)}
    return len(headers) + sum(next((cost for pattern, cost in WEIGHTS if pattern.search(name)), 1)
                              for name in foreign)


def choose(todo, closures, texts):
    """The headers worth precompiling, and for each of `todo` the one of them that it is compiled behind."""
    weights = {header: weight(closures[header], texts) for header in texts}
    chosen, behind = [], dict.fromkeys(todo)
    for _ in range(PRECOMPILED):
        def saved(candidate):
            return sum(max(0, weights[candidate] - weights.get(behind[header], 0))
                       for header in todo if header != candidate and candidate in closures[header])
        best = max(sorted(texts), key=saved)
        if saved(best) < 2 * weights[best]:
            break
        chosen.append(best)
        for header in todo:
            if best in closures[header] and weights[best] > weights.get(behind[header], 0):
                behind[header] = best
    return chosen, {header: None if header in chosen else first for header, first in behind.items()}


class HeadersAlone(unittest.TestCase):
    def test_every_header_compiles_alone(self):
        texts = {str(path.relative_to(cases.SOURCE)): path.read_text()
                 for folder in FOLDERS for path in sorted((cases.SOURCE / folder).rglob("*.h"))
                 if path.name != "pch.h"}
        self.assertGreater(len(texts), 8)
        flags = FLAGS + library_flags()
        compiler = subprocess.run(["c++", "--version"], stdout=subprocess.PIPE, check=True).stdout
        salt = compiler + " ".join(flags).encode()
        closures = {header: closure(header, texts, set()) for header in texts}
        keys = {header: hashlib.sha256(salt + b"".join(
                    texts[h].encode() for h in sorted(closures[header]))).hexdigest() for header in texts}
        memory = BUILD / "headers_alone.json"
        passed = set(json.loads(memory.read_text())) if memory.exists() else set()
        todo = [header for header in texts if keys[header] not in passed]
        chosen, behind = choose(todo, closures, texts)
        failed = []
        with tempfile.TemporaryDirectory(prefix="sampan-headers-") as top, \
                concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            place = {header: pathlib.Path(top) / f"{i}.h" for i, header in enumerate(chosen)}

            def check(header):
                if header in place:
                    place[header].write_text(f'#include "{header}"\n')
                    words = ["-x", "c++-header", str(place[header]), "-o", f"{place[header]}.gch"]
                else:
                    first = ["-include", str(place[behind[header]])] if behind[header] else []
                    words = ["-fsyntax-only", "-Winvalid-pch", *first, "-include", str(cases.SOURCE / header),
                             "-x", "c++", "/dev/null"]
                run = subprocess.run(["c++", *flags, *words], stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True)
                return header, run.returncode, run.stdout

            first, then = pool.map(check, chosen), sorted(set(todo) - set(chosen))
            for header, code, output in [*first, *pool.map(check, then)]:
                if code == 0:
                    passed.add(keys[header])
                else:
                    failed.append(f"{header}:\n{output[:1500]}")
        BUILD.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(sorted(passed & set(keys.values()))))
        print(f"{len(texts)} headers, {len(todo)} compiled, {len(chosen)} of them for others to stand on")
        self.assertEqual(failed, [], "\n".join(failed))

    def test_a_header_is_compiled_only_behind_what_it_includes(self):
        texts = {"a.h": "#include <boost/json.hpp>\n", "alone.h": "std::string x();\n",
                 **{f"b{i}.h": '#include "a.h"\n' for i in range(9)}}
        closures = {header: closure(header, texts, set()) for header in texts}
        chosen, behind = choose(sorted(texts), closures, texts)
        self.assertEqual(chosen, ["a.h"])
        self.assertEqual(behind, {"a.h": None, "alone.h": None, **{f"b{i}.h": "a.h" for i in range(9)}})
        self.assertEqual(choose(["b1.h"], closures, texts), ([], {"b1.h": None}), "one is not worth it")

    def test_the_check_sees_a_header_that_needs_another(self):
        run = subprocess.run(["c++", *FLAGS, "-fsyntax-only", "-x", "c++", "-"], input="std::string x();\n",
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertNotEqual(run.returncode, 0)


if __name__ == "__main__":
    cases.main()
