#!/usr/bin/python3
"""What strangers may try at the API server's door, against the real program on loopback: bodies without
a name, connections that wait, heads that grow in the reading, frames that carry nothing. Meanwhile
another client's /livez is answered at once, and afterwards the memory is what it was."""
import pathlib
import re
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from master_process import Master

MIB = 1 << 20


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
HEADERS, SETTINGS, PING, DATA = 1, 4, 6, 0


class Pulse(threading.Thread):
    """Asks /livez again and again as somebody else; remembers the longest wait."""

    def __init__(self, attack):
        super().__init__()
        self.attack, self.longest, self.asked, self.over = attack, 0, 0, False

    def run(self):
        with self.attack.connect() as s:
            while not self.over:
                began = time.monotonic()
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = s.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 "), answer
                self.longest = max(self.longest, time.monotonic() - began)
                self.asked += 1
                time.sleep(0.01)  # the pace of an eager prober
                if self.asked == 900:
                    return  # a stranger's connection may ask a thousand times

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


class AttackFront(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("kubectl"):
            raise unittest.SkipTest("missing kubectl")
        cls.contexts = {}
        for protocol in ("http/1.1", "h2"):
            context = cls.contexts[protocol] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols([protocol])
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="sampan-attack-front-"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        cls.log = open(cls.work / "log", "w")
        cls.addClassCleanup(cls.log.close)
        cls.master = Master(str(cls.work / "data"), cls.log)
        cls.addClassCleanup(cls.master.stop)
        config = (cls.work / "data/admin.conf").read_text()
        cls.port = int(re.search(r"https://[^\s\"]+:(\d+)", config)[1])

    def tearDown(self):
        self.assertIsNone(self.master.process.poll(), "the master is dead: " + (self.work / "log").read_text()[-2000:])
        code, said = self.master.kubectl("get", "namespace", "default", "-o", "name")
        self.assertEqual((code, said.strip()), (0, "namespace/default"))

    def connect(self, protocol="http/1.1"):
        return self.contexts[protocol].wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=20), server_hostname="localhost")

    def resident(self):
        with open(f"/proc/{self.master.process.pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) * 1024

    def settled(self, limit, seconds=20):
        """The resident bytes, once they are below the limit, or after a while."""
        end = time.monotonic() + seconds
        while (now := self.resident()) > limit and time.monotonic() < end:
            time.sleep(0.1)
        return now

    def send_until_closed(self, s, data, most):
        """How much the server took before it ended the connection; None: all of it."""
        sent = 0
        try:
            while sent < most:
                s.sendall(data)
                sent += len(data)
        except OSError:
            return sent
        return None

    def test_bodies_of_strangers_are_not_kept(self):
        before = self.resident()
        peak = 0
        connections = []
        with Pulse(self) as pulse:
            for _ in range(60):
                s = self.connect()
                s.settimeout(2)
                connections.append(s)
                try:
                    s.sendall(b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n"
                              b"Content-Type: application/json\r\nContent-Length: 3000000\r\n\r\n")
                    for _ in range(20):
                        s.sendall(b"x" * 100_000)
                except OSError:
                    pass
                peak = max(peak, self.resident())
        print(f"bodies: {before / MIB:.1f} MiB before, {peak / MIB:.1f} at most with {len(connections)} connections")
        self.assertLess(peak - before, 32 * MIB)
        for s in connections:
            s.close()
        self.assertLess(self.settled(before + 12 * MIB) - before, 12 * MIB)
        self.assertLess(pulse.longest, 0.5)

    def test_a_stranger_is_refused_before_his_body(self):
        with self.connect() as s:
            s.sendall(b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n"
                      b"Expect: 100-continue\r\n\r\n")
            answer = s.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 403 "), answer)
        with self.connect() as s:
            s.sendall(b"POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n"
                      b"Authorization: Bearer wrong\r\nExpect: 100-continue\r\n\r\n")
            answer = s.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 401 "), answer)

    def test_smuggled_requests_are_not_served(self):
        for head, code in ((b"Transfer-Encoding: gzip\r\n", b"501"), (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"400"),
                           (b"Host: y\r\n", b"400")):
            with self.connect() as s:
                s.sendall(b"POST /livez HTTP/1.1\r\nHost: x\r\n" + head + b"\r\nGET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                said = b""
                while piece := s.recv(65536):
                    said += piece
                self.assertTrue(said.startswith(b"HTTP/1.1 " + code), said)
                self.assertNotIn(b"gitVersion", said)

    def test_heads_that_grow_in_the_reading_end_the_connection(self):
        block = b"\x82\x84\x87\x41\x01x\x40\x01y\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 12000
        with Pulse(self) as pulse:
            for _ in range(30):
                with self.connect("h2") as s:
                    s.sendall(PREFACE + frame(HEADERS, 5, 1, block))
                    taken = self.send_until_closed(s, frame(HEADERS, 5, 3, block[:12000]), 4 * MIB)
                    self.assertIsNotNone(taken)
        print(f"HPACK: the longest wait of another client was {pulse.longest * 1000:.0f} ms")
        self.assertLess(pulse.longest, 0.5)

    def test_floods_end_the_connection(self):
        for what, raw in (("PING", frame(PING, 0, 0, b"12345678")), ("SETTINGS", frame(SETTINGS, 0, 0)),
                          ("unknown", frame(0x77, 0, 0, b"abc"))):
            with self.subTest(what), self.connect("h2") as s, Pulse(self) as pulse:
                s.sendall(PREFACE)
                self.assertIsNotNone(self.send_until_closed(s, raw * 1000, 64 * MIB), what)
            self.assertLess(pulse.longest, 0.5)

    def test_connections_of_strangers_are_bounded(self):
        before = self.resident()
        idle = []
        try:
            for _ in range(1500):
                s = socket.create_connection(("127.0.0.1", self.port), timeout=20)
                idle.append(s)
            code, _ = self.master.kubectl("get", "namespaces")  # who has a name still gets in
            self.assertEqual(code, 0)
            print(f"connections: {before / MIB:.1f} MiB before, {self.resident() / MIB:.1f} with them")
            self.assertLess(self.resident() - before, 96 * MIB)
        finally:
            for s in idle:
                s.close()
        self.assertLess(self.settled(before + 16 * MIB) - before, 16 * MIB)


if __name__ == "__main__":
    cases.main()
