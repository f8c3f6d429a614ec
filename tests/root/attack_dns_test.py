#!/usr/bin/python3
"""The node's DNS server under attack: queries that cost much, floods, held connections, forged answers,
a cache that others want to fill. Whatever one Pod does, another's names are answered."""
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest
import urllib.request

from proxy_process import DNS, FakeUpstream, ProxyCase, Reply, dns, encode_name, question, read_name, run

LONG = ".".join(["a"] * 127)
# A Pod that sends 100,000 packets as fast as it can: argv is the server's address; the packet comes by stdin.
FLOOD = r"""
#include <arpa/inet.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char data[2048];
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
  ssize_t size = read(0, data, sizeof data);
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (argc < 2 || size <= 0 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1) return 1;
  for (int i = 0; i < 100000; ++i) sendto(fd, data, size, 0, (struct sockaddr *)&to, sizeof to);
  return 0;
}
"""

# The same over TCP: argv is the server's address, how many connections, and what they do; the packet comes by
# stdin. Ends with stdin's end.
FLOOD_TCP = r"""
import select, socket, struct, sys
address, count, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
size = int(sys.stdin.buffer.readline())
query = sys.stdin.buffer.read(size)
data = (struct.pack(">H", size) + query) * 100
open_ones = {}
def connect():
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((address, 53))
    open_ones[s.fileno()] = s
    poll.register(s, select.POLLIN | (select.POLLOUT if what == "flood" else 0))
def close(fd):
    poll.unregister(fd)
    open_ones.pop(fd).close()
poll = select.poll()
poll.register(0, select.POLLIN)
ended = False
while not ended:
    while len(open_ones) < count:
        connect()
    for fd, events in poll.poll(1 if what == "churn" else 1000):
        if fd == 0:
            ended = True
            continue
        try:
            if events & select.POLLIN and not open_ones[fd].recv(1 << 16):
                close(fd)
            elif events & select.POLLOUT:
                open_ones[fd].send(data)
            elif events & (select.POLLHUP | select.POLLERR):
                close(fd)
        except BlockingIOError:
            pass
        except OSError:
            close(fd)
    if what == "churn":
        for fd in list(open_ones):
            close(fd)
"""
# One that asks for a name again and again until its stdin ends; says how long each answer took, in milliseconds.
NEIGHBOUR = r"""
import select, socket, sys, time
sys.path.insert(0, sys.argv[1])
from proxy_process import DNS, Reply, question
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((DNS, 53))
    s.settimeout(2)
    number = 0
    while not select.select([sys.stdin], [], [], 0.002)[0]:
        began = time.monotonic()
        number += 1
        for _ in range(3):
            s.send(question("web.default.svc.cluster.local", 1, number=number % 65536))
            try:
                while (reply := Reply(s.recv(4096))).id != number % 65536:
                    pass
                break
            except TimeoutError:
                pass
        else:
            sys.exit("no answer in three attempts")
        assert reply.answers == ["10.96.0.5"], reply.answers
        print(f"{(time.monotonic() - began) * 1000:.3f}", flush=True)
"""


class Forger(FakeUpstream):
    """Sends what is no answer before the right one, and more than was asked behind it."""
    guesses = 0

    def answer(self, data, over_tcp):
        name, end = read_name(data, 12)
        if name.startswith("silent."):
            self.asked.append((name, over_tcp))
            return None
        if not name.startswith("forged."):
            return super().answer(data, over_tcp)
        self.asked.append((name, over_tcp))
        more = encode_name("bank.example.org") + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([203, 0, 113, 66])
        own = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([198, 51, 100, 7])
        return data[:2] + struct.pack(">HHHHH", 0x8180, 1, 2, 0, 1) + data[12:end + 4] + own + more + more

    def serve_udp(self):
        while True:
            data, peer = self.udp.recvfrom(4096)
            name, end = read_name(data, 12)
            reply = self.answer(data, False)
            if reply is None:
                continue
            for i in range(self.guesses):  # ids, another question, another class
                self.udp.sendto(struct.pack(">H", i) + reply[2:], peer)
                self.udp.sendto(reply[:12] + encode_name("other.example.org") + reply[end:], peer)
                self.udp.sendto(reply[:end + 2] + b"\0\3" + reply[end + 4:], peer)
            if not self.guesses:
                self.udp.sendto(reply, peer)


