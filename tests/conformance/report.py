#!/usr/bin/python3
"""Runs the conformance suites of others with several runtimes and writes what came out.

    tests/conformance/report.py --runtime-tools DIR --runtime sampan-oci=build/dev/bin/sampan-oci
        --runtime crun=/usr/bin/crun --results /tmp/results --write docs/conformance.md

DIR is a built checkout of opencontainers/runtime-tools (`make runtimetest validation-executables`);
--runc-tests a checkout of runc (`make test-binaries`, the images in tests/integration/testdata). None
of their files is part of this repository. The first runtime is ours: what it fails has a reason in
reasons.py, which is looked at, too. Needs root, bats, jq, gawk. Each program runs in namespaces of its
own, at most --timeout seconds. What has been run is kept below --results and not run again.
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

import reasons

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


ATTEMPTS = 3  # of the programs in reasons.RACES


def frozen():
    """The v1 cgroups of this host that are frozen."""
    def is_frozen(state):
        try:
            return state.read_text() != "THAWED\n"
        except OSError:
            return False  # gone meanwhile
    return {state for state in pathlib.Path("/sys/fs/cgroup/freezer").rglob("freezer.state") if is_frozen(state)}


def look_after_the_host(frozen_before):
    """The suites are known to do both: give /dev/null away, and leave frozen cgroups."""
    null = os.stat("/dev/null")
    if (null.st_uid, null.st_gid, stat.S_IMODE(null.st_mode)) != (0, 0, 0o666):
        os.chown("/dev/null", 0, 0)
        os.chmod("/dev/null", 0o666)
        print("restored /dev/null", flush=True)
    for state in frozen() - frozen_before:
        try:
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
    frozen_before = frozen()
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
            look_after_the_host(frozen_before)  # what is frozen does not die
            process.wait()
            code = "timeout"
    os.close(ours)
    pathlib.Path(f"{out}.rc").write_text(code)
    look_after_the_host(frozen_before)


def verdicts(out):
    """Of a TAP output: {name of a test: "passed", "skipped" or "failed"}. What was announced and did not
    come has failed."""
    text = pathlib.Path(f"{out}.tap").read_text(errors="replace")
    found = {}
    for bad, number, name in re.findall(r"^(not )?ok (\d+)(.*)", text, re.M):
        name, skip, _ = name.partition(" # skip")
        found[name.strip() or number] = "failed" if bad else "skipped" if skip else "passed"
    announced = re.search(r"^1\.\.(\d+)", text, re.M)
    for number in range(len(found) + 1, int(announced[1]) + 1 if announced else 0):
        found[f"number {number} (did not run)"] = "failed"
    return found


def counts(out):
    values = list(verdicts(out).values())
    return tuple(values.count(verdict) for verdict in ("passed", "skipped", "failed"))


def clean(out):
    """Of a validation program: it ended well, no point failed, and `1..0` came without an error."""
    text = pathlib.Path(f"{out}.tap").read_text(errors="replace")
    code = pathlib.Path(f"{out}.rc").read_text()
    return code == "0" and not re.search(r"^not ok", text, re.M) and not ("1..0" in text and '"error"' in text)


def version(path):
    return subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def commit(directory):
    return subprocess.run(["git", "-C", directory, "describe", "--always", "--tags"], capture_output=True, text=True).stdout.strip()


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *("| " + " | ".join(map(str, row)) + " |" for row in rows)]


def explain(name, passed, reason, complaints):
    """The reason why ours fails, which there must be exactly then."""
    if passed and reason:
        complaints.append(f"{name} passes, and has a reason why it fails: remove that")
    if not passed and not reason:
        complaints.append(f"{name} fails, and there is no reason why")
    return "" if passed else reason or "**not explained**"


def validation(arguments, runtimes, results, complaints):
    programs = sorted(pathlib.Path(arguments.runtime_tools).glob("validation/*/*.t"))
    table_of = {}
    for program in programs:
        for name, path in runtimes:
            out = results / f"validation-{name}-{program.stem}"
            attempts = 0 if arguments.no_run or pathlib.Path(f"{out}.rc").exists() else ATTEMPTS if program.stem in reasons.RACES else 1
            for _ in range(attempts):
                run([str(program)], arguments.runtime_tools, {"RUNTIME": path}, arguments.timeout, out)
                if clean(out):
                    break
            if pathlib.Path(f"{out}.rc").exists():
                table_of.setdefault(program.stem, {})[name] = clean(out)
    ours = runtimes[0][0]
    sums = [f"**{sum(row.get(name, False) for row in table_of.values())}** of {sum(name in row for row in table_of.values())}"
            for name, _ in runtimes]
    rows, words = [["**clean**", *sums, ""]], {True: "clean", False: "failed", None: "not run"}
    for stem, row in table_of.items():
        why = explain(stem, row.get(ours, False), reasons.VALIDATION.get(stem), complaints) if ours in row else ""
        if not all(row.get(name, False) for name, _ in runtimes):
            rows.append([stem, *(words[row.get(name)] for name, _ in runtimes), why])
    return [f"## runtime-tools ({commit(arguments.runtime_tools)})", "",
            f"{len(programs)} programs; clean: exit code 0, no failed point, and no `1..0` with an error. "
            f"{', '.join(reasons.RACES)} race the container that they start: one clean run of {ATTEMPTS} counts. Programs not "
            "named are clean with all.", "", *table(["", *(name for name, _ in runtimes), f"why {ours} is not clean"], rows), ""]


def bats(arguments, runtimes, results, complaints):
    directory = pathlib.Path(arguments.runc_tests) / "tests/integration"
    files = sorted(f for f in directory.glob("*.bats") if re.search(arguments.only, f.name))
    found = {}  # (file, runtime): verdicts
    for file in files:
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
                found[file.stem, name] = verdicts(out)
    names = [name for name, _ in runtimes]
    numbers = lambda sets: " / ".join(str(sum(list(s.values()).count(v) for s in sets)) for v in ("passed", "skipped", "failed"))
    rows = [["**all**", *(f"**{numbers([v for (_, n), v in found.items() if n == name])}**" for name in names)]]
    rows += [[f.stem, *(numbers([found[f.stem, n]]) if (f.stem, n) in found else "not run" for n in names)] for f in files]
    failed = []
    for file in files:
        ours, rows_of = found.get((file.stem, names[0]), {}), reasons.RUNC.get(file.stem, {})
        if "*" in rows_of and ours and "failed" not in ours.values():
            complaints.append(f"nothing of {file.stem} fails: remove its reason")
        for test, verdict in ours.items():
            reason = rows_of.get(test) or (rows_of.get("*") if verdict == "failed" else None)
            why = explain(f"{file.stem}: {test}", verdict != "failed", reason, complaints)
            if verdict == "failed":
                others = [found.get((file.stem, n), {}).get(test, "not run") for n in names[1:]]
                failed.append([file.stem, test.replace("|", "\\|"), *others, why])
    return [f"## runc's integration tests ({commit(arguments.runc_tests)})", "",
            "Passed / skipped / failed, per file; with images made of Debian's packages, without network, criu and sshd.", "",
            *table(["", *names], rows), "", f"What {names[0]} fails, and the others beside it:", "",
            *table(["file", "test", *names[1:], "why"], failed), ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime-tools")
    parser.add_argument("--runc-tests")
    parser.add_argument("--runtime", action="append", required=True, metavar="NAME=PATH")
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--note", default="", help="a sentence on how the others were built, for the page")
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
             "; ".join(f"{name}: {version(path)}" for name, path in runtimes) + "." + f" {arguments.note}".rstrip(), ""]
    complaints = []
    if arguments.runtime_tools:
        lines += validation(arguments, runtimes, arguments.results, complaints)
    if arguments.runc_tests:
        lines += bats(arguments, runtimes, arguments.results, complaints)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        arguments.write.write_text(text)
    for complaint in complaints:
        print(f"report.py: {complaint}", file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
