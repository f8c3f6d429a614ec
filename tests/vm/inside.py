"""Inside the machine: runs what plan.json names, one after the other, and sends each one's output and
cases to the host, a line of JSON each. Started by systemd; the machine powers off when it ends. A test
that ends with REBOOT is run again after a reboot, with SAMPAN_VM_BOOT one higher."""
import json
import os
import pathlib
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PORT = "/dev/virtio-ports/sampan.results"
TEST_LIMIT_S = 420
REBOOT, MAX_REBOOTS = 75, 4
PROGRESS = pathlib.Path("/var/lib/sampan-tests.json")  # what a reboot must not lose


def report(port, **what):
    port.write(json.dumps(what) + "\n")
    port.flush()


def run_test(path, cases, plan, results, boot):
    environment = dict(os.environ, SAMPAN_RESULTS=str(results), SAMPAN_BIN_DIR=plan["bin"],
                       SAMPAN_SOURCE_DIR=plan["source"], GTEST_OUTPUT=f"xml:{results}/", GTEST_COLOR="no",
                       PYTHONDONTWRITEBYTECODE="1", SAMPAN_VM_BOOT=str(boot))
    log = results / f"{path.stem}.log"
    # To a file: a process that a failing test leaves behind would hold a pipe open.
    with open(log, "w") as out:
        try:
            code = subprocess.run([path, *cases], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                  env=environment, timeout=TEST_LIMIT_S).returncode
            status = {0: "passed", 77: "skipped", REBOOT: "reboots" if boot < MAX_REBOOTS else "failed"}.get(code, "failed")
        except subprocess.TimeoutExpired:
            status = "failed"
            out.write(f"\ntook more than {TEST_LIMIT_S} s\n")
    files = {kind: (results / f"{path.stem}.{kind}") for kind in ("xml", "json")}
    return status, log.read_text(errors="replace")[-200000:], {k: f.read_text() for k, f in files.items() if f.exists()}


def main():
    plan = json.loads((SOURCE / "plan.json").read_text())
    if plan["shell"]:
        os.execv("/usr/bin/setsid", ["setsid", "--ctty", "sh", "-c", "exec bash -l </dev/ttyS0 >/dev/ttyS0 2>&1"])
    results = pathlib.Path("/run/sampan-results")
    results.mkdir(exist_ok=True)
    with open(PORT, "w") as port:
        report(port, say=f"booted, {pathlib.Path('/proc/uptime').read_text().split()[0]} s up")
        progress = json.loads(PROGRESS.read_text()) if PROGRESS.exists() else {"next": 0, "boot": 0}
        for index, (path, *cases) in enumerate(plan["tests"]):
            if index < progress["next"]:
                continue
            boot = progress["boot"] if index == progress["next"] else 0
            test, started = pathlib.Path(path), time.monotonic()
            status, output, files = run_test(test, cases, plan, results, boot)
            say = f"{test.stem}: {status} in {time.monotonic() - started:.0f} s"
            if status == "reboots":
                report(port, say=say)
                PROGRESS.write_text(json.dumps({"next": index, "boot": boot + 1}))
                return reboot()
            report(port, say=say, test=test.stem, status=status, output=output, **files)


def reboot():
    """As an administrator does it: every unit is stopped in its order."""
    pathlib.Path("/run/sampan-reboots").touch()
    subprocess.run(["systemctl", "reboot", "--no-block"], check=True)
    time.sleep(300)  # systemd ends us


if __name__ == "__main__":
    sys.exit(main())
