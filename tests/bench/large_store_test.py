#!/usr/bin/python3
"""A store as large as a cluster of 5,000 nodes has it, in front of a master of its own: how long it takes to start,
to list everything at once and in pages, and to watch from the first object to the bookmark behind the last, over
HTTP/2; what memory that takes, and whether another client is answered meanwhile.

  tests/bench/large_store_test.py [--pods 150000]   (10,000 without; the figures are printed)
"""
import argparse
import base64
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from master_process import Master

PODS = 10_000
LIST = "/api/v1/pods"
WATCH = LIST + "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
# Reads an answer from its standard input as it comes: how many objects, and when the last of them was there.
READER = r"""
import sys, time
began, watch = time.monotonic(), sys.argv[1] == "watch"
pods = size = 0
if watch:
    for line in sys.stdin.buffer:
        size += len(line)
        pods += line.startswith(b'{"type":"ADDED"')
        if line.startswith(b'{"type":"BOOKMARK"') and b'"k8s.io/initial-events-end":"true"' in line:
            break
else:
    tail = b""
    while data := sys.stdin.buffer.read1(1 << 20):
        size += len(data)
        data = tail + data
        pods += data.count(b'"name":"large-')
        tail = data[-13:]
print(pods, size, time.monotonic() - began)
"""
# Asks for /livez again and again until its standard input ends; says how long each answer took.
PROBE = r"""
import http.client, select, ssl, sys, time
host, port, ca, cert, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(cert, key)
connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
while not select.select([sys.stdin], [], [], 0.01)[0]:
    began = time.monotonic()
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    answer.read()
    print(f"{(time.monotonic() - began) * 1000:.2f}" if answer.status == 200 else f"status {answer.status}", flush=True)
"""


def sum_of(key, revision, value):
    """As the store keeps it beside each record."""
    return zlib.crc32(value, zlib.crc32(revision.to_bytes(8, "little"), zlib.crc32(key)))


