#!/usr/bin/python3
"""Services of type LoadBalancer as people on bare metal know them: addresses of the nodes without a pool, of a
pool where there is one, requested, shared and exhausted; what is given is told by Events and kept over restarts."""
import cluster

POOLS = "sampan-address-pools"


def service(name, port=80, annotations=None, **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": port, "targetPort": 8080}], **spec}}


def addresses(item):
    return [one.get("ip") for one in item.get("status", {}).get("loadBalancer", {}).get("ingress") or []]


def condition(item):
    return next((c for c in item.get("status", {}).get("conditions", []) if c["type"] == "sampan.io/LoadBalancer"), {})


class LoadBalancer(cluster.ClusterTest):
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


if __name__ == "__main__":
    cluster.main()
