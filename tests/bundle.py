"""An OCI bundle of busybox in a directory of its own, and sampan-oci run on it. For tests of what the
runtime does with a config; owns the directory, the state below it, and the removal of both."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import cases

OCI = str(cases.BIN / "sampan-oci")


class Bundle:
    def __init__(self, *global_options, wrapper=(), owner=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-bundle-"))
        self.path, self.root = self.dir / "b", self.dir / "state"
        self.options, self.wrapper = global_options, wrapper
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            (self.path / "rootfs" / name).mkdir(parents=True)
        shutil.copy("/bin/busybox", self.path / "rootfs/bin/busybox")
        for applet in subprocess.run(["/bin/busybox", "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split():
            if applet != "busybox":
                (self.path / "rootfs/bin" / applet).symlink_to("busybox")
        if owner is not None:
            self.dir.chmod(0o755)
            for path in (self.dir, *self.dir.rglob("*")):
                os.lchown(path, owner, owner)
        self.oci("spec", "--bundle", self.path)
        self.config = json.loads((self.path / "config.json").read_text())
        self.config["process"]["terminal"] = False
        self.config["root"]["readonly"] = False
        self.linux = self.config["linux"]

    def oci(self, *words, check=True, input=None, wait_output=True):
        """Output goes through files: a container that stays would hold a pipe of ours open."""
        with open(self.dir / "out", "w+") as out, open(self.dir / "err", "w+") as err:
            done = subprocess.run([*self.wrapper, OCI, "--root", str(self.root), *self.options, *map(str, words)],
                                  input=input, stdin=None if input is not None else subprocess.DEVNULL,
                                  stdout=out, stderr=err, text=True, timeout=120)
            out.seek(0), err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        if check and done.returncode != 0:
            raise AssertionError(f"sampan-oci {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def run(self, *words, script=None, id="box", check=True):
        self.config["process"]["args"] = ["sh", "-c", script] if script is not None else ["sleep", "1000"]
        (self.path / "config.json").write_text(json.dumps(self.config))
        return self.oci("run", *words, "--bundle", self.path, id, check=check)

    def pid(self, id="box"):
        return json.loads(self.oci("state", id).stdout)["pid"]

    def close(self):
        for name in sorted(os.listdir(self.root)) if self.root.exists() else []:
            if not name.startswith("."):
                self.oci("delete", "--force", name, check=False)
        shutil.rmtree(self.dir)