class LargeStore(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-large-store-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.log = open(self.dir / "log", "w+")
        self.addCleanup(self.log.close)
        self.data = self.dir / "d"

    def fill(self):
        """One Pod that went through the API, then as many of its like, written into the store's file."""
        master = Master(self.data, self.log)
        try:
            code, out = master.kubectl("create", "-f", "-", input=json.dumps({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "large-000000", "labels": {"app": "web"}},
                "spec": {"schedulerName": "none", "containers": [
                    {"name": "main", "image": "registry.example/team/app:1.2.3", "env": [{"name": "LEVEL", "value": "info"}],
                     "ports": [{"name": "http", "containerPort": 8080}],
                     "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}))
            self.assertEqual(code, 0, out)
        finally:
            master.stop()
        with sqlite3.connect(self.data / "store.db") as store:
            key, value, last = store.execute("SELECT key, value, (SELECT max(revision) FROM object) FROM object "
                                             "WHERE key LIKE '%/pods/%/large-000000'").fetchone()
            key, value = (v.encode() if isinstance(v, str) else v for v in (key, value))
            uid = re.search(rb'"uid":"([^"]*)"', value).group(1)

            def rows():
                for number in range(1, PODS):
                    name = b"large-%06d" % number
                    text = value.replace(b"large-000000", name).replace(uid, uid[:-12] + b"%012x" % number)
                    at = key.replace(b"large-000000", name)
                    yield at.decode(), last + number, text, sum_of(at, last + number, text)
            store.executemany("INSERT INTO object(key, revision, value, sum) VALUES(?, ?, ?, ?)", rows())
            store.execute("UPDATE meta SET value=? WHERE name='revision'", (last + PODS,))
        store.close()
        return len(value)

    def connect(self, master):
        """Where the master is, and its admin's certificate as files for curl."""
        text = pathlib.Path(master.kubeconfig).read_text()
        for name, field in (("ca", "certificate-authority-data"), ("cert", "client-certificate-data"), ("key", "client-key-data")):
            data = re.search(field + r'"?: *"?([A-Za-z0-9+/=]+)', text).group(1)
            (self.dir / name).write_bytes(base64.b64decode(data))
        self.server = re.search(r'server"?: *"?(https://[0-9.]+:[0-9]+)', text).group(1)

    def ask(self, path, what):
        """(Pods, bytes, seconds) of one answer over HTTP/2."""
        curl = subprocess.Popen(["curl", "--http2", "-sSN", "-w", "%{stderr}%{http_version} %{http_code}", "--cacert", self.dir / "ca",
                                 "--cert", self.dir / "cert", "--key", self.dir / "key", self.server + path],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            reader = subprocess.run([sys.executable, "-c", READER, what], stdin=curl.stdout, capture_output=True, text=True,
                                    timeout=600, check=True)
        finally:
            curl.stdout.close()
            if what == "watch":
                curl.terminate()
            said = curl.communicate(timeout=60)[1].decode()
        if what == "list":
            self.assertEqual(said.strip(), "2 200")
        pods, size, seconds = reader.stdout.split()
        return int(pods), int(size), float(seconds)

    def test_a_store_of_many_pods(self):
        each = self.fill()
        began = time.monotonic()
        master = Master(self.data, self.log, start_seconds=60 + PODS // 500)
        self.addCleanup(master.stop)
        started = time.monotonic() - began
        self.connect(master)
        status = pathlib.Path(f"/proc/{master.process.pid}/status")
        memory = lambda field: int(re.search(field + r":\s+(\d+)", status.read_text()).group(1)) >> 10
        before = memory("VmRSS")
        print(f"{PODS} Pods of {each} bytes: start {started:.2f} s, {before} MiB")
        host, port = self.server.removeprefix("https://").split(":")
        probe = subprocess.Popen([sys.executable, "-c", PROBE, host, port, self.dir / "ca", self.dir / "cert", self.dir / "key"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(probe.stdout.close)
        waits = []
        reading = threading.Thread(target=lambda: waits.extend(probe.stdout))
        probe.stdout.readline()  # it has its connection
        reading.start()

        def measured(what, work):
            first = len(waits)
            pods, size, seconds = work()
            self.assertEqual(pods, PODS, what)
            took = sorted(float(line) for line in waits[first:])
            self.assertTrue(took, f"{what}: nobody else was answered")
            print(f"{what}: {size >> 20} MiB in {seconds:.2f} s; memory {memory('VmRSS')} MiB, at most {memory('VmHWM')} MiB; "
                  f"/livez {len(took)} times, p50 {took[len(took) // 2]:.1f} ms, p99 {took[len(took) * 99 // 100]:.1f} ms, "
                  f"most {took[-1]:.1f} ms")
            return took

        def pages():
            pods, size, began, token = 0, 0, time.monotonic(), ""
            while True:
                done = subprocess.run(["curl", "--http2", "-sS", "--cacert", self.dir / "ca", "--cert", self.dir / "cert",
                                       "--key", self.dir / "key", f"{self.server}{LIST}?limit=5000&continue={token}"],
                                      capture_output=True, check=True)
                size += len(done.stdout)
                pods += done.stdout.count(b'"name":"large-')
                found = re.search(rb'"continue":"([^"]+)"', done.stdout[:4096])
                if not found:
                    return pods, size, time.monotonic() - began
                token = found.group(1).decode()

        def together(path, what, count):
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(self.ask(path, what))) for _ in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual([one[0] for one in answers], [PODS] * count)
            return PODS, sum(one[1] for one in answers), max(one[2] for one in answers)
        waits_of = {}
        try:
            for what, work in (("list", lambda: self.ask(LIST, "list")), ("list again", lambda: self.ask(LIST, "list")),
                               ("pages of 5000", pages), ("watch", lambda: self.ask(WATCH, "watch")),
                               ("4 lists at once", lambda: together(LIST, "list", 4)),
                               ("4 watches at once", lambda: together(WATCH, "watch", 4))):
                waits_of[what] = measured(what, work)
        finally:
            probe.stdin.close()
            self.assertEqual(probe.wait(60), 0)
            reading.join()
        # What a client is sent is what the cache holds anyway: no answer is built whole, however many ask.
        self.assertLess(memory("VmHWM") - before, 100 + before // 2)
        for what, took in waits_of.items():
            self.assertLess(took[len(took) * 9 // 10], 250, f"{what}: /livez")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--pods", type=int, default=PODS)
    asked, sys.argv[1:] = parser.parse_known_args()
    PODS = asked.pods
    cases.main()
