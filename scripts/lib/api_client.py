"""The API as far as scripts and tests need it without kubectl: requests and watches over TLS."""
import base64
import http.client
import json
import os
import pathlib
import re
import ssl
import time

from system import Failure


class Api:
    """JSON over TLS with the certificates of a kubeconfig."""

    def __init__(self, kubeconfig):
        text = pathlib.Path(kubeconfig).read_text()

        def field(name):
            found = re.search(rf'"?{name}"?\s*:\s*"?([^\s",}}]+)', text)
            if not found:
                raise Failure(f"read {kubeconfig}: no {name}")
            return found[1]
        self.server = field("server")
        self.context = ssl.create_default_context(
            cadata=base64.b64decode(field("certificate-authority-data")).decode())
        pair = (base64.b64decode(field("client-certificate-data"))
                + b"\n" + base64.b64decode(field("client-key-data")))
        memory = os.memfd_create("client")
        os.write(memory, pair)
        self.context.load_cert_chain(f"/proc/self/fd/{memory}")
        os.close(memory)
        self.host = self.server.removeprefix("https://")

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.host, context=self.context, timeout=timeout)

    def request(self, method, path, body=None, content_type="application/json", timeout=30):
        """(status, decoded body)."""
        connection = self.connect(timeout)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": content_type,
                                                    "Accept": "application/json"})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, text.decode(errors="replace")

    def get(self, path):
        status, body = self.request("GET", path)
        if status != 200:
            raise Failure(f"GET {path}: {status}: "
                          f"{body.get('message') if isinstance(body, dict) else body}")
        return body

    def watch(self, path, version, deadline):
        """(type, object) from a revision on; TimeoutError at the deadline."""
        separator = "&" if "?" in path else "?"
        connection = self.connect(max(0.1, deadline - time.monotonic()))
        try:
            connection.request("GET", f"{path}{separator}watch=1&resourceVersion={version}",
                               headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise Failure(f"watch {path}: {response.status}: {response.read()[:300]}")
            while True:
                connection.sock.settimeout(max(0.001, deadline - time.monotonic()))
                line = response.readline()
                if not line:
                    raise Failure(f"watch {path}: the server ended it")
                event = json.loads(line)
                yield event["type"], event["object"]
                if time.monotonic() > deadline:
                    raise TimeoutError
        finally:
            connection.close()

    def until(self, path, good, seconds):
        """Lists, then watches, until good({name: object}) holds, and returns those objects; at the
        time-out a TimeoutError whose second argument is what was last seen."""
        deadline = time.monotonic() + seconds
        listed = self.get(path)
        items = {item["metadata"]["name"]: item for item in listed["items"]}
        if good(items):
            return items
        try:
            for kind, item in self.watch(path, listed["metadata"]["resourceVersion"], deadline):
                if kind == "ERROR":
                    raise Failure(f"watch {path}: {item.get('message')}")
                if kind == "DELETED":
                    items.pop(item["metadata"]["name"], None)
                elif kind != "BOOKMARK":
                    items[item["metadata"]["name"]] = item
                if good(items):
                    return items
        except TimeoutError:
            pass
        raise TimeoutError(f"watch {path}: not in {seconds} s", items)
