#!/usr/bin/python3
"""A host that reboots, twice: its Pods come back with other addresses, counted restarts and the data of
their volumes; Services lead to them, and nobody is told of an address that is gone. The second time the
node comes up with another address of its own."""
import json
import os
import pathlib
import subprocess
import sys
import time
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
import cases
import images

BOOT = int(os.environ.get("SAMPAN_VM_BOOT", "0"))
REBOOT, LAST_BOOT = 75, 2
IMAGE = "localhost/busybox:1"
UNITS = ("sampan-pods", "sampan-master", "sampan-kubelet", "sampan-proxy")
STATE = pathlib.Path("/var/lib/sampan-reboot-test.json")
ANCHOR = pathlib.Path("/etc/systemd/system/anchor.service")
CONFIG = pathlib.Path("/etc/sampan/sampan.conf")
MASTER, SECOND = "10.77.0.1", "10.77.0.9"
ANCHOR_UNIT = f"""[Unit]
Description=An address to be a node with; what is sent to it or through it goes nowhere
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link add anchor type dummy && ip address add {MASTER}/24 dev anchor && ip address add {SECOND}/24 dev anchor && ip link set anchor up && ip route add default via 10.77.0.254 src {MASTER}'
[Install]
WantedBy=multi-user.target network-online.target
"""


def container(command, **more):
    return {"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", command], **more}


def pod(name, spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, **spec}}


SERVE = "mkdir -p /srv; echo boat > /srv/index.html; exec httpd -f -p 8080 -h /srv"
OBJECTS = [
    *(pod(f"boat-{n}", {
        "initContainers": [container("echo once more >> /data/started", volumeMounts=[{"name": "data", "mountPath": "/data"}]) | {"name": "first"}],
        "containers": [container(SERVE, readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                                 volumeMounts=[{"name": "data", "mountPath": "/data"}, {"name": "memory", "mountPath": "/memory"}])],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "memory", "emptyDir": {"medium": "Memory"}}]}) for n in (1, 2)),
    pod("once", {"restartPolicy": "Never", "containers": [container("exec sleep 100000")]}),
    pod("host", {"hostNetwork": True, "containers": [container("exec sleep 100000")]}),
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "boats"},
     "spec": {"selector": {"boats": "yes"}, "ports": [{"port": 80, "targetPort": 8080}]}}]
for thing in OBJECTS[:2]:
    thing["metadata"]["labels"]["boats"] = "yes"
COMING_BACK = ("boat-1", "boat-2", "host")


def run(*words, check=True, **options):
    done = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))}: exit {done.returncode}: {done.stdout}")
    return done.stdout


def get(*words):
    return json.loads(run("kubectl", "get", *words, "-o", "json"))


def wait_for(what, ready, seconds=200):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if value := ready():
                return value
        except (AssertionError, ValueError, OSError):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.3)


def is_ready(name):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in get("pod", name)["status"].get("conditions", []))


def restarts(found):
    return found["status"]["containerStatuses"][0]["restartCount"]


def remember():
    STATE.write_text(json.dumps({"boot": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(),
                                 "pods": {name: get("pod", name) for name in (*COMING_BACK, "once")}}))


def prepare():
    run("ip", "link", "delete", "anchor", check=False)  # of a test before
    ANCHOR.write_text(ANCHOR_UNIT)
    run("systemctl", "enable", "--now", "anchor")
    archive = pathlib.Path("/tmp/image.tar")
    archive.write_bytes(images.docker_archive(IMAGE, images.busybox_layer({}), {"Cmd": ["sh"], "Env": ["PATH=/bin"]}))
    run(cases.SOURCE / "scripts/install", env=dict(os.environ, SAMPAN_BIN_DIR=str(cases.BIN)))
    run("/usr/local/bin/sampan", "image", "load", "--image-root", "/var/lib/sampan/images", archive)
    run("systemctl", "enable", "--now", *UNITS)
    wait_for("a Ready node", lambda: all(c["status"] == "True" for n in get("nodes")["items"]
                                         for c in n["status"]["conditions"] if c["type"] == "Ready") and get("nodes")["items"])
    wait_for("the default account", lambda: get("serviceaccount", "default"))
    # They take the first addresses and go: after a reboot the others get those.
    passing = [pod(f"passing-{n}", {"containers": [container("exec sleep 100000")]}) for n in range(3)]
    run("kubectl", "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": passing}))
    run("kubectl", "wait", "--for=condition=Ready", "--timeout=200s", *(f"pod/passing-{n}" for n in range(3)))
    run("kubectl", "apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": OBJECTS}))
    run("kubectl", "wait", "--for=condition=Ready", "--timeout=200s", *(f"pod/{name}" for name in (*COMING_BACK, "once")))
    run("kubectl", "delete", "pod", "--timeout=200s", *(f"passing-{n}" for n in range(3)))
    for n in (1, 2):
        run("kubectl", "exec", f"boat-{n}", "--", "sh", "-c", f"echo {n} > /data/mark; echo {n} > /memory/mark")
    remember()


