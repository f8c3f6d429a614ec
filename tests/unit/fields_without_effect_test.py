#!/usr/bin/python3
"""Every field of Pods, Services and their kin that no code of the daemons names is listed in
docs/compatibility.md, and nothing else is: what is stored without effect is said so. A name that stands in the code
for something else hides a field from the first check."""
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

sys.path.insert(0, str(cases.SOURCE / "api"))
import generate

FOLDERS = ("kubelet", "netns", "proxy", "runtime", "master")
NOT_AN_EFFECT = ("strategy.cc", "conversions.cc", "builtin_resources.cc")  # these only keep fields
# These look at a field in order to refuse it, to count it, or to say who may read what it names.
LOOKS_ONLY = ("pod_security.cc", "node_authorizer.cc", "node_restriction.cc", "service_update.cc", "volumes/plan.cc",
              "service_account_admission.cc", "token_audience.cc")
# Listed fields whose names stand in the code for something else, or whose value is only kept.
OTHERS = {
    "Pod.spec.containers.resources.claims": "a StatefulSet's",
    "Pod.spec.ephemeralContainers": "their statuses",
    "Pod.spec.serviceAccount": "of requests",
    "Pod.spec.volumes.csi": "a PersistentVolume's, which are counted",
    "Pod.spec.volumes.image": "of containers",
}
ROOTS = (("core", "Pod"), ("core", "Service"), ("core", "Node"), ("core", "ServiceAccount"))


def unnamed(kind, path, named, seen):
    if kind in seen:
        return
    seen.add(kind)
    for field in kind.fields:
        if field.name in ("apiVersion", "kind", "metadata", "status"):
            continue
        here = f"{path}.{field.name}"
        if field.member() not in named and field.name not in named:
            yield here
        elif field.target:
            yield from unnamed(field.target, here, named, seen)


class FieldsWithoutEffect(unittest.TestCase):
    def test_are_listed(self):
        source = "".join(path.read_text() for folder in FOLDERS for path in sorted((cases.SOURCE / folder).rglob("*.*"))
                         if path.suffix in (".cc", ".h") and not str(path).endswith(NOT_AN_EFFECT))
        named = set(re.findall(r"[.>](\w+)", source)) | set(re.findall(r'"(\w+)"', source))
        listed = set(re.findall(r"`((?:%s)\.[A-Za-z.]+)`" % "|".join(name for _, name in ROOTS),
                                (cases.SOURCE / "docs/compatibility.md").read_text()))
        self.assertGreater(len(listed), 20)
        types = generate.parse(str(cases.SOURCE / "api/schema"))
        for root in ROOTS:
            for path in unnamed(types[root], root[1], named, set()):
                self.assertTrue(any(path == name or path.startswith(name + ".") for name in listed),
                                f"{path} has no effect: list it in docs/compatibility.md")

    def test_what_is_listed_has_none(self):
        source = "".join(path.read_text() for folder in FOLDERS for path in sorted((cases.SOURCE / folder).rglob("*.*"))
                         if path.suffix in (".cc", ".h") and not str(path).endswith(NOT_AN_EFFECT + LOOKS_ONLY))
        named = set(re.findall(r"[.>](\w+)", source)) | set(re.findall(r'"(\w+)"', source))
        listed = re.findall(r"`((?:%s)\.[A-Za-z.]+)`" % "|".join(name for _, name in ROOTS),
                            (cases.SOURCE / "docs/compatibility.md").read_text())
        for path in listed:
            name = path.split(".")[-1]
            member = re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()
            self.assertTrue(path in OTHERS or (name not in named and member not in named),
                            f"{path} is listed in docs/compatibility.md as without effect, but code names it")
        self.assertEqual(set(OTHERS) - set(listed), set(), "no longer listed")


cases.main()
