#!/usr/bin/python3
"""The API server beside its limits, in one run on one loopback: reads beside nginx serving a file of
the same bytes (same wrk, TLS and connections), durable writes beside etcd's puts of the same bytes
(h2load speaking etcd's gRPC, which costs the machine less than etcd's own client in Go), watch
fan-out, and memory per stored Pod.

Prints the figures; tests/bench/report.py puts them into docs/benchmarks.md. Sides take turns, and
ratios are of medians of the same run. CPU is of the servers alone.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from pod_start import pss_kib

HERE = pathlib.Path(__file__).resolve().parent
POD_BYTES = 3072
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*command, env=None, timeout=300):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, **(env or {})), timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


class Process:
    """One server, in a directory of its own, ended by its pid."""

    def __init__(self, work, name, *command):
        self.log = open(work / f"{name}.log", "w")
        self.process = subprocess.Popen([str(c) for c in command], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def cpu_seconds(self):
        """Of the process and its children: what other load on the machine does not change."""
        total = 0
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(entry.name) == self.pid or int(fields[1]) == self.pid:
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Master(Process):
    def __init__(self, work, name="master"):
        self.dir, self.port = work / name, free_port()
        super().__init__(work, name, cases.BIN / "sampan-master", "--data-dir", self.dir,
                         "--listen", f"127.0.0.1:{self.port}", "--log-level", "warning")
        self.config, self.pki = self.dir / "admin.conf", self.dir / "pki"
        limit = time.monotonic() + 60
        while not self.config.exists() or self.get("/readyz", check=False) != b"ok":
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"sampan-master did not come up: see {work}/{name}.log")
            time.sleep(0.05)

    @property
    def url(self):
        return f"https://127.0.0.1:{self.port}"

    def get(self, path, accept="application/json", check=True):
        try:
            context = ssl.create_default_context(cafile=self.pki / "ca.crt")
            context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
            request = urllib.request.Request(self.url + path, headers={"Accept": accept})
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                return answer.read()
        except OSError:
            if check:
                raise
            return None

    def load(self, *arguments):
        return json.loads(run(cases.BIN / "api_load", self.config, *arguments))


def start_nginx(work, pki, port):
    (work / "www").mkdir(exist_ok=True)
    (work / "nginx.conf").write_text(f"""
