#!/usr/bin/python3
"""Who may include whom. The table below is the rule; ARCHITECTURE.md explains it."""
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

# folder -> patterns of the headers of ours that it may include, besides its own.
ALLOWED = {
    "base": [],
    "api": [r"base/.*"],
    "runtime": [r"base/.*"],
    "netns": [r"base/.*"],
    "kubelet": [r"base/.*", r"api/.*", r"runtime/runtime\.h", r"netns/netns\.h"],
    "proxy": [r"base/.*", r"api/.*", r"netns/netns\.h"],
    "master": [r"base/.*", r"api/.*"],
    "cli": [r"base/.*", r"api/.*", r"runtime/runtime\.h", r"runtime/image/.*",
            r"netns/netns\.h"],
}
# The rooms of a folder, in a line: each includes itself and what stands before it. What lies in none is the
# room "." where the line names it, and else the program's main, which may include all.
ROOMS = {
    "base": [".", "http", "grpc"],
    "api": [".", "cel", "custom", "patch", "validate", "table", "client"],
    "runtime": [".", "spec", "cgroup", "launch", "image", "pod", "oci"],
    "kubelet": ["node", "streaming", "volumes", "pod"],
    "master": ["store", "registry", "auth", "admission", "extensions", "server"],
}
# Rooms beside that line: what of their folder they may include.
BESIDE = {
    "master/controllers": [],
    "master/scheduler": ["controllers"],  # whose projections and Events it shares
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)


def ours(root):
    for folder in ALLOWED:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield folder, path


def violations(folder, name, text):
    """Sentences on what `text`, the file `name` in `folder`, may not include."""
    found = []
    for quote, header in INCLUDE.findall(text):
        top = header.split("/")[0]
        if "/" not in header and quote == '"':
            found.append(f'{name}: #include "{header}": write the path from the top folder')
        elif top in ALLOWED and top != folder and not any(
                re.fullmatch(pattern, header) for pattern in ALLOWED[folder]):
            found.append(f"{name}: {folder} may not include {header}")
        elif top in ("tests", "scripts"):
            found.append(f"{name}: product code may not include {header}")
    return found


def room_of(path):
    """Folder and room of "master/store/x.h"; the room is "." for what lies in none."""
    parts = path.split("/")
    return parts[0], parts[1] if len(parts) > 2 else "."


def upward(name, text):
    """Sentences on what `text`, the file `name` ("master/store/x.cc"), may not include of its own folder."""
    folder, room = room_of(str(name))
    line = ROOMS.get(folder, [])
    if not line or (room == "." and "." not in line):
        return []
    allowed = line[:line.index(room) + 1] if room in line else [room] + BESIDE[f"{folder}/{room}"]
    return [f"{name}: {folder}/{room} may not include {header}" for _, header in INCLUDE.findall(text)
            if header.startswith(folder + "/") and room_of(header)[1] not in allowed]


class IncludeDirections(unittest.TestCase):
    def test_every_source_keeps_the_directions(self):
        files = list(ours(cases.SOURCE))
        self.assertGreater(len(files), 20, f"hardly any source below {cases.SOURCE}")
        found = [line for folder, path in files
                 for line in violations(folder, path.relative_to(cases.SOURCE), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_every_room_includes_what_stands_before_it(self):
        files = [path for folder, path in ours(cases.SOURCE) if folder in ROOMS]
        found = [line for path in files
                 for line in upward(path.relative_to(cases.SOURCE), path.read_text())]
        self.assertEqual(found, [], "\n" + "\n".join(found))
        for folder, line in ROOMS.items():
            rooms = {path.parent.name for path in files if path.relative_to(cases.SOURCE).parts[0] == folder
                     and path.parent != cases.SOURCE / folder}
            beside = {name.split("/")[1] for name in BESIDE if name.startswith(folder + "/")}
            self.assertEqual(rooms, set(line) - {"."} | beside, f"the rooms of {folder}/ are other ones than the line says")
        self.assertEqual(len(upward("master/store/x.cc", '#include "master/registry/request.h"\n')), 1)
        self.assertEqual(len(upward("master/controllers/x.h", '#include "master/server/server.h"\n')), 1)
        self.assertEqual(upward("master/auth/x.cc", '#include "master/registry/request.h"\n'), [])
        self.assertEqual(len(upward("api/schema.h", '#include "api/cel/cel.h"\n')), 1)
        self.assertEqual(len(upward("runtime/spec/x.cc", '#include "runtime/launch/plan.h"\n')), 1)
        self.assertEqual(upward("runtime/launch/x.cc", '#include "runtime/runtime.h"\n'), [])
        self.assertEqual(upward("master/main.cc", '#include "master/server/server.h"\n'), [])

    def test_the_check_sees_violations(self):
        for folder, include in (("base", "api/core.h"), ("runtime", "api/core.h"),
                                ("proxy", "kubelet/pod.h"), ("kubelet", "runtime/cgroup/cgroup.h"),
                                ("master", "kubelet/pod.h"), ("proxy", "runtime/runtime.h"),
                                ("netns", "runtime/runtime.h"), ("cli", "master/store/store.h")):
            self.assertEqual(len(violations(folder, "x.cc", f'#include "{include}"\n')), 1,
                             f"{folder} including {include} went unseen")
        for folder, include in (("api", "base/result.h"), ("kubelet", "netns/netns.h"),
                                ("cli", "runtime/image/pull.h"), ("proxy", "api/client/x.h")):
            self.assertEqual(violations(folder, "x.cc", f'#include "{include}"\n'), [])

    def test_only_base_parses_json(self):
        # Boost's parse throws, and stops at 32 levels: base/json.h has the limits, and errors.
        wanted = re.compile(r"\bjson::(parse|stream_parser|parser|parse_into)\b\s*[({;\w]")
        self.assertRegex("auto v = json::parse(text);", wanted)
        self.assertRegex("boost::json::stream_parser p;", wanted)
        files = [path for _, path in ours(cases.SOURCE)] + sorted((cases.SOURCE / "tests").rglob("*.cc"))
        found = [str(path.relative_to(cases.SOURCE)) for path in files
                 if path.relative_to(cases.SOURCE) != pathlib.Path("base/json.cc") and wanted.search(path.read_text())]
        self.assertEqual(found, [], "parse with base::parse_json")

    def test_targets_link_what_their_folder_may_include(self):
        for folder in ALLOWED:
            path = cases.SOURCE / folder / "CMakeLists.txt"
            if not path.exists():
                continue
            for target in re.findall(r"\bsampan_([a-z]+)\b", path.read_text()):
                if target not in ALLOWED or target == folder:
                    continue
                self.assertTrue(any(p.startswith(target) for p in ALLOWED[folder]),
                                f"{folder}/CMakeLists.txt names sampan_{target}")

    def test_every_header_opens_with_what_it_owns(self):
        missing = [str(path.relative_to(cases.SOURCE)) for _, path in ours(cases.SOURCE)
                   if path.suffix == ".h" and not path.read_text().startswith("//")]
        self.assertEqual(missing, [], "headers that do not open with a comment")


if __name__ == "__main__":
    cases.main()
