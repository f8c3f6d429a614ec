#!/usr/bin/python3
"""Every type and every field of the object model has a sentence: `kubectl explain` has nothing else
to show."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

sys.path.insert(0, str(cases.SOURCE / "api"))
import generate

SCHEMA = cases.SOURCE / "api/schema"


def wrong(text):
    """What is wrong with a sentence; None when nothing is."""
    if not text:
        return "has no sentence"
    if not text.endswith(".") or text != " ".join(text.split()):
        return f"ends without a full stop or has stray blanks: {text!r}"
    if not 4 <= len(text.split()) <= 25:
        return f"is too short to say something, or too long for one sentence: {text!r}"
    return None


class Sentences(unittest.TestCase):
    def test_every_row_has_one(self):
        types = generate.parse(str(SCHEMA)).values()
        rows = [(f"{kind.group}.{kind.name}", kind.doc) for kind in types] + \
            [(f"{kind.group}.{kind.name}.{field.name}", field.doc) for kind in types for field in kind.fields]
        self.assertGreater(len(rows), 2000)
        faults = [f"{name} {wrong(text)}" for name, text in rows if wrong(text)]
        self.assertEqual(faults, [], "\n".join(faults))

    def test_what_all_kinds_share_is_said_once(self):
        shared = {text: name for (name, _), text in generate.SHARED_DOCS.items()}
        for path in sorted(SCHEMA.glob("*.schema")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                self.assertNotIn(line.partition(" | ")[2], shared, f"{path.name}:{number}: the generator says it")

    def test_the_rule_sees_faults(self):
        for text in ("", "Name", "Name of the object", "The path.", "Name  of the object.", "a " * 26 + "b."):
            self.assertIsNotNone(wrong(text), text)
        self.assertIsNone(wrong("Name of the object, unique in its namespace."))


if __name__ == "__main__":
    cases.main()