class AttackDns(ProxyCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.forger = Forger("127.0.0.55")
        cls.flood = os.path.join(cls.dir, "flood")
        subprocess.run(["cc", "-O2", "-x", "c", "-o", cls.flood, "-"], input=FLOOD.encode(), check=True)
        # Two Pods of 10.244.0.0/16 as the proxy's rules know them.
        for number, pod in enumerate(("attack-dns", "attack-dns2")):
            run("ip", "netns", "add", pod)
            cls.addClassCleanup(run, "ip", "netns", "delete", pod)
            run("ip", "link", "add", f"pod{number}", "type", "veth", "peer", "name", "eth0", "netns", pod)
            run("ip", "address", "add", f"10.244.{number}.1/24", "dev", f"pod{number}")
            run("ip", "link", "set", f"pod{number}", "up")
            for words in (["address", "add", f"10.244.{number}.5/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                          ["link", "set", "lo", "up"], ["route", "add", "default", "via", f"10.244.{number}.1"]):
                run("ip", "-n", pod, *words)

    def setUp(self):
        super().setUp()
        self.asked = 0
        self.api.service("web", "10.96.0.5")

    def start_with(self, server):
        path = os.path.join(self.dir, "resolv.conf")
        with open(path, "w") as f:
            f.write(f"nameserver {server}\n")
        self.start("--resolv-conf", path)

    def slowest(self, going_on):
        """The longest that a well-behaved client waits for a name, asking all the time; counts its questions."""
        worst, end = 0, time.monotonic() + (60 if callable(going_on) else going_on)
        while time.monotonic() < end and not (callable(going_on) and not going_on()):
            self.asked += 1
            began = time.monotonic()
            for attempt in range(3):  # as resolvers do: a flood fills the kernel's own queues as well
                try:
                    reply = dns("web.default.svc.cluster.local", timeout=3)
                    break
                except TimeoutError:
                    self.assertLess(attempt, 2)
            self.assertEqual(reply.answers, ["10.96.0.5"])
            worst = max(worst, time.monotonic() - began)
        return worst

    def test_long_names_cost_no_more_than_short_ones(self):
        self.start()
        def cost(name):
            began = self.cpu()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(5)
                s.connect((DNS, 53))
                for i in range(300):
                    s.send(question(name, 1, number=i))
                    self.assertIn(Reply(s.recv(4096)).code, (3, 5))
            return self.cpu() - began
        for name in (LONG, ".".join(["a"] * 112) + ".svc.cluster.local", ".".join(["a"] * 100) + ".in-addr.arpa"):
            self.assertLess(cost(name), 0.6, name)  # 2 ms each, of a build without optimisation; it was 11

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_a_flood_stops_its_own_names_only(self):
        self.start()
        for data in (question(LONG, 1), question("web.default.svc.cluster.local", 1), b"\0" * 12 + b"\xff" * 1200):
            before, self.asked, began = self.queries(), 0, time.monotonic()
            flood = subprocess.Popen(["ip", "netns", "exec", "attack-dns", self.flood, DNS], stdin=subprocess.PIPE)
            flood.stdin.write(data)
            flood.stdin.close()
            self.slowest(lambda: flood.poll() is None)  # all are answered; how soon is the machine's load
            self.assertEqual(flood.wait(60), 0)
            self.assertGreater(self.asked, 10)
            # 2,000 in a second and as many at once reach the server, whatever was sent.
            taken, seconds = self.queries() - before - self.asked, time.monotonic() - began
            self.assertLess(taken, 2000 * seconds + 2100, f"of 100000 in {seconds:.1f} s")

    def inside(self, pod, *argv, data=b""):
        process = subprocess.Popen(["ip", "netns", "exec", pod, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        process.stdin.write(data)
        process.stdin.flush()
        return process

    def test_what_one_pod_sends_keeps_no_other_waiting(self):
        """Every way to flood for two seconds; the neighbour's names come in time, and no more than the limits of one
        Pod reaches the server, whatever it sends."""
        self.start()
        loop = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1"
        short = question("a", 1)

        def udp(data):
            return lambda: [self.inside("attack-dns", "sh", "-c", f"head -c {len(data)} > {self.dir}/packet; while :; do {self.flood} {DNS} "
                                        f"< {self.dir}/packet; done", data=data)]

        def tcp(count, what, data=short):
            return lambda: [self.inside("attack-dns", sys.executable, "-c", FLOOD_TCP, DNS, str(count), what,
                                        data=b"%d\n" % len(data) + data)]
        ways = {"nothing": lambda: [], "long names": udp(question(LONG, 1)), "loops": udp(loop), "short names": udp(short),
                "TCP": tcp(32, "flood"), "TCP, long names": tcp(32, "flood", question(LONG, 1)),
                "held": tcp(200, "hold"), "churn": tcp(50, "churn")}
        ways["all"] = lambda: [one for way in ("long names", "TCP", "held", "churn") for one in ways[way]()]
        # What may reach the server of one Pod in a second, and at once: datagrams and questions over connections.
        udp_limit, tcp_limit = (2000, 2100), (2000, 2000)
        limits = {"nothing": [], "held": [], "churn": [], "TCP": [tcp_limit], "TCP, long names": [tcp_limit],
                  "all": [udp_limit, tcp_limit]}
        usual = None
        for way, begin in ways.items():
            with self.subTest(way):
                flood = begin()
                neighbour = self.inside("attack-dns2", sys.executable, "-c", NEIGHBOUR, os.path.dirname(__file__))
                neighbour.stdout.readline()
                used, before, began = self.cpu(), self.queries(), time.monotonic()
                said = []
                while time.monotonic() < began + 2:
                    said.append(float(neighbour.stdout.readline()))
                used, seconds = self.cpu() - used, time.monotonic() - began
                taken = self.queries() - before - len(said)
                for one in flood:
                    one.stdin.close()
                    one.kill()
                    one.wait(10)
                rest, _ = neighbour.communicate(timeout=20)
                self.assertEqual(neighbour.returncode, 0, rest)
                said.sort()
                p99 = said[len(said) * 99 // 100]
                print(f"{way}: {len(said)} answers, p50 {said[len(said) // 2]:.1f} ms, p99 {p99:.1f} ms, most {said[-1]:.1f} ms; "
                      f"{taken / seconds:.0f} queries/s of the flood, {used / seconds:.2f} of a core")
                limit = limits.get(way, [udp_limit])
                self.assertLessEqual(taken, 100 + sum(rate * seconds + burst for rate, burst in limit))
                usual = usual or (said[len(said) // 2], p99)
                # A machine that is busy otherwise has both of them late.
                self.assertLess(said[len(said) // 2], max(25, 10 * usual[0]))
                self.assertLess(p99, max(100, 10 * usual[1]))

    def queries(self):
        text = urllib.request.urlopen("http://127.0.0.1:10256/metrics", timeout=5).read().decode()
        return int(text.split("\nsampan_dns_queries_total ")[1].split("\n")[0])

    def test_crooked_packets(self):
        self.start()
        head = lambda *counts: struct.pack(">HHHHHH", 7, 0x0100, *counts)
        loop = b"\xc0\x0c\0\1\0\1"
        chain = b"".join(struct.pack(">H", 0xc000 | 12 + max(0, 2 * i - 2)) for i in range(2000))
        packets = [
            head(1, 0, 0, 0) + loop, head(1, 0, 0, 0) + b"\xc0\x0e" + b"\xc0\x0c\0\1\0\1", head(1, 0, 0, 0) + chain + b"\0\1\0\1",
            head(0xffff, 0, 0, 0) + loop * 200, head(1, 0xffff, 0xffff, 0xffff) + encode_name("a.b") + b"\0\1\0\1",
            head(1, 0, 0, 2) + encode_name("a.b") + b"\0\1\0\1" + b"\0\0\x29\xff\xff\0\0\0\0\xff\xff",
            head(1, 0, 0, 0) + b"\x3f" + b"x" * 63 + b"\x3f" + b"y" * 10, head(1, 0, 0, 0), b"", b"\0", b"\xff" * 4000,
            question("web.default.svc.cluster.local", 1, edns=1), question("web.default.svc.cluster.local", 1, edns=65535)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((DNS, 53))
            for packet in packets:
                for cut in {len(packet), len(packet) // 2, max(0, len(packet) - 1)}:
                    s.send(packet[:cut])
        self.assertLess(self.slowest(0.2), 0.25)
        # EDNS: no answer is longer than 1232 bytes whatever the client says, nor 512 without it.
        self.api.service("many", "None")
        self.api.slice("many", [f"10.244.{i // 200}.{i % 200 + 1}" for i in range(1000)])
        self.until(lambda: dns("many.default.svc.cluster.local").code == 0, "the Service")
        for edns, limit in ((0, 512), (100, 512), (4096, 1232), (65535, 1232)):
            reply = dns("many.default.svc.cluster.local", edns=edns)
            self.assertLessEqual(reply.size, limit)
            self.assertTrue(reply.tc)

    def test_connections_of_one_client_are_bounded(self):
        self.start()
        held = [socket.create_connection((DNS, 53), timeout=15, source_address=("127.0.0.1", 0)) for _ in range(40)]
        self.addCleanup(lambda: [s.close() for s in held])
        self.assertTrue(self.is_closed(held[39], 5))
        self.assertEqual(sum(self.is_closed(s, 0) for s in held), 8)
        other = socket.create_connection((DNS, 53), timeout=5, source_address=("127.0.0.2", 0))
        self.addCleanup(other.close)
        query = question("web.default.svc.cluster.local", 1)
        other.sendall(struct.pack(">H", len(query)) + query)
        self.assertEqual(Reply(other.recv(4096)[2:]).answers, ["10.96.0.5"])
        # One byte now and then is no query: the time of a query runs out.
        slow, began = held[0], time.monotonic()
        while not self.is_closed(slow, 1):
            self.assertLess(time.monotonic() - began, 14, "held open by single bytes")
            try:
                slow.send(b"\x0f")
            except OSError:
                break

    @staticmethod
    def is_closed(s, seconds):
        s.settimeout(max(seconds, 0.001))
        try:
            return s.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True

    def test_a_flood_over_tcp(self):
        self.start()
        query = question(LONG, 1)
        data = (struct.pack(">H", len(query)) + query) * 200

        def flood():
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                try:
                    with socket.create_connection((DNS, 53), timeout=2) as s:
                        while time.monotonic() < end:
                            s.sendall(data)
                except OSError:
                    pass
        threads = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        self.assertLess(self.slowest(1.2), 0.5)
        for thread in threads:
            thread.join()

    def test_names_that_nobody_answers(self):
        self.start_with("127.0.0.55")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.connect((DNS, 53))
            s.settimeout(5)
            refused = []
            # In parts that fit the client's queue: each ends with a name that gets an answer.
            for part in range(20):
                for i in range(20):
                    s.send(question(f"silent.{part}-{i}.example.org", 1, number=part * 20 + i))
                s.send(question(LONG, 1, number=9999))
                while (answer := s.recv(4096))[:2] != struct.pack(">H", 9999):
                    refused.append(Reply(answer).code)
            self.assertGreaterEqual(len(refused), 200)
            self.assertEqual(set(refused), {5}, "the client's share")
        # Another client's names are asked for all the same.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.2", 0))
            s.settimeout(3)
            s.connect((DNS, 53))
            s.send(question("www.example.org", 1))
            self.assertEqual(Reply(s.recv(512)).answers, ["198.51.100.0"])

    def test_forged_answers(self):
        self.start_with("127.0.0.55")
        reply = dns("forged.example.org")
        self.assertEqual(reply.answers, ["198.51.100.7"], "records of another name are left out")
        self.assertEqual(reply.sections[2], [])
        del self.forger.asked[:]
        self.assertEqual(dns("bank.example.org").answers, ["198.51.100.0"], "nothing was remembered for it")
        self.assertEqual(self.forger.asked, [("bank.example.org", False)])
        # Guesses at id, question and class are no answers; after some the question goes by TCP.
        Forger.guesses = 20
        self.addCleanup(setattr, Forger, "guesses", 0)
        del self.forger.asked[:]
        self.assertEqual(dns("guessed.example.org").answers, ["198.51.100.0"])
        self.assertEqual(self.forger.asked, [("guessed.example.org", False), ("guessed.example.org", True)])
        # The ports that questions come from, and their ids, are no sequence.
        Forger.guesses = 0

    def test_the_cache_is_bounded(self):
        self.start_with("127.0.0.55")
        for i in range(300):
            dns(f"x{i}.example.org")
        text = urllib.request.urlopen("http://127.0.0.1:10256/metrics", timeout=5).read().decode()
        entries = int(text.split("\nsampan_dns_cache_entries ")[1].split("\n")[0])
        size = int(text.split("\nsampan_dns_cache_bytes ")[1].split("\n")[0])
        self.assertGreater(entries, 250)
        self.assertLess(size / entries, 200)
        self.assertLess(size, 4 << 20)


if __name__ == "__main__":
    unittest.main()
