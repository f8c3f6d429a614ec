"""What the tests of `sampan run` share: a network namespace of their own, directories of their own,
a busybox image, and a look at what is left when a test ends."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from cases import BIN

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "e2e"))
import images  # noqa: E402


def enter_own_network():
    """The whole script runs again in a namespace that leads nowhere; skips what can't."""
    for missing in [name for name in ("nft", "busybox") if not shutil.which(name)] + ["root"] * (os.geteuid() != 0):
        print("skip:", missing)
        sys.exit(77)
    if os.environ.get("SAMPAN_TEST_NETNS") != "1":
        os.environ["SAMPAN_TEST_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def cgroups_below(name):
    found = []
    for controller in pathlib.Path("/sys/fs/cgroup").iterdir():
        top = controller / name
        if top.is_dir():
            found += [str(path) for path in top.iterdir() if path.is_dir()]
    top = pathlib.Path("/sys/fs/cgroup") / name
    return found + ([str(path) for path in top.iterdir() if path.is_dir()] if top.is_dir() else [])


class ContainerCase(unittest.TestCase):
    files = {}
    own_links = set()  # of the test itself

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.parent = f"sampan-run-test-{os.getpid()}"
        cls.env = {"PATH": os.environ["PATH"], "SAMPAN_ROOT": str(cls.folder / "root"), "SAMPAN_RUN_DIR": str(cls.folder / "run"),
                   "SAMPAN_CGROUP_PARENT": "/" + cls.parent}
        archive = cls.folder / "image.tar"
        archive.write_bytes(images.docker_archive("busybox:latest", images.busybox_layer(cls.files),
                                                  {"Cmd": ["sh"], "Env": ["PATH=/bin", "FROM=image"], "WorkingDir": "/tmp"}))
        cls.sampan("image", "load", archive, check=True)
        cls.addClassCleanup(cls.remove_cgroups)

    @classmethod
    def remove_cgroups(cls):
        for controller in [pathlib.Path("/sys/fs/cgroup"), *pathlib.Path("/sys/fs/cgroup").iterdir()]:
            try:
                (controller / cls.parent).rmdir()
            except OSError:
                pass

    def tearDown(self):
        done = self.sampan("rm", "-f", "--all")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        root, run = self.folder / "root", self.folder / "run"
        self.assertEqual(list((root / "containers").glob("*")), [])
        left = [str(path) for path in run.rglob("*") if not path.is_dir() and not path.name.startswith(".")]
        self.assertEqual(left, [], "left in the run directory")
        self.assertEqual(cgroups_below(self.parent), [])
        links = subprocess.run(["ip", "-o", "link", "show", "type", "veth"], capture_output=True, text=True, check=True).stdout
        names = {line.split(":")[1].strip().split("@")[0] for line in links.splitlines()}
        self.assertEqual(names - self.own_links, set())

    @classmethod
    def command(cls, *words):
        return [str(BIN / "sampan"), *map(str, words)]

    @classmethod
    def sampan(cls, *words, check=False, env=None, **options):
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        done = subprocess.run(cls.command(*words), check=False, env={**cls.env, **(env or {})}, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"sampan {' '.join(map(str, words))}: {done.returncode}: {done.stderr}")
        return done

    def out(self, *words, **options):
        return self.sampan(*words, check=True, **options).stdout

    def inspect(self, name):
        return json.loads(self.out("inspect", name))[0]

    def start(self, *words, **options):
        """In the background; ended with the test."""
        process = subprocess.Popen(self.command(*words), env=self.env, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process
