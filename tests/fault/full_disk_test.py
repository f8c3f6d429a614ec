#!/usr/bin/python3
"""A full disk below the master's store: a write is refused with what to do, nothing is half-written,
reads go on, and it works again once there is room; also after a restart."""
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from master_process import Master

CLONE_NEWNS = 0x20000
LIBC = ctypes.CDLL(None, use_errno=True)


class FullDisk(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            self.skipTest("root")
        # Mounts of this process alone; gone with it.
        if LIBC.unshare(CLONE_NEWNS) != 0:
            self.skipTest("mount namespaces")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-full-disk-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.disk = self.dir / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", self.disk], check=True)
        self.addCleanup(subprocess.run, ["umount", self.disk], check=True)
        self.log = open(self.dir / "log", "w")
        self.addCleanup(self.log.close)

    def names(self, master):
        code, out = master.kubectl("get", "configmaps", "-o", "name")
        self.assertEqual(code, 0, out)
        return {line for line in out.split() if "/big" in line or "/after" in line}

    def test_refused_and_recovered(self):
        master = Master(self.disk / "d", self.log)
        try:
            made, refusal = set(), None
            for number in range(20):
                body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"big{number}"},
                        "data": {"x": os.urandom(200_000).hex()}}
                code, out = master.kubectl("create", "-f", "-", input=json.dumps(body))
                if code != 0:
                    refusal = out
                    break
                made.add(f"configmap/big{number}")
            self.assertIsNotNone(refusal, "the disk of 3 MiB took everything")
            self.assertIn("disk is full", refusal)
            self.assertIn("free disk space", refusal)
            self.assertIn("store.db", refusal)
            self.assertEqual(self.names(master), made)
            subprocess.run(["mount", "-o", "remount,size=30m", self.disk], check=True)
            code, out = master.kubectl("create", "configmap", "after", "--from-literal=a=b")
            self.assertEqual(code, 0, out)
            made.add("configmap/after")
        finally:
            master.stop()
        again = Master(self.disk / "d", self.log)
        try:
            self.assertEqual(self.names(again), made)
        finally:
            again.stop()


cases.main()