daemon off; pid {work}/nginx.pid; error_log {work}/nginx-error.log; worker_processes auto; user root;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; default_type application/json;
  open_file_cache max=100 inactive=600s; open_file_cache_valid 600s; gzip off;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{
    listen 127.0.0.1:{port} ssl http2; root {work}/www;
    ssl_certificate {pki}/apiserver.crt; ssl_certificate_key {pki}/apiserver.key;
    ssl_client_certificate {pki}/ca.crt; ssl_verify_client optional;
  }}
}}
""")
    work.chmod(0o755)
    return Process(work, "nginx", "nginx", "-c", work / "nginx.conf", "-e", work / "nginx-error.log")


def start_etcd(work, pki, port):
    peer = f"http://127.0.0.1:{free_port()}"
    url = f"https://127.0.0.1:{port}"
    return Process(work, "etcd", "etcd", "--data-dir", work / "etcd", "--listen-client-urls", url,
                   "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", f"default={peer}", "--cert-file", pki / "apiserver.crt",
                   "--key-file", pki / "apiserver.key", "--trusted-ca-file", pki / "ca.crt", "--client-cert-auth",
                   "--enable-grpc-gateway=false", "--logger", "zap", "--log-level", "error",
                   "--quota-backend-bytes", str(6 << 30))


def wait_for_port(port):
    limit = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


class Clients:
    """wrk and h2load with a client certificate."""

    def __init__(self, work, pki):
        self.library = work / "client_certificate.so"
        run("cc", "-shared", "-fPIC", "-o", self.library, HERE / "client_certificate.c", "-lssl", "-lcrypto")
        self.env = {"LD_PRELOAD": str(self.library), "CLIENT_CERTIFICATE": str(pki / "admin.crt"),
                    "CLIENT_KEY": str(pki / "admin.key")}

    def wrk(self, url, seconds, connections=32, accept="application/json"):
        text = run("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-H", f"Accept: {accept}", url, env=self.env)
        if re.search(r"Non-2xx|Socket errors", text):
            raise RuntimeError(text)
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        number, unit = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", text).groups()
        return rate, float(number) * {"B": 2**-20, "KB": 2**-10, "MB": 1, "GB": 2**10}[unit]

    def h2load(self, url, connections, streams, count):
        text = run("h2load", f"-n{count}", f"-c{connections}", f"-m{streams}", url, env=self.env)
        if f"{count} succeeded" not in text:
            raise RuntimeError(text)
        return float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1])

    def etcd_puts(self, url, work, clients, count, value):
        def field(tag, data):
            size, out = len(data), b""
            while size >= 128:
                out, size = out + bytes([size & 127 | 128]), size >> 7
            return bytes([tag]) + out + bytes([size]) + data
        message = field(0x0a, b"/registry/pods/default/bench") + field(0x12, value)
        body = work / "put.bin"
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        text = run("h2load", f"-n{count}", f"-c{clients}", "-m1", "-d", body, "-H", "content-type: application/grpc",
                   "-H", "te: trailers", f"{url}/etcdserverpb.KV/Put", env=self.env)
        if f"{count} succeeded" not in text:
            raise RuntimeError(text)
        return float(re.search(r"finished in .*?, ([\d.]+) req/s", text)[1])


def median(values):
    return statistics.median(values)


def reads(master, nginx, clients, nginx_url, www, seconds, rounds):
    cases_ = [("GET one Pod", f"{PODS}/p0", "application/json", "rate", 0.5),
              ("LIST 1000 Pods, JSON", f"{PODS}?limit=1000", "application/json", "bytes", 0.7),
              ("LIST 1000 Pods, Table", f"{PODS}?limit=1000", TABLE, "bytes", None)]
    for number, (what, path, accept, measure, budget) in enumerate(cases_):
        body = master.get(path, accept)
        (www / f"f{number}").write_bytes(body)
        sides = {"sampan": [], "nginx": []}
        cost = {"sampan": [], "nginx": []}
        for _ in range(rounds):
            for side, server, url in (("sampan", master, master.url + path), ("nginx", nginx, f"{nginx_url}/f{number}")):
                before = server.cpu_seconds()
                sides[side].append(clients.wrk(url, seconds, accept=accept))
                cost[side].append((server.cpu_seconds() - before) / max(1, sides[side][-1][0] * seconds) * 1e6)
        index = 0 if measure == "rate" else 1
        ours, theirs = (median([s[index] for s in sides[k]]) for k in ("sampan", "nginx"))
        rates = {k: median([s[0] for s in v]) for k, v in sides.items()}
        line = (f"{what} ({len(body)} bytes): {rates['sampan']:.0f}/s, nginx {rates['nginx']:.0f}/s; "
                + (f"{ours:.0f} and {theirs:.0f} MiB/s; " if measure == "bytes" else "")
                + f"ratio {ours / theirs:.2f}")
        cpu = {side: median(values) for side, values in cost.items()}
        print(line + (f" (budget {budget})" if budget else "")
              + f"; CPU {cpu['sampan']:.0f} and {cpu['nginx']:.0f} us each", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of each wrk run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000], help="Pods to fill with")
    parser.add_argument("--only", help="comma list of read,write,watch,memory")
    args = parser.parse_args()
    only = set((args.only or "read,write,watch,memory").split(","))
    lacking = [p for p in ("wrk", "nginx", "etcd", "etcdctl", "h2load", "cc") if not shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin")]
    if not (cases.BIN / "api_load").exists():
        lacking.append("api_load (ninja api_load)")
    if lacking:
        print("skip: missing " + ", ".join(lacking))
        sys.exit(77)
    os.environ["PATH"] += ":/usr/sbin"

    work = pathlib.Path(tempfile.mkdtemp(prefix="sampan-bench-api-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    running = []
    try:
        print(f"{cases.machine()}, {cases.BIN.parent.name} build; loopback, TLS 1.3, client certificates")
        master = Master(work)
        running.append(master)
        idle = pss_kib(master.pid) / 1024
        print(f"sampan-master idle: {idle:.1f} MiB")
        clients = Clients(work, master.pki)
        master.load("create", 8, 1000, 0, POD_BYTES)
        pod = master.get(f"{PODS}/p0")
        if "read" in only:
            port = free_port()
            running.append(start_nginx(work, master.pki, port))
            wait_for_port(port)
            reads(master, running[-1], clients, f"https://127.0.0.1:{port}", work / "www", args.seconds, args.rounds)
            running.pop().stop()
        if "write" in only:
            port = free_port()
            running.append(start_etcd(work, master.pki, port))
            wait_for_port(port)
            first = 1000
            for n, count in ((1, 1500), (8, 5000), (32, 10000)):
                ours, theirs, tail, cpu = [], [], [], [0, 0]
                for _ in range(args.rounds):
                    marks = [master.cpu_seconds(), running[-1].cpu_seconds()]
                    figures = master.load("create", n, count, first, POD_BYTES)
                    first += count
                    ours.append(figures["per_second"])
                    tail.append(figures["p99_ms"])
                    theirs.append(clients.etcd_puts(f"https://127.0.0.1:{port}", work, n, count, pod))
                    cpu[0] += (master.cpu_seconds() - marks[0]) / count / args.rounds * 1e6
                    cpu[1] += (running[-1].cpu_seconds() - marks[1]) / count / args.rounds * 1e6
                ratio = median(ours) / median(theirs)
                print(f"create at {n} clients: {median(ours):.0f}/s (p99 {median(tail):.1f} ms), etcd puts "
                      f"{median(theirs):.0f}/s; ratio {ratio:.2f}" + (" (budget 1)" if n == 32 else "")
                      + f"; CPU {cpu[0]:.0f} and {cpu[1]:.0f} us each", flush=True)
            endpoint = json.loads(run("etcdctl", f"--endpoints=https://127.0.0.1:{port}", f"--cacert={master.pki}/ca.crt",
                                      f"--cert={master.pki}/admin.crt", f"--key={master.pki}/admin.key",
                                      "endpoint", "status", "-w", "json", env={"ETCDCTL_API": "3"}))
            written = endpoint[0]["Status"]["header"]["revision"] - 1
            if written != args.rounds * 16500:
                raise RuntimeError(f"etcd took {written} puts, not {args.rounds * 16500}")
            for n in (1, 32):
                figures = [master.load("patch", n, 3000, 1000) for _ in range(args.rounds)]
                print(f"PATCH status at {n} clients: {median([f['per_second'] for f in figures]):.0f}/s "
                      f"(p99 {median([f['p99_ms'] for f in figures]):.1f} ms)", flush=True)
            running.pop().stop()
        if "watch" in only:
            for watchers, changes in ((1, 500), (100, 200), (1000, 40)):
                f = master.load("watch", watchers, changes)
                print(f"watch, {watchers} watchers: event after acknowledged write p50 {f['p50_ms']:.2f} ms, "
                      f"p99 {f['p99_ms']:.2f} ms, max {f['max_ms']:.2f} ms"
                      + (" (budget p99 5 ms)" if watchers == 100 else ""), flush=True)
        running.pop().stop()
        if "memory" in only:
            for pods in args.memory:
                master = Master(work, f"memory-{pods}")
                running.append(master)
                before = pss_kib(master.pid)
                master.load("create", 32, pods, 0, POD_BYTES)
                after = pss_kib(master.pid)
                running.pop().stop()
                print(f"memory of {pods} Pods of {len(pod)} bytes: {after / 1024:.0f} MiB, "
                      f"{(after - before) / pods:.2f} KiB per Pod (budget 6)", flush=True)
    finally:
        for process in reversed(running):
            process.stop()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
