#!/usr/bin/python3
"""What cannot run ends in an Event and a status that say what, on what and why."""
import cluster
from cluster import pod


def waiting(pod_object):
    statuses = pod_object.get("status", {}).get("containerStatuses") or [{}]
    return (statuses[0].get("state") or {}).get("waiting") or {}


class RuntimeErrors(cluster.ClusterTest):
    def test_missing_image_never_pulled(self):
        self.apply(pod("absent", "true", image="test/absent:1", container={"imagePullPolicy": "Never"}))
        got = self.until_pod("absent", lambda p: waiting(p).get("reason") == "ErrImageNeverPull")
        self.assertIn("test/absent:1", waiting(got)["message"])
        self.assertIn("test/absent:1", self.until_event("ErrImageNeverPull", "absent")["message"])

    def test_registry_that_does_not_answer(self):
        self.apply(pod("pull", "true", image="192.0.2.1:5999/test/absent:1"))
        got = self.until_pod("pull", lambda p: waiting(p).get("reason") in (
            "ErrImagePull", "ImagePullBackOff") and waiting(p).get("message"), seconds=60)
        self.assertIn("192.0.2.1:5999", waiting(got)["message"])
        self.until_event("Failed", "pull", text="192.0.2.1:5999/test/absent:1")
        self.until_pod("pull", lambda p: waiting(p).get("reason") == "ImagePullBackOff", seconds=60)

    def test_bad_image_name(self):
        self.apply(pod("name", "true", image="UPPER//case"))
        self.until_pod("name", lambda p: waiting(p).get("reason") == "InvalidImageName")

    def test_command_that_does_not_exist(self):
        self.apply(pod("command", "/no/such/program", restartPolicy="Never"))
        got = self.until_pod("command", lambda p: p["status"].get("phase") == "Failed")
        terminated = got["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual(terminated["exitCode"], 128)
        self.assertIn("/no/such/program", terminated["message"])
        self.assertIn("/no/such/program", self.until_event("Failed", "command")["message"])

    def test_command_that_may_not_be_executed(self):
        self.apply(pod("denied", "/etc/passwd", restartPolicy="Never"))
        self.until_pod("denied", lambda p: p["status"].get("phase") == "Failed")
        message = self.until_event("Failed", "denied")["message"]
        self.assertIn("/etc/passwd", message)
        self.assertIn("ermission denied", message)

    def test_missing_config_map_and_secret(self):
        self.apply(pod("volume", "true", volumes=[{"name": "v", "configMap": {"name": "gone"}}],
                       container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
                   pod("env", "true", container={"env": [{"name": "A", "valueFrom": {
                       "secretKeyRef": {"name": "hidden", "key": "a"}}}]}))
        self.assertIn("gone", self.until_event("FailedMount", "volume")["message"])
        got = self.until_pod("env", lambda p: waiting(p).get("reason") == "CreateContainerConfigError")
        self.assertIn("hidden", waiting(got)["message"])
        # It runs as soon as what is missing is there.
        self.kubectl("create", "secret", "generic", "hidden", "--from-literal=a=1")
        self.until_pod("env", lambda p: p["status"]["containerStatuses"][0].get("state", {}).get(
            "terminated") or p["status"]["containerStatuses"][0].get("lastState", {}).get("terminated"),
            seconds=120)

    def test_pod_that_fits_nowhere(self):
        self.apply(pod("huge", "true", container={"resources": {"requests": {"cpu": "1000"}}}),
                   pod("nowhere", "true", nodeSelector={"disk": "none"}))
        for name, reason in (("huge", "Insufficient cpu"), ("nowhere", "node affinity/selector")):
            self.assertIn(reason, self.until_event("FailedScheduling", name)["message"])
            got = self.get("pod", name)
            condition = [c for c in got["status"]["conditions"] if c["type"] == "PodScheduled"][0]
            self.assertEqual((condition["status"], condition["reason"]), ("False", "Unschedulable"))

    def test_host_path_of_the_wrong_type(self):
        self.apply(pod("path", "true", volumes=[
            {"name": "v", "hostPath": {"path": "/etc/passwd", "type": "Directory"}}],
            container={"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
        self.assertIn("/etc/passwd", self.until_event("FailedMount", "path")["message"])


if __name__ == "__main__":
    cluster.main()
