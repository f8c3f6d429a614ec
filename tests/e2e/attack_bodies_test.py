#!/usr/bin/python3
"""Bodies of 3 MB of every shape, from an account without rights and from one with all: meanwhile /livez
answers another client within 100 ms.

The wait is measured by a process of its own, before the attack (the machine's own noise) and during each
shape. On a busy machine the bound is five times that noise where that is more, and half a second at most.
"""
import base64
import functools
import http.client
import json
import multiprocessing
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases  # noqa: E402
import master_process  # noqa: E402

http.client._MAXHEADERS = 1000  # warnings
SIZE = 3_000_000
FITS = 1_000_000  # with what the server adds, the store takes it
LIMIT, MARGIN, CAP = 0.1, 5, 0.5  # seconds, times, seconds
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
CUSTOM = "/apis/attack.example.com/v1/namespaces/default/things"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


def fill(piece, head="", tail="", count=None, join=",", bytes=SIZE):
    """head, then piece(0), piece(1)… up to `bytes` or `count` of them, then tail."""
    parts, size, i = [], 0, 0
    while size < bytes - 100 - len(head) - len(tail) if count is None else i < count:
        parts.append(piece(i))
        size += len(parts[-1]) + len(join)
        i += 1
    return (head + join.join(parts) + tail).encode()


class Client:
    """One connection; `token` in place of the administrator's certificate."""

    def __init__(self, kubeconfig, token=None):
        shown = subprocess.run(["kubectl", "config", "view", "--raw", "-o", "json", f"--kubeconfig={kubeconfig}"], check=True, capture_output=True)
        config = json.loads(shown.stdout)
        server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.host = server["server"].removeprefix("https://")
        self.tls = ssl.create_default_context(cadata=base64.b64decode(server["certificate-authority-data"]).decode())
        self.tls.check_hostname = False
        self.headers = {}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        else:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]) + b"\n" + base64.b64decode(user["client-key-data"]))
                pair.flush()
                self.tls.load_cert_chain(pair.name)
        self.connection = None

    def request(self, method, path, body=None, content_type="application/json", timeout=120):
        """(status, answer as bytes)"""
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(self.host, context=self.tls, timeout=timeout)
        try:
            self.connection.request(method, path, body, self.headers | {"Content-Type": content_type})
            response = self.connection.getresponse()
            return response.status, response.read()
        except BaseException:
            self.connection.close()
            self.connection = None
            raise


def watch_livez(kubeconfig, pipe):
    """Asks /livez again and again; for each message on the pipe, tells the longest wait since the last."""
    client = Client(kubeconfig)
    longest = 0.0
    while True:
        began = time.monotonic()
        status, _ = client.request("GET", "/livez")
        assert status == 200
        longest = max(longest, time.monotonic() - began)
        if pipe.poll(0.001):
            if pipe.recv() == "end":
                return
            pipe.send(longest)
            longest = 0.0


