#!/usr/bin/python3
"""sampan-proxy as a process: a small API server tells it about Services, the kernel's table and the
DNS answers are looked at from outside. Everything happens in a network namespace of its own."""
import os
import random
import signal
import socket
import subprocess
import time
import unittest
import urllib.request

from proxy_process import BIN, DNS, ProxyCase, dns, dns_tcp, run


class ProxyDaemon(ProxyCase):
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

    def test_policies_have_a_table_while_there_are_some(self):
        policies, pods = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods"

        def tables():
            return run("nft", "list", "ruleset")
        self.api.put(pods, {"metadata": {"namespace": "default", "name": "web", "uid": "u", "labels": {"app": "web"}},
                            "spec": {"nodeName": "n2"}, "status": {"podIP": "10.244.1.7"}})
        self.start()
        self.assertNotIn("sampan_policy", tables())
        self.api.put("/api/v1/namespaces", {"metadata": {"name": "default", "labels": {"team": "x"}}})
        self.api.put(policies, {"metadata": {"namespace": "default", "name": "p"}, "spec": {
            "podSelector": {}, "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"team": "x"}}}]}]}})
        self.until(lambda: "ip saddr 10.244.0.0/24 jump egress_of" in tables(), "the table of policies")
        self.assertEqual(self.health(), 200)
        # A Pod of this node: its link tells its address.
        run("ip", "link", "add", "sampan0", "type", "bridge")
        link = "veth0" + "x" * 6
        self.api.put(pods, {"metadata": {"namespace": "default", "name": "here", "uid": "v"}, "spec": {"nodeName": "n1"}})
        name = self.link_name("v")
        run("ip", "link", "add", name, "type", "veth", "peer", "name", link)
        run("ip", "link", "set", name, "alias", "sampan-pod 10.244.0.9")
        run("ip", "link", "set", name, "up")  # of a link that is down nothing is told
        self.until(lambda: "10.244.0.9 : goto in_" in tables(), "the Pod's chain")
        self.assertIn("10.244.1.7", tables())
        run("nft", "delete", "table", "ip", "sampan_policy")
        self.until(lambda: "10.244.0.9 : goto in_" in tables(), "the table again")
        run("ip", "link", "del", name)
        self.until(lambda: "10.244.0.9" not in tables(), "nobody at the address")
        self.api.remove(policies, "default", "p")
        self.until(lambda: "sampan_policy" not in tables(), "no table")

    def link_name(self, uid):
        """netns::host_link_name: FNV-1a in base 36."""
        value = 0xcbf29ce484222325
        for byte in uid.encode():
            value = (value ^ byte) * 0x100000001b3 % 2 ** 64
        name = "veth"
        for _ in range(11):
            name += "0123456789abcdefghijklmnopqrstuvwxyz"[value % 36]
            value //= 36
        return name

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
        # Behind its own flood a client's packet may be lost, as any may: it asks again, like every resolver.
        self.assertEqual(dns("web.default.svc.cluster.local", attempts=3).answers, ["10.96.0.5"], "still there")

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
        second.asked.clear()
        begin = time.monotonic()
        self.assertEqual(dns("other.example.org").answers, ["198.51.100.0"])
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(second.asked, [("other.example.org", False)])
        first.silent = False

    def test_dns_serves_what_was_true_while_no_server_answers(self):
        resolv = os.path.join(self.dir, "resolv.conf")
        with open(resolv, "w") as f:
            f.write("nameserver 127.0.0.53\nnameserver 127.0.0.54\n")
        servers = self.upstreams.values()
        self.start("--resolv-conf", resolv)
        self.assertEqual(dns("short.example.org").answers, ["198.51.100.0"])
        for server in servers:
            server.silent = True
            server.asked.clear()
        try:
            while not any(server.asked for server in servers):  # its second is not over
                begin = time.monotonic()
                self.assertEqual(dns("short.example.org").answers, ["198.51.100.0"])
            self.assertLess(time.monotonic() - begin, 3)
            begin = time.monotonic()
            self.assertEqual(dns("short.example.org").answers, ["198.51.100.0"])
            self.assertLess(time.monotonic() - begin, 1, "no server is waited for again")
            text = urllib.request.urlopen("http://127.0.0.1:10256/metrics", timeout=2).read().decode()
            self.assertIn("\nsampan_dns_stale_answers_total 2\n", text)
        finally:
            for server in servers:
                server.silent = False

    def test_dns_settings(self):
        resolv = os.path.join(self.dir, "resolv.conf")
        with open(resolv, "w") as f:
            f.write("nameserver 127.0.0.53\n")
        first, second = self.upstreams["127.0.0.53"], self.upstreams["127.0.0.54"]
        first.asked.clear(), second.asked.clear()
        self.start("--resolv-conf", resolv)
        self.assertEqual(dns("a.corp.example.org").answers, ["198.51.100.0"])
        self.assertEqual(first.asked.pop(), ("a.corp.example.org", False))
        settings = "/api/v1/namespaces/kube-system/configmaps"
        self.api.put(settings, {"metadata": {"namespace": "kube-system", "name": "sampan-dns"}, "data": {
            "hosts": "192.0.2.7 registry.example.org\nnonsense", "forward": "corp.example.org 127.0.0.54",
            "rewrite": "old.example.org dns-version.cluster.local\nmoved.example.org a.corp.example.org"}})
        self.until(lambda: dns("registry.example.org").answers == ["192.0.2.7"], "hosts")
        self.assertEqual(dns("registry.example.org", 28).answers, [])
        self.assertEqual(dns("A.corp.example.org").answers, ["198.51.100.0"], "not from memory: of another server")
        self.assertEqual([name.lower() for name, _ in second.asked], ["a.corp.example.org"])
        self.assertEqual(dns("old.example.org", 16).answers[0], "dns-version.cluster.local")
        self.assertEqual(dns("moved.example.org").answers, ["a.corp.example.org", "198.51.100.0"])
        self.assertTrue(any("nonsense" in line for line in self.log))
        self.api.remove(settings, "kube-system", "sampan-dns")
        self.until(lambda: dns("registry.example.org").answers == ["198.51.100.0"], "the upstream server's word")

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
                            (["--service-cidr", "10.1.0.0/16", "--cluster-cidr", "10.0.0.0/8"], "shares addresses with --service-cidr"),
                            (["--table", "a;b"], "other characters"),
                            (["--kubeconfig", "/nope", "--node-name", "n1"], "/nope")):
            done = subprocess.run([f"{BIN}/sampan-proxy", *flags], capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn(said, done.stderr)
        done = subprocess.run([f"{BIN}/sampan-master", "--data-dir", "/nonexistent/data", "--service-cidr", "10.1.0.0/16",
                               "--cluster-cidr", "10.0.0.0/8"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("shares addresses with --service-cidr 10.1.0.0/16", done.stderr)


if __name__ == "__main__":
    unittest.main()
