#!/usr/bin/python3
"""What becomes of a master whose store was damaged or whose objects are as deep as they may be: it starts and
serves the rest, or says what was lost and what to do; `sampan store check` says it beforehand."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from master_process import Master


def schema(levels):
    """Objects in objects: each level is two of the definition's own depth."""
    out = {"type": "string"}
    for _ in range(levels):
        out = {"type": "object", "properties": {"a": out}}
    return out


class DamagedStore(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-damaged-store-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.data = self.dir / "d"
        self.store = self.data / "store.db"
        self.log = open(self.dir / "log", "w+")
        self.addCleanup(self.log.close)

    def make(self, master, name):
        code, out = master.kubectl("create", "configmap", name, f"--from-literal=text=value-of-{name}")
        self.assertEqual(code, 0, out)

    def check(self, expected):
        done = subprocess.run([cases.BIN / "sampan", "store", "check", "--data-dir", self.data], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def refusal(self):
        done = subprocess.run([cases.BIN / "sampan-master", "--data-dir", self.data, "--listen", "127.0.0.1:0"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("--accept-data-loss", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_one_byte_of_one_record(self):
        master = Master(self.data, self.log)
        try:
            self.make(master, "first")
            self.make(master, "second")
            self.assertIn("another master runs on this directory", self.check(1))
        finally:
            master.stop()
        self.assertIn("whole", self.check(0))
        damaged = self.store.read_bytes()
        self.assertEqual(damaged.count(b"value-of-second"), 1)
        self.store.write_bytes(damaged.replace(b"value-of-second", b"value-of-secone"))
        self.assertIn("set aside: //configmaps/default/second: ", self.check(3))
        master = Master(self.data, self.log)
        try:
            code, out = master.kubectl("get", "configmaps", "-o", "name")
            self.assertEqual(code, 0, out)
            self.assertIn("configmap/first", out)
            self.assertNotIn("second", out)
            code, out = master.kubectl("get", "configmap", "second")
            self.assertEqual(code, 1)
            self.assertIn('the record of configmaps "second" in the store can\'t be served', out)
            self.make(master, "third")
            path = "/api/v1/namespaces/default/configmaps/second"
            code, out = master.kubectl("delete", "--raw", path + "?ignoreStoreReadErrorWithClusterBreakingPotential=true")
            self.assertEqual(code, 0, out)
            self.make(master, "second")
        finally:
            master.stop()
        self.log.seek(0)
        self.assertIn("store: record //configmaps/default/second is set aside and not served", self.log.read())
        self.check(0)

    def test_a_store_that_is_gone(self):
        master = Master(self.data, self.log)
        self.make(master, "first")
        master.process.kill()
        master.process.wait(20)
        kept = self.store.read_bytes()
        self.check(0)
        for name, part in (("store.db", "the file is missing, but a store of revision "), ("store.db-wal", "writes up to ")):
            path = self.data / name
            path.rename(self.dir / name)
            self.assertIn(part, self.refusal())
            self.assertIn("sampan-master does not start on it", self.check(4))
            (self.dir / name).rename(path)
        self.store.write_bytes(b"")
        self.assertIn("the file is empty", self.refusal())
        self.store.write_bytes(kept)
        self.check(0)
        (self.data / "store.db-wal").unlink()
        master = Master(self.data, self.log, "--accept-data-loss")
        try:
            self.make(master, "after")
        finally:
            master.stop()
        Master(self.data, self.log).stop()

    def test_the_deepest_objects(self):
        definition = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "deeps.example.com"},
                      "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "deeps", "kind": "Deep"},
                               "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema(40)}}]}}
        owners = {"f:data": {}}
        for _ in range(100):
            owners = {"f:data": owners}
        owned = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned", "managedFields": [
            {"manager": "m", "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": owners}]}}
        master = Master(self.data, self.log)
        code, out = master.kubectl("apply", "--server-side", "-f", "-", input=json.dumps(definition))
        self.assertEqual(code, 0, out)
        code, out = master.kubectl("create", "--validate=false", "-f", "-", input=json.dumps(owned))
        self.assertEqual(code, 0, out)
        copies = [{"op": "copy", "from": "/metadata/managedFields/0/fieldsV1", "path": "/metadata/managedFields/0/fieldsV1/f:x"}] * 30
        code, out = master.kubectl("patch", "configmap", "owned", "--type=json", "-p", json.dumps(copies))
        self.assertNotEqual(code, 0, out)
        self.assertIn("exceeded max depth", out)
        master.process.kill()
        master.process.wait(20)
        self.check(0)
        master = Master(self.data, self.log)
        try:
            for words in (("get", "configmap", "owned"), ("get", "crd", "deeps.example.com")):
                code, out = master.kubectl(*words)
                self.assertEqual(code, 0, out)
        finally:
            master.stop()


cases.main()
