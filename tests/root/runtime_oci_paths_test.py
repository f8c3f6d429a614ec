#!/usr/bin/python3
"""sampan-oci: every path of a config and of the command line, with values that nobody means to give. What
is accepted and what is refused is runc's and crun's verdict; where the two differ, the stricter one. However
it ends, the container can be removed and nothing of it is left."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import cases
import oci_bundle

LONG = "/" + "a/" * 2500 + "x"       # beyond PATH_MAX
LONG_NAME = "/tmp/" + "n" * 300      # beyond NAME_MAX
DOTS = f"tmp/sampan-dots-{os.getpid()}"
VALUES = {"long": LONG, "long name": LONG_NAME, "empty": "", "relative": "x/y", "dots": f"/../../{DOTS}",
          "relative dots": f"../../{DOTS}", "dot": ".", "absent": "/nonexistent/x", "root": "/"}
NOTIFY = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}


def namespace(kind):
    def put(config, value):
        spaces = config["linux"]["namespaces"]
        spaces[:] = [ns for ns in spaces if ns["type"] != kind] + [{"type": kind, "path": value}]
    return put


def user_namespace(config, value):
    namespace("user")(config, value)
    for one in config["mounts"]:
        one["options"] = [option for option in one.get("options", []) if option != "gid=5"]  # which has no map


def hook(kind):
    return lambda config, value: config.update(hooks={kind: [{"path": value}]})


def mount(**members):
    def put(config, value):
        config["mounts"].append({key: value if part is None else part for key, part in members.items()})
    return put


# Where it goes, and the values that are accepted.
FIELDS = {
    "root.path": (lambda c, v: c["root"].update(path=v), ""),
    "mounts.source": (mount(destination="/m", type="bind", source=None, options=["bind"]), "dot, root"),
    "mounts.destination": (mount(destination=None, type="tmpfs", source="tmpfs"), "relative, dots, relative dots, absent"),
    "mounts.destination of a file": (mount(destination=None, type="bind", source="/etc/hostname", options=["bind"]),
                                     "relative, dots, relative dots, absent"),
    **{f"namespaces {kind}": (namespace(kind), "empty") for kind in ("network", "pid", "ipc", "uts", "mount", "cgroup")},
    "namespaces user": (user_namespace, "empty"),  # crun's: without maps
    "devices.path": (lambda c, v: c["linux"].update(devices=[{"path": v, "type": "c", "major": 1, "minor": 3}]), "dots, absent"),
    "maskedPaths": (lambda c, v: c["linux"]["maskedPaths"].append(v), "empty, relative, dots, relative dots, absent"),
    "readonlyPaths": (lambda c, v: c["linux"]["readonlyPaths"].append(v), "empty, relative, dots, relative dots, dot, absent, root"),
    "process.cwd": (lambda c, v: c["process"].update(cwd=v), "dots, absent, root"),
    "process.args[0]": (lambda c, v: c["process"].update(args=[v]), ""),
    "cgroupsPath": (lambda c, v: c["linux"].update(cgroupsPath=v and oci_bundle.CGROUP + "/" + v), "empty, relative, absent"),
    "listenerPath": (lambda c, v: c["linux"].update(seccomp={**NOTIFY, "listenerPath": v}), ""),
    **{f"hooks {kind}": (hook(kind), "") for kind in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart")},
    "pidfd_receiver": (lambda c, v: c.update(annotations={"run.oci.pidfd_receiver": v}), ""),
    "hooks.stdout": (lambda c, v: c.update(annotations={"run.oci.hooks.stdout": v}, hooks={"poststart": [{"path": "/bin/true"}]}), "dots"),
}
# The same of the command line: the words, and the values that are accepted.
WORDS = {
    "--root": (lambda v, b: ["--root", v, "run", "--bundle", b, "box"], "relative, dots, relative dots, dot"),
    "--bundle": (lambda v, b: ["run", "--bundle", v, "box"], ""),
    "--config": (lambda v, b: ["run", "--bundle", b, "--config", v, "box"], ""),
    "--log": (lambda v, b: ["--log", v, "run", "--bundle", b, "box"], "empty, dots, relative dots"),
    "--pid-file": (lambda v, b: ["run", "--bundle", b, "--pid-file", v, "box"], "empty, dots, relative dots"),
    "--pidfd-socket": (lambda v, b: ["run", "--bundle", b, "--pidfd-socket", v, "box"], ""),
    "--console-socket": (lambda v, b: ["create", "--bundle", b, "--console-socket", v, "box"], ""),
    "ID": (lambda v, b: ["run", "--bundle", b, v], ""),
}
# What would change the host: its own root as a container's, state beside it. And the cgroup above all others'
# here: the kernel (v1, devices) counts a child for a moment after it was removed; v2 lets no
# process into one with children.
LEFT_OUT = {("root.path", "root"), ("--root", "absent"), ("--root", "root"), ("cgroupsPath", "root"), ("cgroupsPath", "dot")}


class Paths(oci_bundle.Bundle):
    def setUp(self):
        super().setUp()
        self.config["process"]["args"] = ["true"]
        self.plain = json.dumps(self.config)
        self.addCleanup(self.forget)

    def forget(self):
        """What an accepted value made, in the root and on the host: the next one must not find it."""
        for path in (pathlib.Path("/", DOTS), self.rootfs / DOTS, self.rootfs / "nonexistent", self.rootfs / "x", self.rootfs / "m"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def check(self, what, words, accepted, change):
        for name, value in VALUES.items():
            if (what, name) in LEFT_OUT:
                continue
            with self.subTest(what, value=name):
                self.forget()
                for path in sorted(pathlib.Path("/sys/fs/cgroup").glob(f"*{oci_bundle.CGROUP}/**/*/"), reverse=True):
                    path.rmdir()  # those above a deeper path, which are nobody's
                self.config = json.loads(self.plain)
                change(self.config, value)
                self.write()
                done = subprocess.run([oci_bundle.OCI, *words(value)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True, timeout=60, cwd=self.dir)
                self.assertEqual(done.returncode == 0, name in accepted.split(", "), done.stderr)
                if done.returncode:
                    self.assertTrue(done.stderr.strip())
                    self.assertLessEqual(len(done.stderr), 5000)
                # Nothing is half made; were it, this would take it away.
                self.assertFalse((self.root / "box").exists())
                self.run_oci("delete", "--force", "box")

    def test_of_a_config(self):
        words = ["--root", str(self.root), "run", "--bundle", str(self.dir / "b"), "box"]
        for field, (put, accepted) in FIELDS.items():
            self.check(field, lambda value: words, accepted, put)

    def test_of_the_command_line(self):
        for option, (words, accepted) in WORDS.items():
            def call(value, words=words):
                line = words(value, str(self.dir / "b"))
                return line if line[0] == "--root" else ["--root", str(self.root), *line]

            def change(config, _value, option=option):
                config["process"]["terminal"] = option == "--console-socket"
            self.check(option, call, accepted, change)

    def test_of_exec(self):
        self.start("sleep", "1000")
        accepted = {"--cwd": "dot, root", "--process": "", "--pid-file": "empty, dots, relative dots", "--pidfd-socket": "", "--cgroup": "empty, dot, root"}
        for option, good in accepted.items():
            for name, value in VALUES.items():
                with self.subTest(option, value=name):
                    self.forget()
                    words = ["exec", option, value, "box", *([] if option == "--process" else ["true"])]
                    done = self.run_oci(*words, check=False, cwd=self.dir)
                    self.assertEqual(done.returncode, 0 if name in good.split(", ") else 255,
                                     done.stderr)
        # What was started for nothing is not left either.
        deadline = time.monotonic() + 30
        while (left := json.loads(self.run_oci("ps", "-f", "json", "box").stdout)) != [self.state()["pid"]] and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(left, [self.state()["pid"]])


if __name__ == "__main__":
    cases.main()
