#!/usr/bin/python3
"""Every resource of a config on pure cgroup v2, read back from the kernel's files; freezing, killing,
delegation, devices, and that nothing stays. Without systemd's help: cgroupfs below a slice of ours."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import bundle
import cases

ROOT = pathlib.Path("/sys/fs/cgroup")
MIB = 1 << 20


class Cgroup2(unittest.TestCase):
    def setUp(self):
        self.box = bundle.Bundle()
        self.box.linux["cgroupsPath"] = "/sampan-v2/nested/box"
        self.cgroup = ROOT / "sampan-v2/nested/box"

    def tearDown(self):
        self.box.close()
        self.assertFalse(self.cgroup.exists())
        for path in (self.cgroup.parent, self.cgroup.parent.parent):
            if path.exists():
                path.rmdir()

    def read(self, name):
        return (self.cgroup / name).read_text().strip()

    def with_resources(self, resources, *words, **more):
        self.box.linux["resources"] = resources
        return self.box.run(*(words or ("-d",)), **more)

    def refused(self, resources, text):
        done = self.with_resources(resources, "-d", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(text, done.stderr)
        self.assertFalse(self.cgroup.exists())
        self.assertFalse((self.box.root / "box").exists())

    def test_host_is_pure_v2(self):
        types = {line.split(" - ")[1].split()[0] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}
        self.assertNotIn("cgroup", types)
        features = json.loads(self.box.oci("features").stdout)
        self.assertEqual((features["linux"]["cgroup"]["v1"], features["linux"]["cgroup"]["v2"]), (True, True))

    def test_memory(self):
        self.with_resources({"memory": {"limit": 64 * MIB, "swap": 80 * MIB, "reservation": 32 * MIB}})
        self.assertEqual((self.read("memory.max"), self.read("memory.swap.max"), self.read("memory.low")),
                         (str(64 * MIB), str(16 * MIB), str(32 * MIB)))
        self.box.oci("update", "--memory", 48 * MIB, "--memory-swap", -1, "box")
        self.assertEqual((self.read("memory.max"), self.read("memory.swap.max")), (str(48 * MIB), "max"))
        self.box.oci("update", "--memory", -1, "box")
        self.assertEqual(self.read("memory.max"), "max")

    def test_memory_over_the_limit_is_killed_and_counted(self):
        done = self.with_resources({"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}, "--keep", check=False,
                                   script="head -c 100m /dev/zero | tail -c 90m | wc -c; cat /sys/fs/cgroup/memory.events")
        self.assertRegex(done.stdout, r"oom_kill [1-9]")

    def test_refused_because_v2_has_no_such_thing(self):
        self.refused({"memory": {"limit": MIB, "swappiness": 10}}, "linux.resources.memory.swappiness: cgroup v2 has no such setting")
        self.refused({"memory": {"disableOOMKiller": True}}, "linux.resources.memory.disableOOMKiller")
        self.refused({"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 10000}}, "linux.resources.cpu.realtimeRuntime")
        self.refused({"memory": {"limit": 8 * MIB, "swap": 4 * MIB}}, "linux.resources.memory.swap")

    def test_cpu_and_cpuset(self):
        self.with_resources({"cpu": {"shares": 1024, "quota": 20000, "period": 50000, "burst": 5000, "cpus": "1", "mems": "0"}})
        self.assertEqual([self.read(f) for f in ("cpu.weight", "cpu.max", "cpu.max.burst", "cpuset.cpus", "cpuset.cpus.effective", "cpuset.mems")],
                         ["39", "20000 50000", "5000", "1", "1", "0"])
        self.assertEqual(self.box.oci("exec", "box", "sh", "-c", "grep Cpus_allowed_list /proc/self/status").stdout.split()[1], "1")
        self.box.oci("update", "--cpu-quota", -1, "--cpuset-cpus", "0-1", "box")
        self.assertEqual((self.read("cpu.max"), self.read("cpuset.cpus")), ("max 50000", "0-1"))

    def test_idle(self):
        self.with_resources({"cpu": {"idle": 1}})
        self.assertEqual(self.read("cpu.idle"), "1")

    def test_pids(self):
        done = self.with_resources({"pids": {"limit": 4}}, "--keep", check=False,
                                   script="for i in 1 2 3 4 5 6; do sleep 5 & done; echo unreached; wait")
        self.assertIn("can't fork", done.stderr)
        self.box.oci("delete", "box")
        self.with_resources({"pids": {"limit": 9}})
        self.assertEqual(self.read("pids.max"), "9")
        self.box.oci("update", "--pids-limit", -1, "box")
        self.assertEqual(self.read("pids.max"), "max")

    def test_block_io(self):
        device = {"major": os.major(os.stat("/dev/vdb").st_rdev), "minor": os.minor(os.stat("/dev/vdb").st_rdev)}
        self.with_resources({"blockIO": {"throttleReadBpsDevice": [{**device, "rate": 1000000}],
                                         "throttleWriteIOPSDevice": [{**device, "rate": 50}]}})
        self.assertEqual(self.read("io.max"), f"{device['major']}:{device['minor']} rbps=1000000 wbps=max riops=max wiops=50")

    def test_hugetlb(self):
        self.with_resources({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
        self.assertEqual(self.read("hugetlb.2MB.max"), str(4 * MIB))

    def test_unified(self):
        self.with_resources({"unified": {"memory.high": "20971520", "memory.oom.group": "1", "pids.max": "12", "cpu.weight": "50"}})
        self.assertEqual([self.read(f) for f in ("memory.high", "memory.oom.group", "pids.max", "cpu.weight")],
                         ["20971520", "1", "12", "50"])
        self.box.oci("delete", "--force", "box")
        self.refused({"unified": {"memory.nosuch": "1"}}, "memory.nosuch")
        self.refused({"unified": {"../escape": "1"}}, "linux.resources.unified")
        self.refused({"unified": {"memory.max/../../pids.max": "1"}}, "linux.resources.unified")

    def test_every_process_is_born_inside(self):
        """By clone3 into the cgroup: the first thing a program can see is its own cgroup."""
        done = self.with_resources({}, "--keep", script="cat /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs | wc -l")
        self.assertEqual(done.stdout.split("\n")[0], "0::/")

    def test_freeze_exec_and_kill_through_a_freeze(self):
        self.with_resources({})
        self.box.oci("pause", "box")
        self.assertEqual(json.loads(self.box.oci("state", "box").stdout)["status"], "paused")
        self.assertIn("frozen 1", self.read("cgroup.events"))
        self.assertEqual(self.box.oci("exec", "box", "true", check=False).returncode, 255)
        self.box.oci("resume", "box")
        self.assertEqual(self.box.oci("exec", "box", "echo", "thawed").stdout, "thawed\n")
        self.box.oci("pause", "box")
        started = time.monotonic()
        self.box.oci("delete", "--force", "box")
        self.assertLess(time.monotonic() - started, 8)

    def test_kill_all_reaches_what_forks(self):
        self.box.linux["namespaces"] = [n for n in self.box.linux["namespaces"] if n["type"] != "pid"]
        self.with_resources({}, "-d", script="while true; do sleep 1000 & sleep 0.01; done")
        deadline = time.monotonic() + 30
        while len(self.read("cgroup.procs").split()) < 5:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.box.oci("delete", "--force", "box")

    def test_devices_by_bpf(self):
        disk = os.stat("/dev/vdb").st_rdev
        node = {"type": "b", "major": os.major(disk), "minor": os.minor(disk)}
        self.box.linux["devices"] = [{"path": "/dev/disk", **node}]
        for kind in ("bounding", "effective", "permitted"):
            self.box.config["process"]["capabilities"][kind].append("CAP_MKNOD")
        script = "head -c 1 /dev/disk >/dev/null 2>&1; echo read $?; ( : >> /dev/disk ) 2>/dev/null; echo write $?; " \
                 "rm -f /tmp/d; mknod /tmp/d b 7 0; echo mknod $?; ( : < /tmp/d ) 2>/dev/null; echo other $?; echo x > /dev/null; echo null $?"

        def outcome(*rules):
            out = self.with_resources({"devices": rules}, "--keep", script=script, check=False).stdout
            self.box.oci("delete", "box")
            return [int(word) for word in out.split()[1::2]]

        deny, allow = {"allow": False, "access": "rwm"}, {"allow": True, "access": "r", **node}
        self.assertEqual(outcome(deny), [1, 1, 0, 1, 0])
        self.assertEqual(outcome(deny, allow), [0, 1, 0, 1, 0])
        self.assertEqual(outcome({"allow": True, "access": "rwm"}, {"allow": False, "access": "w", **node})[:2], [0, 1])

    def test_update_from_a_file(self):
        self.with_resources({"memory": {"limit": 64 * MIB}})
        self.box.oci("update", "--resources", "-", "box", input=json.dumps(
            {"memory": {"limit": 32 * MIB}, "pids": {"limit": 5}, "unified": {"memory.high": "16777216"}}))
        self.assertEqual([self.read(f) for f in ("memory.max", "pids.max", "memory.high")], [str(32 * MIB), "5", "16777216"])

    def test_a_parent_with_processes_is_named(self):
        self.cgroup.parent.mkdir(parents=True)
        sleeper = subprocess.Popen(["sleep", "1000"])
        try:
            (self.cgroup.parent / "cgroup.procs").write_text(str(sleeper.pid))
            done = self.with_resources({"memory": {"limit": 64 * MIB}}, "-d", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("holds processes", done.stderr)
        finally:
            sleeper.kill()
            sleeper.wait()

    def test_lives_leave_nothing(self):
        before = sorted(p.name for p in ROOT.iterdir())
        for _ in range(20):
            self.with_resources({"memory": {"limit": 64 * MIB}, "pids": {"limit": 5}}, "--pid-file", self.box.dir / "pid", script="true")
            self.assertFalse(self.cgroup.exists())
        for path in (self.cgroup.parent, self.cgroup.parent.parent):
            path.rmdir()
        self.assertEqual(sorted(p.name for p in ROOT.iterdir()), before)


if __name__ == "__main__":
    cases.main()
