"""A sampan-master of its own on loopback, for tests that need the API and no node.

It says on NOTIFY_SOCKET when it is ready. The caller owns the data directory and calls stop().
"""
import os
import socket
import subprocess

import cases


class Master:
    def __init__(self, data, log, *flags, start_seconds=20):
        self.data = data
        path = str(data) + ".notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(start_seconds)
            self.process = subprocess.Popen(
                [cases.BIN / "sampan-master", "--data-dir", data, "--listen", "127.0.0.1:0", "--log-level", "warning", *flags],
                stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "NOTIFY_SOCKET": path})
            try:
                assert notify.recv(100) == b"READY=1"
            except BaseException:
                self.stop()
                raise
            finally:
                os.unlink(path)
        self.kubeconfig = f"{data}/admin.conf"

    def kubectl(self, *words, input=None):
        """(exit code, standard output and error)."""
        done = subprocess.run(["kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.data}.cache", *words],
                              input=input, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
