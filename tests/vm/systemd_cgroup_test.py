#!/usr/bin/python3
"""sampan-oci --systemd-cgroup: scopes of the system's and of a user's systemd, their properties and
files, update, delete, and what a killed runtime leaves."""
import json
import os
import pathlib
import pwd
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import bundle
import cases

CGROUP = pathlib.Path("/sys/fs/cgroup")


def show(unit, *names, manager=()):
    text = subprocess.run(["systemctl", *manager, "show", unit, *[f"--property={n}" for n in names]], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


class Systemd(unittest.TestCase):
    def setUp(self):
        self.box = bundle.Bundle("--systemd-cgroup")
        self.box.linux["cgroupsPath"] = "sampan-test.slice:vm:box"
        self.unit = "vm-box.scope"
        self.cgroup = CGROUP / "sampan.slice/sampan-test.slice" / self.unit

    def tearDown(self):
        self.box.close()
        self.assertFalse(self.cgroup.exists())
        self.assertEqual(show(self.unit, "LoadState")["LoadState"], "not-found")

    def read(self, name):
        return (self.cgroup / name).read_text().strip()

    def test_scope_has_the_limits_as_properties_and_in_files(self):
        self.box.linux["resources"] = {
            "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
            "cpu": {"shares": 2048, "quota": 25250, "period": 50000, "cpus": "0", "mems": "0"}, "pids": {"limit": 77}}
        self.box.run("-d")
        self.assertIn(str(self.box.pid()), self.read("cgroup.procs").split())
        properties = show(self.unit, "MemoryMax", "MemorySwapMax", "MemoryLow", "CPUWeight", "CPUQuotaPerSecUSec",
                          "CPUQuotaPeriodUSec", "AllowedCPUs", "AllowedMemoryNodes", "TasksMax", "Delegate", "Slice",
                          "DevicePolicy", "CollectMode", "Description", "ActiveState")
        self.assertEqual(properties, {
            "MemoryMax": str(64 << 20), "MemorySwapMax": str(32 << 20), "MemoryLow": str(32 << 20), "CPUWeight": "79",
            # 50.5 % of a processor, in steps of 1 %: the file below has it exactly.
            "CPUQuotaPerSecUSec": "510ms", "CPUQuotaPeriodUSec": "50ms", "AllowedCPUs": "0", "AllowedMemoryNodes": "0",
            "TasksMax": "77", "Delegate": "yes", "Slice": "sampan-test.slice", "DevicePolicy": "strict",
            "CollectMode": "inactive-or-failed", "Description": "sampan container box", "ActiveState": "active"})
        for name, value in {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20), "memory.low": str(32 << 20),
                            "cpu.weight": "79", "cpu.max": "25250 50000", "cpuset.cpus": "0", "pids.max": "77"}.items():
            self.assertEqual(self.read(name), value, name)
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        self.assertEqual(self.read("memory.max"), str(64 << 20))
        self.assertIn(str(self.box.pid()), self.read("cgroup.procs").split())

    def test_update_reaches_systemd_and_survives_its_reload(self):
        self.box.run("-d")
        self.box.oci("update", "--memory", 48 << 20, "--pids-limit", 33, "--cpu-quota", 30000, "--cpu-period", 100000, "box")
        self.assertEqual(show(self.unit, "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec"),
                         {"MemoryMax": str(48 << 20), "TasksMax": "33", "CPUQuotaPerSecUSec": "300ms"})
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        self.assertEqual((self.read("memory.max"), self.read("pids.max"), self.read("cpu.max")),
                         (str(48 << 20), "33", "30000 100000"))

    def test_annotations_become_properties(self):
        self.box.config["annotations"] = {
            "org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.MemoryHigh": "uint64 33554432",
            "org.systemd.property.CollectMode": "'inactive'", "org.systemd.property.After": "['dbus.service', \"basic.target\"]"}
        self.box.run("-d")
        found = show(self.unit, "TimeoutStopUSec", "MemoryHigh", "CollectMode", "After")
        self.assertEqual((found["TimeoutStopUSec"], found["MemoryHigh"], found["CollectMode"]), ("7s", "33554432", "inactive"))
        self.assertLessEqual({"dbus.service", "basic.target"}, set(found["After"].split()))
        self.box.oci("delete", "--force", "box")
        self.box.config["annotations"] = {"org.systemd.property.MemoryHigh": "[1"}
        refused = self.box.run("-d", check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("annotations.org.systemd.property.MemoryHigh: '[1' is no value", refused.stderr)

    def test_devices_are_denied_by_systemd_and_by_us(self):
        disk = os.stat("/dev/vdb").st_rdev
        node = {"type": "b", "major": os.major(disk), "minor": os.minor(disk)}
        self.box.linux["devices"] = [{"path": "/dev/disk", **node}]
        rules = [{"allow": False, "access": "rwm"}]
        self.box.linux["resources"] = {"devices": rules}
        script = "head -c 1 /dev/disk >/dev/null 2>&1; echo read $?; ( : >> /dev/disk ) 2>/dev/null; echo write $?"
        self.assertEqual(self.box.run(script=script).stdout, "read 1\nwrite 1\n")
        rules.append({"allow": True, "access": "r", **node})
        self.assertEqual(self.box.run(script=script).stdout, "read 0\nwrite 1\n")
        self.box.run("-d")
        self.assertIn(f"/dev/block/{node['major']}:{node['minor']} r", show(self.unit, "DeviceAllow")["DeviceAllow"])

    def test_exit_ends_the_scope(self):
        self.assertEqual(self.box.run(script="cat /proc/self/cgroup; exit 3", check=False).returncode, 3)
        self.assertFalse(self.cgroup.exists())

    def test_exec_pause_and_kill(self):
        self.box.run("-d")
        self.assertEqual(self.box.oci("exec", "box", "cat", "/proc/self/cgroup").stdout, "0::/\n")
        self.box.oci("pause", "box")
        self.assertIn("frozen 1", self.read("cgroup.events"))
        self.box.oci("resume", "box")
        self.box.oci("kill", "box", "KILL")
        self.box.oci("delete", "box")

    def test_delegated_cgroup_is_the_containers_to_divide(self):
        """As systemd inside does: its processes go to a leaf, and an exec finds a place."""
        for mount in self.box.config["mounts"]:
            if mount["type"] == "cgroup":
                mount["options"] = [o for o in mount["options"] if o != "ro"]
        self.box.config["process"]["args"] = []
        self.box.run("-d", script="cd /sys/fs/cgroup && mkdir leaf other && echo 1 > leaf/cgroup.procs && "
                                  "echo +memory +pids > cgroup.subtree_control && echo 9 > other/pids.max && touch /tmp/done; sleep 1000")
        deadline = time.monotonic() + 30
        while not (self.box.path / "rootfs/tmp/done").exists():
            self.assertLess(time.monotonic(), deadline, self.box.oci("ps", "box").stdout)
            time.sleep(0.05)
        self.assertEqual(self.box.oci("exec", "box", "cat", "/proc/self/cgroup").stdout, "0::/leaf\n")
        self.assertEqual(self.read("other/pids.max"), "9")
        self.assertEqual(json.loads(self.box.oci("ps", "--format", "json", "box").stdout), [self.box.pid()])

    def test_default_slice_and_names(self):
        del self.box.linux["cgroupsPath"]
        self.box.run("-d", id="plain")
        self.assertIn("/system.slice/sampan-plain.scope", pathlib.Path(f"/proc/{self.box.pid('plain')}/cgroup").read_text())
        for wrong in ("/some/path", "a:b", "noslice:a:b", "a--b.slice:p:n", "x.slice:p:"):
            self.box.linux["cgroupsPath"] = wrong
            refused = self.box.run("-d", check=False)
            self.assertEqual(refused.returncode, 1, wrong)
            self.assertIn("linux.cgroupsPath", refused.stderr)
            self.assertFalse((self.box.root / "box").exists())

    def test_a_name_in_use_is_refused_and_its_owner_lives(self):
        self.box.run("-d")
        again = self.box.run("-d", id="other", check=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn(self.unit, again.stderr)
        self.assertTrue(self.box.pid() > 0)
        self.assertEqual(show(self.unit, "ActiveState")["ActiveState"], "active")

    def test_delete_finds_what_a_killed_runtime_left(self):
        for wait_ms in (1, 5, 15, 40, 80):
            self.box.config["process"]["args"] = ["sleep", "1000"]
            (self.box.path / "config.json").write_text(json.dumps(self.box.config))
            process = subprocess.Popen([bundle.OCI, "--root", self.box.root, "--systemd-cgroup", "create", "--bundle",
                                        self.box.path, "box"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(wait_ms / 1000)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            self.box.oci("delete", "--force", "box")
            self.assertFalse((self.box.root / "box").exists())


class UserSystemd(unittest.TestCase):
    """Rootless: scopes of the user's own manager."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "rower"], check=True)
        cls.uid = pwd.getpwnam("rower").pw_uid
        subprocess.run(["loginctl", "enable-linger", "rower"], check=True)
        deadline = time.monotonic() + 90
        while not os.path.exists(f"/run/user/{cls.uid}/bus"):
            if time.monotonic() > deadline:
                raise RuntimeError("the user's systemd does not come up")
            time.sleep(0.1)

    def setUp(self):
        self.as_user = ("runuser", "-u", "rower", "--", "env", f"XDG_RUNTIME_DIR=/run/user/{self.uid}")
        # Below the user's manager: from elsewhere the kernel lets nobody move a process in.
        self.box = bundle.Bundle("--systemd-cgroup", owner=self.uid,
                                 wrapper=(*self.as_user, "systemd-run", "--user", "--scope", "--quiet", "--"))
        self.box.linux["cgroupsPath"] = "user.slice:vm:rootless"
        # `spec` of an ordinary user has its user namespace already.
        self.assertEqual(self.box.linux["uidMappings"], [{"containerID": 0, "hostID": self.uid, "size": 1}])
        self.cgroup = CGROUP / f"user.slice/user-{self.uid}.slice/user@{self.uid}.service/user.slice/vm-rootless.scope"

    def tearDown(self):
        self.box.close()
        self.assertFalse(self.cgroup.exists())

    def property(self, name):
        return subprocess.run([*self.as_user, "systemctl", "--user", "show", "--value", f"--property={name}", "vm-rootless.scope"],
                              check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def test_scope_of_the_user(self):
        self.box.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 50}}
        self.box.run("-d")
        self.assertIn(str(self.box.pid()), (self.cgroup / "cgroup.procs").read_text().split())
        self.assertEqual(((self.cgroup / "memory.max").read_text(), self.property("MemoryMax")), (f"{64 << 20}\n", str(64 << 20)))
        self.assertEqual(self.box.oci("exec", "box", "sh", "-c", "id -u; cat /proc/self/cgroup").stdout, "0\n0::/\n")
        self.box.oci("update", "--pids-limit", "33", "box")
        self.assertEqual(((self.cgroup / "pids.max").read_text(), self.property("TasksMax")), ("33\n", "33"))
        self.box.oci("pause", "box")
        self.box.oci("resume", "box")
        self.box.oci("delete", "--force", "box")
        self.assertEqual(self.property("LoadState"), "not-found")

    def test_output_and_exit_code(self):
        done = self.box.run(script="echo rootless; exit 6", check=False)
        self.assertEqual((done.returncode, done.stdout), (6, "rootless\n"))


if __name__ == "__main__":
    cases.main()
