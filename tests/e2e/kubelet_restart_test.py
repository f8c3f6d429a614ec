#!/usr/bin/python3
"""Killing the kubelet and starting it again neither stops nor restarts a Pod; what happened in
between is picked up."""
import os
import signal

import cluster
from cluster import is_ready, pod, restarts
from system import open_process, start_ticks, wait_dead

SLEEP = ("sh", "-c", "echo started; trap 'exit 5' TERM; while true; do sleep 1000 & wait $!; done")


class KubeletRestart(cluster.ClusterTest):
    def container_pid(self, name):
        """The container's first process, in this machine's pid namespace."""
        uid = self.get("pod", name)["metadata"]["uid"]
        for pid, _, command in self.cluster.processes():
            try:
                with open(f"/proc/{pid}/cgroup") as file:
                    cgroup = file.read()
            except OSError:
                continue
            if uid in cgroup and "sampan-pod" not in command and command.startswith("sh -c"):
                return pid
        self.fail(f"no process of Pod {name} ({uid}): {self.cluster.processes()}")

    def test_pods_do_not_notice(self):
        self.apply(pod("steady", *SLEEP))
        self.wait("condition=Ready", "pod/steady")
        before, pid = self.get("pod", "steady"), self.container_pid("steady")
        for number in (signal.SIGKILL, signal.SIGTERM):
            self.cluster.kill("kubelet", number)
            os.kill(pid, 0)
            self.cluster.start("kubelet")
            # exec goes through the new kubelet: it knows the container again.
            self.assertEqual(self.exec("steady", "echo", "here").stdout, "here\n")
            after = self.get("pod", "steady")
            self.assertEqual(self.container_pid("steady"), pid)
            self.assertEqual(restarts(after), 0)
            for field in ("podIP", "startTime", "phase"):
                self.assertEqual(after["status"][field], before["status"][field])
            self.assertEqual(after["status"]["containerStatuses"][0]["containerID"],
                             before["status"]["containerStatuses"][0]["containerID"])
            self.assertTrue(is_ready(after))
        self.assertEqual(self.kubectl("logs", "steady").stdout, "started\n")

    def test_an_exit_in_between_is_picked_up(self):
        self.apply(pod("exits", *SLEEP), pod("once", *SLEEP, restartPolicy="Never"))
        self.wait("condition=Ready", "pod/exits", "pod/once")
        pids = [self.container_pid(name) for name in ("exits", "once")]
        self.cluster.kill("kubelet")
        fds = [os.pidfd_open(pid) for pid in pids]
        for fd in fds:
            signal.pidfd_send_signal(fd, signal.SIGTERM)
        self.assertEqual(wait_dead(fds, 10), set())
        for fd in fds:
            os.close(fd)
        self.cluster.start("kubelet")
        got = self.until_pod("exits", lambda p: restarts(p) == 1 and is_ready(p), 30)
        self.assertEqual(got["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 5)
        got = self.until_pod("once", lambda p: p["status"]["phase"] == "Failed", 30)
        self.assertEqual(got["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 5)

    def test_a_pod_deleted_in_between_is_removed(self):
        self.apply(pod("goes", *SLEEP))
        self.wait("condition=Ready", "pod/goes")
        uid = self.get("pod", "goes")["metadata"]["uid"]
        self.cluster.kill("kubelet")
        self.kubectl("delete", "pod", "goes", "--grace-period=0", "--force", "--wait=false", check=False)
        self.cluster.start("kubelet")
        self.until("/api/v1/namespaces/{ns}/pods", lambda items: not items, 30)
        left = [path for path in self.cluster.cgroups() if uid in str(path)]
        deadline_events = 30
        pids = [pid for pid, _, command in self.cluster.processes() if uid in command]
        fds = [fd for pid in pids if (fd := open_process(
            pid, start_ticks(pid))) is not None]
        self.assertEqual(wait_dead(fds, deadline_events), set(),
                         f"processes of a deleted Pod are alive; cgroups {left}")

    def test_a_pod_created_in_between_is_started(self):
        self.cluster.kill("kubelet")
        self.apply(pod("later", *SLEEP))
        self.wait("condition=PodScheduled", "pod/later")
        self.cluster.start("kubelet")
        self.wait("condition=Ready", "pod/later", seconds=30)

    def test_a_lost_pod_holder_is_replaced(self):
        self.apply(pod("orphan", *SLEEP))
        self.wait("condition=Ready", "pod/orphan")
        uid = self.get("pod", "orphan")["metadata"]["uid"]
        holders = [pid for pid, _, command in self.cluster.processes()
                   if "sampan-pod" in command and uid in open(f"/proc/{pid}/cmdline").read()]
        self.assertEqual(len(holders), 1, self.cluster.processes())
        os.kill(holders[0], signal.SIGKILL)
        self.until_pod("orphan", lambda p: restarts(p) == 1 and is_ready(p), 30)


if __name__ == "__main__":
    cluster.main()
