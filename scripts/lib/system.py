"""What scripts need of the kernel: namespaces, pidfds, cgroup hierarchies, and failures in words.

Knows nothing of clusters. A process is its pid and its start time together; no signal goes to a bare
pid.
"""
import ctypes
import os
import pathlib
import select
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_SLAVE, MNT_DETACH = 0x1000, 0x4000, 0x80000, 2


class Failure(Exception):
    """What was tried, on what, why it failed, what to do."""


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise Failure(f"{what}: {os.strerror(error)}")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"{' '.join(str(w) for w in command)}: exit {done.returncode}: "
                      f"{(done.stderr or done.stdout).strip()}")
    return done.stdout


def enter_netns(name):
    with open(f"/run/netns/{name}", "rb") as file:
        check(LIBC.setns(file.fileno(), CLONE_NEWNET), f"enter network namespace {name}")


# ---- processes ------------------------------------------------------------------------------

def start_ticks(pid):
    """Start time in clock ticks since boot: with the pid, a process's identity. None: no such."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2:].split()
    return None if fields[0] in "ZX" else int(fields[19])


def open_process(pid, ticks):
    """A pidfd of exactly that process, or None when it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if ticks is not None and start_ticks(pid) == ticks:
        return fd
    os.close(fd)
    return None


def wait_dead(fds, seconds):
    """Waits for pidfds; returns those still alive."""
    deadline, poll = time.monotonic() + seconds, select.poll()
    left = set(fds)
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left and time.monotonic() < deadline:
        for fd, _ in poll.poll(max(1, int((deadline - time.monotonic()) * 1000))):
            poll.unregister(fd)
            left.discard(fd)
    return left


# ---- cgroups --------------------------------------------------------------------------------

def cgroup_hierarchies():
    """[(mount point, is v2)], the v2 one first."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, after = line.split(" - ", 1)
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found.append((pathlib.Path(before.split()[4]), kind == "cgroup2"))
    return sorted(set(found), key=lambda entry: not entry[1])
