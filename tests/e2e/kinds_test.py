#!/usr/bin/python3
"""Every kind of the API through kubectl: create, get, describe, explain, delete; and how much of the
API the server's own documents declare, held against this project's schema and, where it lies beside
the checkout, against the facts in ../shared/kubernetes-api. A master alone is enough."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases
from master_process import Master

sys.path[1:1] = [str(cases.SOURCE / "scripts/lib"), str(cases.SOURCE / "api")]
from api_client import Api
import generate

# Types of the schema that no operation of these groups leads to.
UNREACHED = {"io.k8s.api.core.v1.ClaimSource", "io.k8s.api.core.v1.WorkloadReference", "io.k8s.api.resource.v1.GroupResource",
             "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement"} | {
                 f"io.k8s.api.core.v1.{what}Options" for what in ("NodeProxy", "PodAttach", "PodExec", "PodPortForward", "PodProxy", "ServiceProxy")}

# kubectl 1.32 describes these by the beta versions that 1.36 no longer has.
KUBECTL_ASKS_FOR_BETA = {"IPAddress", "ServiceCIDR", "VolumeAttributesClass"}

# Stored, and nothing acts on them: each create says so.
IDLE = {"IPAddress", "ServiceCIDR", "RuntimeClass", "DeviceClass", "ResourceClaim", "ResourceClaimTemplate",
        "ResourceSlice", "CSIDriver", "CSINode", "CSIStorageCapacity", "VolumeAttachment", "VolumeAttributesClass"}
WARNINGS = {f"this version of Sampan has no controller for {kind}: the object is stored, and nothing acts on it" for kind in IDLE} | {
    "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"}


def manifests():
    """[(apiVersion, kind, name, text)] of kinds.yaml."""
    out = []
    for text in (pathlib.Path(__file__).parent / "kinds.yaml").read_text().split("\n---\n"):
        word = lambda pattern: re.search(pattern, text, re.M)[1]
        out.append((word(r"^apiVersion: (.+)$"), word(r"^kind: (.+)$"), word(r"^metadata: {name: ([^,}]+)"), text))
    return out


class Kinds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not shutil.which("kubectl"):
            raise unittest.SkipTest("kubectl")
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="sampan-kinds-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.log = open(cls.dir / "log", "w")
        cls.addClassCleanup(cls.log.close)
        cls.master = Master(cls.dir / "d", cls.log)
        cls.addClassCleanup(cls.master.stop)
        cls.api = Api(cls.master.kubeconfig)
        cls.documents = {path: cls.api.get(entry["serverRelativeURL"])
                         for path, entry in cls.api.get("/openapi/v3")["paths"].items()}

    def kubectl(self, *words, input=None):
        code, out = self.master.kubectl(*words, input=input)
        self.assertEqual(code, 0, f"kubectl {' '.join(words)}: {out}")
        return out

    def resources(self):
        """{(groupVersion, name of a resource or subresource): its row of discovery}."""
        groups = ["/api/v1"] + [f"/apis/{version['groupVersion']}" for group in self.api.get("/apis")["groups"]
                                for version in group["versions"]]
        return {(listed["groupVersion"], row["name"]): row for listed in map(self.api.get, groups)
                for row in listed["resources"]}

    def test_every_kind(self):
        served = self.resources()
        qualified = {}
        for (version, name), row in served.items():
            if "/" not in name and "create" in row["verbs"] and "get" in row["verbs"]:
                group, _, short = version.rpartition("/")
                qualified[version, row["kind"]] = f"{name}.{short}.{group}" if group else name
        examples = manifests()
        said = self.kubectl("create", "--validate=strict", "-f", str(pathlib.Path(__file__).parent / "kinds.yaml")).splitlines()
        made = [line for line in said if not line.startswith("Warning: ")]
        self.assertEqual(len(made), len(examples), made)
        self.assertEqual({line.removeprefix("Warning: ") for line in said if line not in made}, WARNINGS)
        for version, kind, name, _ in examples:
            with self.subTest(f"{version} {kind}"):
                resource = qualified.pop((version, kind))
                self.assertIn(name, self.kubectl("get", resource, name, "-o", "wide"))
                self.assertIn(kind, self.kubectl("explain", resource.split(".")[0], f"--api-version={version}"))
                if kind not in KUBECTL_ASKS_FOR_BETA:
                    self.assertRegex(self.kubectl("describe", resource, name), rf"Name: +{re.escape(name)}")
                self.assertIn("deleted", self.kubectl("delete", resource, name, "--wait=false"))
        # The rest is tried where it has a meaning: what is tested elsewhere is named there.
        elsewhere = {"TokenRequest", "CustomResourceDefinition", "APIService", "CertificateSigningRequest", "Role", "RoleBinding",
                     "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy"}
        missing = {key for key in qualified if key[1] not in elsewhere}
        self.assertEqual(missing, set(), "kinds without an example in kinds.yaml")

    def test_documents_declare_the_schema(self):
        declared = {}
        for document in self.documents.values():
            for name, schema in document.get("components", {}).get("schemas", {}).items():
                declared[name] = set(schema.get("properties", {}))
        served = {name.rpartition(".")[0] for name, fields in declared.items() if "kind" in fields}
        lacking = []
        for kind in generate.parse(str(cases.SOURCE / "api/schema")).values():
            name = f"{kind.package}.{kind.name}"
            if kind.package not in served or name in UNREACHED:
                continue
            for field in kind.fields:
                if field.name not in declared.get(name, ()):
                    lacking.append(f"{name}.{field.name}")
        self.assertEqual(lacking, [])

    def test_documents_declare_the_operations(self):
        paths = {re.sub(r"\{[^}]*\}", "{}", path): item for document in self.documents.values() for path, item in document["paths"].items()}
        methods = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch", "delete": "delete", "deletecollection": "delete"}
        for (version, name), row in self.resources().items():
            resource, _, part = name.partition("/")
            base = f"/api{'s' if '/' in version else ''}/{version}/" + ("namespaces/{}/" if row["namespaced"] else "") + resource
            for verb in row["verbs"]:
                if verb == "watch":
                    continue
                one = part or verb in ("get", "update", "patch", "delete")
                path = base + ("/{}" if one else "") + (f"/{part}" if part else "")
                self.assertIn(methods[verb], paths.get(path, {}), f"{verb} {path}")

    def test_coverage_of_the_facts(self):
        beside = [parent / "shared/kubernetes-api/coverage" for parent in cases.SOURCE.parents[:2]]  # a worktree lies deeper
        script = next((path for path in beside if path.exists()), None)
        if not script:
            self.skipTest("../shared/kubernetes-api")
        proxy = subprocess.Popen(["kubectl", f"--kubeconfig={self.master.kubeconfig}", "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            url = "http://" + proxy.stdout.readline().split()[-1]
            done = subprocess.run([script, "--missing", url], capture_output=True, text=True, timeout=120)
        finally:
            proxy.terminate()
            proxy.wait()
            proxy.stdout.close()
        lines = done.stdout.splitlines()
        print(lines[-1])
        justified = (cases.SOURCE / "docs/compatibility.md").read_text()
        lacking = [line for line in lines[:-1] if f"`{line}`" not in justified]
        self.assertEqual(lacking, [])


cases.main()
