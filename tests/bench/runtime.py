#!/usr/bin/python3
"""sampan-oci against crun and runc, and against the least that a container costs, paired in one run.

Three things people do, each on the same full bundle (all namespaces but user, the usual mounts,
masked paths, capabilities, a seccomp filter, limits of cpu, memory and pids, devices denied):
`run` of `true`; `exec` of `true` in a running container; create, start, and delete once it ended.
Every round does each with every runtime once, in an order that turns; the ratio is the median of
the rounds' ratios. CPU is user and system time of the runtime and of the container's processes.
Then 100 containers, 8 at a time, and many life cycles after which nothing may be left. Runs in a
mount namespace of its own; bundle and states are on a tmpfs, as /run is on a host.
"""
import argparse
import collections
import ctypes
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(SOURCE / "tests"))
import cases
CLONE_NEWNS = 0x00020000
MS_SLAVE_REC = (1 << 19) | (1 << 14)
MS_BIND_REC = 4096 | (1 << 14)
CGROUPS = pathlib.Path("/sys/fs/cgroup")
Sample = collections.namedtuple("Sample", "cpu wall peak")  # ms, ms, KiB
CAPABILITIES = [f"CAP_{name}" for name in (
    "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD "
    "AUDIT_WRITE SETFCAP").split()]  # those that engines give by default
SYSCALLS = """access alarm arch_prctl brk capget capset chdir chmod chown clock_getres clock_gettime
clock_nanosleep clone clone3 close close_range connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait
epoll_wait eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fchdir fchmod
fchmodat fchown fchownat fcntl fdatasync flock fork fstat fstatfs fsync ftruncate futex getcwd getdents
getdents64 getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getrandom getresgid getresuid
getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid ioctl kill lseek lstat madvise
membarrier mkdir mkdirat mmap mprotect mremap msync munmap nanosleep newfstatat open openat openat2 pause
pipe pipe2 poll ppoll prctl pread64 prlimit64 pselect6 pwrite64 read readlink readlinkat readv recvfrom
recvmsg rename renameat restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn
rt_sigsuspend rt_sigtimedwait sched_getaffinity sched_yield select sendfile sendmsg sendto set_robust_list
set_tid_address setgid setgroups setpgid setresgid setresuid setsid setsockopt setuid sigaltstack socket
socketpair stat statfs statx symlink sync sysinfo tgkill time times umask uname unlink unlinkat utimensat
vfork wait4 waitid write writev""".split()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--loops", type=int, default=1000, help="life cycles of the last part")
    parser.add_argument("--bin", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("SAMPAN_BIN_DIR") or SOURCE / "build/release/bin"))
    parser.add_argument("--crun", type=pathlib.Path, default=os.environ.get("SAMPAN_CRUN"),
                        help="the newest crun, built from its sources; beside Debian's")
    parser.add_argument("--no-seccomp", dest="seccomp", action="store_false")
    parser.add_argument("--only", choices=("run", "exec", "life", "parallel", "loop"), action="append")
    return parser.parse_args()


def version(program):
    words = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True).stdout.split()
    return words[2] if words[1:2] == ["version"] else ""


