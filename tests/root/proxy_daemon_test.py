#!/usr/bin/python3
"""sampan-proxy as a process: a small API server tells it about Services, the kernel's table and the
DNS answers are looked at from outside. Everything happens in a network namespace of its own."""
import http.server
import json
import os
import queue
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

if os.geteuid() != 0:
    print("skip: root")
    sys.exit(77)
if os.environ.get("SAMPAN_PROXY_TEST_NETNS") != "1":
    os.environ["SAMPAN_PROXY_TEST_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, __file__, *sys.argv[1:]])

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("SAMPAN_BIN_DIR", os.path.join(ROOT, "build/dev/bin"))
DNS = "10.96.0.10"
PATHS = {"/api/v1/services": "ServiceList", "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSliceList",
         "/api/v1/nodes": "NodeList"}


class FakeApi:
    """Lists and watches of three kinds."""

    def __init__(self):
        self.objects = {path: {} for path in PATHS}
        self.watchers = {path: [] for path in PATHS}
        self.version = 10
        self.lock = threading.Lock()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                path, _, query = self.path.partition("?")
                if path not in PATHS:
                    self.send_error(404)
                    return
                if "watch=" in query:
                    return self.watch(path, int(query.split("resourceVersion=")[1].split("&")[0] or 0))
                with api.lock:
                    body = json.dumps({"kind": PATHS[path], "metadata": {"resourceVersion": str(api.version)},
                                       "items": list(api.objects[path].values())}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, path, since):
                events = queue.Queue()
                with api.lock:
                    for item in api.objects[path].values():  # what came between list and watch
                        if int(item["metadata"]["resourceVersion"]) > since:
                            events.put({"type": "ADDED", "object": item})
                    api.watchers[path].append(events)
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.flush()
                while True:
                    event = events.get()
                    if event is None:
                        return
                    line = json.dumps(event).encode() + b"\n"
                    try:
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        self.wfile.flush()
                    except OSError:
                        return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def put(self, path, item):
        with self.lock:
            self.version += 1
            key = (item["metadata"].get("namespace"), item["metadata"]["name"])
            item["metadata"]["resourceVersion"] = str(self.version)
            kind = "MODIFIED" if key in self.objects[path] else "ADDED"
            self.objects[path][key] = item
            for events in self.watchers[path]:
                events.put({"type": kind, "object": item})

    def remove(self, path, ns, name):
        with self.lock:
            self.version += 1
            item = self.objects[path].pop((ns, name))
            item["metadata"]["resourceVersion"] = str(self.version)
            for events in self.watchers[path]:
                events.put({"type": "DELETED", "object": item})

    def service(self, name, ip, ports=((80, "http", "TCP"),), **spec):
        self.put("/api/v1/services", {
            "metadata": {"namespace": "default", "name": name},
            "spec": {"clusterIP": ip, "type": "ClusterIP",
                     "ports": [{"port": p, "name": n, "protocol": proto} for p, n, proto in ports], **spec}})

    def slice(self, service, addresses, ports=((8080, "http", "TCP"),), hostnames=()):
        self.put("/apis/discovery.k8s.io/v1/endpointslices", {
            "metadata": {"namespace": "default", "name": service + "-x",
                         "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"port": p, "name": n, "protocol": proto} for p, n, proto in ports],
            "endpoints": [{"addresses": [a], "conditions": {"ready": True}, "nodeName": "n1",
                           **({"hostname": hostnames[i]} if i < len(hostnames) else {})}
                          for i, a in enumerate(addresses)]})


def run(*argv, check=True):
    done = subprocess.run(argv, capture_output=True, text=True)
    if check and done.returncode:
        raise AssertionError(f"{argv}: {done.stderr}")
    return done.stdout


def encode_name(name):
    return b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0"


def question(name, kind, number=None, edns=0):
    number = random.randrange(65536) if number is None else number
    extra = b"\0\0\x29" + struct.pack(">HIH", edns, 0, 0) if edns else b""
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 1 if edns else 0) + encode_name(name) + \
        struct.pack(">HH", kind, 1) + extra


def read_name(data, at):
    labels, end = [], None
    while data[at]:
        if data[at] & 0xc0:
            end = end or at + 2
            at = (data[at] & 0x3f) << 8 | data[at + 1]
            continue
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), end or at + 1


