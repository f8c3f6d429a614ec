#!/usr/bin/python3
"""Debian's podman of an ordinary user on sampan-oci. In network and mount namespaces of its own, with a
storage, a runtime directory and subordinate ids of its own."""
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
import engines

engines.enter_own_namespaces(("podman", "podman"), ("newuidmap", "uidmap"), ("busybox", "busybox-static"), ("setpriv", "util-linux"))

import images  # noqa: E402

IMAGE = "localhost/busybox:1"
USER = 65534
SLEEP = "trap 'exit 5' TERM; while true; do sleep 1000 & wait $!; done"


class Rootless(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="rootless-"))
        cls.dir.chmod(0o755)
        for name in ("home", "run", "home/volume"):
            (cls.dir / name).mkdir()
            os.chown(cls.dir / name, USER, USER)
        (cls.dir / "ids").write_text("nobody:300000:65536\n")
        for name in ("subuid", "subgid"):  # in our own mount namespace
            subprocess.run(["mount", "--bind", cls.dir / "ids", f"/etc/{name}"], check=True)
        # The user may not be let to where the programs are built.
        cls.runtime = shutil.copy(cases.BIN / "sampan-oci", cls.dir / "sampan-oci")
        archive = cls.dir / "image.tar"
        archive.write_bytes(images.docker_archive(IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
        cls.podman("load", "--input", archive)

    @classmethod
    def tearDownClass(cls):
        cls.podman("rm", "--all", "--force", "--time", "0")
        cls.podman("system", "migrate")  # ends its process that holds the namespaces
        left = list((cls.dir / "run/sampan-oci").glob("[!.]*"))
        shutil.rmtree(cls.dir)
        assert not left, left

    @classmethod
    def podman(cls, *words, check=True):
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(cls.dir / "home"), "XDG_RUNTIME_DIR": str(cls.dir / "run")}
        # To files: what stays behind would hold pipes open.
        with open(cls.dir / "out", "w+") as out, open(cls.dir / "err", "w+") as err:
            done = subprocess.run([*user, "podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file",
                                   "--runtime", cls.runtime, *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                  timeout=120, env=environment, cwd=cls.dir / "home")
            out.seek(0), err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode != 0:
            raise AssertionError(f"podman {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def once(self, *options, script, check=True):
        return self.podman("run", "--rm", "--network", "none", *options, IMAGE, "sh", "-c", script, check=check)

    def test_ids(self):
        show = "id -u; id -g; cat /proc/self/uid_map"
        self.assertEqual(self.once(script=show).stdout.split(), ["0", "0", "0", str(USER), "1", "1", "300000", "65536"])
        self.assertEqual(self.once("--user", "5:6", script=show).stdout.split()[:2], ["5", "6"])
        self.assertEqual(self.once("--userns", "keep-id", script=show).stdout.split()[:2], [str(USER)] * 2)
        self.assertEqual(self.once(script="exit 7", check=False).returncode, 7)

    def test_a_volume_belongs_to_the_user(self):
        volume = self.dir / "home/volume"
        self.once("--volume", f"{volume}:/v", script="echo made > /v/file")
        self.assertEqual((os.stat(volume / "file").st_uid, (volume / "file").read_text()), (USER, "made\n"))
        done = self.once("--volume", f"{volume}:/v:ro", script="echo x > /v/other || echo read-only")
        self.assertEqual(done.stdout, "read-only\n")

    def test_life(self):
        self.podman("run", "-d", "--name", "box", "--network", "none", IMAGE, "sh", "-c", SLEEP)
        self.assertEqual(self.podman("exec", "box", "sh", "-c", "echo $(id -u)").stdout, "0\n")
        self.assertEqual(self.podman("exec", "--user", "9", "box", "id", "-u").stdout, "9\n")
        self.assertEqual(self.podman("exec", "box", "sh", "-c", "exit 3", check=False).returncode, 3)
        self.assertEqual(json.loads(self.podman("inspect", "box").stdout)[0]["State"]["Status"], "running")
        self.podman("stop", "--time", "20", "box")
        state = json.loads(self.podman("inspect", "box").stdout)[0]["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 5))
        self.podman("start", "box")
        self.podman("kill", "box")
        self.podman("rm", "box")

    def test_a_pid_namespace_is_shared(self):
        self.podman("run", "-d", "--name", "first", "--network", "none", IMAGE, "sh", "-c", SLEEP)
        done = self.once("--pid", "container:first", script="tr '\\0' ' ' < /proc/1/cmdline")
        self.assertIn("trap", done.stdout)
        self.podman("rm", "--force", "--time", "0", "first")


if __name__ == "__main__":
    cases.main()