def private_mounts(scratch):
    """A mount namespace of our own; in it a tmpfs of ours, and the hugetlb hierarchy that crun insists
    on beside the v1 hierarchies of the host."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_SLAVE_REC, None):
        sys.exit(f"runtime: unshare: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "-t", "tmpfs", "sampan-bench", scratch], check=True)
    text = pathlib.Path("/proc/self/mountinfo").read_text()
    if " - cgroup " not in text or "hugetlb" in text:
        return
    view = scratch / "cgroup"
    view.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroup", view], check=True)
    for hierarchy in CGROUPS.iterdir():
        if hierarchy.is_symlink():
            (view / hierarchy.name).symlink_to(os.readlink(hierarchy))
        elif os.path.ismount(hierarchy):
            (view / hierarchy.name).mkdir()
            subprocess.run(["mount", "--bind", hierarchy, view / hierarchy.name], check=True)
    (view / "hugetlb").mkdir()
    subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "hugetlb", view / "hugetlb"], check=True)
    subprocess.run(["mount", "--rbind", view, CGROUPS], check=True)


class Bench:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.programs = {"sampan-oci": str(options.bin / "sampan-oci")}
        if options.crun:
            self.programs[f"crun {version(options.crun)}"] = str(options.crun)
        else:
            print("without the newest crun: build it and give --crun PATH")
        for name in ("crun", "runc"):
            if path := shutil.which(name):
                self.programs[f"{name} {version(path)}"] = path
            else:
                print(f"without {name}: apt-get install {name}")
        self.number = {name: i for i, name in enumerate(self.programs)}
        for name in ("floor", "meter"):
            subprocess.run(["c++", "-std=c++20", "-O2", "-static", "-o", scratch / name,
                            SOURCE / f"tests/bench/runtime/{name}.cc"], check=True)

    def bundle(self, name, args):
        directory = self.scratch / name
        rootfs = directory / "rootfs"
        for part in ("bin", "proc", "sys", "dev", "tmp", "etc"):
            (rootfs / part).mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "bin/busybox")
        for program in ("true", "sleep"):
            (rootfs / "bin" / program).symlink_to("busybox")
        subprocess.run([self.programs["sampan-oci"], "spec", "--bundle", directory], check=True)
        config = json.loads((directory / "config.json").read_text())
        config["ociVersion"] = "1.0.2"  # the newest that Debian 12's crun knows
        config["process"].update(terminal=False, args=args, noNewPrivileges=True)
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] = CAPABILITIES
        if {"type": "cgroup"} not in config["linux"]["namespaces"]:
            config["linux"]["namespaces"].append({"type": "cgroup"})
        config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
        config["linux"]["resources"].update(memory={"limit": 256 << 20}, pids={"limit": 100},
                                            cpu={"shares": 512, "quota": 100000, "period": 100000})
        config["linux"]["cgroupsPath"] = f"/sampan-bench-{os.getpid()}/{name}"
        if self.options.seccomp:
            config["linux"]["seccomp"] = {
                "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
                "syscalls": [{"names": SYSCALLS, "action": "SCMP_ACT_ALLOW"}]}
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    def command(self, name, *words):
        return [self.programs[name], "--root", str(self.scratch / f"state-{self.number[name]}"), *map(str, words)]

    def meter(self, *words, count=1, parallel=1):
        done = subprocess.run([self.scratch / "meter", str(count), str(parallel), *words],
                              stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"runtime: {' '.join(map(str, words))} failed")
        cpu, wall, peak = map(int, done.stdout.split())
        return Sample(cpu / 1e3, wall / 1e3, peak)

    def rounds(self, title, what, floor=None):
        """`what(name)`: the meter's words for one runtime."""
        samples = {name: [] for name in self.programs}
        commands = {name: what(name) for name in self.programs}
        if floor:
            samples["bare floor"], commands["bare floor"] = [], floor
        for turn in range(-3, self.options.rounds):  # three rounds to warm up
            order = list(commands)
            order = order[turn % len(order):] + order[:turn % len(order)]
            for name in order:
                sample = self.meter(*commands[name])
                if turn >= 0:
                    samples[name].append(sample)
        print(f"{title}, median of {self.options.rounds}, and sampan-oci's share of it")
        ours = samples["sampan-oci"]
        for name, theirs in samples.items():
            cpu, wall = (statistics.median(getattr(s, part) for s in theirs) for part in ("cpu", "wall"))
            line = f"  {name:<16} cpu {cpu:6.2f} ms  wall {wall:6.2f} ms  peak {max(s.peak for s in theirs) / 1024:5.1f} MiB"
            if name != "sampan-oci":
                shares = [statistics.median(getattr(a, part) / max(getattr(b, part), 0.001) for a, b in zip(ours, theirs))
                          for part in ("cpu", "wall")]
                line += f"  share: cpu {shares[0]:.2f}, wall {shares[1]:.2f}"
            print(line, flush=True)

    def run(self):
        directory = self.bundle("run", ["true"])
        self.rounds("run", lambda name: self.command(name, "run", "--bundle", directory, "box"),
                    [self.scratch / "floor", directory / "rootfs", "/bin/true"])

    def exec(self):
        for name in self.programs:
            directory = self.bundle(f"exec-{self.number[name]}", ["sleep", "100000"])
            subprocess.run(self.command(name, "run", "--detach", "--bundle", directory, "held"), check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.rounds("exec", lambda name: self.command(name, "exec", "held", "true"))
        for name in self.programs:
            subprocess.run(self.command(name, "delete", "--force", "held"), check=True)

    def life(self):
        directory = self.bundle("life", ["true"])
        self.rounds("create, start, delete", lambda name: [
            *self.command(name, "create", "--bundle", directory, "box"), "--then",
            *self.command(name, "start", "box"), "--then", "--reap", *self.command(name, "delete", "box")])

    def parallel(self):
        directory = self.bundle("many", ["true"])
        path = directory / "config.json"
        config = json.loads(path.read_text())
        del config["linux"]["cgroupsPath"]  # each its own
        path.write_text(json.dumps(config))
        print("100 containers, 8 at a time")
        for name in self.programs:
            sample = self.meter(*self.command(name, "run", "--bundle", directory, f"sampan-bench-{os.getpid()}-{{}}"),
                                count=100, parallel=8)
            print(f"  {name:<16} cpu {sample.cpu:6.0f} ms  wall {sample.wall:6.0f} ms", flush=True)

    def loop(self):
        directory = self.bundle("loop", ["true"])
        before = self.world()
        sample = self.meter(*self.command("sampan-oci", "create", "--bundle", directory, "box"), "--then",
                            *self.command("sampan-oci", "start", "box"), "--then", "--reap",
                            *self.command("sampan-oci", "delete", "box"), count=self.options.loops)
        after = self.world()
        for what, things in after.items():
            if things - before[what]:
                sys.exit(f"runtime: left behind: {what}: {sorted(things - before[what])}")
        print(f"{self.options.loops} life cycles in {sample.wall / 1e3:.1f} s; left behind: no "
              + ", no ".join(after))

    def world(self):
        """What a life cycle could leave, as sets. Processes: those that name our directory or are in
        one of our cgroups; others may run containers of theirs here."""
        def processes():
            for entry in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    about = (entry / "cmdline").read_text() + (entry / "cgroup").read_text()
                except OSError:
                    continue
                if int(entry.name) != os.getpid() and (str(self.scratch) in about or f"sampan-bench-{os.getpid()}" in about):
                    yield entry.name
        state = self.scratch / "state-0"
        return {"process": set(processes()),
                "mount": set(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()),
                "cgroup": {str(p) for p in CGROUPS.glob(f"*/sampan-bench-{os.getpid()}/*/")}
                | {str(p) for p in CGROUPS.glob(f"sampan-bench-{os.getpid()}/*/")},
                "state": {n for n in os.listdir(state) if not n.startswith(".")} if state.exists() else set()}

    def clean(self):
        for pattern in (f"sampan-bench-{os.getpid()}*", f"*/sampan-bench-{os.getpid()}*"):
            for parent in CGROUPS.glob(pattern):
                for child in [*parent.glob("*/"), parent]:
                    try:
                        child.rmdir()
                    except OSError:
                        pass


def main():
    options = arguments()
    if os.geteuid() != 0:
        print("skip: root")
        sys.exit(77)
    print(f"{cases.machine()}, {options.bin.parent.name} build; load of others when it began: {os.getloadavg()[0]:.0f}")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="sampan-bench-"))
    private_mounts(scratch)
    try:
        bench = Bench(options, scratch)
        try:
            for part in options.only or ("run", "exec", "life", "parallel", "loop"):
                getattr(bench, part)()
        finally:
            bench.clean()
    finally:
        subprocess.run(["umount", "-R", CGROUPS], check=False) if (scratch / "cgroup").exists() else None
        subprocess.run(["umount", "-R", scratch], check=False)
        scratch.rmdir()


if __name__ == "__main__":
    main()
