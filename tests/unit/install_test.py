#!/usr/bin/python3
"""scripts/install below a DESTDIR: what it writes, that the units are valid, and that
--uninstall leaves only settings. Starts nothing and writes nothing outside its directory."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

PROGRAMS = ("sampan", "sampan-master", "sampan-kubelet", "sampan-proxy", "sampan-pod", "sampan-init", "sampan-oci")
UNITS = ("sampan-pods.service", "sampan-master.service", "sampan-kubelet.service", "sampan-proxy.service")


class Install(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="sampan-install-"))
        self.addCleanup(shutil.rmtree, self.directory)
        programs = self.directory / "built"
        programs.mkdir()
        for program in PROGRAMS:
            (programs / program).write_text("#!/bin/sh\necho ok\n")
            (programs / program).chmod(0o755)
        self.root = self.directory / "root"
        self.environment = dict(os.environ, SAMPAN_BIN_DIR=str(programs), DESTDIR=str(self.root))

    def install(self, *arguments):
        return subprocess.run([cases.SOURCE / "scripts/install", *arguments], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def files(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*")
                      if path.is_file())

    def test_installs_and_uninstalls(self):
        done = self.install()
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("systemctl enable --now", done.stdout)
        self.assertEqual(self.files(), sorted(
            [f"usr/local/bin/{program}" for program in PROGRAMS]
            + [f"usr/local/lib/systemd/system/{unit}" for unit in UNITS]
            + ["usr/local/libexec/sampan/node-config", "usr/local/libexec/sampan/hold-pods", "etc/sampan/sampan.conf",
               "etc/sampan/registries.json"]))
        settings = self.root / "etc/sampan/sampan.conf"
        settings.write_text(settings.read_text() + "# mine\n")
        self.assertEqual(self.install().returncode, 0)
        self.assertIn("# mine", settings.read_text(), "a second install overwrote the settings")
        done = self.install("--uninstall")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(self.files(), ["etc/sampan/registries.json", "etc/sampan/sampan.conf"])

    def test_prefix(self):
        done = self.install("--prefix", "/opt/sampan", "--sysconfdir", "/opt/etc")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("etc/systemd/system/sampan-kubelet.service", self.files())
        unit = (self.root / "etc/systemd/system/sampan-kubelet.service").read_text()
        self.assertIn("ExecStart=/opt/sampan/bin/sampan-kubelet", unit)
        self.assertIn("EnvironmentFile=/opt/etc/sampan/sampan.conf", unit)
        self.assertNotIn("@", unit)
        self.assertNotEqual(self.install("--prefix", "opt").returncode, 0)
        self.assertNotEqual(self.install("--nonsense").returncode, 0)

    def test_units_keep_pods_alive(self):
        self.install()
        text = (self.root / "usr/local/lib/systemd/system/sampan-kubelet.service").read_text()
        for line in ("Type=notify", "KillMode=process", "Requires=sampan-pods.service"):
            self.assertIn(f"\n{line}\n", text)
        self.assertIn("--cgroup-parent /sampan.slice/sampan-pods.service ", text)
        text = (self.root / "usr/local/lib/systemd/system/sampan-pods.service").read_text()
        for line in ("KillMode=process", "Delegate=yes", "Slice=sampan.slice"):
            self.assertIn(f"\n{line}\n", text)

    def test_units_are_valid(self):
        if not shutil.which("systemd-analyze"):
            self.skipTest("systemd-analyze is not installed")
        # --root resolves ExecStart below it.
        self.install()
        for program in PROGRAMS:
            self.assertTrue((self.root / "usr/local/bin" / program).exists())
        self.assertEqual(self.complaints(), [])
        unit = self.root / "usr/local/lib/systemd/system/sampan-proxy.service"
        unit.write_text(unit.read_text().replace("[Install]", "ProtectEverything=yes\n[Install]"))
        self.assertEqual(len(self.complaints()), 1, "a wrong setting went unseen")

    def complaints(self):
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={self.root}",
                               *UNITS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # Below the root there is no sysinit.target; that is not the unit's fault.
        return [line for line in done.stdout.splitlines()
                if "sampan-" in line and "not found" not in line.lower()]


if __name__ == "__main__":
    cases.main()