class Reply:
    def __init__(self, data):
        self.id, flags, questions, *counts = struct.unpack(">HHHHHH", data[:12])
        self.code, self.tc, self.aa = flags & 15, bool(flags & 0x200), bool(flags & 0x400)
        self.size, at = len(data), 12
        for _ in range(questions):
            self.name, at = read_name(data, at)
            at += 4
        self.sections = []
        for count in counts:
            records = []
            for _ in range(count):
                name, at = read_name(data, at)
                kind, _, ttl, length = struct.unpack(">HHIH", data[at:at + 10])
                at += 10
                body = data[at:at + length]
                if kind == 1:
                    body = socket.inet_ntoa(body)
                elif kind == 33:
                    body = (struct.unpack(">H", body[4:6])[0], read_name(data, at + 6)[0])
                elif kind in (5, 12):
                    body = read_name(data, at)[0]
                if kind != 41:
                    records.append((name, kind, ttl, body))
                at += length
            self.sections.append(records)
        self.answers = [r[3] for r in self.sections[0]]


def dns(name, kind=1, server=DNS, edns=0, timeout=5):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.connect((server, 53))
        sent = question(name, kind, edns=edns)
        s.send(sent)
        reply = Reply(s.recv(65535))
        assert reply.id == struct.unpack(">H", sent[:2])[0]
        return reply


def dns_tcp(names, kind=1):
    with socket.create_connection((DNS, 53), timeout=5) as s:
        for i, name in enumerate(names):  # pipelined
            q = question(name, kind, number=i)
            s.sendall(struct.pack(">H", len(q)) + q)
        replies, buffer = {}, b""
        while len(replies) < len(names):
            buffer += s.recv(65536)
            while len(buffer) >= 2 and len(buffer) >= 2 + struct.unpack(">H", buffer[:2])[0]:
                length = struct.unpack(">H", buffer[:2])[0]
                reply = Reply(buffer[2:2 + length])
                replies[reply.id] = reply
                buffer = buffer[2 + length:]
        return [replies[i] for i in range(len(names))]


class FakeUpstream:
    """A name server on one loopback address: UDP and TCP."""

    def __init__(self, address):
        self.asked = []
        self.silent = False
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53))
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def answer(self, data, over_tcp):
        name, end = read_name(data, 12)
        kind = struct.unpack(">H", data[end:end + 2])[0]
        self.asked.append((name, over_tcp))
        q = data[12:end + 4]
        if name.startswith("missing."):
            soa = b"\xc0\x0c" + struct.pack(">HHIH", 6, 1, 60, 22) + b"\0\0" + struct.pack(">IIIII", 1, 2, 3, 4, 60)
            return data[:2] + struct.pack(">HHHHH", 0x8183, 1, 0, 1, 0) + q + soa
        if kind != 1:
            return data[:2] + struct.pack(">HHHHH", 0x8180, 1, 0, 0, 0) + q
        if name.startswith("big.") and not over_tcp:
            return data[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + q
        count = 80 if name.startswith("big.") else 1
        rr = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([198, 51, 100, i]) for i in range(count))
        return data[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0) + q + rr

    def serve_udp(self):
        while True:
            data, peer = self.udp.recvfrom(4096)
            if self.silent:
                self.asked.append((read_name(data, 12)[0], False))
                continue
            self.udp.sendto(b"\0\0garbage", peer)  # must not count as the answer
            self.udp.sendto(self.answer(data, False), peer)

    def serve_tcp(self):
        while True:
            peer, _ = self.tcp.accept()
            data = peer.recv(4096)
            reply = self.answer(data[2:], True)
            peer.sendall(struct.pack(">H", len(reply)) + reply)
            peer.close()


