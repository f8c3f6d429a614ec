#!/usr/bin/python3
"""Runs the conformance suites of others with several runtimes and writes what came out.

    tests/conformance/report.py --runtime-tools DIR --runtime sampan-oci=build/dev/bin/sampan-oci
        --runtime crun=/usr/bin/crun --results /tmp/results --write docs/conformance.md

DIR is a built checkout of opencontainers/runtime-tools (`make runtimetest validation-executables`);
--runc-tests a checkout of runc (`make test-binaries`, the images in tests/integration/testdata). None
of their files is part of this repository. Needs root. Each program runs in a mount namespace of its
own without the cgroup2 hierarchy where v1 ones are mounted (crun refuses hybrids), at most
--timeout seconds. What has been run is kept below --results and not run again.
"""
import argparse
import fcntl
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import termios
import threading

# In namespaces of its own, so that what a test leaves running ends with it and nothing is asked of
# any network. The v1 hierarchies are moved onto a tmpfs of its own: crun refuses a hybrid, and a
# directory that a test makes beside them is taken for a hierarchy by every engine later.
ALONE = ["unshare", "--mount", "--pid", "--net", "--fork", "--mount-proc", "--kill-child", "sh", "-ec", """
ip link set lo up
mount --make-rprivate /
hierarchies=$(awk '$3 == "cgroup" && $2 ~ "^/sys/fs/cgroup/" { print $2 }' /proc/mounts)
if [ -n "$hierarchies" ]; then
  stage=$(mktemp -d)
  mount -t tmpfs stage "$stage"
  for h in $hierarchies; do mkdir -p "$stage/${h##*/}" && mount --bind "$h" "$stage/${h##*/}"; done
  umount -l /sys/fs/cgroup
  mount --move "$stage" /sys/fs/cgroup
  rmdir "$stage"
fi
exec "$@"
""", "sh"]


def look_after_the_host():
    """The suites are known to do both: give /dev/null away, and leave frozen cgroups."""
    null = os.stat("/dev/null")
    if (null.st_uid, null.st_gid, stat.S_IMODE(null.st_mode)) != (0, 0, 0o666):
        os.chown("/dev/null", 0, 0)
        os.chmod("/dev/null", 0o666)
        print("restored /dev/null", flush=True)
    for state in pathlib.Path("/sys/fs/cgroup/freezer").rglob("freezer.state"):
        try:
            if state.read_text() != "THAWED\n":
                state.write_text("THAWED")
                print(f"thawed {state.parent}", flush=True)
        except OSError:
            pass  # gone meanwhile


def drain(terminal):
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        pass  # the last of the other side is gone


