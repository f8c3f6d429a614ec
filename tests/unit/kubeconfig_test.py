#!/usr/bin/python3
"""`sampan kubeconfig`: the certificate says who, is signed by the cluster's CA, serves only where
it was told to, and nobody but its owner can read it."""
import base64
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases


class Kubeconfig(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="images-kubeconfig-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "pki").mkdir()
        self.out = self.folder / "out.conf"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=kubernetes-ca", "-keyout", self.folder / "pki/ca.key", "-out", self.folder / "pki/ca.crt"],
                       check=True, capture_output=True)

    def make(self, *words):
        return subprocess.run([cases.BIN / "sampan", "kubeconfig", "--data-dir", self.folder, "--out", self.out, *words],
                              capture_output=True, text=True, check=False)

    def certificate(self):
        data = re.search(r"client-certificate-data: (\S+)", self.out.read_text())[1]
        path = self.folder / "client.pem"
        path.write_bytes(base64.b64decode(data))
        verify = subprocess.run(["openssl", "verify", "-CAfile", self.folder / "pki/ca.crt", path], capture_output=True, text=True, check=False)
        self.assertEqual(verify.returncode, 0, verify.stderr)
        return subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True).stdout

    def test_a_node(self):
        done = self.make("--user", "system:node:n1", "--group", "system:nodes", "--server", "https://192.0.2.1:6443",
                         "--ip", "192.0.2.7", "--ip", "127.0.0.1", "--dns", "n1")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(self.out.stat().st_mode & 0o777, 0o600)
        text = self.certificate()
        self.assertRegex(text, r"Subject: O = system:nodes, CN = system:node:n1\n")
        self.assertIn("DNS:n1, IP Address:192.0.2.7, IP Address:127.0.0.1", text)
        self.assertIn("TLS Web Client Authentication, TLS Web Server Authentication", text)
        self.assertIn("192.0.2.1:6443", self.out.read_text())

    def test_a_user_serves_nothing(self):
        done = self.make("--user", "alice", "--group", "dev", "--group", "ops", "--server", "https://h:1")
        self.assertEqual(done.returncode, 0, done.stderr)
        text = self.certificate()
        self.assertRegex(text, r"Subject: O = dev, O = ops, CN = alice\n")
        self.assertNotIn("Server Authentication", text)

    def test_what_is_wrong_is_said(self):
        for words, code, pattern in (
                (["--user", "u", "--server", "http://h:1"], 2, "only served over TLS"),
                (["--user", "u"], 2, "--server"),
                (["--user", "", "--server", "https://h:1"], 2, "no name|user"),
                (["--user", "u", "--server", "https://h:1", "--ip", "no-address"], 2, "no-address"),
                (["--user", "u", "--server", "https://h:1", "--data-dir", "/nowhere"], 2, "data-dir"),
                (["--user", "u", "--server", "https://h:1", "--days", "0"], 2, "days")):
            done = self.make(*words)
            self.assertEqual(done.returncode, code, f"{words}: {done.stderr}")
            self.assertRegex(done.stderr, pattern)
            self.assertFalse(self.out.exists())
        (self.folder / "pki/ca.key").unlink()
        done = self.make("--user", "u", "--server", "https://h:1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("sampan-master that has started once", done.stderr)


if __name__ == "__main__":
    cases.main()