class Reboot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.before = json.loads(STATE.read_text())
        wait_for("the API server", lambda: "ok" in run("kubectl", "get", "--raw", "/readyz"))
        for name in COMING_BACK:
            wait_for(f"{name} ready after a restart", lambda: restarts(get("pod", name)) > restarts(cls.before["pods"][name]) and is_ready(name))

    def test_it_was_a_reboot(self):
        self.assertNotEqual(pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(), self.before["boot"])

    def test_pods_are_the_same_and_count_their_restarts(self):
        for name in COMING_BACK:
            old, new = self.before["pods"][name], get("pod", name)
            self.assertEqual(new["metadata"]["uid"], old["metadata"]["uid"])
            status = new["status"]["containerStatuses"][0]
            self.assertEqual(status["restartCount"], restarts(old) + 1)
            self.assertIn("terminated", status["lastState"])
            self.assertEqual(new["status"]["phase"], "Running")

    def test_init_containers_run_again(self):
        for n in (1, 2):
            self.assertEqual(run("kubectl", "exec", f"boat-{n}", "--", "cat", "/data/started"), "once more\n" * (BOOT + 1))

    def test_addresses_are_new_and_alone(self):
        moved = 0
        for name in ("boat-1", "boat-2"):
            old, new = self.before["pods"][name]["status"], get("pod", name)["status"]
            self.assertEqual(new["podIPs"], [{"ip": new["podIP"]}])
            self.assertIn(new["podIP"], run("kubectl", "exec", name, "--", "ip", "address"))
            moved += old["podIP"] != new["podIP"]
        if BOOT == 1:
            self.assertEqual(moved, 2, "the test means to see addresses change")

    def test_services_lead_to_living_addresses_alone(self):
        alive = {get("pod", f"boat-{n}")["status"]["podIP"] for n in (1, 2)}

        def told():
            return {a for s in get("endpointslices", "-l", "kubernetes.io/service-name=boats")["items"]
                    for e in s.get("endpoints") or [] for a in e["addresses"]}
        wait_for(f"endpoints {alive}", lambda: told() == alive)
        address = get("service", "boats")["spec"]["clusterIP"]

        def answer():
            with urllib.request.urlopen(f"http://{address}/", timeout=5) as response:
                return response.read() == b"boat\n"
        wait_for(f"an answer of {address}", answer)
        for _ in range(20):
            self.assertTrue(answer())

    def test_volumes_keep_what_kubernetes_says(self):
        """A disk's emptyDir is the Pod's and outlives a reboot; memory does not."""
        for n in (1, 2):
            self.assertEqual(run("kubectl", "exec", f"boat-{n}", "--", "cat", "/data/mark"), f"{n}\n")
            self.assertIn("No such file", run("kubectl", "exec", f"boat-{n}", "--", "cat", "/memory/mark", check=False))

    def test_what_never_restarts_has_failed(self):
        self.assertEqual(wait_for("an end of once", lambda: get("pod", "once")["status"]["phase"] == "Failed" and "Failed"), "Failed")

    def test_the_node_has_the_address_it_was_given(self):
        wanted = MASTER if BOOT == 1 else SECOND
        node = get("nodes")["items"][0]
        self.assertEqual([a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"], [wanted])
        for name in COMING_BACK:
            status = get("pod", name)["status"]
            self.assertEqual((status["hostIP"], status["hostIPs"]), (wanted, [{"ip": wanted}]))
        self.assertEqual(get("pod", "host")["status"]["podIPs"], [{"ip": wanted}])

    def test_status_rests(self):
        """Nobody patches a status that is what it should be."""
        def versions():
            return {p["metadata"]["name"]: p["metadata"]["resourceVersion"] for p in get("pods")["items"]}
        wait_for("ten seconds without a change", lambda: (lambda first: time.sleep(10) or versions() == first)(versions()))


def take_the_second_address():
    text = CONFIG.read_text()
    lines = [f"SAMPAN_NODE_IP={SECOND}" if line.startswith("SAMPAN_NODE_IP=") else line for line in text.splitlines()]
    assert f"SAMPAN_NODE_IP={SECOND}" in lines, text
    CONFIG.write_text("\n".join(lines) + "\n")
    pathlib.Path("/etc/sampan/kubelet.conf").unlink()  # its certificate names the address: made anew
    remember()


def clear():
    run("kubectl", "delete", "pod", "--all", "--timeout=200s", check=False)
    run("systemctl", "disable", "--now", *UNITS, check=False)
    run(cases.SOURCE / "scripts/install", "--uninstall", check=False)
    run("systemctl", "disable", "--now", "anchor", check=False)
    run("ip", "link", "delete", "anchor", check=False)


def main():
    os.environ["KUBECONFIG"] = "/var/lib/sampan/master/admin.conf"
    if BOOT == 0:
        prepare()
        sys.exit(REBOOT)
    code = 0
    try:
        cases.main()
    except SystemExit as end:  # only what did not pass ends the program
        code = end.code
    if code != 0:
        for words in (("journalctl", "-b", "--no-pager", "-n", "80", *[f"-u{u}" for u in UNITS]), ("ip", "address"),
                      ("kubectl", "get", "pods", "-o", "yaml")):
            print(f"--- {' '.join(words)}\n{run(*words, check=False)}")
    elif BOOT < LAST_BOOT:
        take_the_second_address()
        sys.exit(REBOOT)
    clear()
    sys.exit(code)


if __name__ == "__main__":
    main()
