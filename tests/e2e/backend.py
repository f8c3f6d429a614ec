"""An HTTPS server beside the master, in its network namespace: what the API server calls.

A Backend runs Python source that defines Handler, a JsonHandler. With a client CA, whoever shows no
certificate of it is refused. The server's certificate is signed by an authority of its own, for the address and the DNS names given.
"""
import pathlib
import subprocess
import sys
import tempfile

from throwaway_cluster import MASTER_IP


class Authority:
    """A CA and what it signs, in a directory that goes with cleanup()."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="sampan-backend-")
        self.cleanup = self.directory.cleanup
        self.path = pathlib.Path(self.directory.name)
        self.openssl("-subj", "/CN=test-authority", "-keyout", "ca.key", "-out", "ca.crt")
        self.ca = (self.path / "ca.crt").read_bytes()

    def openssl(self, *words):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-days", "1", *words], check=True, cwd=self.path, stderr=subprocess.DEVNULL)

    def sign(self, *names):
        """A file with a certificate for the names ("IP:…", "DNS:…") and its key."""
        self.openssl("-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=backend", "-addext",
                     "subjectAltName=" + ",".join(names), "-keyout", "server.key", "-out", "server.crt")
        pair = self.path / "server.pem"
        pair.write_bytes((self.path / "server.key").read_bytes() + (self.path / "server.crt").read_bytes())
        return pair


# What stands before and behind the source of each Backend.
PRELUDE = r"""
import base64, http.server, json, ssl, sys
class JsonHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self): return self.rfile.read(int(self.headers.get("Content-Length") or 0))
    def answer(self, value, code=200):
        text = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *words): pass
"""
SERVE = r"""
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3])
if len(sys.argv) > 4:
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(sys.argv[4])
server = http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""


class Backend:
    def __init__(self, netns, source, port, key_file, *words):
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{netns}", sys.executable, "-c", PRELUDE + source + SERVE, MASTER_IP, str(port), key_file, *words],
            stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            self.kill()
            raise AssertionError("the backend did not start")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def endpoint_slice(service, port, ready=True, **metadata):
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"{service}-1", "labels": {"kubernetes.io/service-name": service}, **metadata},
            "endpoints": [{"addresses": [MASTER_IP], "conditions": {"ready": ready}}],
            "ports": [{"port": port, "name": ""}]}
