#!/usr/bin/python3
"""Debian's PostgreSQL in a StatefulSet: its rows outlive its Pod, the death of everything at once, and the growth of
their volume."""
import os
import signal

import cluster
import images
from cluster import is_ready, restarts

CLAIMS = "/api/v1/namespaces/{ns}/persistentvolumeclaims"
CLAIM = "data-pg-0"


class Postgres(cluster.ClusterTest):
    def setUp(self):
        super().setUp()
        archive = images.postgres()
        if not archive:
            self.skipTest("PostgreSQL (postgresql-15)")
        self.cluster.load(archive)

    def sql(self, text):
        return self.exec("pg-0", "psql", "-h", "/tmp", "-d", "postgres", "-qAtc", text).stdout.strip()

    def until_ready(self, starts=0):
        self.until_pod("pg-0", lambda pod: is_ready(pod) and restarts(pod, "pg") >= starts, 90)

    def test_rows_outlive_what_happens(self):
        labels = {"app": "pg"}
        self.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "pg"}, "spec": {
            "serviceName": "pg", "selector": {"matchLabels": labels},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "96Mi"}}}}],
            "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 20, "containers": [{
                "name": "pg", "image": "test/postgres:15", "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "readinessProbe": {"exec": {"command": ["pg_isready", "-h", "/tmp"]}, "periodSeconds": 1}}]}}}})
        self.until_ready()
        self.sql("create table t (n int primary key, text text)")
        self.sql("insert into t select i, repeat('x', 100) from generate_series(1, 1000) i")

        self.kubectl("delete", "pod", "pg-0")
        self.until_ready()
        self.assertEqual(self.sql("select count(*) from t"), "1000")

        self.sql("insert into t values (1001, 'just before')")
        daemons = ["master", "node-1/kubelet", "node-1/proxy"]
        doomed = [pid for pid, _, command in self.cluster.processes()
                  if command.startswith(("postgres", "/usr/lib/postgresql")) or "sampan-pod" in command.split(" ")[0]]
        self.assertTrue(doomed)
        for pid in doomed:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it went with its parent
        for daemon in daemons:
            self.cluster.kill(daemon, signal.SIGKILL)
        for daemon in daemons:
            self.cluster.start(daemon)
        self.until(CLAIMS, lambda all: CLAIM in all, 60, "the API server answers")
        self.until_ready(1)
        self.assertEqual(self.sql("select text from t where n = 1001"), "just before")

        self.kubectl("patch", "pvc", CLAIM, "-p", '{"spec":{"resources":{"requests":{"storage":"256Mi"}}}}')
        if not cluster.has_capability("CAP_SYS_RESOURCE"):  # then it grows between two Pods
            self.until(CLAIMS, lambda all: any(c["type"] == "FileSystemResizePending"
                                               for c in all[CLAIM]["status"].get("conditions", [])), 30, "it waits")
            self.sql("insert into t values (1002, 'while it waits')")
            self.kubectl("delete", "pod", "pg-0")
            self.until_ready()
        else:
            self.sql("insert into t values (1002, 'while it grows')")
        self.until(CLAIMS, lambda all: all[CLAIM]["status"]["capacity"]["storage"] == "256Mi", 90, "it has grown")
        self.sql("insert into t select i, repeat('y', 100) from generate_series(2000, 600000) i")  # 80 MB and more
        self.assertEqual(self.sql("select count(*) from t"), str(1002 + 598001))


if __name__ == "__main__":
    cluster.main()
