#!/usr/bin/python3
"""The demo's story, step by step on a cluster of its own; what each step says is checked again
with kubectl. At the end down must leave empty lists."""
import cluster
import cases
import story
from cluster import is_ready



class Demo(cluster.ClusterTest):
    load = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for archive in story.make_images():
            cls.cluster.load(archive)

    def names(self, app="web"):
        return {item["metadata"]["name"] for item in self.get("pods", "-l", f"app={app}")["items"]
                if is_ready(item) and "deletionTimestamp" not in item["metadata"]}

    def new_story(self):
        self.said = []
        return story.Story(self.cluster, self.said.append, self.ns)

    def test_requests_are_spread_a_killed_pod_is_replaced_and_scaling_follows(self):
        told = self.new_story()
        names = told.replicas()
        self.assertEqual((names, len(names)), (self.names(), 3))

        by_ip, by_name = told.service(names)
        for counts in (by_ip, by_name):
            self.assertEqual((counts.total, counts.failed), (300, 0))
            self.assertEqual(set(counts.answers), names)
            for name, times in counts.answers.items():
                self.assertGreater(times, 50, f"{name} hardly answered: {counts.answers}")

        after, counts = told.replacement(names)
        self.assertEqual(len(names - after), 1)
        self.assertEqual(after, self.names())
        self.assertEqual(counts.failed, 0, counts.failures)
        self.assertGreater(counts.total, 50, "hardly any request during the replacement")

        for replicas in (5, 2):
            self.assertEqual(len(told.scale(replicas)), replicas)
            self.assertEqual(len(self.names()), replicas)
            self.assertEqual(self.jsonpath("{.status.readyReplicas}", "rc", "web"), str(replicas))

    def test_rolling_update_loses_no_request(self):
        counts = self.new_story().rolling_update()
        self.assertEqual(counts.failed, 0, counts.failures)
        self.assertGreater(counts.total, 200)
        images = {c["image"] for item in self.get("pods", "-l", "app=shop")["items"]
                  for c in item["spec"]["containers"]}
        self.assertEqual(images, {"demo/nginx:2"})
        history = self.kubectl("rollout", "history", "deployment/shop").stdout
        self.assertRegex(history, r"(?m)^1\b[\s\S]*^2\b")

    def test_data_survives_a_container_restart(self):
        self.assertLess(self.new_story().volume(), 15)

    def test_the_client_sees_failures(self):
        """The zero of the story counts: the same client against nothing reports every failure."""
        counts = story.Load(self.cluster, "192.0.2.11", 9, 5).finish(stop=False)
        self.assertEqual((counts.total, counts.failed), (5, 5))
        self.assertIn("refused", str(counts.failures))


class Down(cluster.ClusterTest):
    """Down after use, after a daemon died, and twice: nothing is left."""
    nodes = 2

    def test_nothing_is_left_even_after_crashes(self):
        self.apply(*[cluster.pod(f"p{i}", "sleep", "1000", volumes=[
            {"name": "m", "emptyDir": {"medium": "Memory"}}],
            container={"volumeMounts": [{"name": "m", "mountPath": "/m"}]}) for i in range(4)])
        self.wait("condition=Ready", *[f"pod/p{i}" for i in range(4)])
        before = self.cluster.leftovers()
        for kind in ("process", "mount", "netns", "link", "cgroup", "nft", "directory"):
            self.assertTrue(any(line.startswith(kind + " ") for line in before),
                            f"no {kind} while it runs: the list would not see one left over")
        self.cluster.kill("master")
        self.cluster.kill("node-1/kubelet")
        self.cluster.down()
        self.assertEqual(self.cluster.leftovers(), [])
        self.cluster.down()
        self.cluster.up(self.nodes, cases.BIN)  # and it comes up again in the same place

    def tearDown(self):
        pass


if __name__ == "__main__":
    cluster.main()
