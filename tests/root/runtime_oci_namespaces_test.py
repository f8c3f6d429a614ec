#!/usr/bin/python3
"""sampan-oci: namespaces, mounts and network devices, as root and as an ordinary user."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle


class Namespaces(oci_bundle.Bundle):
    def test_user_namespace(self):
        """Through a rootfs that only root may reach; the limits and the oom score come from outside."""
        self.in_user_namespace()
        os.chmod(self.dir, 0o700)
        self.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
        self.config["process"]["oomScoreAdj"] = 321
        done = self.script("id -u; cat /proc/self/uid_map /proc/self/oom_score_adj; ulimit -n; ls /dev/pts; stat -c %t:%T /dev/null")
        self.assertEqual(done.stdout.split(), ["0", "0", "200000", "65536", "321", "77", "ptmx", "1:3"])
        self.start("sleep", "1000")
        done = self.run_oci("exec", "--user", "7:8", "box", "sh", "-c", "id -u; id -g; cat /proc/self/uid_map")
        self.assertEqual(done.stdout.split(), ["7", "8", "0", "200000", "65536"])
        pid = json.loads(self.run_oci("state", "box").stdout)["pid"]
        self.assertEqual(os.stat(f"/proc/{pid}/root/proc/1").st_uid, 200000)

        # A second container joins that namespace.
        for ns in self.config["linux"]["namespaces"]:
            if ns["type"] == "user":
                ns["path"] = f"/proc/{pid}/ns/user"
        del self.config["linux"]["uidMappings"], self.config["linux"]["gidMappings"]
        self.config["linux"]["cgroupsPath"] = f"{oci_bundle.CGROUP}/two"
        self.config["process"]["args"] = ["readlink", "/proc/self/ns/user"]
        self.write()
        done = self.run_oci("run", "--bundle", self.dir / "b", "two")
        self.assertEqual(done.stdout.strip(), os.readlink(f"/proc/{pid}/ns/user"))

    def test_user_namespace_where_all_mounts_are_shared(self):
        """As under systemd: the root must not be a peer of the host's, nor what is bound into it."""
        for place in (self.dir, self.rootfs):
            (place / "data").mkdir()
        self.in_user_namespace()
        self.config["mounts"].append({"destination": "/data", "type": "bind", "source": str(self.dir / "data"), "options": ["rbind"]})
        self.config["process"]["args"] = ["cat", "/proc/self/mountinfo"]
        self.write()
        words = ["unshare", "--mount", "--propagation", "shared", oci_bundle.OCI, "--root", str(self.root), "run",
                 "--bundle", str(self.dir / "b"), "box"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(" /data ", done.stdout)
        self.assertNotIn("shared:", done.stdout)

    def test_user_namespace_binds_what_an_earlier_mount_made(self):
        self.in_user_namespace()
        for name in ("made", "twin"):
            (self.rootfs / name).mkdir()
        self.config["mounts"] += [
            {"destination": "/made", "type": "tmpfs", "source": "tmpfs"},
            {"destination": str(self.rootfs / "twin"), "type": "bind", "source": str(self.rootfs / "made"), "options": ["bind"]}]
        self.assertEqual(self.script("echo here > /made/file; cat /twin/file").stdout, "here\n")

    def test_user_namespace_in_a_network_of_the_host(self):
        """As engines make it: the network belongs to the host's user namespace; a new one, a joined one, exec."""
        name = f"sampan-oci-{os.getpid()}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "delete", name], check=True)
        network = f"net:[{os.stat(f'/run/netns/{name}').st_ino}]"
        self.in_user_namespace()
        for ns in self.config["linux"]["namespaces"]:
            if ns["type"] == "network":
                ns["path"] = f"/run/netns/{name}"
        # A sysfs shows the network: its root may not mount one.
        self.config["mounts"] = [m for m in self.config["mounts"] if not m["destination"].startswith("/sys")]
        self.start("sleep", "1000")
        pid = self.state()["pid"]
        self.assertEqual(os.readlink(f"/proc/{pid}/ns/net"), network)
        self.assertNotEqual(os.readlink(f"/proc/{pid}/ns/user"), os.readlink("/proc/self/ns/user"))
        show = ("sh", "-c", "readlink /proc/self/ns/net; readlink /proc/self/ns/user")
        theirs = [network, os.readlink(f"/proc/{pid}/ns/user")]
        self.assertEqual(self.run_oci("exec", "box", *show).stdout.split(), theirs)
        for ns in self.config["linux"]["namespaces"]:
            if ns["type"] == "user":
                ns["path"] = f"/proc/{pid}/ns/user"
        del self.config["linux"]["uidMappings"], self.config["linux"]["gidMappings"]
        self.config["linux"]["cgroupsPath"] = f"{oci_bundle.CGROUP}/two"
        self.config["process"]["args"] = list(show)
        self.write()
        self.assertEqual(self.run_oci("run", "--bundle", self.dir / "b", "two").stdout.split(), theirs)

    def test_user_namespace_without_root_is_told(self):
        self.in_user_namespace()
        self.config["linux"]["uidMappings"][0]["containerID"] = 1000
        done = self.script("true", check=False)
        self.assertIn("no id map has id 0", done.stderr)
        self.assertFalse((self.root / "box").exists())

    def test_id_mapped_mounts(self):
        shared = self.dir / "shared"
        (shared / "below").mkdir(parents=True)
        for name, uid in (("a", 0), ("b", 5)):
            (shared / name).touch()
            os.chown(shared / name, uid, uid)
        maps = [{"containerID": 0, "hostID": 1000, "size": 10}]
        mount = {"destination": "/mnt", "type": "bind", "source": str(shared), "options": ["rbind"],
                 "uidMappings": maps, "gidMappings": maps}
        self.config["mounts"].append(mount)
        done = self.script("stat -c %u:%g /mnt/a /mnt/b", check=False)
        if "id-mapped" in done.stderr:
            self.skipTest("a file system with id-mapped mounts")
        self.assertEqual(done.stdout.split(), ["1000:1000", "1005:1005"])
        # With the container's own maps the owner looks as outside.
        del mount["uidMappings"], mount["gidMappings"]
        mount["options"] = ["rbind", "ridmap", "rro"]
        self.in_user_namespace()
        done = self.script("stat -c %u:%g /mnt/a /mnt/b; touch /mnt/a || echo ro")
        self.assertEqual(done.stdout.split(), ["0:0", "5:5", "ro"])

    def test_time_namespace(self):
        self.config["linux"]["namespaces"].append({"type": "time"})
        self.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}, "monotonic": {"secs": 7, "nanosecs": 1}}
        done = self.script("cat /proc/uptime /proc/self/timens_offsets")
        self.assertGreater(float(done.stdout.split()[0]), 1000000)
        self.assertIn("7", done.stdout.splitlines()[1].split())
        self.start("sleep", "1000")
        self.assertGreater(float(self.run_oci("exec", "box", "cat", "/proc/uptime").stdout.split()[0]), 1000000)

    def test_tmpcopyup_remount_and_relative_sources(self):
        (self.rootfs / "data/sub").mkdir(parents=True)
        (self.rootfs / "data/sub/file").write_text("hello")
        os.chown(self.rootfs / "data/sub/file", 3, 4)
        (self.rootfs / "data/link").symlink_to("sub/file")
        (self.dir / "b/beside").mkdir()
        self.config["mounts"] += [
            {"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"]},
            {"destination": "/beside", "type": "bind", "source": "beside", "options": ["bind"]},
            {"destination": "/beside", "type": "bind", "source": "beside", "options": ["remount", "bind", "ro"]}]
        done = self.script("cat /data/link; stat -c %u:%g /data/sub/file; touch /data/x || touch /beside/x || echo ro")
        self.assertEqual(done.stdout.split(), ["hello3:4", "ro"])

    def test_without_a_mount_namespace_and_without_pivot(self):
        before = pathlib.Path("/proc/self/mountinfo").read_text()
        self.config["process"]["args"] = ["sh", "-c", "pwd; ls /bin/busybox"]
        self.write()
        done = self.run_oci("run", "--no-pivot", "--bundle", self.dir / "b", "box")
        self.assertEqual(done.stdout.split(), ["/", "/bin/busybox"])
        self.config["linux"]["namespaces"] = [ns for ns in self.config["linux"]["namespaces"] if ns["type"] != "mount"]
        self.write()
        self.assertEqual(self.run_oci("run", "--bundle", self.dir / "b", "box").stdout.split(), ["/", "/bin/busybox"])
        self.assertEqual(pathlib.Path("/proc/self/mountinfo").read_text(), before)

    def test_options_of_a_bind_mount_are_all_that_it_has(self):
        """As with mount(2): who gives one gives all; without any they are the source's."""
        (self.dir / "data").mkdir()
        (self.rootfs / "data").mkdir()

        def options(source, *given):
            self.config["mounts"] = [m for m in self.config["mounts"] if m["destination"] != "/data"]
            self.config["mounts"].append({"destination": "/data", "type": "bind", "source": str(self.dir / "data"), "options": ["bind", *given]})
            self.config["process"]["args"] = ["grep", " /data ", "/proc/self/mountinfo"]
            self.write()
            script = f"mount -t tmpfs data {self.dir}/data && mount -o remount,bind,{source} {self.dir}/data && exec \"$@\""
            done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", oci_bundle.OCI, "--root", str(self.root), "run",
                                   "--bundle", str(self.dir / "b"), "box"], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            return set(done.stdout.split()[5].split(","))
        self.assertEqual(options("ro,noexec,nodev,noatime"), {"ro", "noexec", "nodev", "noatime"})
        self.assertEqual(options("ro,noexec,noatime", "dev"), {"rw", "noatime"})
        self.assertEqual(options("nosuid,noatime", "ro", "relatime"), {"ro", "relatime"})
        self.assertEqual(options("noatime", "nodiratime"), {"rw", "nodiratime", "relatime"})
        self.assertEqual(options("nodiratime", "strictatime"), {"rw"})
        # What a user namespace could not switch off stays.
        self.in_user_namespace()
        self.assertEqual(options("nosuid,noexec,relatime", "ro"), {"ro", "nosuid", "noexec", "relatime"})

    def test_no_pivot_leaves_no_bare_proc(self):
        """With one visible, a user namespace inside could mount another: also one mounted over, or elsewhere.
        No more than after a pivot: with kernel 6.1 that, and runc's, lets it through."""
        (self.dir / "proc").mkdir()
        (self.rootfs / "bin/unshare").symlink_to("busybox")
        self.config["process"]["args"] = ["unshare", "-mrpf", "sh", "-c", "mount -t proc none /proc && echo bare; echo tried"]
        # Without those its root could not be mapped.
        for kind in ("bounding", "effective", "permitted"):
            self.config["process"]["capabilities"][kind] += ["CAP_SYS_ADMIN", "CAP_SETFCAP"]
        self.write()
        expected = self.run_oci("run", "--bundle", self.dir / "b", "box").stdout
        self.assertIn("tried", expected)
        script = f"mount -t proc none {self.dir}/proc && mount -t proc none /proc && exec \"$@\""
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", oci_bundle.OCI, "--root", str(self.root), "run",
                               "--no-pivot", "--bundle", str(self.dir / "b"), "box"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.stdout, expected, done.stderr)

    def test_root_propagation(self):
        for value, word in (("shared", "shared:"), ("rslave", ""), ("private", ""), ("unbindable", "unbindable")):
            self.config["linux"]["rootfsPropagation"] = value
            done = self.script("grep ' / / \\| - ' /proc/self/mountinfo | head -1")
            self.assertIn(word, done.stdout, value)

    def test_network_devices_move_in_with_their_addresses(self):
        namespace = f"sampan-oci-{os.getpid()}"
        run = lambda *words: subprocess.run(words, check=True, capture_output=True)
        run("ip", "netns", "add", namespace)
        self.addCleanup(run, "ip", "netns", "delete", namespace)
        for words in (["link", "add", "dm0", "type", "veth", "peer", "name", "dm1"], ["address", "add", "192.0.2.7/24", "dev", "dm0"],
                      ["-6", "address", "add", "2001:db8::7/64", "dev", "dm0", "nodad"]):
            run("ip", "-n", namespace, *words)
        self.config["linux"]["netDevices"] = {"dm0": {"name": "lan%d"}}
        (self.rootfs / "bin/ip").symlink_to("busybox")
        self.config["process"]["args"] = ["ip", "address", "show", "lan0"]
        self.write()
        words = ["nsenter", f"--net=/run/netns/{namespace}", oci_bundle.OCI, "--root", str(self.root), "run", "--bundle", str(self.dir / "b"), "box"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in ("192.0.2.7/24", "2001:db8::7/64", ",UP"):
            self.assertIn(part, done.stdout)
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)  # a virtual one dies with its namespace
        self.assertIn("linux.netDevices[dm0]", done.stderr)
        self.assertFalse((self.root / "box").exists())

    def test_an_ordinary_user(self):
        """No privilege, no cgroup: the state is the user's, the maps its own id alone."""
        home = self.dir / "home"
        home.mkdir()
        os.chmod(self.dir, 0o711)
        shutil.copytree(self.rootfs, home / "rootfs", symlinks=True)
        program = shutil.copy(oci_bundle.OCI, home / "sampan-oci")
        linux = self.config["linux"]
        self.in_user_namespace(65534, 1)
        for key in ("resources", "cgroupsPath"):
            del linux[key]
        for mount in self.config["mounts"]:
            mount["options"] = [o for o in mount["options"] if not o.startswith("gid=")]
        self.config["process"]["args"] = ["sh", "-c", "id -u; cat /proc/self/uid_map; echo x > /bin/made"]
        (home / "config.json").write_text(json.dumps(self.config))
        subprocess.run(["chown", "-R", "65534:65534", str(home)], check=True)

        def run(*words):
            return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(program), "--root",
                                   str(home / "state"), *words], capture_output=True, text=True, timeout=60, cwd=home,
                                  stdin=subprocess.DEVNULL)
        done = run("run", "box")
        self.assertEqual((done.returncode, done.stdout.split()), (0, ["0", "0", "65534", "1"]), done.stderr)
        self.assertEqual(os.stat(home / "rootfs/bin/made").st_uid, 65534)
        linux["resources"] = {"pids": {"limit": 5}}
        (home / "config.json").write_text(json.dumps(self.config))
        done = run("run", "box")
        self.assertIn("linux.resources.pids.limit", done.stderr)
        self.assertEqual(os.listdir(home / "state"), [])


if __name__ == "__main__":
    cases.main()
