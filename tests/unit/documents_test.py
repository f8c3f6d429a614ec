#!/usr/bin/python3
"""The documents keep their word: commands that README and docs show exist with those options, links
lead somewhere, and pages stay as short as promised."""
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

PAGES = [cases.SOURCE / name for name in ("README.md", "ARCHITECTURE.md", "examples/README.md")] + \
    sorted((cases.SOURCE / "docs").glob("*.md"))


def commands(text):
    """Lines of shell blocks, and `scripts/…` in running text."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith(" ") and not line.startswith("#"):
                yield line.split("  #")[0].strip()
    for inline in re.findall(r"`(scripts/[^`]+|tests/[^`]+\.py[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        yield inline


def help_of(path, *words):
    return subprocess.run([path, *words, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True).stdout


class Documents(unittest.TestCase):
    def test_commands_exist_with_their_options(self):
        seen, wrong = 0, []
        for page in PAGES:
            for command in commands(page.read_text()):
                words = shlex.split(re.split(r"[;|&<>]", command)[0].replace("…", ""))
                while words and "=" in words[0]:
                    words.pop(0)
                if not words or not words[0].startswith(("scripts/", "tests/", ".ci/")) \
                        or words[0].endswith("/") or any(c in words[0] for c in "<>*{}"):
                    continue
                path = cases.SOURCE / words[0]
                if not path.exists():
                    wrong.append(f"{page.name}: {command}: {words[0]} does not exist")
                    continue
                if not path.is_file() or not path.stat().st_mode & 0o111:
                    continue
                seen += 1
                own = words[1:words.index("--")] if "--" in words else words[1:]
                if not any(word.startswith("-") for word in own) and path.name != "cluster":
                    continue
                sub = own[:1] if path.name == "cluster" else []
                text = help_of(path, *sub)
                if "usage" not in text.lower():
                    wrong.append(f"{page.name}: {command}: {words[0]} {' '.join(sub)} is no command")
                for word in own:
                    if word.startswith("--") and word.split("=")[0] not in text:
                        wrong.append(f"{page.name}: {command}: no option {word}")
        self.assertGreater(seen, 15, "hardly any command found: is the pattern right?")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_links_lead_somewhere(self):
        wrong = []
        for page in PAGES:
            for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
                if not target.startswith("http") and not (page.parent / target).exists():
                    wrong.append(f"{page.name}: {target}")
        self.assertEqual(wrong, [])

    def test_sizes(self):
        self.assertLessEqual(len((cases.SOURCE / "ARCHITECTURE.md").read_text().splitlines()), 400)
        self.assertLessEqual(len((cases.SOURCE / "docs/glossary.md").read_text().splitlines()), 60)

    def test_demo_and_test_come_first(self):
        first = re.search(r"```sh\n(.*?)```", (cases.SOURCE / "README.md").read_text(), re.S)[1]
        self.assertEqual([line.split()[0] for line in first.splitlines()], ["scripts/demo", "scripts/test"])

    def test_every_folder_has_a_chapter(self):
        text = (cases.SOURCE / "ARCHITECTURE.md").read_text()
        for folder in ("base", "api", "runtime", "netns", "kubelet", "proxy", "master", "cli"):
            self.assertIn(f"### `{folder}/`", text)

    def test_files_named_in_architecture_exist(self):
        text = (cases.SOURCE / "ARCHITECTURE.md").read_text()
        wrong = [path for path in re.findall(
            r"`((?:base|api|runtime|netns|kubelet|proxy|master|cli|scripts|tests)/[\w./-]+\.(?:h|cc|py))`", text)
            if not (cases.SOURCE / path).exists()]
        self.assertEqual(wrong, [])


if __name__ == "__main__":
    cases.main()
