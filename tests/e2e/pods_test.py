#!/usr/bin/python3
"""One node, Pods as a user drives them with kubectl: run, logs, exec, port-forward, containers that
share localhost, restarts with back-off, probes, hooks, volumes, termination."""
import base64
import os
import re
import subprocess
import time
import urllib.request

import cluster
from cluster import BUSYBOX, is_ready, pod, restarts

SLEEP = ("sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1000 & wait $!; done")


def server(text, port=8080):
    """A web server whose / answers `text`; ends at once on SIGTERM."""
    return ("sh", "-c", f"mkdir -p /www && echo {text} > /www/index.html && "
                        f"exec httpd -f -p {port} -h /www")


class Pods(cluster.ClusterTest):
    def test_run_logs_exec_delete(self):
        self.apply(pod("one", "sh", "-c", "echo to-stdout; echo to-stderr >&2; exec sleep 1000"))
        self.wait("condition=Ready", "pod/one")
        got = self.get("pod", "one")
        self.assertEqual(got["status"]["phase"], "Running")
        self.assertRegex(got["status"]["podIP"], r"^10\.244\.\d+\.\d+$")
        self.assertEqual(got["status"]["hostIP"], "192.0.2.11")
        self.assertRegex(got["status"]["containerStatuses"][0]["imageID"], r"sha256:[0-9a-f]{64}")
        logs = self.kubectl("logs", "one").stdout
        self.assertEqual(sorted(logs.split()), ["to-stderr", "to-stdout"])
        self.assertEqual(self.exec("one", "hostname").stdout.strip(), "one")
        self.assertEqual(self.exec("one", "cat", input="through stdin\n").stdout, "through stdin\n")
        done = self.exec("one", "sh", "-c", "echo no >&2; exit 7", check=False)
        self.assertEqual((done.returncode, "no" in done.stderr), (7, True), done.stderr)
        self.kubectl("delete", "pod", "one")
        self.assertIn("not found", self.kubectl("get", "pod", "one", check=False).stderr)

    def test_exec_refused_in_kubernetes_words(self):
        self.apply(pod("two", *SLEEP), pod("over", "true", restartPolicy="Never"),
                   pod("lonely", *SLEEP, nodeSelector={"no": "such-node"}))
        both = pod("both", *SLEEP, restartPolicy="Never")
        both["spec"]["containers"].append({"name": "done", "image": BUSYBOX, "command": ["true"]})
        self.apply(both)
        self.wait("condition=Ready", "pod/two")
        self.wait("jsonpath={.status.phase}=Succeeded", "pod/over")
        self.wait("jsonpath={.status.containerStatuses[1].state.terminated.exitCode}=0", "pod/both")
        self.assertEqual(self.kubectl("exec", "both", "-c", "c", "--", "echo", "here").stdout, "here\n")
        for words, said in (
                (["nobody"], 'Error from server (NotFound): pods "nobody" not found'),
                (["over"], "error: cannot exec into a container in a completed pod; current phase is Succeeded"),
                (["lonely"], "Error from server (BadRequest): pod lonely does not have a host assigned"),
                (["two", "-c", "nope"], "Error from server (BadRequest): container nope is not valid for pod two"),
                (["both", "-c", "done"], "error: Internal error occurred: unable to upgrade connection: "
                                         'container not found ("done")')):
            done = self.kubectl("exec", *words, "--", "true", check=False)
            self.assertEqual((done.returncode, done.stderr.strip()), (1, said), words)
        # The same as a client says it that knows SPDY alone.
        os.environ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS"] = "false"
        self.addCleanup(os.environ.pop, "KUBECTL_REMOTE_COMMAND_WEBSOCKETS")
        done = self.kubectl("exec", "both", "-c", "done", "--", "true", check=False)
        self.assertEqual(done.stderr.strip(), 'error: unable to upgrade connection: container not found ("done")')
        done = self.kubectl("exec", "two", "-c", "nope", "--", "true", check=False)
        self.assertEqual(done.stderr.strip(), "Error from server (BadRequest): container nope is not valid for pod two")

    def test_exec_moves_many_bytes(self):
        self.apply(pod("bytes", *SLEEP))
        self.wait("condition=Ready", "pod/bytes")
        data = "0123456789abcdef" * 65536  # 1 MiB each way
        self.assertEqual(self.exec("bytes", "cat", input=data).stdout, data)

    def test_logs_follow_to_the_end(self):
        self.apply(pod("counter", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done",
                       restartPolicy="Never"))
        self.wait("jsonpath={.status.containerStatuses[0].started}=true", "pod/counter", seconds=30)
        followed = self.kubectl("logs", "-f", "counter", timeout=30).stdout
        self.assertEqual(followed.splitlines(), [f"line {i}" for i in range(1, 6)])
        self.assertEqual(self.kubectl("logs", "--tail=2", "counter").stdout, "line 4\nline 5\n")
        self.assertRegex(self.kubectl("logs", "--timestamps", "--tail=1", "counter").stdout,
                         r"^\d{4}-\d\d-\d\dT\S+Z line 5\n$")

    def test_port_forward(self):
        self.apply(pod("web", *server("forwarded")))
        self.wait("condition=Ready", "pod/web")
        forward = self.kubectl_popen("port-forward", "pod/web", ":8080", stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        port = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())[1]
        for _ in range(5):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                self.assertEqual(answer.read(), b"forwarded\n")

    def test_proxies_of_pod_service_and_node(self):
        self.apply(pod("web", *server("proxied"), labels={"app": "web"}),
                   {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                    "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}},
                   {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nobody"},
                    "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 80}]}})
        self.wait("condition=Ready", "pod/web")
        raw = lambda path, **more: self.kubectl("get", "--raw", path, namespace=None, **more)
        base = f"/api/v1/namespaces/{self.ns}"
        self.assertEqual(raw(f"{base}/pods/web:8080/proxy/").stdout, "proxied\n")
        reached = lambda items: any(s.get("endpoints") for s in items.values() if s["metadata"]["labels"]["kubernetes.io/service-name"] == "web")
        self.until("/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices", reached, 60, "an endpoint of web")
        for name in ("web:http", "web:80"):
            self.assertEqual(raw(f"{base}/services/{name}/proxy/").stdout, "proxied\n")
        self.assertEqual(raw("/api/v1/nodes/node-1/proxy/healthz").stdout, "ok")
        self.assertIn("no endpoints available for service", raw(f"{base}/services/nobody/proxy/", check=False).stderr)
        self.assertIn("error trying to reach service", raw(f"{base}/pods/web:9/proxy/", check=False).stderr)

    def test_proxies_change_links_and_reach_ports_over_tls_and_of_the_node(self):
        page = '<a href="/other">o</a><a href="near">n</a>'
        self.apply(pod("pages", "sh", "-c", f"mkdir -p /www; echo '{page}' > /www/index.html; cp /www/index.html /www/plain.txt; exec httpd -f -p 8080 -h /www"),
                   {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-host"}, "spec": {"hostNetwork": True, "terminationGracePeriodSeconds": 1, "containers": [
                       {"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "mkdir -p /www; echo of the node > /www/index.html; exec httpd -f -p 18080 -h /www"]}]}})
        self.wait("condition=Ready", "pod/pages", "pod/on-host")
        raw = lambda path, **more: self.kubectl("get", "--raw", path, namespace=None, **more)
        base = f"/api/v1/namespaces/{self.ns}/pods/pages:8080/proxy"
        self.assertEqual(raw(f"{base}/").stdout, f'<a href="{base}/other">o</a><a href="near">n</a>\n')
        self.assertEqual(raw(f"{base}/plain.txt").stdout, page + "\n")
        # A port without TLS is reached, and answers no handshake.
        self.assertRegex(raw(f"/api/v1/namespaces/{self.ns}/pods/https:pages:8080/proxy/", check=False).stderr, "error trying to reach service.*TLS")
        self.assertEqual(raw("/api/v1/nodes/node-1:18080/proxy/").stdout, "of the node\n")
        self.assertEqual(raw("/api/v1/nodes/node-1:10250/proxy/healthz").stdout, "ok")
        self.assertIn('invalid pod request "ftp:pages:8080"', raw(f"/api/v1/namespaces/{self.ns}/pods/ftp:pages:8080/proxy/", check=False).stderr)

    def test_attach_ends_with_its_input(self):
        keeps = pod("keeps", "sh", "-c", "while read line; do echo got $line; done; echo over; sleep 1000")
        keeps["spec"]["containers"][0]["stdin"] = True
        self.apply(keeps, pod("deaf", "sh", "-c", "while true; do echo tick; sleep 0.1; done"))
        self.wait("condition=Ready", "pod/keeps", "pod/deaf")
        logs = self.kubectl_popen("logs", "-f", "keeps", stdout=subprocess.PIPE)
        self.kubectl("attach", "-i", "keeps", input="one\n", timeout=30)
        self.assertEqual(logs.stdout.readline(), "got one\n")
        self.kubectl("attach", "-i", "keeps", input="two\n", timeout=30)
        self.assertEqual(logs.stdout.readline(), "got two\n")
        self.assertNotIn("over", self.kubectl("logs", "keeps").stdout)
        ran = self.kubectl("run", "-i", "--rm", "--restart=Never", f"--image={BUSYBOX}", "piped", "--", "cat", input="through\n", timeout=60)
        self.assertIn("through\n", ran.stdout)
        attached = self.kubectl_popen("attach", "-i", "deaf", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(attached.stdout.readline(), "tick\n")
        attached.kill()

    def test_logs_over_websocket(self):
        self.apply(pod("socket", "sh", "-c", "echo one; echo two; exec sleep 1000"))
        self.wait("condition=Ready", "pod/socket")
        for protocol, opcode, decode in (("binary.k8s.io", 2, bytes), ("base64.binary.k8s.io", 1, base64.b64decode)):
            connection = self.api.connect()
            self.addCleanup(connection.close)
            connection.timeout = 60
            connection.connect()
            connection.sock.sendall((
                f"GET /api/v1/namespaces/{self.ns}/pods/socket/log?follow=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n").encode())
            answer = connection.sock.makefile("rb")
            self.addCleanup(answer.close)
            self.assertIn(b" 101 ", answer.readline())
            headers = list(iter(answer.readline, b"\r\n"))
            self.assertIn(f"Sec-WebSocket-Protocol: {protocol}\r\n".encode(), headers)
            text = b""
            while text != b"one\ntwo\n":
                head = answer.read(2)
                self.assertEqual(head[0], 0x80 | opcode, text)
                self.assertLess(head[1], 126)
                text += decode(answer.read(head[1]))

    def test_containers_share_localhost_and_have_their_own_files(self):
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pair"},
                    "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                        {"name": "web", "image": BUSYBOX, "command": server("neighbour")},
                        {"name": "client", "image": BUSYBOX, "command": SLEEP}]}})
        self.wait("condition=Ready", "pod/pair")
        out = self.kubectl("exec", "pair", "-c", "client", "--", "wget", "-qO-",
                           "http://localhost:8080/").stdout
        self.assertEqual(out, "neighbour\n")
        self.assertEqual(self.kubectl("exec", "pair", "-c", "client", "--", "ls", "/www").stdout, "")
        # Own process tree: the client does not see the web server.
        self.assertNotIn("httpd", self.kubectl("exec", "pair", "-c", "client", "--", "ps").stdout)

    def test_a_container_that_exits_is_restarted_with_back_off(self):
        self.apply(pod("crash", "sh", "-c", "exit 3"))
        got = self.until_pod("crash", lambda p: restarts(p) >= 2 and any(
            (s.get("state", {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff"
            for s in p["status"]["containerStatuses"]), seconds=90)
        last = got["status"]["containerStatuses"][0]["lastState"]["terminated"]
        self.assertEqual(last["exitCode"], 3)
        self.until_event("BackOff", "crash")

    def test_restart_policy_never_and_on_failure(self):
        self.apply(pod("never", "sh", "-c", "exit 4", restartPolicy="Never"),
                   pod("done", "true", restartPolicy="OnFailure"))
        failed = self.until_pod("never", lambda p: p["status"]["phase"] == "Failed")
        self.assertEqual(failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 4)
        succeeded = self.until_pod("done", lambda p: p["status"]["phase"] == "Succeeded")
        self.assertEqual((restarts(failed), restarts(succeeded)), (0, 0))

    def test_a_killed_container_comes_back_and_keeps_the_volume(self):
        self.apply(pod("keep", *SLEEP, volumes=[{"name": "data", "emptyDir": {}}],
                       container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}))
        self.wait("condition=Ready", "pod/keep")
        before = self.get("pod", "keep")
        self.exec("keep", "sh", "-c", "echo kept > /data/file; echo lost > /file")
        self.exec("keep", "kill", "-TERM", "1", check=False)
        after = self.until_pod("keep", lambda p: restarts(p) == 1 and is_ready(p), seconds=30)
        self.assertEqual(after["status"]["podIP"], before["status"]["podIP"])
        self.assertEqual(self.exec("keep", "cat", "/data/file").stdout, "kept\n")
        self.assertNotEqual(self.exec("keep", "cat", "/file", check=False).returncode, 0)

    def test_init_containers_run_in_order_before(self):
        mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        self.apply(pod("init", "sh", "-c", "cat /data/order; exec sleep 1000", container=mount,
                       volumes=[{"name": "data", "emptyDir": {}}],
                       initContainers=[
                           {"name": name, "image": BUSYBOX, **mount,
                            "command": ["sh", "-c", f"echo {name} >> /data/order"]}
                           for name in ("first", "second")]))
        self.wait("condition=Ready", "pod/init")
        said = "first\nsecond\n"  # followed, since a container is ready before it has said anything
        self.assertEqual(self.kubectl("logs", "-f", "init", "-c", "c", f"--limit-bytes={len(said)}").stdout, said)

    def test_readiness_decides_ready_and_endpoints(self):
        self.apply(pod("probe", *SLEEP, labels={"app": "probe"}, container={
                       "readinessProbe": {"exec": {"command": ["cat", "/tmp/ready"]},
                                          "periodSeconds": 1}, "ports": [{"containerPort": 80}]}),
                   {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "probe"},
                    "spec": {"selector": {"app": "probe"}, "ports": [{"port": 80}]}})
        self.until_pod("probe", lambda p: p["status"].get("phase") == "Running")
        self.assertFalse(is_ready(self.get("pod", "probe")))
        self.exec("probe", "touch", "/tmp/ready")
        self.wait("condition=Ready", "pod/probe", seconds=15)

        def addresses(count):
            return lambda items: "probe" in items and sum(
                len(s.get("addresses") or []) for s in items["probe"].get("subsets") or []) == count
        self.until("/api/v1/namespaces/{ns}/endpoints", addresses(1), 15)
        self.exec("probe", "rm", "/tmp/ready")
        self.until("/api/v1/namespaces/{ns}/endpoints", addresses(0), 15)

    def test_liveness_restarts_and_says_so(self):
        self.apply(pod("live", "sh", "-c", "touch /tmp/ok; sleep 1000 & wait", container={
            "livenessProbe": {"exec": {"command": ["cat", "/tmp/ok"]}, "periodSeconds": 1,
                              "failureThreshold": 2}}))
        self.wait("condition=Ready", "pod/live")
        self.exec("live", "rm", "/tmp/ok")
        self.until_pod("live", lambda p: restarts(p) == 1, seconds=30)
        self.assertIn("Liveness probe failed", self.until_event("Unhealthy", "live")["message"])

    def test_startup_probe_holds_the_others_back(self):
        self.apply(pod("slow", "sh", "-c", "sleep 2; touch /tmp/up; sleep 1000 & wait", container={
            "startupProbe": {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1,
                             "failureThreshold": 30},
            "livenessProbe": {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1,
                              "failureThreshold": 1}}))
        self.wait("condition=Ready", "pod/slow", seconds=30)
        self.assertEqual(restarts(self.get("pod", "slow")), 0)

    def test_http_and_tcp_probes(self):
        self.apply(pod("http", *server("ok"), container={
                       "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}),
                   pod("tcp", *server("ok"), container={
                       "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}),
                   pod("bad", *server("ok"), container={
                       "readinessProbe": {"httpGet": {"path": "/none", "port": 8080},
                                          "periodSeconds": 1}}))
        self.wait("condition=Ready", "pod/http", "pod/tcp", seconds=15)
        # Before its server listens, the probe is refused as well.
        self.until(f"/api/v1/namespaces/{self.ns}/events", lambda items: any(
            event["reason"] == "Unhealthy" and event["involvedObject"]["name"] == "bad" and "404" in event["message"]
            for event in items.values()), 30, "an event of the probe that got 404")
        self.assertFalse(is_ready(self.get("pod", "bad")))

    def test_lifecycle_hooks(self):
        self.apply(pod("hooks", *SLEEP, volumes=[{"name": "log", "hostPath": {
                           "path": str(self.cluster.data / "hooks"), "type": "DirectoryOrCreate"}}],
                       terminationGracePeriodSeconds=10,
                       container={"volumeMounts": [{"name": "log", "mountPath": "/log"}],
                                  "lifecycle": {
                                      "postStart": {"exec": {"command": ["sh", "-c", "echo started >> /log/hooks"]}},
                                      "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /log/hooks"]}}}}))
        self.wait("condition=Ready", "pod/hooks")
        self.kubectl("delete", "pod", "hooks")
        self.assertEqual((self.cluster.data / "hooks/hooks").read_text(), "started\nstopping\n")

    def test_grace_period_lets_the_process_finish(self):
        self.apply(pod("graceful", "sh", "-c",
                       "trap 'sleep 1; echo clean > /log/end; exit 0' TERM; sleep 1000 & wait",
                       volumes=[{"name": "log", "hostPath": {"path": str(self.cluster.data / "grace"),
                                                             "type": "DirectoryOrCreate"}}],
                       terminationGracePeriodSeconds=20,
                       container={"volumeMounts": [{"name": "log", "mountPath": "/log"}]}),
                   pod("stubborn", "sh", "-c", "trap '' TERM; while true; do sleep 1000; done",
                       terminationGracePeriodSeconds=2))
        self.wait("condition=Ready", "pod/graceful", "pod/stubborn")
        started = time.monotonic()
        self.kubectl("delete", "pod", "graceful")
        self.assertLess(time.monotonic() - started, 10)
        self.assertEqual((self.cluster.data / "grace/end").read_text(), "clean\n")
        started = time.monotonic()
        self.kubectl("delete", "pod", "stubborn")
        self.assertGreater(time.monotonic() - started, 1.5)
        self.assertLess(time.monotonic() - started, 10)

    def test_config_maps_and_secrets(self):
        self.kubectl("create", "configmap", "settings", "--from-literal=colour=blue",
                     "--from-literal=size=3")
        self.kubectl("create", "secret", "generic", "key", "--from-literal=token=t0ps3cret")
        self.apply(pod("uses", *SLEEP, volumes=[
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "key", "secret": {"secretName": "key", "defaultMode": 0o400}}],
            container={"env": [
                {"name": "COLOUR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "colour"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
                {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "BOTH", "value": "$(COLOUR)-$(NODE)"}],
                "volumeMounts": [{"name": "settings", "mountPath": "/settings"},
                                 {"name": "key", "mountPath": "/key", "readOnly": True}]}))
        self.wait("condition=Ready", "pod/uses")
        self.assertEqual(self.exec("uses", "sh", "-c", "echo $COLOUR $TOKEN $BOTH").stdout,
                         "blue t0ps3cret blue-node-1\n")
        self.assertEqual(self.exec("uses", "cat", "/settings/size", "/key/token").stdout, "3t0ps3cret")
        self.assertIn("-r--------", self.exec("uses", "ls", "-lL", "/key/token").stdout)
        self.assertNotEqual(self.exec("uses", "sh", "-c", "echo x > /key/token", check=False).returncode, 0)

    def test_limits_reach_the_cgroup_and_oom_is_said(self):
        self.apply(pod("hungry", "sh", "-c", "tail /dev/zero", restartPolicy="Never",
                       container={"resources": {"limits": {"memory": "32Mi"}}}))
        got = self.until_pod("hungry", lambda p: p["status"].get("phase") == "Failed", seconds=60)
        self.assertEqual(got["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
                         "OOMKilled")

    def test_security_context(self):
        self.apply(pod("user", *SLEEP, container={"securityContext": {
            "runAsUser": 1000, "runAsGroup": 1000, "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"}}}))
        self.wait("condition=Ready", "pod/user")
        self.assertEqual(self.exec("user", "id", "-u").stdout, "1000\n")
        status = self.exec("user", "cat", "/proc/1/status").stdout
        self.assertRegex(status, r"CapEff:\s+0{16}")
        self.assertRegex(status, r"Seccomp:\s+2")
        self.assertRegex(status, r"NoNewPrivs:\s+1")
        self.assertIn("Read-only", self.exec("user", "touch", "/x", check=False).stderr)


if __name__ == "__main__":
    cluster.main()
