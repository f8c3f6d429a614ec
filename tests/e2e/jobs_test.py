#!/usr/bin/python3
"""Jobs as seen through kubectl: completions, indexes, failures and their policies, suspension, clean-up."""
import cluster
from cluster import BUSYBOX

JOBS = "/apis/batch/v1/namespaces/{ns}/jobs"
PODS = "/api/v1/namespaces/{ns}/pods"
FINALIZER = "batch.kubernetes.io/job-tracking"


def job(name, command, **spec):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {
        "template": {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                              "containers": [{"name": "c", "image": BUSYBOX, "command": ["sh", "-c", command]}]}}, **spec}}


def condition(found, kind):
    return next((c for c in found.get("status", {}).get("conditions", []) if c["type"] == kind and c["status"] == "True"), None)


class Jobs(cluster.ClusterTest):
    def status(self, name, good, seconds=60):
        return self.until(JOBS, lambda items: name in items and good(items[name]), seconds, f"Job {name}")[name]["status"]

    def ended(self, name, kind):
        self.status(name, lambda j: condition(j, kind))
        return self.get("job", name)

    def test_completes_and_counts(self):
        self.apply(job("many", "exit 0", completions=4, parallelism=2))
        self.wait("condition=Complete", "job/many")
        status = self.get("job", "many")["status"]
        self.assertEqual((status["succeeded"], status.get("active", 0), status.get("failed", 0)), (4, 0, 0))
        self.assertEqual(condition({"status": status}, "Complete")["reason"], "CompletionsReached")
        self.assertEqual(status["uncountedTerminatedPods"], {})
        self.assertIn("completionTime", status)
        pods = self.get("pods", "-l", "job-name=many")["items"]
        self.assertEqual(len(pods), 4)
        self.assertFalse([p for p in pods if FINALIZER in p["metadata"].get("finalizers", [])], "a counted Pod is still held")
        self.assertRegex(self.kubectl("get", "job", "many").stdout, r"many\s+Complete\s+4/4")
        self.until_event("Completed", "many", text="Job completed")

    def test_a_job_from_a_command_and_its_logs(self):
        self.kubectl("create", "job", "hello", f"--image={BUSYBOX}", "--", "echo", "ahoy")
        self.wait("condition=Complete", "job/hello")
        self.assertEqual(self.kubectl("logs", "job/hello").stdout, "ahoy\n")

    def test_gives_up_at_its_limit(self):
        self.apply(job("bad", "exit 3", backoffLimit=0))
        failed = condition(self.ended("bad", "Failed"), "Failed")
        self.assertEqual((failed["reason"], failed["message"]), ("BackoffLimitExceeded", "Job has reached the specified backoff limit"))
        self.assertEqual(self.get("job", "bad")["status"]["failed"], 1)
        done = self.kubectl("wait", "--for=condition=complete", "--timeout=1s", "job/bad", check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_indexes(self):
        self.apply(job("numbered", 'test $JOB_COMPLETION_INDEX != 2 && test $(hostname) = numbered-$JOB_COMPLETION_INDEX', completions=4,
                       parallelism=4, completionMode="Indexed", backoffLimitPerIndex=0))
        found = self.ended("numbered", "Failed")
        self.assertEqual(condition(found, "Failed")["reason"], "FailedIndexes")
        self.assertEqual((found["status"]["completedIndexes"], found["status"]["failedIndexes"]), ("0,1,3", "2"))
        self.assertEqual((found["status"]["succeeded"], found["status"]["failed"]), (3, 1))

    def test_a_failure_policy_ends_it_at_once(self):
        self.apply(job("policy", "exit 42", backoffLimit=6, podFailurePolicy={"rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}}]}))
        failed = condition(self.ended("policy", "Failed"), "Failed")
        self.assertEqual(failed["reason"], "PodFailurePolicy")
        self.assertRegex(failed["message"], r"Container c for pod \S+/policy-\w+ failed with exit code 42 matching FailJob rule at index 0")

    def test_suspends_resumes_and_keeps_its_deadline(self):
        self.apply(job("slow", "sleep 1000", activeDeadlineSeconds=600))
        self.status("slow", lambda j: j["status"].get("active") == 1)
        self.kubectl("patch", "job", "slow", "-p", '{"spec":{"suspend":true}}')
        self.status("slow", lambda j: condition(j, "Suspended") and not j["status"].get("active"))
        self.until(PODS, lambda items: not items)
        self.assertFalse(self.get("job", "slow")["status"].get("failed"))
        self.kubectl("patch", "job", "slow", "-p", '{"spec":{"suspend":false,"activeDeadlineSeconds":2}}')
        failed = condition(self.ended("slow", "Failed"), "Failed")
        self.assertEqual(failed["reason"], "DeadlineExceeded")

    def test_goes_with_its_pods(self):
        self.apply(job("short", "exit 0", ttlSecondsAfterFinished=0))
        self.until(JOBS, lambda items: "short" not in items)
        self.until(PODS, lambda items: not items)
        self.apply(job("stopped", "sleep 1000", parallelism=2))
        self.status("stopped", lambda j: j["status"].get("active") == 2)
        self.kubectl("delete", "job", "stopped", "--timeout=60s")
        self.until(PODS, lambda items: not items)

    def test_orphans_are_let_go(self):
        self.apply(job("parent", "sleep 1000"))
        self.until(PODS, lambda items: any(FINALIZER in p["metadata"].get("finalizers", []) for p in items.values()))
        self.kubectl("delete", "job", "parent", "--cascade=orphan")
        self.until(PODS, lambda items: len(items) == 1 and not any(p["metadata"].get("finalizers") for p in items.values()))
        self.kubectl("delete", "pod", "--all", "--timeout=60s")

    def test_a_pod_that_never_had_a_node_is_replaced(self):
        waiting = job("waiting", "exit 0", podReplacementPolicy="Failed", backoffLimit=6)
        waiting["spec"]["template"]["spec"]["nodeSelector"] = {"nowhere": "yes"}
        self.apply(waiting)
        first = list(self.until(PODS, lambda items: len(items) == 1))[0]
        self.kubectl("delete", "pod", first, "--timeout=60s")
        self.until(PODS, lambda items: len(items) == 1 and first not in items, 60, "another one")
        self.assertEqual(self.status("waiting", lambda j: j["status"].get("failed") == 1)["failed"], 1)

    def test_a_pod_that_it_takes_counts(self):
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": {"app": "taken"}}, "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": BUSYBOX, "command": ["sh", "-c", "while ! test -e /tmp/go; do sleep 0.1; done"]}]}})
        wanted = job("taker", "exit 0", completions=1, manualSelector=True, selector={"matchLabels": {"app": "taken"}})
        wanted["spec"]["template"]["metadata"] = {"labels": {"app": "taken"}}
        self.apply(wanted)
        self.until(PODS, lambda items: FINALIZER in items["stray"]["metadata"].get("finalizers", []))
        self.wait("condition=Ready", "pod/stray")
        self.kubectl("exec", "stray", "--", "touch", "/tmp/go")
        self.wait("condition=Complete", "job/taker")
        self.assertEqual(self.get("job", "taker")["status"]["succeeded"], 1)
        self.until(PODS, lambda items: list(items) == ["stray"] and not items["stray"]["metadata"].get("finalizers"))

    def test_somebody_elses_job_is_left_alone(self):
        self.apply(job("theirs", "exit 0", managedBy="example.com/queue"))
        self.apply(job("ours", "exit 0"))
        self.wait("condition=Complete", "job/ours")
        self.assertEqual(self.get("job", "theirs").get("status", {}), {})


if __name__ == "__main__":
    cluster.main()