class ProxyDaemon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("ip", "link", "set", "lo", "up")
        cls.dir = tempfile.mkdtemp(prefix="net-proxy-")
        cls.upstreams = {a: FakeUpstream(a) for a in ("127.0.0.53", "127.0.0.54")}

    def setUp(self):
        self.api = FakeApi()
        self.process = None
        self.api.put("/api/v1/nodes", {"metadata": {"name": "n1"}, "status": {
            "addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]}})

    def tearDown(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.process.wait(10), 0)
            self.process.stderr.close()
        self.api.server.shutdown()
        self.api.server.server_close()
        run(f"{BIN}/sampan-proxy", "--cleanup")

    def start(self, *flags, healthy=True):
        path = os.path.join(self.dir, "kubeconfig")
        with open(path, "w") as f:
            f.write(f"""apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "{self.api.url}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
""")
        self.process = subprocess.Popen([f"{BIN}/sampan-proxy", "--kubeconfig", path, "--node-name", "n1",
                                         "--log-level", "debug", *flags], stderr=subprocess.PIPE, text=True)
        self.log = []
        threading.Thread(target=self.read_log, args=(self.process.stderr,), daemon=True).start()
        if healthy:
            self.until(lambda: self.health() == 200, "healthy")

    def read_log(self, stream):
        try:
            for line in stream:
                self.log.append(line)
        except ValueError:
            pass

    def health(self, path="/healthz"):
        try:
            with urllib.request.urlopen("http://127.0.0.1:10256" + path, timeout=2) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def until(self, condition, what, seconds=10):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                self.fail(f"not in {seconds} s: {what}\n" + "".join(self.log[-20:]))
            time.sleep(0.005)  # the state of another process: there is no event to wait for

    def element(self, text, what="services"):
        return text in " ".join(run("nft", "list", "map", "ip", "sampan", what, check=False).split())

    def test_services_follow_the_api(self):
        self.api.service("web", "10.96.0.5")
        self.api.slice("web", ["10.244.0.5", "10.244.1.6"])
        self.start()
        self.assertTrue(self.element("10.96.0.5 . tcp . 80 : goto class_2"))
        self.assertTrue(self.element("10.96.0.5 . tcp . 80 . 0x00000001 : 10.244.1.6 . 8080", "ep_2"))
        self.assertEqual(dns("web.default.svc.cluster.local").answers, ["10.96.0.5"])
        self.api.slice("web", ["10.244.0.5", "10.244.1.6", "10.244.1.7"])
        self.until(lambda: self.element("10.96.0.5 . tcp . 80 : goto class_3"), "the third endpoint")
        self.api.slice("web", [])
        self.until(lambda: self.element("10.96.0.5 . tcp . 80 : goto refuse", "blocked"), "no endpoints")
        self.assertFalse(self.element("10.96.0.5"))
        self.api.remove("/api/v1/services", "default", "web")
        self.until(lambda: not self.element("10.96.0.5", "blocked"), "the Service gone")
        self.assertEqual(dns("web.default.svc.cluster.local").code, 3)
        self.assertIn("add services 10.96.0.5 . tcp . 80 : class_2\n", "".join(self.log))

    def test_ready_is_said_when_the_rules_are_in_place(self):
        self.api.service("web", "10.96.0.5")
        self.api.slice("web", ["10.244.0.5"])
        path = os.path.join(self.dir, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(10)
            os.environ["NOTIFY_SOCKET"] = path
            try:
                self.start(healthy=False)
            finally:
                del os.environ["NOTIFY_SOCKET"]
            self.assertEqual(notify.recv(100), b"READY=1")
        self.assertTrue(self.element("10.96.0.5 . tcp . 80 : goto class_1"))

    def test_node_ports_are_on_the_nodes_address(self):
        self.api.put("/api/v1/services", {"metadata": {"namespace": "default", "name": "np"}, "spec": {
            "type": "NodePort", "clusterIP": "10.96.0.6", "ports": [{"port": 80, "nodePort": 30080}]}})
        self.api.slice("np", ["10.244.0.5"], ports=((8080, "", "TCP"),))
        self.start()
        self.assertTrue(self.element("192.0.2.11 . tcp . 30080 : goto class_1_external"))

    def test_a_killed_proxy_leaves_the_rules_and_catches_up(self):
        self.api.service("web", "10.96.0.5")
        self.api.slice("web", ["10.244.0.5"])
        self.api.service("old", "10.96.0.6")
        self.start()
        before = run("nft", "-a", "list", "chains", "ip")
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.assertTrue(self.element("10.96.0.5 . tcp . 80 : goto class_1"))
        self.api.slice("web", ["10.244.0.5", "10.244.0.6"])
        self.api.remove("/api/v1/services", "default", "old")
        self.start()
        self.until(lambda: self.element("10.96.0.5 . tcp . 80 : goto class_2"), "what changed meanwhile")
        self.assertFalse(self.element("10.96.0.6", "blocked"))
        self.assertNotIn("loaded the rules", "".join(self.log))
        after = run("nft", "-a", "list", "chains", "ip")
        self.assertEqual(before.splitlines()[:3], after.splitlines()[:3], "the table was made anew")

    def test_a_flushed_ruleset_comes_back(self):
        self.api.service("web", "10.96.0.5")
        self.api.slice("web", ["10.244.0.5"])
        self.start()
        run("nft", "flush", "ruleset")
        self.until(lambda: self.element("10.96.0.5 . tcp . 80 : goto class_1"), "the table again")
        run("nft", "delete", "element", "ip", "sampan", "services", "{ 10.96.0.5 . tcp . 80 }")
        self.until(lambda: self.element("10.96.0.5 . tcp . 80 : goto class_1"), "the element again")
        run("nft", "flush", "chain", "ip", "sampan", "prerouting")
        self.until(lambda: "@services" in run("nft", "list", "chain", "ip", "sampan", "prerouting"), "the rule again")

    def test_not_ready_before_the_api_answers(self):
        url, self.api.url = self.api.url, "http://127.0.0.1:1"
        self.start(healthy=False)
        self.until(lambda: self.health("/livez") == 200, "alive")
        self.assertEqual(self.health(), 503)
        self.assertEqual(self.health("/nothing"), 404)
        with self.assertRaises(TimeoutError):
            dns("web.default.svc.cluster.local", timeout=0.2)  # it knows nothing: silence, not NXDOMAIN
        self.api.url = url

    def test_metrics(self):
        self.api.service("web", "10.96.0.5")
        self.start()
        dns("web.default.svc.cluster.local")
        text = urllib.request.urlopen("http://127.0.0.1:10256/metrics", timeout=2).read().decode()
        self.assertIn("\nsampan_proxy_services 1\n", text)
        self.assertIn("\nsampan_proxy_elements 1\n", text)
        self.assertIn("\nsampan_dns_queries_total 1\n", text)
        self.assertIn("\nsampan_proxy_failures_total 0\n", text)

    def test_dns_headless_srv_ptr_tcp_edns_truncation(self):
        self.api.service("db", "None", ports=((5432, "sql", "TCP"),))
        self.api.slice("db", ["10.244.0.7", "10.244.1.8"], ports=((5432, "sql", "TCP"),), hostnames=("db-0", "db-1"))
        self.api.service("many", "None")
        self.api.slice("many", [f"10.244.2.{i}" for i in range(1, 101)])
        self.api.service("web", "10.96.0.5")
        self.start()
        self.assertEqual(sorted(dns("db.default.svc.cluster.local").answers), ["10.244.0.7", "10.244.1.8"])
        firsts = {dns("db.default.svc.cluster.local").answers[0] for _ in range(4)}
        self.assertEqual(len(firsts), 2, "the order turns")
        self.assertEqual(dns("db-1.db.default.svc.cluster.local").answers, ["10.244.1.8"])
        srv = dns("_sql._tcp.db.default.svc.cluster.local", 33)
        self.assertEqual(sorted(srv.answers), [(5432, "db-0.db.default.svc.cluster.local"),
                                               (5432, "db-1.db.default.svc.cluster.local")])
        self.assertEqual(dns("5.0.96.10.in-addr.arpa", 12).answers, ["web.default.svc.cluster.local"])
        self.assertEqual(dns("web.default.svc.cluster.local", 28).code, 0)
        mixed = dns("WEB.Default.svc.cluster.local")
        self.assertEqual((mixed.name, mixed.answers), ("WEB.Default.svc.cluster.local", ["10.96.0.5"]))
        self.assertEqual(mixed.sections[0][0][2], 5, "TTL")
        cut = dns("many.default.svc.cluster.local")
        self.assertTrue(cut.tc)
        self.assertLessEqual(cut.size, 512)
        self.assertTrue(dns("many.default.svc.cluster.local", edns=4096).tc, "1232 bytes are the most over UDP")
        whole, small = dns_tcp(["many.default.svc.cluster.local", "web.default.svc.cluster.local"])
        self.assertEqual((len(whole.answers), small.answers), (100, ["10.96.0.5"]))
        none = dns("none.default.svc.cluster.local")
        self.assertEqual((none.code, none.aa, none.sections[1][0][1]), (3, True, 6))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(5)
            s.connect((DNS, 53))
            rng = random.Random(7)
            for _ in range(500):
                s.send(rng.randbytes(rng.randrange(80)))
            s.send(b"\x12\x34\x01\x00\x00\x01" + b"\0" * 6 + b"\xc0\x0c\0\1\0\1")  # a loop
        self.assertEqual(dns("web.default.svc.cluster.local").answers, ["10.96.0.5"], "still there")

    def test_dns_upstream(self):
        resolv = os.path.join(self.dir, "resolv.conf")
        with open(resolv, "w") as f:
            f.write(f"search x\nnameserver {DNS}\nnameserver 127.0.0.53\nnameserver 127.0.0.54\n")
        first, second = self.upstreams["127.0.0.53"], self.upstreams["127.0.0.54"]
        self.api.put("/api/v1/services", {"metadata": {"namespace": "default", "name": "ext"}, "spec": {
            "type": "ExternalName", "externalName": "www.example.org"}})
        self.start("--resolv-conf", resolv)
        self.assertEqual(dns("www.example.org").answers, ["198.51.100.0"])
        first.asked.clear()
        self.assertEqual(dns("WWW.example.org").answers, ["198.51.100.0"])
        self.assertEqual(first.asked, [], "from memory")
        self.assertEqual(dns("missing.example.org").code, 3)
        self.assertEqual(dns("missing.example.org").code, 3)
        self.assertEqual(len(first.asked), 1, "negative answers too")
        ext = dns("ext.default.svc.cluster.local")
        self.assertEqual([r[1] for r in ext.sections[0]], [5, 1])
        self.assertEqual(ext.answers, ["www.example.org", "198.51.100.0"])
        self.assertTrue(dns("big.example.org").tc)
        self.assertIn(("big.example.org", True), first.asked)
        self.assertEqual(len(dns_tcp(["big.example.org"])[0].answers), 80)
        first.silent = True
        begin = time.monotonic()
        self.assertEqual(dns("other.example.org").answers, ["198.51.100.0"])
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(second.asked, [("other.example.org", False)])
        first.silent = False

    def test_dns_without_upstream_refuses(self):
        self.start()
        self.assertEqual(dns("www.example.org").code, 5)
        self.assertEqual(dns("www.example.org.default.svc.cluster.local").code, 3)

    def test_cleanup_and_bad_flags(self):
        self.start()
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(10), 0)
        self.process.stderr.close()
        self.process = None
        self.assertIn("sampan-dns", run("ip", "link"))
        self.assertIn("table ip sampan", run("nft", "list", "tables"))
        run(f"{BIN}/sampan-proxy", "--cleanup")
        self.assertNotIn("sampan-dns", run("ip", "link"))
        self.assertNotIn("sampan", run("nft", "list", "tables"))
        for flags, said in ((["--service-cidr", "10.96.0.0"], "is not an IPv4 CIDR"), ([], "--kubeconfig"),
                            (["--table", "a;b"], "other characters"),
                            (["--kubeconfig", "/nope", "--node-name", "n1"], "/nope")):
            done = subprocess.run([f"{BIN}/sampan-proxy", *flags], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
