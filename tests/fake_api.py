"""A small API server over plain HTTP for tests of one daemon: objects, watches, status patches,
graceful deletion of Pods. Knows no validation; never used by the product."""
import http.server
import json
import queue
import sys
import threading
import time
import urllib.parse
import uuid

KINDS = {"pods": "Pod", "nodes": "Node", "services": "Service", "configmaps": "ConfigMap", "secrets": "Secret",
         "events": "Event", "leases": "Lease"}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


# The lists of a status that the API server merges by a key; all others are replaced.
MERGE_KEYS = {"conditions": "type", "podIPs": "ip", "addresses": "type"}


def merge_list(items, patch, key):
    """Strategic merge: $patch replace empties the list, delete takes one item out."""
    if {"$patch": "replace"} in patch:
        items = []
    for item in (i for i in patch if i != {"$patch": "replace"}):
        found = next((i for i in items if i.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            items = [i for i in items if i is not found]
        elif found is None:
            items.append(merge({}, item))
        else:
            merge(found, item)
    return items


def merge(target, patch):
    for key, value in patch.items():
        if key.startswith("$setElementOrder/"):
            continue
        if value is None:
            target.pop(key, None)
        elif key in MERGE_KEYS and isinstance(value, list):
            target[key] = merge_list(target.get(key, []), value, MERGE_KEYS[key])
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value
    return target


class Api:
    def __init__(self):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.objects = {}   # (plural, ns, name) -> object
        self.version = 1
        self.watchers = []  # (plural, ns, selector, queue)
        self.deleted = []   # keys that the final DELETE removed
        self.tokens = {}    # bearer token -> name, for TokenReviews
        self.allowed = set()   # (name, verb, subresource of nodes), for SubjectAccessReviews
        self.reviews = []   # kinds asked for
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                api.handle(self, self.command, body)
            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                if not isinstance(sys.exc_info()[1], OSError):   # a killed client is no error here
                    super().handle_error(request, address)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    # -- requests

    def handle(self, h, method, body):
        url = urllib.parse.urlsplit(h.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = [urllib.parse.unquote(p) for p in url.path.strip("/").split("/")]
        parts = parts[2:] if parts[0] == "api" else parts[3:]
        ns = ""
        if parts[0] == "namespaces" and len(parts) > 2:
            ns, parts = parts[1], parts[2:]
        plural, name = parts[0], parts[1] if len(parts) > 1 else None
        if plural == "serviceaccounts":
            return self.answer(h, 201, {"kind": "TokenRequest", "status": {"token": "a-token", "expirationTimestamp": now()}})
        if plural in ("tokenreviews", "subjectaccessreviews"):
            return self.review(h, body)
        if method == "GET" and name is None:
            return self.watch(h, plural, ns, query) if "watch" in query else self.list(h, plural, ns, query)
        with self.lock:
            if method == "POST":
                name = body["metadata"]["name"]
                if (plural, ns, name) in self.objects:
                    return self.status(h, 409, "AlreadyExists")
                return self.answer(h, 201, self.put(plural, ns, body))
            found = self.objects.get((plural, ns, name))
            if found is None:
                return self.status(h, 404, "NotFound")
            if method == "GET":
                return self.answer(h, 200, found)
            if method == "DELETE":
                return self.delete(h, plural, ns, name, body or {})
            new = json.loads(json.dumps(found))
            if method == "PATCH":
                uid = body.get("metadata", {}).get("uid")
                if uid and uid != found["metadata"]["uid"]:
                    return self.status(h, 409, "Conflict")
                merge(new, body)
            else:
                new = body
            self.answer(h, 200, self.put(plural, ns, new))

    def delete(self, h, plural, ns, name, options):
        found = self.objects[(plural, ns, name)]
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != found["metadata"]["uid"]:
            return self.status(h, 409, "Conflict")
        self.drop(plural, ns, name)
        self.deleted.append(f"{ns}/{name}")
        return self.answer(h, 200, found)

    def review(self, h, body):
        spec = body["spec"]
        self.reviews.append(body["kind"])
        if body["kind"] == "TokenReview":
            name = self.tokens.get(spec["token"])
            body["status"] = {"authenticated": name is not None, "user": {"username": name, "groups": ["system:authenticated"]} if name else {}}
        else:
            asked = spec["resourceAttributes"]
            body["status"] = {"allowed": (spec["user"], asked["verb"], asked["subresource"]) in self.allowed and asked["name"] == "n1"}
        self.answer(h, 201, body)

    def status(self, h, code, reason):
        self.answer(h, code, {"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code})

    def answer(self, h, code, body):
        data = json.dumps(body).encode()
        h.send_response(code)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(data)))
        h.end_headers()
        h.wfile.write(data)

    @staticmethod
    def matches(obj, selector):
        for term in filter(None, selector.split(",")):
            path, value = term.split("=", 1)
            at = obj
            for part in path.split("."):
                at = (at or {}).get(part)
            if (at or "") != value:
                return False
        return True

    def list(self, h, plural, ns, query):
        with self.lock:
            items = [o for (p, n, _), o in self.objects.items()
                     if p == plural and ns in ("", n) and self.matches(o, query.get("fieldSelector", ""))]
            self.answer(h, 200, {"kind": KINDS.get(plural, "X") + "List", "apiVersion": "v1", "items": items,
                                 "metadata": {"resourceVersion": str(self.version)}})

    def watch(self, h, plural, ns, query):
        events = queue.SimpleQueue()
        entry = (plural, ns, query.get("fieldSelector", ""), events)
        with self.lock:
            since = int(query.get("resourceVersion") or 0)
            for (p, n, _), o in self.objects.items():
                if p == plural and ns in ("", n) and int(o["metadata"]["resourceVersion"]) > since and self.matches(o, entry[2]):
                    events.put(("MODIFIED", o))
            self.watchers.append(entry)
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()
        try:
            while True:
                kind, obj = events.get()
                line = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
                h.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                h.wfile.flush()
        except OSError:
            pass
        finally:
            with self.lock:
                self.watchers.remove(entry)
        h.close_connection = True

    # -- for the test

    def put(self, plural, ns, obj):
        with self.lock:
            meta = obj["metadata"]
            key = (plural, ns, meta["name"])
            fresh = key not in self.objects
            self.version += 1
            meta.setdefault("uid", str(uuid.uuid4()))
            meta.setdefault("creationTimestamp", now())
            if ns:
                meta["namespace"] = ns
            meta["resourceVersion"] = str(self.version)
            self.objects[key] = json.loads(json.dumps(obj))
            self.tell("ADDED" if fresh else "MODIFIED", plural, ns, self.objects[key])
            self.changed.notify_all()
            return self.objects[key]

    def drop(self, plural, ns, name):
        with self.lock:
            gone = self.objects.pop((plural, ns, name))
            self.version += 1
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.tell("DELETED", plural, ns, gone)
            self.changed.notify_all()

    def tell(self, kind, plural, ns, obj):
        for p, n, selector, events in self.watchers:
            if p == plural and n in ("", ns) and self.matches(obj, selector):
                events.put((kind, json.loads(json.dumps(obj))))

    def get(self, plural, name, ns="default"):
        with self.lock:
            return self.objects.get((plural, ns, name))

    def all(self, plural):
        with self.lock:
            return [o for (p, _, _), o in self.objects.items() if p == plural]

    def terminate(self, name, grace=30, ns="default"):
        """What DELETE of a Pod does first: the object stays until the kubelet is through."""
        with self.lock:
            pod = json.loads(json.dumps(self.get("pods", name, ns)))
            pod["metadata"].update(deletionTimestamp=now(), deletionGracePeriodSeconds=grace)
            self.put("pods", ns, pod)

    def until(self, what, test, seconds=20):
        """Waits on changes, never by polling; `test` returns something true."""
        deadline = time.monotonic() + seconds
        with self.lock:
            while True:
                found = test()
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what}: not within {seconds} s: "
                                         f"{json.dumps([o.get('status') for o in self.all('pods')])[:3000]}")
                self.changed.wait(left)