def run(command, directory, environment, timeout, out):
    """Its standard output, errors and exit code (or "timeout") into files beside `out`."""
    ours, theirs = os.openpty()
    with open(f"{out}.tap", "wb") as tap, open(f"{out}.err", "wb") as err:
        process = subprocess.Popen([*ALONE, *command], cwd=directory, stdout=tap, stderr=err, stdin=theirs,
                                   env={**os.environ, **environment}, start_new_session=True,
                                   preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        threading.Thread(target=drain, args=[ours], daemon=True).start()
        try:
            code = str(process.wait(timeout))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            look_after_the_host()  # what is frozen does not die
            process.wait()
            code = "timeout"
    os.close(ours)
    pathlib.Path(f"{out}.rc").write_text(code)
    look_after_the_host()


def counts(out):
    """(passed, skipped, failed) of a TAP output."""
    text = pathlib.Path(f"{out}.tap").read_text(errors="replace")
    good, bad = len(re.findall(r"^ok", text, re.M)), len(re.findall(r"^not ok", text, re.M))
    skipped = len(re.findall(r"^ok.*# skip", text, re.M | re.I))
    return good - skipped, skipped, bad


def clean(out):
    """Of a validation program: it ended well, no point failed, and `1..0` came without an error."""
    text = pathlib.Path(f"{out}.tap").read_text(errors="replace")
    code = pathlib.Path(f"{out}.rc").read_text()
    return code == "0" and counts(out)[2] == 0 and not ("1..0" in text and '"error"' in text)


def version(path):
    return subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def commit(directory):
    return subprocess.run(["git", "-C", directory, "describe", "--always", "--tags"], capture_output=True, text=True).stdout.strip()


def validation(arguments, runtimes, results):
    programs = sorted(pathlib.Path(arguments.runtime_tools).glob("validation/*/*.t"))
    table = {}
    for program in programs:
        for name, path in runtimes:
            out = results / f"validation-{name}-{program.stem}"
            if not pathlib.Path(f"{out}.rc").exists() and not arguments.no_run:
                run([str(program)], arguments.runtime_tools, {"RUNTIME": path}, arguments.timeout, out)
            if pathlib.Path(f"{out}.rc").exists():
                table.setdefault(program.stem, {})[name] = clean(out)
    lines = [f"## runtime-tools ({commit(arguments.runtime_tools)})", "",
             f"{len(programs)} programs; clean: exit code 0, no failed point, and no `1..0` with an error.", "",
             "| | " + " | ".join(name for name, _ in runtimes) + " |", "|---|" + "---|" * len(runtimes),
             "| **clean** | " + " | ".join(f"**{sum(row.get(name, False) for row in table.values())}** of "
                                           f"{sum(name in row for row in table.values())}" for name, _ in runtimes) + " |"]
    for stem, row in table.items():
        if not all(row.get(name, False) for name, _ in runtimes):
            words = {True: "clean", False: "failed", None: "not run"}
            lines.append(f"| {stem} | " + " | ".join(words[row.get(name)] for name, _ in runtimes) + " |")
    return lines + ["", "Programs not named are clean with all.", ""]


def bats(arguments, runtimes, results):
    directory = pathlib.Path(arguments.runc_tests) / "tests/integration"
    files = sorted(f for f in directory.glob("*.bats") if re.search(arguments.only, f.name))
    rows, sums = [], {name: [0, 0, 0] for name, _ in runtimes}
    for file in files:
        row = []
        for name, path in runtimes:
            out = results / f"bats-{name}-{file.stem}"
            if not pathlib.Path(f"{out}.rc").exists() and not arguments.no_run:
                # Under the name that the tests look for in help and version.
                link = results / f"as-runc-{name}" / "runc"
                link.parent.mkdir(exist_ok=True)
                if not link.exists():
                    link.symlink_to(path)
                run(["bats", "--formatter", "tap", file.name], directory, {"RUNC": str(link)}, arguments.timeout * 4, out)
            if pathlib.Path(f"{out}.rc").exists():
                numbers = counts(out)
                sums[name] = [a + b for a, b in zip(sums[name], numbers)]
                row.append(" / ".join(map(str, numbers)))
            else:
                row.append("not run")
        rows.append(f"| {file.stem} | " + " | ".join(row) + " |")
    return [f"## runc's integration tests ({commit(arguments.runc_tests)})", "",
            "Passed / skipped / failed, per file. Some look for runc's own words in logs.", "",
            "| | " + " | ".join(name for name, _ in runtimes) + " |", "|---|" + "---|" * len(runtimes),
            "| **all** | " + " | ".join(" / ".join(map(str, sums[name])) for name, _ in runtimes) + " |", *rows, ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime-tools")
    parser.add_argument("--runc-tests")
    parser.add_argument("--runtime", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--only", default="", help="expression that names of runc's files must match")
    parser.add_argument("--timeout", type=int, default=90, help="seconds per program; four times that per bats file")
    parser.add_argument("--no-run", action="store_true", help="only read the results")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("report.py: needs root")
    arguments.results.mkdir(parents=True, exist_ok=True)
    runtimes = [(name, os.path.abspath(path)) for name, path in (entry.split("=", 1) for entry in arguments.runtime)]
    lines = ["# Conformance", "", "Written by `tests/conformance/report.py`; suites of others, built from their sources, not part of "
             "this repository.", "", "Kernel " + os.uname().release.split("-")[0] + ", cgroup v1. " +
             "; ".join(f"{name}: {version(path)}" for name, path in runtimes) + ".", ""]
    if arguments.runtime_tools:
        lines += validation(arguments, runtimes, arguments.results)
    if arguments.runc_tests:
        lines += bats(arguments, runtimes, arguments.results)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        arguments.write.write_text(text)


if __name__ == "__main__":
    main()
