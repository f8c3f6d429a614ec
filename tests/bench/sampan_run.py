#!/usr/bin/python3
"""`sampan run` beside Debian's podman with crun: the time of a whole command, in turns, so that both
see the same machine. Medians and the median of the paired ratios."""
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases

ROUNDS = int(os.environ.get("SAMPAN_BENCH_ROUNDS", "15"))


def skip(what):
    print("skip:", what)
    sys.exit(77)


def enter_own_network():
    if os.environ.get("SAMPAN_TEST_NETNS") != "1":
        os.environ["SAMPAN_TEST_NETNS"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Debian's crun refuses a host that has both; in our own mount namespace it is a v1 host.
    if os.path.ismount("/sys/fs/cgroup/unified"):
        subprocess.run(["umount", "/sys/fs/cgroup/unified"], check=True)


class Engine:
    def __init__(self, name, command, env):
        self.name, self.command, self.env = name, [str(word) for word in command], env

    def run(self, *words):
        done = subprocess.run([*self.command, *words], env=self.env, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name} {' '.join(words)}: {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def seconds(self, *words):
        began = time.perf_counter()
        self.run(*words)
        return time.perf_counter() - began


def measure(title, engines, once):
    """once(engine) -> seconds"""
    times = {engine.name: [] for engine in engines}
    try:
        for engine in engines:
            once(engine)  # the first is not counted: caches
        for i in range(ROUNDS):
            for engine in engines if i % 2 else engines[::-1]:
                times[engine.name].append(once(engine))
    except RuntimeError as error:
        print(f"{title}: not measured: {str(error)[:200]}")
        return
    ours, theirs = (times[engine.name] for engine in engines)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs))
    print(f"{title:34} sampan {statistics.median(ours) * 1000:7.1f} ms   podman {statistics.median(theirs) * 1000:7.1f} ms   podman/sampan {ratio:5.1f}")


def main():
    if os.geteuid() != 0:
        skip("root")
    for program in ("podman", "crun", "busybox", "nft"):
        if not shutil.which(program):
            skip(program)
    enter_own_network()
    import images
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sampan-run-bench-"))
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "SAMPAN_ROOT": str(folder / "root"), "SAMPAN_RUN_DIR": str(folder / "run"),
           "SAMPAN_CGROUP_PARENT": f"/sampan-run-bench-{os.getpid()}"}
    sampan = Engine("sampan", [cases.BIN / "sampan"], env)
    podman = Engine("podman", ["podman", "--root", folder / "podman", "--runroot", folder / "podman-run", "--tmpdir", folder / "podman-tmp", "--runtime", shutil.which("crun"),
                               "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay", "--events-backend", "none"], env)
    # podman would raise them, which takes CAP_SYS_RESOURCE.
    limits = {name: min(resource.getrlimit(number)[1] % (1 << 63), 4096) for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))}
    (folder / "containers.conf").write_text("[containers]\ndefault_ulimits = [" + ", ".join(f'"{name}={most}:{most}"' for name, most in limits.items()) + "]\n")
    podman.env = {**env, "CONTAINERS_CONF": str(folder / "containers.conf")}
    engines = [sampan, podman]
    archive = folder / "image.tar"
    archive.write_bytes(images.docker_archive("busybox:latest", images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
    try:
        sampan.run("image", "load", str(archive))
        podman.run("load", "-q", "-i", str(archive))
        version = podman.run("--version")
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.0f}, {cases.BIN.parent.name} build; {version}, crun {subprocess.run(['crun', '--version'], capture_output=True, text=True, check=True).stdout.split()[2]}; {ROUNDS} rounds in turns, medians")
        for network in ("none", "bridge"):
            measure(f"run --rm --network {network} true", engines, lambda e, n=network: e.seconds("run", "--rm", "--pull", "never", "--network", n, "busybox", "true"))
        for engine in engines:
            engine.run("run", "-d", "--pull", "never", "--network", "none", "--name", "box", "busybox", "sleep", "100000")
        measure("exec true", engines, lambda e: e.seconds("exec", "box", "true"))
        measure("ps", engines, lambda e: e.seconds("ps"))

        def life(engine):
            began = time.perf_counter()
            engine.run("run", "-d", "--pull", "never", "--network", "none", "--name", "brief", "busybox", "sleep", "100000")
            engine.run("rm", "-f", *(["-t", "0"] if engine.name == "podman" else []), "brief")
            return time.perf_counter() - began
        measure("run -d, rm -f", engines, life)
    finally:
        for engine in engines:
            subprocess.run([*engine.command, "rm", "-f", "--all"], env=engine.env, capture_output=True, check=False)
        subprocess.run(["umount", "-l", folder / "podman/overlay"], capture_output=True, check=False)
        for controller in pathlib.Path("/sys/fs/cgroup").iterdir():
            try:
                (controller / f"sampan-run-bench-{os.getpid()}").rmdir()
            except OSError:
                pass
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
