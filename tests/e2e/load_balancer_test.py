#!/usr/bin/python3
"""Services of type LoadBalancer as people on bare metal know them: addresses of the nodes without a pool, of a
pool where there is one, requested, shared and exhausted; what is given is told by Events and kept over restarts."""
import json
import subprocess
import sys

import cluster

POOLS = "sampan-address-pools"
SERVE = ("sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www")


def service(name, port=80, annotations=None, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": port, "targetPort": 8080}], **spec}}


def addresses(item):
    return [one.get("ip") for one in item.get("status", {}).get("loadBalancer", {}).get("ingress") or []]


def condition(item):
    return next((c for c in item.get("status", {}).get("conditions", []) if c["type"] == "sampan.io/LoadBalancer"), {})


# Until somebody answers for the address on the link, whatever he says.
REACH = r"""
import socket, sys, time
deadline = time.monotonic() + 20
while True:
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.2).close()
        break
    except ConnectionRefusedError:
        break
    except OSError as error:
        if time.monotonic() > deadline:
            raise
"""
# Until the link has an answer to who has the address.
RESOLVE = r"""
import socket, subprocess, sys, time
deadline = time.monotonic() + 20
while "lladdr" not in subprocess.run(["ip", "neigh", "show", sys.argv[1]], stdout=subprocess.PIPE, text=True).stdout:
    if time.monotonic() > deadline:
        sys.exit(1)
    try:
        socket.create_connection((sys.argv[1], 80), timeout=0.2).close()
    except OSError:
        pass
"""


class Balanced(cluster.ClusterTest):
    def pools(self, **data):
        self.kubectl("apply", "-f", "-", namespace=None, input={
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": POOLS, "namespace": "kube-system"}, "data": data})
        self.addCleanup(self.kubectl, "delete", "configmap", POOLS, "--ignore-not-found", namespace="kube-system")

    def until_addresses(self, **wanted):
        """Each Service by name has just these addresses; None: it waits and says why."""
        names = {name.replace("_", "-"): want for name, want in wanted.items()}
        return self.until("/api/v1/namespaces/{ns}/services", lambda items: all(
            name in items and (condition(items[name]).get("reason") == "AllocationFailed" and not addresses(items[name])
                               if want is None else addresses(items[name]) == want)
            for name, want in names.items()), 20, f"addresses {names}")


class LoadBalancer(Balanced):
    def test_without_a_pool_the_nodes_addresses(self):
        self.apply(service("web"))
        got = self.until_addresses(web=["192.0.2.11"])["web"]
        self.assertEqual(got["status"]["loadBalancer"]["ingress"], [{"ip": "192.0.2.11", "ipMode": "VIP"}])
        self.assertEqual(self.until_event("IPAllocated", "web")["message"], 'Assigned IP ["192.0.2.11"]')
        # A port of the nodes is one Service's; who waits for it has it when it is free.
        self.apply(service("second"))
        self.until_addresses(second=None)
        self.until_event("AllocationFailed", "second", text=f"port TCP/80 of the nodes is already in use by {self.ns}/web")
        self.kubectl("delete", "service", "web")
        self.until_addresses(second=["192.0.2.11"])
        # Of another class: left to whom it names.
        self.apply(service("theirs", 81, loadBalancerClass="example.org/metal"), service("ours", 82, loadBalancerClass="sampan.io/lb"))
        theirs = self.until_addresses(ours=["192.0.2.11"])["theirs"]
        self.assertEqual((addresses(theirs), condition(theirs)), ([], {}))
        # With another type it is nobody's.
        self.kubectl("patch", "service", "second", "-p", '{"spec":{"type":"ClusterIP"}}')
        self.until("/api/v1/namespaces/{ns}/services", lambda items: not addresses(items["second"]) and not condition(items["second"]), 20)

    def test_pools_requests_and_exhaustion(self):
        self.pools(default="192.0.2.100-192.0.2.101", held="198.51.100.0/31\nauto-assign: false", overlap="192.0.2.101/32")
        self.until("/api/v1/namespaces/kube-system/events", lambda items: any(
            e["reason"] == "InvalidAddressPool" and "overlaps with 192.0.2.100-192.0.2.101 of pool" in e["message"] for e in items.values()), 20)
        self.apply(service("first"))
        self.until_addresses(first=["192.0.2.100"])
        self.apply(service("second"))
        self.until_addresses(second=["192.0.2.101"])
        self.apply(service("third"), service("held", annotations={"metallb.io/address-pool": "held"}),
                   service("asked", annotations={"metallb.universe.tf/loadBalancerIPs": "198.51.100.1"}))
        self.until_addresses(first=["192.0.2.100"], second=["192.0.2.101"], third=None, held=["198.51.100.0"], asked=["198.51.100.1"])
        event = self.until_event("AllocationFailed", "third")
        self.assertEqual((event["type"], event["message"]), ("Warning", f'Failed to allocate IP for "{self.ns}/third": no available IPs'))
        # A master that comes back leaves everybody what he has, though the newest asks for the oldest's.
        self.cluster.kill("master")
        self.cluster.start("master")
        self.apply(service("thief", loadBalancerIP="192.0.2.100"))
        self.until_addresses(first=["192.0.2.100"], second=["192.0.2.101"], third=None, thief=None)
        self.kubectl("delete", "service", "second")
        self.until_addresses(third=["192.0.2.101"])
        shared = {"metallb.io/allow-shared-ip": "dns"}
        self.pools(default="192.0.2.110/32")
        self.kubectl("delete", "service", "first", "third", "thief", "held", "asked")
        self.apply(service("tcp", 53, shared), service("more", 54, shared), service("clash", 53, shared))
        items = self.until("/api/v1/namespaces/{ns}/services", lambda items: all(
            addresses(items[name]) or condition(items[name]) for name in ("tcp", "more", "clash")), 20)
        self.assertEqual(addresses(items["more"]), ["192.0.2.110"])
        self.assertEqual(sorted([addresses(items["tcp"]), addresses(items["clash"])]), [[], ["192.0.2.110"]])


class Announced(Balanced):
    nodes = 3
    client_ip = "192.0.2.200"

    def setUp(self):
        super().setUp()
        # A machine beside the nodes: on their link, with no route to anywhere else.
        self.client = f"{self.cluster.netns}-client"
        run("ip", "netns", "add", self.client)
        self.addCleanup(run, "ip", "netns", "del", self.client)
        run("ip", "-n", self.cluster.netns, "link", "add", "client", "type", "veth", "peer", "name", "eth0", "netns", self.client)
        run("ip", "-n", self.cluster.netns, "link", "set", "client", "master", "cluster0", "up")
        for words in (["link", "set", "lo", "up"], ["address", "add", f"{self.client_ip}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "-n", self.client, *words)

    def from_client(self, script, *words, **options):
        return subprocess.Popen(["ip", "netns", "exec", self.client, sys.executable, "-c", script, *map(str, words)],
                                text=True, stdout=subprocess.PIPE, **options)

    def answered(self, process):
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        count, worst = out.split()[-2:]
        return int(count), float(worst)

    def reach(self, address, port=80):
        process = self.from_client(REACH, address, port)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0, f"nobody answers for {address}")

    def announcer_of_anybody(self, address):
        """Waits until somebody answers ARP for it, whether he takes connections or not."""
        self.assertEqual(self.from_client(RESOLVE, address).wait(timeout=60), 0, f"nobody has {address}")

    def announcer(self, address):
        """The node whose link address the client knows for an address."""
        run("ip", "-n", self.client, "neigh", "flush", "all")
        self.reach(address)
        mac = run("ip", "-n", self.client, "neigh", "show", address).split()[4]
        macs = {run("ip", "-n", self.cluster.node_netns(node), "link", "show", "eth0").split("link/ether ")[1].split()[0]: node
                for node in self.cluster.nodes}
        return macs[mac]

    def serve(self, name, nodes):
        self.apply(*[cluster.pod(f"{name}-{node}", *SERVE, labels={"app": name}, nodeName=node) for node in nodes])
        self.wait("condition=Ready", *[f"pod/{name}-{node}" for node in nodes])
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: name in items and sum(
            len(s.get("addresses") or []) for s in items[name].get("subsets") or []) == len(nodes))

    def test_an_announcing_node_dies(self):
        self.pools(default="192.0.2.100/32")
        self.apply(service("web"))
        self.until_addresses(web=["192.0.2.100"])
        node = self.announcer("192.0.2.100")
        others = [other for other in self.cluster.nodes if other != node]
        self.serve("web", others)
        asking = self.from_client(cluster.ASK, "192.0.2.100", 80, 5)
        self.assertEqual(asking.stdout.readline(), "answered\n")
        run("ip", "-n", self.cluster.netns, "link", "set", node, "down")
        for daemon in ("proxy", "kubelet"):
            self.cluster.kill(f"{node}/{daemon}")
        count, worst = self.answered(asking)
        heir = self.announcer("192.0.2.100")
        print(f"the announcing node dies: {worst * 1000:.0f} ms without an answer, {count} answers before and after")
        self.assertIn(heir, others)
        self.assertLess(worst, 1)
        # A proxy that is killed and comes back, and a node that does.
        asking = self.from_client(cluster.ASK, "192.0.2.100", 80, 6)
        self.assertEqual(asking.stdout.readline(), "answered\n")
        self.cluster.kill(f"{heir}/proxy")
        self.cluster.start(f"{heir}/proxy")
        run("ip", "-n", self.cluster.netns, "link", "set", node, "up")
        for daemon in ("proxy", "kubelet"):
            self.cluster.start(f"{node}/{daemon}")
        count, worst = self.answered(asking)
        print(f"its proxy restarts and the dead node comes back: {worst * 1000:.0f} ms without an answer")
        self.assertLess(worst, 1)
        self.cluster.wait_nodes_ready()
        # A pool that is used up says so.
        self.apply(service("next"))
        self.until_addresses(next=None)
        self.until_event("AllocationFailed", "next", text="no available IPs")

    def test_local_traffic_keeps_its_source_and_goes_where_pods_are(self):
        self.pools(default="192.0.2.110/32")
        self.apply(service("web", externalTrafficPolicy="Local"))
        self.until_addresses(web=["192.0.2.110"])
        port = self.jsonpath("{.spec.healthCheckNodePort}", "service", "web")

        def health(node):
            return self.inside("curl", "-s", "-o", "/dev/stdout", "-w", "%{http_code}", f"http://{self.cluster.node_ip(node)}:{port}/").stdout
        for node in self.cluster.nodes:
            self.serve("web", [node])
            self.assertEqual(self.announcer("192.0.2.110"), node)
            for asked in self.cluster.nodes:
                there = int(asked == node)
                self.assertEqual(health(asked), '{\n\t"service": {\n\t\t"namespace": "%s",\n\t\t"name": "web"\n\t},\n'
                                 '\t"localEndpoints": %d,\n\t"serviceProxyHealthy": true\n}%d' % (self.ns, there, 200 if there else 503))
            self.kubectl("delete", "pod", f"web-{node}", "--wait=true")
            self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: not items["web"].get("subsets"))

    def test_source_ranges(self):
        self.pools(default="192.0.2.120/32")
        self.apply(service("web", loadBalancerSourceRanges=["198.51.100.0/24"]))
        self.until_addresses(web=["192.0.2.120"])
        self.serve("web", self.cluster.nodes[:1])
        self.announcer_of_anybody("192.0.2.120")
        count, _ = self.answered(self.from_client(cluster.ASK, "192.0.2.120", 80, 1))
        self.assertEqual(count, 0)
        self.kubectl("patch", "service", "web", "-p", json.dumps({"spec": {"loadBalancerSourceRanges": [f"{self.client_ip}/32"]}}))
        self.reach("192.0.2.120")
        count, _ = self.answered(self.from_client(cluster.ASK, "192.0.2.120", 80, 1))
        self.assertGreater(count, 0)


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


if __name__ == "__main__":
    cluster.main()
