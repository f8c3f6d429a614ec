#!/usr/bin/python3
"""A hostile tenant, with the rights of `edit` in its own namespace and Pods with CAP_NET_RAW: takes no
address of the cluster, of another tenant's Service or of a neighbour's Pod, and reaches no port that the
node keeps to itself."""
import cluster
from cluster import pod

SERVE = ("sh", "-c", "mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www")
HOST = ("usr", "lib", "lib64")
DEPRECATED = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
# Claims a neighbour's address for itself: ARP of every kind, frames with its source address.
TAKE = r"""
import socket, struct, sys
own, victim, gateway = sys.argv[1:]
ip, mac = socket.inet_aton, lambda a: bytes([0x0a, 0x58]) + socket.inet_aton(a)
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
me = s.getsockname()[4]
for to, target in ((b"\xff" * 6, gateway), (mac(gateway), gateway), (mac(victim), victim)):
    for op in (1, 2):
        for source in (me, mac(victim)):
            s.send(to + source + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, op) + source + ip(victim) + to + ip(target))
        s.send(to + me + struct.pack("!HHHBBH", 0x806, 1, 0x800, 6, 4, op) + me + ip(gateway) + to + ip(target))
s.settimeout(2)
try:
    while True:
        frame = s.recv(2048)
        if frame[12:14] == b"\x08\x00" and frame[30:34] == ip(victim):
            print("taken", frame[26:30].hex())
except TimeoutError:
    print("nothing more")
"""


def python_pod(name, **spec):
    """A Pod that may run this machine's Python."""
    return pod(name, "sleep", "1000", volumes=[{"name": p, "hostPath": {"path": f"/{p}"}} for p in HOST], container={
        "volumeMounts": [{"name": p, "mountPath": f"/{p}", "readOnly": True} for p in HOST],
        "securityContext": {"capabilities": {"add": ["NET_RAW", "NET_ADMIN"]}}}, **spec)


def service(name, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}], **spec}}