class Attack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("kubectl"):
            raise unittest.SkipTest("kubectl")
        cls.directory = tempfile.TemporaryDirectory()
        cls.log = open(cls.directory.name + "/log", "w+")
        cls.master = master_process.Master(cls.directory.name + "/data", cls.log)
        cls.admin = Client(cls.master.kubeconfig)
        cls.pipe, theirs = multiprocessing.Pipe()
        cls.watcher = multiprocessing.get_context("spawn").Process(target=watch_livez, args=(cls.master.kubeconfig, theirs), daemon=True)
        cls.watcher.start()
        cls.make_objects()
        cls.wait()
        time.sleep(2)  # a span to measure, not a wait for something
        cls.noise = cls.wait()
        cls.bound = min(CAP, max(LIMIT, MARGIN * cls.noise))
        print(f"the longest wait of a quiet master: {cls.noise * 1000:.1f} ms, bound {cls.bound * 1000:.0f} ms")

    @classmethod
    def tearDownClass(cls):
        cls.pipe.send("end")
        cls.watcher.join(10)
        cls.master.stop()
        cls.log.close()
        cls.directory.cleanup()

    @classmethod
    def wait(cls):
        cls.pipe.send("longest?")
        return cls.pipe.recv()

    @classmethod
    def make_objects(cls):
        def made(path, body):
            status, answer = cls.admin.request("POST", path, body)
            assert status in (201, 409), answer[:500]
            return json.loads(answer)
        made("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "nobody"}})
        token = made("/api/v1/namespaces/default/serviceaccounts/nobody/token", {"spec": {}})["status"]["token"]
        cls.nobody = Client(cls.master.kubeconfig, token)
        schema = {"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "string", "default": "d"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "strings": {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[a-z]*$"}}}}
        made(CRDS, {"metadata": {"name": "things.attack.example.com"}, "spec": {
            "group": "attack.example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
        for _ in range(200):
            if cls.admin.request("GET", CUSTOM)[0] == 200:
                break
            time.sleep(0.05)
        made(MAPS, {"metadata": {"name": "wide"}, "data": {f"k{i}": "v" for i in range(50_000)}})
        made(MAPS, {"metadata": {"name": "small"}, "data": {}})
        made(CUSTOM, {"apiVersion": "attack.example.com/v1", "kind": "Thing", "metadata": {"name": "a"}, "set": [f"s{i}" for i in range(40_000)]})
        env = [{"name": f"n{i}", "value": "v"} for i in range(10_000)]
        made("/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "d"}, "spec": {
            "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}}})

    def attack(self, client, shapes):
        """Each shape: what came back, and how long /livez waited meanwhile. Statuses are Kubernetes' own: a
        refusal, or 500 for what is larger than the store takes."""
        slow = {}
        for name, (method, path, content_type, body) in shapes.items():
            self.wait()
            began = time.monotonic()
            status, answer = client.request(method, path, body, content_type)
            took, longest = time.monotonic() - began, self.wait()
            print(f"{name:44} {len(body):8} bytes  {status}  {took * 1000:7.0f} ms, /livez {longest * 1000:6.1f} ms", flush=True)
            # As upstream: the store's limit, and an apply of what the schema does not have.
            expected = (b"request is too large", b"field not declared in schema")
            self.assertTrue(status < 500 or any(words in answer for words in expected), (name, status, answer[:300]))
            if longest > self.bound:
                slow[name] = round(longest * 1000)
        self.assertEqual(self.master.process.poll(), None, "the master died")
        self.assertEqual(slow, {}, f"/livez waited (ms) longer than {self.bound * 1000:.0f}")

    def bodies(self, kind, version, list_field):
        """Shapes of an object that is created; `list_field`: of spec, a list of structs, if the kind has one."""
        head = '{"kind":"%s","apiVersion":"%s","metadata":{"name":"x"},"spec":{' % (kind, version)
        shapes = {
            "unknown fields": fill(lambda i: f'"x{i}":1', head, "}}"),
            "null fields": fill(lambda i: f'"x{i}":null', head, "}}"),
            "the same field": fill(lambda i: '"a":1', head, "}}"),
            "unknown fields at the top": fill(lambda i: f'"x{i}":[]', head + "},", "}"),
            "unknown lists": fill(lambda i: "[]", head + '"x":[', "]}}"),
            "deep lists": b"[" * SIZE,
            "deep objects": b'{"a":' * (SIZE // 5),
            "a long text": fill(lambda i: "\\u00e9\\n", head + '"x":"', '"}}', join=""),
            "a long key": fill(lambda i: "k", head + '"', '":1}}', join=""),
            "labels": fill(lambda i: f'"l{i}":"v"', '{"kind":"%s","apiVersion":"%s","metadata":{"name":"x","labels":{' % (kind, version), "}}}"),
            "owners": fill(lambda i: '{"kind":"K"}', '{"kind":"%s","apiVersion":"%s","metadata":{"name":"x","ownerReferences":[' % (kind, version), "]}}"),
            "finalizers": fill(lambda i: f'"a/f{i}"', '{"kind":"%s","apiVersion":"%s","metadata":{"name":"x","finalizers":[' % (kind, version), "]}}"),
            "managed fields": fill(lambda i: '{"manager":"m%d","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k%d":{}}}}' % (i, i),
                                   '{"kind":"%s","apiVersion":"%s","metadata":{"name":"x","managedFields":[' % (kind, version), "]}}"),
            "no JSON": fill(lambda i: '"x":', head, ""),
        }
        if list_field:
            shapes["empty structs"] = fill(lambda i: "{}", head + '"%s":[' % list_field, "]}}")
            shapes["wrong structs"] = fill(lambda i: '{"name":"A"}', head + '"%s":[' % list_field, "]}}")
        return shapes

    def yaml_bodies(self, kind, version):
        head = f"kind: {kind}\napiVersion: {version}\nspec:\n"
        return {
            "YAML lists": fill(lambda i: "[]", head + "  x: [", "]\n"),
            "YAML quotes": fill(lambda i: "''", head + "  x: '", "'\n", join=""),
            "YAML fields": fill(lambda i: f"  x{i}: 1\n", head, "", join=""),
            "YAML duplicates": fill(lambda i: "  x: 1\n", head, "", join=""),
            "YAML deep": b"[" * SIZE,
            "YAML anchors": fill(lambda i: f"  x{i}: &a v\n", head, "", join=""),
            "YAML aliases": fill(lambda i: f"  x{i}: *a\n", head + "  a: &a [v,v,v,v,v,v,v,v,v,v]\n", "", join=""),
            "YAML tags": fill(lambda i: f"%TAG !a{i}! x\n", "", "---\na\n", join=""),
            "YAML documents": fill(lambda i: "---\n", "", "", join=""),
            "YAML comments": fill(lambda i: "#\n", head, "", join=""),
        }

    def test_reviews_of_an_account_without_rights(self):
        shapes = {name: ("POST", REVIEW, "application/json", body)
                  for name, body in self.bodies("SelfSubjectAccessReview", "authorization.k8s.io/v1", None).items()}
        shapes |= {name: ("POST", REVIEW, "application/yaml", body)
                   for name, body in self.yaml_bodies("SelfSubjectAccessReview", "authorization.k8s.io/v1").items()}
        magic = b"k8s\0"
        shapes["protobuf fields"] = ("POST", REVIEW, "application/vnd.kubernetes.protobuf", magic + b"\x12" + b"\x80\x89\xb7\x01" + b"\x0a\x00" * (SIZE // 2))
        shapes["a field selector"] = ("POST", REVIEW, "application/json", fill(
            lambda i: f"a{i}=b", '{"spec":{"resourceAttributes":{"verb":"get","resource":"pods","fieldSelector":{"rawSelector":"', '"}}}}'))
        self.attack(self.nobody, shapes)

    def test_refused_for_want_of_rights(self):
        wide = fill(lambda i: f'"x{i}":1', '{"spec":{', "}}")
        self.attack(self.nobody, {
            "a Pod": ("POST", PODS, "application/json", wide),
            "a patch": ("PATCH", MAPS + "/wide", MERGE, wide),
            "an apply": ("PATCH", MAPS + "/wide?fieldManager=a", APPLY, wide),
            "a deletion": ("DELETE", MAPS + "/wide", "application/json", wide),
            "a path that is none": ("POST", "/apis/none/v1/nones", "application/json", wide)})

    def test_creations(self):
        for kind, version, path, list_field in (("Pod", "v1", PODS, "containers"), ("ConfigMap", "v1", MAPS, None), ("Thing", "attack.example.com/v1", CUSTOM, None)):
            shapes = {f"{kind}: {name}": ("POST", path, "application/json", body) for name, body in self.bodies(kind, version, list_field).items()}
            shapes |= {f"{kind}: {name}": ("POST", path, "application/yaml", body) for name, body in self.yaml_bodies(kind, version).items()}
            self.attack(self.admin, shapes)

    def test_what_is_right_and_large(self):
        for bytes in (FITS, SIZE):
            self.attack_with_objects(bytes)

    def attack_with_objects(self, bytes):
        fill = functools.partial(globals()["fill"], bytes=bytes)
        thing = '{"kind":"Thing","apiVersion":"attack.example.com/v1","metadata":{"generateName":"x"},'
        network = '{"kind":"NetworkPolicy","apiVersion":"networking.k8s.io/v1","metadata":{"name":"n"},"spec":{"podSelector":{"matchExpressions":[{"key":"a","operator":"In","values":['
        self.attack(self.admin, {
            "data that fits": ("POST", MAPS, "application/json", fill(lambda i: f'"k{i}":"v"', '{"metadata":{"generateName":"m"},"data":{', "}}", count=50_000)),
            "more data": ("POST", MAPS, "application/json", fill(lambda i: f'"k{i}":"v"', '{"metadata":{"generateName":"m"},"data":{', "}}")),
            "a set": ("POST", CUSTOM, "application/json", fill(lambda i: f'"s{i}"', thing + '"set":[', "]}")),
            "a set of equals": ("POST", CUSTOM, "application/json", fill(lambda i: '"s"', thing + '"set":[', "]}")),
            "a map": ("POST", CUSTOM, "application/json", fill(lambda i: '{"k":"%d"}' % i, thing + '"map":[', "]}")),
            "structs without keys": ("POST", CUSTOM, "application/json", fill(lambda i: "{}", thing + '"map":[', "]}")),
            "free members": ("POST", CUSTOM, "application/json", fill(lambda i: f'"f{i}":[]', thing + '"free":{', "}}")),
            "texts by a pattern": ("POST", CUSTOM, "application/json", fill(lambda i: f'"f{i}":"A"', thing + '"strings":{', "}}")),
            "a selector": ("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", "application/json",
                           fill(lambda i: f'"v{i}"', network, "]}]}}}")),
            "a schema": ("POST", CRDS, "application/json", fill(
                lambda i: '"p%d":{"type":"string","pattern":"^a*$","default":"a"}' % i,
                '{"metadata":{"name":"wides.attack.example.com"},"spec":{"group":"attack.example.com","scope":"Cluster","names":{"plural":"wides","kind":"Wide"},'
                '"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{', "}}}}]}}"))})

    def test_patches(self):
        small, wide, thing = MAPS + "/small", MAPS + "/wide", CUSTOM + "/a"
        deployment = "/apis/apps/v1/namespaces/default/deployments/d"
        env = '{"spec":{"template":{"spec":{"containers":[{"name":"c","env":['
        operations = lambda one, count=10_000: fill(one, "[", "]", count=count)  # noqa: E731
        apply = lambda name, more: '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s"},%s' % (name, more)  # noqa: E731
        self.attack(self.admin, {
            "merge: new members": ("PATCH", small, MERGE, fill(lambda i: f'"k{i}":"v"', '{"data":{', "}}")),
            "merge: nulls for what is there": ("PATCH", wide + "?dryRun=All", MERGE, fill(lambda i: f'"k{i}":null', '{"data":{', "}}", count=50_000)),
            "merge: unknown members": ("PATCH", small, MERGE, fill(lambda i: f'"k{i}":1', '{"x":{', "}}")),
            "strategic: 20,000 members": ("PATCH", wide + "?dryRun=All", STRATEGIC, fill(lambda i: f'"k{i}":null', '{"data":{', "}}", count=20_000)),
            "strategic: a keyed list": ("PATCH", deployment + "?dryRun=All", STRATEGIC, fill(lambda i: '{"name":"n%d","value":"w"}' % (i * 2), env, "]}]}}}}")),
            "strategic: deletions of a keyed list": ("PATCH", deployment + "?dryRun=All", STRATEGIC, fill(lambda i: '{"name":"n%d","$patch":"delete"}' % i, env, "]}]}}}}")),
            "strategic: an order": ("PATCH", deployment + "?dryRun=All", STRATEGIC, fill(
                lambda i: '{"name":"n%d"}' % (19_999 - i), '{"spec":{"template":{"spec":{"containers":[{"name":"c","$setElementOrder/env":[', "]}]}}}}", count=20_000)),
            "strategic: retained keys": ("PATCH", wide + "?dryRun=All", STRATEGIC, fill(lambda i: f'"r{i}"', '{"data":{"$retainKeys":[', "]}}")),
            "JSON: removals": ("PATCH", wide + "?dryRun=All", JSON_PATCH, operations(lambda i: '{"op":"remove","path":"/data/k%d"}' % i)),
            "JSON: removals from a list": ("PATCH", thing + "?dryRun=All", JSON_PATCH, operations(lambda i: '{"op":"remove","path":"/set/0"}')),
            "JSON: additions before a list": ("PATCH", thing + "?dryRun=All", JSON_PATCH, operations(lambda i: '{"op":"add","path":"/set/0","value":"a%d"}' % i)),
            "JSON: copies": ("PATCH", wide + "?dryRun=All", JSON_PATCH, operations(lambda i: '{"op":"copy","from":"/data","path":"/x"}')),
            "JSON: moves": ("PATCH", wide + "?dryRun=All", JSON_PATCH, operations(lambda i: '{"op":"move","from":"%s","path":"%s"}' % (("/data", "/x") if i % 2 == 0 else ("/x", "/data")))),
            "JSON: too many": ("PATCH", wide, JSON_PATCH, operations(lambda i: '{"op":"test","path":"/a"}', count=None)),
            "apply: members": ("PATCH", MAPS + "/applied?fieldManager=a", APPLY, fill(lambda i: f'"k{i}":"v"', apply("applied", '"data":{'), "}}", count=40_000)),
            "apply: other members": ("PATCH", MAPS + "/applied?fieldManager=a", APPLY, fill(lambda i: f'"l{i}":"v"', apply("applied", '"data":{'), "}}", count=40_000)),
            "apply: conflicts": ("PATCH", MAPS + "/applied?fieldManager=b", APPLY, fill(lambda i: f'"l{i}":"w"', apply("applied", '"data":{'), "}}", count=40_000)),
            "apply: a keyed list": ("PATCH", deployment + "?fieldManager=a&dryRun=All", APPLY, fill(
                lambda i: '{"name":"n%d","value":"w"}' % (i * 2), '{"apiVersion":"apps/v1","kind":"Deployment",' + env[1:], "]}]}}}}")),
            "apply: YAML": ("PATCH", MAPS + "/applied?fieldManager=c", APPLY, self.yaml_bodies("ConfigMap", "v1")["YAML lists"]),
            "update: managers": ("PUT", small, "application/json", fill(
                lambda i: '{"manager":"m%d","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:k%d":{}}}}' % (i, i),
                '{"kind":"ConfigMap","apiVersion":"v1","data":{"a":"b"},"metadata":{"name":"small","managedFields":[', "]}}")),
            "scale": ("PATCH", deployment + "/scale", MERGE, fill(lambda i: f'"k{i}":1', '{"spec":{', "}}"))})

    def test_other_bodies(self):
        wide = fill(lambda i: f'"x{i}":1', '{"spec":{', "}}")
        account = "/api/v1/namespaces/default/serviceaccounts/nobody"
        selector = ",".join(f"a{i}!=b" for i in range(900))
        self.attack(self.admin, {
            "delete options": ("DELETE", MAPS + "/absent", "application/json", wide),
            "options of a deletion of many": ("DELETE", MAPS + "?labelSelector=none", "application/json", wide),
            "a token": ("POST", account + "/token", "application/json", wide),
            "an eviction": ("POST", PODS + "/absent/eviction", "application/json", wide),
            "a binding": ("POST", PODS + "/absent/binding", "application/json", wide),
            "a token review": ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", "application/json", wide),
            "rules": ("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "application/json", wide),
            "groups of a review": ("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "application/json", fill(
                lambda i: f'"g{i}"', '{"spec":{"user":"u","resourceAttributes":{"verb":"get","resource":"pods"},"groups":[', "]}}")),
            "a selector": ("GET", MAPS + "?labelSelector=" + selector, "application/json", b""),
            "many objects go": ("DELETE", MAPS, "application/json", b"")})

    def test_several_at_once(self):
        """Greedy clients hold each other up, and nobody else."""
        body = fill(lambda i: f'"x{i}":[]', '{"spec":{', "}}")
        self.wait()
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=post_often, args=(self.master.kubeconfig, self.nobody.headers, body)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
            self.assertEqual(process.exitcode, 0)
        longest = self.wait()
        print(f"16 bodies of 4 clients at once: /livez {longest * 1000:.1f} ms")
        self.assertLess(longest, self.bound)


def post_often(kubeconfig, headers, body):
    client = Client(kubeconfig)
    client.headers = headers
    for _ in range(4):
        assert client.request("POST", REVIEW, body)[0] < 500


if __name__ == "__main__":
    cases.main()
