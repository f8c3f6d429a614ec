#!/usr/bin/python3
"""`run` of `true` in a full container: sampan-oci against Debian's crun and runc, paired in one run.

Every round runs each runtime once, in an order that turns, on the same bundle: all namespaces but
user, the usual mounts, masked paths, capabilities, cgroup limits, devices denied, and the seccomp
profile of `--seccomp`. CPU is user and system time of the runtime and of all it waited for; wall is
from start to its exit. Prints medians and ratios. Runs in a mount namespace of its own; bundle and
states are on a tmpfs, as /run is on a host.
"""
import argparse
import ctypes
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
CLONE_NEWNS = 0x00020000
MS_SLAVE_REC = (1 << 19) | (1 << 14)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--bin", type=pathlib.Path, default=SOURCE / "build/release/bin")
    parser.add_argument("--seccomp", action="store_true", help="with a filter of 300 system calls")
    return parser.parse_args()


def private_mounts():
    """A mount namespace of our own, with the hugetlb hierarchy that crun insists on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_SLAVE_REC, None):
        sys.exit(f"runtime_run: unshare: {os.strerror(ctypes.get_errno())}")
    text = pathlib.Path("/proc/self/mountinfo").read_text()
    if " - cgroup " in text and "hugetlb" not in text:
        directory = pathlib.Path("/sys/fs/cgroup/hugetlb")
        made = not directory.exists()
        directory.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "cgroup", "-o", "hugetlb", "hugetlb", directory], check=True)
        return directory if made else None
    return None


def bundle(directory, program, seccomp):
    rootfs = directory / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    (rootfs / "bin/true").symlink_to("busybox")
    subprocess.run([program, "spec", "--bundle", directory], check=True)
    config = json.loads((directory / "config.json").read_text())
    config["ociVersion"] = "1.0.2"  # the newest that Debian 12's crun knows
    config["process"].update(terminal=False, args=["true"], noNewPrivileges=True)
    config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}]
    config["linux"]["resources"].update(memory={"limit": 256 << 20}, pids={"limit": 100},
                                        cpu={"shares": 512, "quota": 100000, "period": 100000})
    config["linux"]["cgroupsPath"] = f"/sampan-bench-{os.getpid()}/box"
    if seccomp:
        names = subprocess.run(["/sbin/ausyscall", "--dump"], stdout=subprocess.PIPE, text=True).stdout.split() \
            if shutil.which("ausyscall") else []
        names = [n for n in names if n.isidentifier()] or SYSCALLS
        config["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}
    (directory / "config.json").write_text(json.dumps(config))


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


def measure(argv, directory):
    """(CPU, wall) seconds of one run."""
    begin = time.monotonic()
    pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - begin
    if status:
        sys.exit(f"runtime_run: {' '.join(argv)}: status {status}")
    return usage.ru_utime + usage.ru_stime, wall


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("runtime_run: must be root")
    ours = options.bin / "sampan-oci"
    programs = {"sampan-oci": str(ours)}
    for name in ("crun", "runc"):
        if path := shutil.which(name):
            programs[name] = path
        else:
            print(f"without {name}: apt-get install {name}")
    made = private_mounts()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sampan-bench-"))
    subprocess.run(["mount", "-t", "tmpfs", "sampan-bench", directory], check=True)
    samples = {name: [] for name in programs}
    try:
        bundle(directory, str(ours), options.seccomp)
        for turn in range(-3, options.rounds):  # three rounds to warm up
            order = list(programs)
            order = order[turn % len(order):] + order[:turn % len(order)]
            for name in order:
                argv = [programs[name], "--root", str(directory / f"state-{name}"), "run",
                        "--bundle", str(directory), f"box-{name}"]
                sample = measure(argv, directory)
                if turn >= 0:
                    samples[name].append(sample)
    finally:
        subprocess.run(["umount", "-l", directory], check=False)
        directory.rmdir()
        for parent in pathlib.Path("/sys/fs/cgroup").glob(f"*/sampan-bench-{os.getpid()}"):
            for child in [*parent.glob("*/"), parent]:
                try:
                    child.rmdir()
                except OSError:
                    pass
        if made:
            subprocess.run(["umount", made], check=False)
            made.rmdir()
    medians = {}
    for name, values in samples.items():
        cpu = statistics.median(v[0] for v in values) * 1e3
        wall = statistics.median(v[1] for v in values) * 1e3
        p95 = sorted(v[1] for v in values)[int(len(values) * 0.95)] * 1e3
        medians[name] = (cpu, wall)
        print(f"{name:<11} cpu {cpu:7.2f} ms   wall {wall:7.2f} ms   wall p95 {p95:7.2f} ms   ({len(values)} runs)")
    for name in list(programs)[1:]:
        print(f"sampan-oci / {name}: cpu {medians['sampan-oci'][0] / medians[name][0]:.2f}, "
              f"wall {medians['sampan-oci'][1] / medians[name][1]:.2f}")


if __name__ == "__main__":
    main()