class HostileTenant(cluster.ClusterTest):
    nodes = 2

    def setUp(self):
        super().setUp()
        self.kubectl("create", "rolebinding", "tenant", "--clusterrole=edit", "--user=tenant")

    def tenant(self, *objects, check=True, words=("create", "-f", "-"), warnings=()):
        return self.kubectl("--as=tenant", *words, check=check, warnings=warnings, input={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def test_addresses_of_the_cluster(self):
        for name, ip in (("thief", "10.96.0.1"), ("kubernetes", "10.96.0.1"), ("kube-dns", "10.96.0.10")):
            done = self.tenant(service(name, clusterIP=ip), check=False)
            self.assertIn(f"failed to allocate IP {ip}: provided IP is already allocated", done.stderr)
        pod_ip = "10.244.0.2"
        for ip, why in (("10.96.0.1", "range of Services"), (pod_ip, "range of Pods"), ("192.0.2.1", "the API server"),
                        ("192.0.2.11", "a node"), ("192.0.2.12", "a node"), ("127.0.0.1", "loopback"), ("169.254.169.254", "link-local")):
            done = self.tenant(service("thief", externalIPs=[ip]), check=False)
            self.assertIn(why, done.stderr, ip)
        # Of a balancer nobody but a controller says where it is; endpoints of one's own choice neither.
        made = dict(service("balanced", type="LoadBalancer"), status={"loadBalancer": {"ingress": [{"ip": "10.96.0.1"}]}})
        self.tenant(made)
        self.assertNotIn("10.96.0.1", self.jsonpath("{.status.loadBalancer.ingress}", "service", "balanced"))
        done = self.kubectl("--as=tenant", "patch", "service", "balanced", "--subresource=status", "--type=merge", "-p",
                            '{"status":{"loadBalancer":{"ingress":[{"ip":"10.96.0.1"}]}}}', check=False)
        self.assertIn("forbidden", done.stderr)
        for kind in ("endpoints", "endpointslices.discovery.k8s.io"):
            self.assertEqual(self.kubectl("--as=tenant", "auth", "can-i", "create", kind, check=False).stdout.strip(), "no")
        # The API is where it was, from Pods of every node.
        for node in self.cluster.nodes:
            self.apply(pod(f"on-{node}", "sleep", "1000", nodeName=node))
            self.wait("condition=Ready", f"pod/on-{node}")
            self.exec(f"on-{node}", "sh", "-c", "timeout 5 nc 10.96.0.1 443 < /dev/null")

    def test_the_older_keeps_an_external_address(self):
        for name in ("older", "thief"):
            self.apply(pod(name, *SERVE, labels={"app": name}))
        self.apply(python_pod("client"), service("older", externalIPs=["203.0.113.7"]), warnings=[DEPRECATED])
        self.wait("condition=Ready", "pod/older", "pod/thief", "pod/client")
        ask = ("sh", "-c", "for i in $(seq 10); do timeout 5 wget -qO- http://203.0.113.7/ || echo FAILED; done")
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: items.get("older", {}).get("subsets"))
        self.assertEqual(set(self.exec("client", *ask).stdout.split()), {"older"})
        # By name it comes first; and it waits until the older has no endpoint for a moment. Ages are told apart
        # by the second: until that is another one, objects are made that tell it.
        older = self.jsonpath("{.metadata.creationTimestamp}", "service", "older")
        for i in range(1000):
            if self.jsonpath("{.metadata.creationTimestamp}", "configmap", self.kubectl("create", "configmap", f"clock-{i}", "-o", "name").stdout.strip().split("/")[1]) > older:
                break
        self.tenant(service("a-thief", selector={"app": "thief"}, externalIPs=["203.0.113.7"], externalTrafficPolicy="Local"),
                    warnings=[DEPRECATED])
        event = self.until_event("ExternalAddressInUse", "a-thief")
        self.assertEqual(event["message"], "203.0.113.7:80/TCP belongs to an older Service: nothing sent there reaches this one")
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: items.get("a-thief", {}).get("subsets"))
        self.assertEqual(set(self.exec("client", *ask).stdout.split()), {"older"})
        self.kubectl("delete", "pod", "older")
        self.until("/api/v1/namespaces/{ns}/endpoints", lambda items: not items.get("older", {}).get("subsets"))
        self.assertEqual(set(self.exec("client", *ask).stdout.split()), {"FAILED"})
        # When it goes, the younger has it.
        self.kubectl("delete", "service", "older")
        done = self.exec("client", "sh", "-c", "for i in $(seq 50); do timeout 1 wget -qO- http://203.0.113.7/ && exit; sleep 0.1; done")
        self.assertEqual(done.stdout.strip(), "thief")

    def test_a_neighbours_address_stays_its_own(self):
        node = {"nodeName": "node-1"}
        self.apply(python_pod("hostile", **node), pod("victim", *SERVE, labels={"app": "victim"}, **node), pod("client", "sleep", "1000", **node))
        self.wait("condition=Ready", "pod/hostile", "pod/victim", "pod/client")
        address = {name: self.jsonpath("{.status.podIP}", "pod", name) for name in ("hostile", "victim")}
        gateway = address["victim"].rsplit(".", 1)[0] + ".1"
        url = f"http://{address['victim']}:8080/"
        ask = f"for i in $(seq 40); do timeout 2 wget -qO- {url} || echo FAILED; done"
        take = self.kubectl_popen("exec", "hostile", "--", "/usr/bin/python3", "-c", TAKE, address["hostile"], address["victim"], gateway,
                                  stdout=-1, stderr=-1)
        self.assertEqual(set(self.exec("client", "sh", "-c", ask).stdout.split()), {"victim"})
        self.assertEqual(self.inside("busybox", "sh", "-c", ask.replace("wget", "busybox wget")).stdout.split(), ["victim"] * 40)
        out, error = take.communicate(timeout=60)
        self.assertEqual(out.strip(), "nothing more", error)
        # Taking its address itself, as root of its own network, cuts off nobody but the thief.
        self.exec("hostile", "ip", "address", "add", address["victim"] + "/32", "dev", "eth0")
        self.exec("hostile", "arping", "-U", "-c", "2", "-I", "eth0", address["victim"], check=False)
        self.assertEqual(set(self.exec("client", "sh", "-c", ask).stdout.split()), {"victim"})

    def test_the_nodes_own_ports(self):
        self.apply(python_pod("hostile", nodeName="node-1"))
        self.wait("condition=Ready", "pod/hostile")
        gateway = self.jsonpath("{.status.podIP}", "pod", "hostile").rsplit(".", 1)[0] + ".1"
        # The proxy's health and metrics: on the node's loopback alone.
        self.inside("busybox", "wget", "-qO-", "http://127.0.0.1:10256/healthz", node="node-1")
        for ip in (gateway, "192.0.2.11"):
            done = self.exec("hostile", "timeout", "5", "wget", "-qO-", f"http://{ip}:10256/metrics", check=False)
            self.assertIn("refused", done.stderr)
        # The kubelet is there for everybody who can say who he is, as it must be for metrics.
        done = self.exec("hostile", "/usr/bin/python3", "-c", "import ssl, urllib.request, urllib.error\n"
                         "try: urllib.request.urlopen('https://192.0.2.11:10250/pods', context=ssl._create_unverified_context(), timeout=5)\n"
                         "except urllib.error.HTTPError as error: print(error.code)\n", check=False)
        self.assertIn(done.stdout.strip(), ("401", "403"), done.stderr)
        # Nor by a route of its own to the node's loopback.
        self.exec("hostile", "sh", "-c", f"ip address del 127.0.0.1/8 dev lo; ip route flush table local; ip route add 127.0.0.1 via {gateway}")
        self.assertNotEqual(self.exec("hostile", "timeout", "3", "wget", "-qO-", "http://127.0.0.1:10256/healthz", check=False).returncode, 0)


if __name__ == "__main__":
    cluster.main()
