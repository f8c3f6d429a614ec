#!/usr/bin/python3
"""NetworkPolicies with real packets: every pair of nine Pods in three namespaces on two nodes, under a table of
policies, against a judge that reads the policies as they are defined; connections that were established before;
a Pod's first packet; the node's own probes."""
import concurrent.futures
import ipaddress

import cluster
from cluster import pod

PORTS = {"first": 8080, "second": 8081}
SERVE = ("sh", "-c", "mkdir -p /www && echo here > /www/index.html && httpd -p 8080 -h /www && exec httpd -f -p 8081 -h /www")
X, Y, Z = ({"ns": name} for name in "xyz")


def policy(pods=None, ingress=None, egress=None, types=None):
    spec = {"podSelector": pods or {}}
    if ingress is not None:
        spec["ingress"] = ingress
    if egress is not None:
        spec["egress"] = egress
    spec["policyTypes"] = types or [t for t, rules in (("Ingress", ingress), ("Egress", egress)) if rules is not None]
    return spec


def labels(**equal):
    return {"matchLabels": equal}


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


A, B = {"podSelector": labels(pod="a")}, {"podSelector": labels(pod="b")}
IN_Y = {"namespaceSelector": labels(ns="y")}
TCP_8080 = [{"port": 8080}]
# (what, policies of namespace x); "block" peers are filled in with addresses of the Pods.
TABLE = [
    ("deny ingress", [policy(ingress=[])]),
    ("deny egress", [policy(egress=[])]),
    ("deny both", [policy(ingress=[], egress=[])]),
    ("allow all ingress", [policy(ingress=[{}])]),
    ("allow all egress", [policy(egress=[{}])]),
    ("deny to one Pod", [policy(labels(pod="a"), ingress=[])]),
    ("from Pods of the namespace", [policy(ingress=[{"from": [{"podSelector": {}}]}])]),
    ("from one Pod", [policy(ingress=[{"from": [A]}])]),
    ("from a namespace", [policy(ingress=[{"from": [IN_Y]}])]),
    ("from all namespaces", [policy(ingress=[{"from": [{"namespaceSelector": {}}]}])]),
    ("from a Pod in a namespace", [policy(ingress=[{"from": [{**IN_Y, **B}]}])]),
    ("from a Pod or a namespace", [policy(ingress=[{"from": [IN_Y, B]}])]),
    ("from namespaces by expression", [policy(ingress=[{"from": [{"namespaceSelector": expression("ns", "NotIn", "x", "z")}]}])]),
    ("from Pods that exist", [policy(ingress=[{"from": [{"podSelector": expression("pod", "Exists")}]}])]),
    ("from Pods without a label", [policy(ingress=[{"from": [{"namespaceSelector": {}, "podSelector": expression("nolabel", "DoesNotExist")}]}])]),
    ("from nobody who is there", [policy(ingress=[{"from": [{"namespaceSelector": labels(ns="nowhere")}]}])]),
    ("to Pods of the namespace", [policy(egress=[{"to": [{"podSelector": {}}]}])]),
    ("to a namespace", [policy(egress=[{"to": [IN_Y]}])]),
    ("to a Pod in all namespaces", [policy(egress=[{"to": [{"namespaceSelector": {}, **A}]}])]),
    ("one port", [policy(ingress=[{"ports": TCP_8080}])]),
    ("one port to one namespace", [policy(egress=[{"to": [IN_Y], "ports": TCP_8080}])]),
    ("a named port", [policy(ingress=[{"ports": [{"port": "second"}]}])]),
    ("a named port of others", [policy(egress=[{"ports": [{"port": "first"}]}])]),
    ("a named port of no one", [policy(ingress=[{"ports": [{"port": "third"}]}])]),
    ("a range of ports", [policy(ingress=[{"ports": [{"port": 8000, "endPort": 8080}]}])]),
    ("a range with both", [policy(ingress=[{"ports": [{"port": 8080, "endPort": 8090}]}])]),
    ("a range with none", [policy(egress=[{"ports": [{"port": 8082, "endPort": 9000}]}])]),
    ("another protocol", [policy(ingress=[{"ports": [{"protocol": "UDP", "port": 8080}]}])]),
    ("SCTP alone", [policy(egress=[{"ports": [{"protocol": "SCTP"}]}])]),
    ("all of TCP", [policy(ingress=[{"ports": [{"protocol": "TCP"}]}])]),
    ("two rules add up", [policy(ingress=[{"from": [A]}, {"from": [IN_Y], "ports": TCP_8080}])]),
    ("two policies add up", [policy(ingress=[{"from": [A]}]), policy(labels(pod="a"), ingress=[{"from": [IN_Y]}])]),
    ("deny and allow", [policy(ingress=[]), policy(labels(pod="b"), ingress=[{"ports": TCP_8080}])]),
    ("both directions", [policy(ingress=[{"from": [IN_Y]}], egress=[{"to": [{"namespaceSelector": labels(ns="z")}]}])]),
    ("from an address", [policy(ingress=[{"from": [{"ipBlock": {"cidr": "y/b"}}]}])]),
    ("from all but an address", [policy(ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["y/b"]}}]}])]),
    ("to all but some", [policy(egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["y/b", "z/a", "x/c"]}}]}])]),
    ("an address that a selector lets in", [policy(ingress=[{"from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["y/b"]}}, IN_Y]}])]),
    ("out of two Pods", [policy(expression("pod", "In", "a", "b"), egress=[{"to": [A]}])]),
    ("in and out of one another", [policy(labels(pod="a"), ingress=[{"from": [B]}]), policy(labels(pod="b"), egress=[{"to": [A]}])]),
]


def selects(selector, of):
    if any(of.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all({"In": of.get(e["key"]) in e.get("values", []), "NotIn": of.get(e["key"]) not in e.get("values", []),
                "Exists": e["key"] in of, "DoesNotExist": e["key"] not in of}[e["operator"]]
               for e in selector.get("matchExpressions", []))


def allows_one_way(policies, subject, peer, target, port, direction):
    """Whether the policies of namespace x let the traffic of `subject` pass, in or out."""
    mine = [p for p in policies if subject[0] == "x" and selects(p["podSelector"], {"pod": subject[1]})
            and {"ingress": "Ingress", "egress": "Egress"}[direction] in p["policyTypes"]]
    if not mine:
        return True

    def is_peer(peers):
        if not peers:
            return True
        for one in peers:
            if "ipBlock" in one:
                at = ipaddress.ip_address(peer[2])
                if at in ipaddress.ip_network(one["ipBlock"]["cidr"]) and not any(
                        at in ipaddress.ip_network(hole) for hole in one["ipBlock"].get("except", [])):
                    return True
            elif (selects(one["namespaceSelector"], {"ns": peer[0]}) if "namespaceSelector" in one else peer[0] == "x") \
                    and selects(one.get("podSelector", {}), {"pod": peer[1]}):
                return True
        return False

    def is_port(ports):
        return not ports or any(
            one.get("protocol", "TCP") == "TCP" and (
                "port" not in one or PORTS.get(one["port"]) == port if isinstance(one.get("port", ""), str)
                else one["port"] <= port <= one.get("endPort", one["port"])) for one in ports)
    return any(is_peer(rule.get("from" if direction == "ingress" else "to")) and is_port(rule.get("ports"))
               for p in mine for rule in p.get(direction, []))


def allows(policies, source, target, port):
    return source == target or (allows_one_way(policies, source, target, target, port, "egress")
                                and allows_one_way(policies, target, source, target, port, "ingress"))


class EveryPair(cluster.ClusterTest):
    nodes = 2

    def test_every_pair_under_every_policy(self):
        spaces = {name: f"{self.ns}-{name}"[-60:].strip("-") for name in "xyz"}
        for name, space in spaces.items():
            self.kubectl("create", "namespace", space, namespace=None)
            self.addCleanup(self.kubectl, "delete", "namespace", space, "--wait=false", namespace=None)
            self.kubectl("label", "namespace", space, f"ns={name}", namespace=None)
            for number, one in enumerate("abc"):
                self.kubectl("apply", "-f", "-", namespace=space, input=pod(
                    one, *SERVE, labels={"pod": one}, nodeSelector={"kubernetes.io/hostname": f"node-{1 + number % 2}"},
                    container={"ports": [{"name": n, "containerPort": p} for n, p in PORTS.items()],
                               "readinessProbe": {"tcpSocket": {"port": 8081}, "periodSeconds": 1}}))
        pods = []
        for name, space in spaces.items():
            self.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "--all", namespace=space)
            for one in "abc":
                pods.append((name, one, self.kubectl("get", "pod", one, "-o", "jsonpath={.status.podIP}", namespace=space).stdout))
        ip_of = {f"{p[0]}/{p[1]}": p[2] + "/32" for p in pods}
        targets = " ".join(f"{p[2]}:{port}" for p in pods for port in PORTS.values())
        script = f"for t in {targets}; do {{ timeout 1 wget -qO /dev/null http://$t/ && echo $t; }} & done; wait"

        def probe(source):
            done = self.kubectl("exec", source[1], "--", "sh", "-c", script, namespace=spaces[source[0]], check=False)
            return source, set(done.stdout.split())

        def filled(value):
            if isinstance(value, dict):
                return {k: filled(v) for k, v in value.items()}
            if isinstance(value, list):
                return [filled(v) for v in value]
            return ip_of.get(value, value) if isinstance(value, str) else value

        denied = 0
        with concurrent.futures.ThreadPoolExecutor(9) as threads:
            for what, policies in TABLE:
                policies = filled(policies)
                for number, spec in enumerate(policies):
                    self.kubectl("apply", "-f", "-", namespace=spaces["x"], input={
                        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": f"p{number}"}, "spec": spec})
                if len(policies) == 1:
                    self.kubectl("delete", "networkpolicy", "p1", "--ignore-not-found", namespace=spaces["x"])
                expected = {p: {f"{q[2]}:{port}" for q in pods for port in PORTS.values() if allows(policies, p, q, port)} for p in pods}
                denied += sum(18 - len(reached) for reached in expected.values())
                wrong = pods
                for _ in range(5):  # until every node has heard; a busy machine may need longer than the second
                    found = dict(threads.map(probe, wrong))
                    wrong = [p for p in wrong if found[p] != expected[p]]
                    if not wrong:
                        break
                self.assertEqual([(p, sorted(found[p] - expected[p]), sorted(expected[p] - found[p])) for p in wrong], [],
                                 f"{what}: from whom, reached but denied, allowed but not reached")
        self.assertGreater(denied, 500)
        # The node's probes pass whatever the policies say.
        self.kubectl("wait", "--for=condition=Ready", "--timeout=1s", "pod", "--all", namespace=spaces["x"])


class InForce(cluster.ClusterTest):
    nodes = 1

    def policy(self, name, **spec):
        self.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": policy(**spec)})
        self.addCleanup(self.kubectl, "delete", "networkpolicy", name, "--ignore-not-found")

    def tables(self):
        return self.inside("nft", "list", "tables").stdout

    def until_table(self, there):
        for _ in range(100):
            if ("sampan_policy" in self.tables()) == there:
                return
        self.fail(f"table of policies {'absent' if there else 'present'}: {self.tables()}")

    def test_no_policy_no_table(self):
        self.assertNotIn("sampan_policy", self.tables())
        self.policy("one", ingress=[])
        self.until_table(True)
        self.kubectl("delete", "networkpolicy", "one")
        self.until_table(False)

    def test_an_established_connection_is_judged_anew(self):
        self.apply(pod("server", "sh", "-c", "sleep 1000 | nc -l -p 9000 > /tmp/got", labels={"app": "server"}))
        self.wait("condition=Ready", "pod/server")
        ip = self.jsonpath("{.status.podIP}", "pod", "server")
        self.apply(pod("client", "sh", "-c", f"while true; do echo line; usleep 20000; done | nc {ip} 9000"))
        self.wait("condition=Ready", "pod/client")

        def got():
            return int(self.exec("server", "sh", "-c", "wc -c < /tmp/got").stdout)

        def moves():
            before = got()
            self.exec("server", "usleep", "300000")
            return got() > before
        self.assertTrue(any(moves() for _ in range(20)))
        self.policy("deny", pods=labels(app="server"), ingress=[])
        self.assertTrue(any(not moves() for _ in range(20)), "data still arrives")
        self.assertFalse(moves())
        self.kubectl("delete", "networkpolicy", "deny")
        self.assertTrue(any(moves() for _ in range(30)), "the connection does not go on")

    def test_the_first_packet_of_a_new_pod(self):
        self.apply(pod("server", *SERVE, labels={"app": "server"}))
        self.wait("condition=Ready", "pod/server")
        ip = self.jsonpath("{.status.podIP}", "pod", "server")
        self.policy("closed", pods=labels(app="closed"), egress=[])
        self.until_table(True)
        # Until this node's proxy knows whose address it is, a Pod is denied: one that is free is let in when it asks again.
        ask = ("sh", "-c", f"timeout 5 wget -qO- http://{ip}:8080/ && echo reached || echo denied")
        for number in range(10):
            self.apply(pod(f"closed-{number}", *ask, labels={"app": "closed"}, restartPolicy="Never"),
                       pod(f"open-{number}", *ask, restartPolicy="Never"))
        self.wait("jsonpath={.status.phase}=Succeeded", *(f"pod/{kind}-{n}" for kind in ("closed", "open") for n in range(10)))
        said = {kind: [self.kubectl("logs", f"{kind}-{n}").stdout.split()[-1] for n in range(10)] for kind in ("closed", "open")}
        self.assertEqual(said, {"closed": ["denied"] * 10, "open": ["reached"] * 10})

    def test_a_table_that_somebody_flushed_comes_back(self):
        self.policy("one", ingress=[])
        self.until_table(True)
        self.inside("nft", "delete", "table", "ip", "sampan_policy")
        self.until_table(True)

    def test_a_restart_of_the_proxy_leaves_no_gap(self):
        self.apply(pod("server", *SERVE, labels={"app": "server"}), pod("client", "sleep", "1000"))
        self.wait("condition=Ready", "pod/server", "pod/client")
        ip = self.jsonpath("{.status.podIP}", "pod", "server")
        self.policy("one", ingress=[])
        self.until_table(True)
        ask = f"i=0; while [ $i -lt 40 ]; do timeout 0.1 wget -qO- http://{ip}:8080/ && echo REACHED; i=$((i+1)); done; echo end"
        running = self.kubectl_popen("exec", "client", "--", "sh", "-c", ask, stdout=-1)
        self.cluster.restart("node-1/proxy")
        self.assertEqual(running.communicate(timeout=60)[0], "end\n")


if __name__ == "__main__":
    cluster.main()
