"""What the tests of other people's engines share: what they need of the machine, and namespaces of their
own. Imported before anything that looks at mounts or networks."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

MARK = "SAMPAN_ENGINE_NAMESPACES"


def enter_own_namespaces(*needed):
    """Runs the whole script again in a network that leads nowhere and a mount namespace; ends it as
    skipped without root or one of `needed`, pairs of a program and its package."""
    missing = next((f"{program} ({package})" for program, package in needed if not shutil.which(program)), None)
    if missing or os.geteuid() != 0:
        print("skip:", missing or "root")
        sys.exit(77)
    if os.environ.get(MARK) != "1":
        os.environ[MARK] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation=private", "--", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def show_hierarchies_alone():
    """In our own mount namespace: /sys/fs/cgroup with every v1 hierarchy that there is and nothing else.
    podman takes each directory there for a hierarchy, also one that somebody's mount left behind;
    containerd gives up on one that lives (in /proc/self/cgroup) and is mounted nowhere."""
    lines = [line.split() for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    mounts = {pathlib.Path(w[4]): w for w in lines if w[w.index("-") + 1] in ("cgroup", "cgroup2")}
    alive = [line.split(":")[1] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
    shown = {option for words in mounts.values() for option in words[-1].split(",")}
    hidden = [names for names in alive if names and "=" not in names and not set(names.split(",")) & shown]
    top = pathlib.Path("/sys/fs/cgroup")
    if top in mounts or (not hidden and {p for p in top.iterdir() if not p.is_symlink()} <= set(mounts)):
        return
    stage = pathlib.Path(tempfile.mkdtemp(prefix="cgroups-"))
    for path in mounts:
        (stage / path.name).mkdir()
        subprocess.run(["mount", "--bind", path, stage / path.name], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "cgroups", top], check=True)
    for path in mounts:
        path.mkdir()
        subprocess.run(["mount", "--move", stage / path.name, path], check=True)
        (stage / path.name).rmdir()
    for names in hidden:
        (top / names).mkdir()
        subprocess.run(["mount", "-t", "cgroup", "-o", names, names, top / names], check=True)
    stage.rmdir()
