#!/usr/bin/python3
"""Sources of one folder may be compiled as one unit (a unity build): what is private to a source, in an
anonymous namespace or static, has a name that no other source of the folder gives to something of its own."""
import collections
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

FOLDERS = ("base", "api", "runtime", "netns", "kubelet", "proxy", "master", "master/controllers", "master/scheduler", "cli")
TOKEN = re.compile(r'R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'|//[^\n]*|/\*.*?\*/', re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:.*\\\n)*.*$", re.M)


def statements(text):
    """What stands at namespace scope: pairs of the namespaces around it, "" for an anonymous one, and the
    text, each body as {}."""
    text = DIRECTIVE.sub("", TOKEN.sub(lambda match: " " if match.group(0).startswith("/") else "0", text))
    around, said, depth = [], "", 0
    for piece in re.findall(r"[{};]|[^{};]+", text):
        if depth:
            depth += (piece == "{") - (piece == "}")
            if depth == 0:
                said += "{}"
                # A function ends with its body; a type and an initialiser with the semicolon behind it.
                head = re.sub(r"operator\s*\S+?\s*\(|\([^()]*\)", "()", said)
                if "(" in head and "=" not in head and not re.match(r"\s*(class|struct|enum|union)\b", said):
                    yield tuple(around), said
                    said = ""
        elif piece == "{":
            space = re.fullmatch(r"\s*(?:inline\s+)?namespace(?:\s+([\w:]+))?\s*", said)
            if space:
                around.append(space.group(1) or "")
                said = ""
            else:
                depth = 1
        elif piece == ";":
            yield tuple(around), said
            said = ""
        elif piece == "}":
            del around[-1:]
            said = ""
        else:
            said += piece


def name_of(said):
    """The name that a type, function or variable is defined or, in a header, declared by; None for all else."""
    said = re.sub(r"^(template\s*<[^{}]*?>\s*(?=\w))+|\[\[.*?\]\]\s*|alignas\(.*?\)\s*", "", said.strip())
    if re.match(r"(using|namespace|friend|extern|typedef|static_assert|template)\b", said):
        return None
    if match := re.match(r"(?:class|struct|union|enum(?:\s+class)?)\s+([\w:]+)", said):
        return match.group(1) if "{}" in said and "::" not in match.group(1) else None
    head = re.split(r"=|\{\}", said)[0]
    match = re.search(r"([\w:~]+)\s*\(", head) or re.search(r"([\w:]+)\s*(?:\[[^\]]*\]\s*)*$", head.strip())
    return match.group(1) if match and "::" not in match.group(1) and "operator" not in head else None


def private_name(around, said):
    """The name that `said` gives to something private of its source, or None; an alias with what it stands for."""
    if alias := re.match(r"\s*using\s+(?!namespace\b|enum\b)(?:typename\s+)?(?:(\w+)\s*=|[\w:]*::(\w+)\s*$)", said):
        return alias.group(1) or alias.group(2), re.sub(r"\s+", " ", said.strip())
    if "" not in around and not said.strip().startswith("static "):
        return None, None
    name = name_of(said)
    # A function that is only declared is defined further down.
    return (None if name and "(" in said.split("=")[0] and "{}" not in said else name), None


def repeated(sources, headers=None):
    """Sentences on the names that two of `sources`, {file: text}, keep for themselves, or that one of them
    keeps although one of `headers` gives it to something else."""
    owners, meanings = collections.defaultdict(set), collections.defaultdict(set)
    for file, text in sources.items():
        for around, said in statements(text):
            name, alias = private_name(around, said)
            if name:
                name = "::".join([space for space in around if space] + [name])
                owners[name].add(file)
                meanings[name].add(alias or file)
    for file, text in (headers or {}).items():
        for around, said in statements(text):
            name = "::".join([*around, name_of(said) or ""])
            if "(" in re.split(r"=|\{\}", said)[0]:
                continue  # a function of another source may be overloaded
            if name in meanings and not all(meaning.startswith("using") for meaning in meanings[name]):
                owners[name].add(file)
                meanings[name].add(file)
    return [f"{name}: {' and '.join(sorted(files))} each have their own: share it, or give the better name"
            for name, files in sorted(owners.items()) if len(meanings[name]) > 1 and len(files) > 1]


class UnityNames(unittest.TestCase):
    def test_every_private_name_is_unique_in_its_folder(self):
        found, total = [], 0
        for folder in FOLDERS:
            top = cases.SOURCE / folder
            deep = {path for path in top.rglob("*") if not any(path.is_relative_to(cases.SOURCE / other)
                    for other in FOLDERS if other.startswith(folder + "/"))}  # rooms are of one target
            paths = sorted(path for path in deep if path.suffix == ".cc")
            total += len(paths)
            found += repeated({str(path.relative_to(cases.SOURCE)): path.read_text() for path in paths
                               if path.name not in ("main.cc", "init_main.cc")},
                              {str(path.relative_to(cases.SOURCE)): path.read_text()
                               for path in deep if path.suffix == ".h"})
        self.assertGreater(total, 200)
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_the_check_sees_repeated_names(self):
        for text in ("namespace a { namespace { int bad(int x) { return x; } } }",
                     "namespace a { namespace {\nconstexpr auto kLimit = 4; } }", "namespace a { static int count = 0; }",
                     "namespace a { namespace { struct Entry { int x; }; } }",
                     "namespace a { namespace { const Row kRows[] = {{1, 2}, {3, 4}}; } }",
                     "namespace a { namespace { template <typename T>\nT twice(T x) { return x + x; } } }",
                     "namespace a { namespace { std::map<int, int>& all() { static std::map<int, int> x = {{1, 2}}; return x; } } }"):
            self.assertEqual(len(repeated({"x.cc": text, "y.cc": text})), 1, text)
        for text in ("namespace a { namespace { using base::find; using Io = T::Io; namespace json = base::json; } }",
                     "namespace a { int shared(int x); struct Other; }", "namespace a { namespace { struct Forward; int later(int); } }",
                     "namespace a { int Type::member(int x) { return x; } }"):
            self.assertEqual(repeated({"x.cc": text, "y.cc": text}), [], text)
        self.assertEqual(len(repeated({"x.cc": "namespace a { namespace { class Run {}; } }"},
                                      {"y.h": "namespace a { enum class Run { kNone }; }"})), 1)
        self.assertEqual(len(repeated({"x.cc": "namespace a { using base::Kind; }",
                                       "y.cc": "namespace a { using Kind = Action::Kind; }"})), 1)
        self.assertEqual(repeated({"x.cc": "namespace a { namespace { int f() { return 1; } } }",
                                   "y.cc": "namespace b { namespace { int f() { return 1; } } }"}), [])


if __name__ == "__main__":
    cases.main()
