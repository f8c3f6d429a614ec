"""What tests of sampan-proxy as a process share: a small API server that tells it about Services, name
servers, DNS packets. Importing it moves the script into a network namespace of its own."""
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
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("SAMPAN_BIN_DIR", os.path.join(ROOT, "build/dev/bin"))
DNS = "10.96.0.10"
PATHS = {"/api/v1/services": "ServiceList", "/apis/discovery.k8s.io/v1/endpointslices": "EndpointSliceList",
         "/api/v1/nodes": "NodeList", "/api/v1/pods": "PodList", "/api/v1/namespaces": "NamespaceList",
         "/api/v1/namespaces/kube-system/configmaps": "ConfigMapList",
         "/apis/networking.k8s.io/v1/networkpolicies": "NetworkPolicyList"}


class FakeApi:
    """Lists and watches of the kinds that a proxy follows."""

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


def dns(name, kind=1, server=DNS, edns=0, timeout=5, attempts=1):
    if attempts > 1:
        try:
            return dns(name, kind, server, edns, timeout)
        except TimeoutError:
            return dns(name, kind, server, edns, timeout, attempts - 1)
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
        rr = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1 if name.startswith("short.") else 300, 4) + bytes([198, 51, 100, i]) for i in range(count))
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
            reply = self.answer(data[2:], True) or b""
            peer.sendall(struct.pack(">H", len(reply)) + reply)
            peer.close()


class ProxyCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        run("ip", "link", "set", "lo", "up")
        cls.dir = tempfile.mkdtemp(prefix="net-proxy-")
        cls.upstreams = {a: FakeUpstream(a) for a in ("127.0.0.53", "127.0.0.54")}

    def setUp(self):
        self.api = FakeApi()
        self.process = None
        self.api.put("/api/v1/nodes", {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.0.0/24"}, "status": {
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
