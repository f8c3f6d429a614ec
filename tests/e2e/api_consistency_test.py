#!/usr/bin/python3
"""Many writers compare-and-swap few objects while the master is killed at random.

Every write names the value it replaces, so the last state leads back through all that took effect.
Checked: no acknowledged write is missing from that chain and no refused one stands in it, versions
rise along it, no version is given twice, and every watcher sees each change once, in order and
without a gap, except where it was told (410 Gone) to list anew.
"""
import http.client
import json
import os
import random
import threading
import time

import cluster
from system import Failure

OBJECTS, WRITERS, WATCHERS, KILLS, WRITES_BETWEEN = 3, 6, 3, 4, 120
SECONDS = 90   # for everything; the test fails beyond


class Connection:
    """One kept-alive connection, opened again after an error."""

    def __init__(self, api):
        self.api, self.connection = api, None

    def call(self, method, path, body=None):
        """(status, body), or None when nobody knows what happened."""
        try:
            if self.connection is None:
                self.connection = self.api.connect(10)
            self.connection.request(method, path, body and json.dumps(body),
                                    {"Content-Type": "application/json", "Accept": "application/json"})
            response = self.connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            self.close()
            return None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


class ApiConsistency(cluster.ClusterTest):
    load = ()

    def setUp(self):
        super().setUp()
        self.path = f"/api/v1/namespaces/{self.ns}/configmaps"
        self.names = [f"register-{i}" for i in range(OBJECTS)]
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.attempts = {}      # value -> (object, value before, verdict, version)
        self.acknowledged = 0
        self.stop = threading.Event()
        self.problems = []
        for name in self.names:
            status, _ = self.api.request("POST", self.path, {
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": "start"}})
            self.assertEqual(status, 201)

    def write(self, writer, seed):
        choose, connection = random.Random(seed), Connection(self.api)
        number = 0
        while not self.stop.is_set():
            name = choose.choice(self.names)
            got = connection.call("GET", f"{self.path}/{name}")
            if got is None or got[0] != 200:
                self.stop.wait(0.02)   # the master is down: not faster than it can start
                continue
            item, number = got[1], number + 1
            before, value = item["data"]["value"], f"{writer}.{number}"
            item["data"]["value"] = value
            with self.lock:
                self.attempts[value] = (name, before, "unknown", None)
            done = connection.call("PUT", f"{self.path}/{name}", item)
            with self.lock:
                if done and done[0] == 200:
                    self.attempts[value] = (name, before, "done", int(done[1]["metadata"]["resourceVersion"]))
                    self.acknowledged += 1
                    self.changed.notify_all()
                elif done and done[0] == 409:
                    self.attempts[value] = (name, before, "refused", None)
                elif done and done[0] not in (429, 503):
                    self.problems.append(f"PUT {name}: {done}")
        connection.close()

    def watch(self, seen):
        """Appends ("list", {object: value}, version) and ("event", object, value, version)."""
        version = None
        while True:
            try:
                if version is None:
                    got = Connection(self.api).call("GET", self.path)
                    if got is None or got[0] != 200:
                        if self.stop.wait(0.02):
                            return
                        continue
                    version = int(got[1]["metadata"]["resourceVersion"])
                    seen.append(("list", {i["metadata"]["name"]: i["data"]["value"] for i in got[1]["items"]
                                          if i["metadata"]["name"] in self.names}, version))
                for kind, item in self.api.watch(self.path, version, time.monotonic() + 2):
                    if kind == "ERROR":
                        if item["code"] != 410:
                            self.problems.append(f"watch: {item}")
                        version = None
                        break
                    version = int(item["metadata"]["resourceVersion"])
                    if item["metadata"]["name"] in self.names:
                        seen.append(("event", item["metadata"]["name"], item["data"]["value"], version))
            except (OSError, http.client.HTTPException, ValueError, Failure):
                pass
            if self.stop.is_set() and self.seen_last(seen):
                return

    def seen_last(self, seen):
        """Whether a watcher has come to the end: it knows the last value of every object."""
        if not self.final:
            return False
        known = {}
        for entry in seen:
            known.update(entry[1] if entry[0] == "list" else {entry[1]: entry[2]})
        return known == self.final or time.monotonic() > self.deadline

    def test_compare_and_swap_under_kills(self):
        seed = int(os.environ.get("SAMPAN_SEED") or random.randrange(1 << 30))
        print(f"seed {seed} (SAMPAN_SEED repeats the choices)")
        choose = random.Random(seed)
        self.final, self.deadline = {}, time.monotonic() + SECONDS
        logs = [[] for _ in range(WATCHERS)]
        writers = [threading.Thread(target=self.write, args=(i, choose.random())) for i in range(WRITERS)]
        watchers = [threading.Thread(target=self.watch, args=(log,)) for log in logs]
        for thread in writers + watchers:
            thread.start()
        try:
            for _ in range(KILLS):
                wanted = self.acknowledged + choose.randrange(WRITES_BETWEEN // 2, WRITES_BETWEEN)
                with self.lock:
                    self.assertTrue(self.changed.wait_for(lambda: self.acknowledged >= wanted,
                                                          self.deadline - time.monotonic()), "the writers got stuck")
                self.cluster.kill("master")
                self.cluster.start("master")
            wanted = self.acknowledged + WRITES_BETWEEN
            with self.lock:
                self.assertTrue(self.changed.wait_for(lambda: self.acknowledged >= wanted,
                                                      self.deadline - time.monotonic()), "the writers got stuck")
        finally:
            self.stop.set()
            for thread in writers:
                thread.join(30)
            self.final = {item["metadata"]["name"]: item["data"]["value"] for item in self.api.get(self.path)["items"]
                          if item["metadata"]["name"] in self.names}
            for thread in watchers:
                thread.join(30)
        self.assertFalse(any(thread.is_alive() for thread in writers + watchers), "a thread is stuck")
        self.assertEqual(self.problems, [])
        positions = self.check_chains()
        events = sum(self.check_watcher(log, positions) for log in logs)
        print(f"{self.acknowledged} writes acknowledged, {len(self.attempts)} tried, {KILLS} kills; "
              f"{events} events seen by {WATCHERS} watchers")

    def check_chains(self):
        """{object: {value: position}} of what took effect."""
        positions = {}
        for name in self.names:
            chain, value = [], self.final[name]
            while value != "start":
                self.assertIn(value, self.attempts, f"{name} holds a value that nobody wrote")
                written, before, verdict, _ = self.attempts[value]
                self.assertEqual(written, name)
                self.assertNotEqual(verdict, "refused", f"{value}: refused with a conflict, yet it took effect")
                self.assertNotIn(value, chain, "the chain has a loop")
                chain.append(value)
                value = before
            chain.append("start")
            chain.reverse()
            positions[name] = {value: i for i, value in enumerate(chain)}
            versions = [self.attempts[value][3] for value in chain[1:] if self.attempts[value][3]]
            self.assertEqual(versions, sorted(versions), f"{name}: versions do not rise")
        given = [attempt[3] for attempt in self.attempts.values() if attempt[3]]
        self.assertEqual(len(given), len(set(given)), "a version was given twice")
        lost = [value for value, (name, _, verdict, _) in self.attempts.items()
                if verdict == "done" and value not in positions[name]]
        self.assertEqual(lost, [], "acknowledged writes are gone")
        return positions

    def check_watcher(self, log, positions):
        at, last, events = {}, 0, 0
        for entry in log:
            if entry[0] == "list":
                self.assertGreaterEqual(entry[2], last, "a list is older than what was seen before")
                for name, value in entry[1].items():
                    self.assertGreaterEqual(positions[name][value], at.get(name, 0), f"{name} went back")
                    at[name] = positions[name][value]
            else:
                _, name, value, version = entry
                self.assertGreater(version, last, "events out of order")
                self.assertEqual(positions[name].get(value), at[name] + 1, f"{name}: {value} is not the next change")
                at[name] += 1
                events += 1
            last = entry[-1]
        for name in self.names:
            self.assertEqual(at[name], len(positions[name]) - 1, f"{name}: the last change was not seen")
        return events


if __name__ == "__main__":
    cluster.main()
