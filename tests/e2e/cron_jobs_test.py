#!/usr/bin/python3
"""CronJobs as seen through kubectl: due Jobs, concurrency, histories, suspension, what is wrong with one."""
import cluster
from cluster import BUSYBOX

CRON = "/apis/batch/v1/namespaces/{ns}/cronjobs"
JOBS = "/apis/batch/v1/namespaces/{ns}/jobs"


def cron_job(name, command="exit 0", schedule="* * * * *", **spec):
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": {
        "schedule": schedule, "jobTemplate": {"metadata": {"labels": {"cron": name}}, "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": BUSYBOX, "command": ["sh", "-c", command]}]}}}}, **spec}}


def of(items, name):
    return [job for job in items.values() if job["metadata"].get("labels", {}).get("cron") == name]


def ended(job, kind):
    return any(c["type"] == kind and c["status"] == "True" for c in job.get("status", {}).get("conditions", []))


class CronJobs(cluster.ClusterTest):
    def test_a_minute_of_its_life(self):
        """One wait for the next minutes serves all: policies are seen side by side."""
        self.apply(cron_job("short"))
        self.apply(cron_job("never", schedule="0 0 30 2 *"))
        self.apply(cron_job("asleep", suspend=True))
        self.apply(cron_job("forbids", "sleep 1000", concurrencyPolicy="Forbid"))
        self.apply(cron_job("replaces", "sleep 1000", concurrencyPolicy="Replace", timeZone="Europe/Berlin"))
        jobs = self.until(JOBS, lambda items: all(of(items, name) for name in ("short", "forbids", "replaces")), 150, "a Job of each")
        for name in ("short", "forbids", "replaces"):
            job = of(jobs, name)[0]
            due = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
            self.assertRegex(due, r"T\d\d:\d\d:00\+0[12]:00$" if name == "replaces" else r"T\d\d:\d\d:00Z$")
            self.assertRegex(job["metadata"]["name"], name + r"-\d{8}$")
            self.assertEqual(job["metadata"]["ownerReferences"][0]["kind"], "CronJob")
        self.until_event("SuccessfulCreate", "short", text="Created job short-")
        found = self.until(CRON, lambda items: items["short"]["status"].get("lastSuccessfulTime")
                           and not items["short"]["status"].get("active"), 60, "the short one's success")["short"]
        self.assertIn("lastScheduleTime", found["status"])
        self.until_event("SawCompletedJob", "short", text="condition: Complete")
        self.assertRegex(self.kubectl("get", "cronjob", "forbids").stdout, r"forbids\s+\* \* \* \* \*\s+<none>\s+False\s+1")
        first = of(jobs, "replaces")[0]["metadata"]["name"]
        jobs = self.until(JOBS, lambda items: [j for j in of(items, "replaces") if j["metadata"]["name"] != first], 150, "the replacement")
        self.until(JOBS, lambda items: len(of(items, "replaces")) == 1, 30, "one at a time")
        self.until_event("SuccessfulDelete", "replaces", text="Deleted job " + first)
        self.until_event("JobAlreadyActive", "forbids")
        self.assertEqual(len(of(jobs, "forbids")), 1)
        self.assertEqual((of(jobs, "asleep"), of(jobs, "never")), ([], []))

    def test_by_hand_and_its_history(self):
        self.apply(cron_job("kept", schedule="0 0 1 1 *", successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0))
        for name in ("one", "two"):
            self.kubectl("create", "job", name, "--from=cronjob/kept")
        self.until(JOBS, lambda items: len(items) == 1 and all(ended(j, "Complete") for j in items.values()), 90, "one kept of two")
        self.kubectl("delete", "cronjob", "kept", "--timeout=60s")
        self.until(JOBS, lambda items: not items, 60, "its Jobs go with it")

    def test_what_is_wrong_is_said(self):
        for schedule, why in (("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
                              ("TZ=UTC * * * * *", "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")):
            refused = self.kubectl("create", "-f", "-", check=False, input=cron_job("wrong", schedule=schedule))
            self.assertIn(why, refused.stderr)
        refused = self.kubectl("create", "-f", "-", check=False, input=cron_job("wrong", timeZone="Mars/Olympus"))
        self.assertIn('spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus', refused.stderr)


if __name__ == "__main__":
    cluster.main()
