#!/usr/bin/python3
"""Networks of `sampan run`: addresses, published ports from inside and outside, what is left."""
import os
import pathlib
import socket
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
import container_fixture
from container_fixture import ContainerCase

container_fixture.enter_own_network()

SERVE = ["sh", "-c", "mkdir -p /www; echo page > /www/index.html; exec httpd -f -p 80 -h /www"]


def fetch(address, port, netns=()):
    done = subprocess.run([*netns, "curl", "-s", "-m", "10", "--retry", "20", "--retry-connrefused", "--retry-delay", "0", "--noproxy", "*",
                           f"http://{address}:{port}/"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


class Network(ContainerCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A neighbour of this host, in a namespace of its own, that has no other way than us.
        cls.peer = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        cls.addClassCleanup(cls.peer.wait)
        cls.addClassCleanup(cls.peer.kill)
        own = os.stat("/proc/self/ns/net").st_ino
        while os.stat(f"/proc/{cls.peer.pid}/ns/net").st_ino == own:
            pass
        cls.inside = ["nsenter", f"--net=/proc/{cls.peer.pid}/ns/net"]
        for words in (["ip", "link", "add", "host0", "type", "veth", "peer", "name", "peer0", "netns", str(cls.peer.pid)],
                      ["ip", "addr", "add", "192.0.2.1/24", "dev", "host0"], ["ip", "link", "set", "host0", "up"],
                      [*cls.inside, "ip", "addr", "add", "192.0.2.2/24", "dev", "peer0"], [*cls.inside, "ip", "link", "set", "peer0", "up"],
                      [*cls.inside, "ip", "link", "set", "lo", "up"]):
            subprocess.run(words, check=True)

    own_links = {"host0"}

    def test_published_ports(self):
        self.out("run", "-d", "--name", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "busybox", *SERVE)
        address = self.inspect("web")["NetworkSettings"]["IPAddress"]
        self.assertTrue(address.startswith("10.87."))
        self.assertEqual(fetch(address, 80), "page\n", "by its own address")
        self.assertEqual(fetch("127.0.0.1", 8080), "page\n", "on the host's loopback")
        self.assertEqual(fetch("127.0.0.1", 8081), "page\n")
        self.assertEqual(fetch("192.0.2.1", 8080), "page\n", "by the host's address")
        self.assertEqual(fetch("192.0.2.1", 8080, self.inside), "page\n", "from a neighbour of the host")
        refused = subprocess.run([*self.inside, "curl", "-s", "-m", "5", "http://192.0.2.1:8081/"], check=False)
        self.assertEqual(refused.returncode, 7, "what is published on loopback is not on the outside")
        # A container reaches a published port, its own too.
        for name in ("web", "other"):
            if name == "other":
                self.out("run", "-d", "--name", "other", "busybox", "sleep", "1000")
            self.assertEqual(self.out("exec", name, "wget", "-q", "-O", "-", "http://192.0.2.1:8080/"), "page\n")
        self.assertEqual(self.out("exec", "other", "wget", "-q", "-O", "-", f"http://{address}/"), "page\n", "its neighbour on the bridge")
        self.assertEqual(self.out("port", "web"), "80/tcp -> 0.0.0.0:8080\n80/tcp -> 127.0.0.1:8081\n")
        self.assertEqual(self.out("port", "web", "80"), "0.0.0.0:8080\n127.0.0.1:8081\n")
        self.assertIn("0.0.0.0:8080->80/tcp", self.out("ps"))
        self.out("stop", "-t", "0", "web")
        self.assertEqual(fetch("127.0.0.1", 8080) if self.listening(8080) else "", "")
        self.assertNotIn("8080", self.rules())
        self.out("start", "web")
        self.assertEqual(fetch("127.0.0.1", 8080), "page\n")
        self.out("rm", "-f", "web")
        self.assertNotIn("808", self.rules())

    @staticmethod
    def rules():
        return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout

    @staticmethod
    def listening(port):
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def test_a_port_is_one_containers(self):
        self.out("run", "-d", "--name", "one", "-p", "9000:80", "busybox", "sleep", "1000")
        done = self.sampan("run", "-d", "--name", "two", "-p", "9000:80", "busybox", "sleep", "1000")
        self.assertEqual(done.returncode, 125)
        self.assertIn("has it", done.stderr)
        self.assertIn("Created", self.out("ps", "-a", "--filter", "name=two"))
        self.assertEqual(self.rules().count("9000"), 1, "the first one keeps it")
        self.out("rm", "two")
        with socket.create_server(("127.0.0.1", 9001)):
            done = self.sampan("run", "--rm", "-p", "9001:80", "busybox", "true")
            self.assertEqual(done.returncode, 125)
            self.assertIn("EADDRINUSE", done.stderr)
        self.out("run", "--rm", "-p", "9001:80", "busybox", "true")
        # Any free port of the host.
        self.out("run", "-d", "--name", "any", "-p", "80", "busybox", *SERVE)
        port = int(self.out("port", "any", "80").rsplit(":", 1)[1])
        self.assertEqual(fetch("127.0.0.1", port), "page\n")

    def test_the_host_is_what_others_see(self):
        # The neighbour has no route to the bridge: only masqueraded packets are answered.
        listener = subprocess.Popen([*self.inside, "busybox", "nc", "-l", "-p", "7000"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(listener.wait)
        self.addCleanup(listener.kill)
        self.out("run", "--rm", "busybox", "sh", "-c",
                 "i=0; while [ $i -lt 2000 ] && ! echo hello | nc -w 5 192.0.2.2 7000 2>/dev/null; do i=$((i+1)); done")
        self.assertEqual(listener.communicate(timeout=30)[0], "hello\n")

    def test_host_and_none(self):
        links = self.out("run", "--rm", "--network", "none", "busybox", "ip", "-o", "link").splitlines()
        self.assertEqual([line.split(":")[1].strip() for line in links], ["lo"])
        self.assertIn("host0", self.out("run", "--rm", "--network", "host", "busybox", "ip", "-o", "link"))
        self.assertEqual(self.out("run", "--rm", "--network", "host", "busybox", "hostname"), socket.gethostname() + "\n")

    def test_names_inside(self):
        out = self.out("run", "--rm", "--hostname", "box", "--add-host", "db:10.9.9.9", "--dns", "10.1.1.1", "--dns-search", "a.test", "busybox",
                       "sh", "-c", "cat /etc/hosts /etc/resolv.conf /etc/hostname")
        for part in ("10.9.9.9\tdb\n", "\tbox ", "host.containers.internal", "nameserver 10.1.1.1\n", "search a.test\n"):
            self.assertIn(part, out)
        self.assertTrue(out.endswith("\nbox\n"))

    def test_many_at_once_get_addresses_of_their_own(self):
        found = []

        def one(i):
            found.append(self.out("run", "--rm", "--name", f"n{i}", "busybox", "sh", "-c", "ip -o -4 addr show eth0 | sed 's/.*inet //; s/ .*//'").strip())
        threads = [threading.Thread(target=one, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(found)), 12, found)

    def test_a_flushed_table_comes_back(self):
        self.out("run", "-d", "--name", "first", "-p", "9100:80", "busybox", *SERVE)
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        self.out("run", "--rm", "busybox", "true")
        self.assertEqual(fetch("127.0.0.1", 9100), "page\n", "with the ports of who runs")


if __name__ == "__main__":
    cases.main()
