"""One cluster in network namespaces: how it is started, used, listed and removed.

A cluster NAME is the namespace sampan-NAME (master, and the bridge the nodes hang on) and one
namespace sampan-NAME-node-N per node, with no route outside. State: /run/sampan-clusters/NAME and
/var/lib/sampan-clusters/NAME; cgroups: /sampan-NAME in every hierarchy. The host gets no link, no
rule and no route; the one thing of the cluster it sees is a socket on 127.0.0.1 for kubectl.

Never signals a process that is not provably the cluster's: recorded with its start time, or found
in its cgroups or namespaces. The daemons' interface is flags, NOTIFY_SOCKET and LISTEN_FDS only.
"""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

from api_client import Api
from system import (CLONE_NEWNS, LIBC, MNT_DETACH, MS_BIND, MS_REC, MS_SLAVE, Failure,
                    cgroup_hierarchies, check, enter_netns, open_process, run, start_ticks, wait_dead)

SOURCE = pathlib.Path(__file__).resolve().parents[2]
RUN = pathlib.Path("/run/sampan-clusters")
DATA = pathlib.Path("/var/lib/sampan-clusters")
PROGRAMS = ("sampan-master", "sampan-kubelet", "sampan-proxy", "sampan-pod", "sampan-oci", "sampan")
MASTER_IP, PREFIX, FIRST_NODE, MAX_NODES = "192.0.2.1", 24, 11, 200
SERVICE_CIDR, CLUSTER_CIDR = "10.96.0.0/16", "10.244.0.0/16"
DNS, DOMAIN = "10.96.0.10", "cluster.local"
START_SECONDS, STOP_SECONDS = 30, 20


class Cluster:
    """One cluster; everything about it is derived from its name and <state>/cluster.json."""

    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?", name) or re.search(r"node-\d+$", name):
            raise Failure(f"cluster name {name!r}: use at most 24 of a-z, 0-9 and '-', "
                          "not ending like a node")
        self.name = name
        self.state = RUN / name
        self.data = DATA / name
        self.cgroup = f"sampan-{name}"
        self.netns = f"sampan-{name}"
        self.kubeconfig = self.state / "kubeconfig"             # from the host
        self.inner_kubeconfig = self.state / "kubeconfig.inside"  # from the cluster's namespaces
        self._api = None

    # -- what is recorded

    @property
    def config(self):
        try:
            return json.loads((self.state / "cluster.json").read_text())
        except OSError:
            raise Failure(f"cluster {self.name}: not found below {RUN}: "
                          f"scripts/cluster up {self.name}") from None
        except ValueError:
            return {}

    def save(self, config):
        temporary = self.state / "cluster.json.new"
        temporary.write_text(json.dumps(config))
        temporary.rename(self.state / "cluster.json")

    @property
    def nodes(self):
        return [f"node-{i + 1}" for i in range(self.config.get("nodes", 0))]

    @property
    def bin(self):
        return pathlib.Path(self.config["bin"])

    def node_ip(self, node):
        return f"192.0.2.{FIRST_NODE + int(node.removeprefix('node-')) - 1}"

    def node_netns(self, node):
        return f"{self.netns}-{node}"

    def daemons(self):
        return ["master"] + [f"{node}/{kind}" for node in self.nodes for kind in ("kubelet", "proxy")]

    def daemon(self, word):
        """'kubelet' is the first node's; 'node-2/kubelet' that node's."""
        full = word if word == "master" or "/" in word else f"node-1/{word}"
        if full not in self.daemons():
            raise Failure(f"daemon {word!r}: cluster {self.name} has {', '.join(self.daemons())}")
        return full

    def log_path(self, daemon):
        return self.data / "log" / f"{daemon.replace('/', '-')}.log"

    def record_path(self, daemon):
        return self.state / f"{daemon.replace('/', '-')}.pid"

    def recorded(self, daemon):
        """(pid, start ticks) or None."""
        try:
            pid, ticks = self.record_path(daemon).read_text().split()
            return int(pid), int(ticks)
        except (OSError, ValueError):
            return None

    def pid(self, daemon):
        """The live process of a daemon, or None."""
        found = self.recorded(self.daemon(daemon))
        return found[0] if found and start_ticks(found[0]) == found[1] else None

    # -- up

    def make_network(self):
        # One batch: the master's namespace with the bridge, each node's with its leg.
        for namespace in [self.netns] + [self.node_netns(node) for node in self.nodes]:
            run("ip", "netns", "add", namespace)
        lines = ["link set lo up", "link add cluster0 type bridge forward_delay 0 stp_state 0",
                 f"address add {MASTER_IP}/{PREFIX} dev cluster0", "link set cluster0 up"]
        for node in self.nodes:
            lines += [f"link add {node} type veth peer name eth0 netns {self.node_netns(node)}",
                      f"link set {node} master cluster0 up"]
        run("ip", "-n", self.netns, "-batch", "-", input="\n".join(lines) + "\n")

        def leg(node):
            # The default route ends in the master's namespace, which knows no way out and says so
            # (ICMP unreachable); without one, nothing to a cluster IP would even be sent.
            run("ip", "-n", self.node_netns(node), "-batch", "-", input="\n".join([
                "link set lo up", f"address add {self.node_ip(node)}/{PREFIX} dev eth0",
                "link set eth0 up", f"route add default via {MASTER_IP}"]) + "\n")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(leg, self.nodes))
        run("nsenter", f"--net=/run/netns/{self.netns}", "sh", "-c",
            "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def listen_for_host(self):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        config = self.config
        listener.bind(("127.0.0.1", config.get("port", 0)))
        listener.listen(512)
        config["port"] = listener.getsockname()[1]
        self.save(config)
        return listener

    def command(self, daemon):
        common = ["--log-level", os.environ.get("SAMPAN_LOG_LEVEL", "info")]
        if daemon == "master":
            return [self.bin / "sampan-master", "--data-dir", self.data / "master",
                    "--listen", f"{MASTER_IP}:6443", "--advertise-address", MASTER_IP,
                    "--service-cidr", SERVICE_CIDR, "--cluster-cidr", CLUSTER_CIDR,
                    "--cluster-dns", DNS, "--cluster-domain", DOMAIN] + common
        node, kind = daemon.split("/")
        kubeconfig = self.state / node / f"{kind}.conf"
        if kind == "kubelet":
            return [self.bin / "sampan-kubelet", "--kubeconfig", kubeconfig, "--node-name", node,
                    "--node-ip", self.node_ip(node), "--listen", f"{self.node_ip(node)}:10250",
                    "--root-dir", self.data / node / "kubelet", "--run-dir", self.state / node / "run",
                    "--image-root", self.data / node / "images",
                    "--cgroup-parent", f"/{self.cgroup}/{node}", "--bridge", "sampan0",
                    "--cluster-dns", DNS, "--cluster-domain", DOMAIN,
                    "--registries", self.data / "registries.json"] + common
        return [self.bin / "sampan-proxy", "--kubeconfig", kubeconfig, "--node-name", node,
                "--cluster-cidr", CLUSTER_CIDR, "--service-cidr", SERVICE_CIDR, "--cluster-dns", DNS,
                "--cluster-domain", DOMAIN, "--table", "sampan",
                "--run-dir", self.state / node / "proxy"] + common

    def make_kubeconfig(self, out, user, groups, server, addresses=(), names=()):
        words = ["kubeconfig", "--data-dir", self.data / "master", "--user", user,
                 "--server", server, "--out", out]
        for flag, values in (("--group", groups), ("--ip", addresses), ("--dns", names)):
            for value in values:
                words += [flag, value]
        run(self.bin / "sampan", *words)

    def make_kubeconfigs(self):
        inside = f"https://{MASTER_IP}:6443"
        jobs = [(self.kubeconfig, "kubernetes-admin", ["system:masters"],
                 f"https://127.0.0.1:{self.config['port']}"),
                (self.inner_kubeconfig, "kubernetes-admin", ["system:masters"], inside)]
        for node in self.nodes:
            jobs += [(self.state / node / "kubelet.conf", f"system:node:{node}", ["system:nodes"],
                      inside, [self.node_ip(node), "127.0.0.1"], [node]),
                     (self.state / node / "proxy.conf", "system:kube-proxy",
                      ["system:node-proxier"], inside)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda job: self.make_kubeconfig(*job), jobs))

    def start(self, daemon, environment=None):
        """Starts a daemon and waits for its READY=1; says why when it ends instead."""
        daemon = self.daemon(daemon)
        if self.pid(daemon):
            raise Failure(f"start {daemon} of {self.name}: it is running")
        command = [str(word) for word in self.command(daemon)]
        listener = self.listen_for_host() if daemon == "master" else None
        namespace = self.netns if daemon == "master" else self.node_netns(daemon.split("/")[0])
        notify_path = str(self.state / f"{daemon.replace('/', '-')}.notify")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(notify_path)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(notify_path)
        env = dict(os.environ, NOTIFY_SOCKET=notify_path, SAMPAN_CLUSTER=self.name,
                   **(environment or {}))
        log = os.open(self.log_path(daemon), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        log_start = os.fstat(log).st_size

        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            # Twice forked: the daemon is nobody's child here, and outlives this command.
            try:
                os.setsid()
                grandchild = os.fork()
                if grandchild:
                    os.write(writer, f"{grandchild}\n".encode())
                    os._exit(0)
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                self.enter_daemon_cgroup()
                enter_netns(namespace)
                null = os.open("/dev/null", os.O_RDONLY)
                os.dup2(null, 0), os.dup2(log, 1), os.dup2(log, 2)
                if listener:
                    os.dup2(listener.fileno(), 3)
                    os.set_inheritable(3, True)
                    env.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
                os.closerange(4 if listener else 3, 1024)
                os.execve(command[0], command, env)
            except BaseException as error:  # the child must never return into the parent's code
                os.write(2, f"start {command[0]}: {error}\n".encode())
                os._exit(127)
        os.close(writer)
        os.close(log)
        os.waitpid(child, 0)
        with os.fdopen(reader) as stream:
            pid = int(stream.readline())
        ticks = start_ticks(pid)
        pidfd = open_process(pid, ticks)
        if pidfd is not None:
            temporary = self.record_path(daemon).with_suffix(".new")
            temporary.write_text(f"{pid} {ticks}")
            temporary.rename(self.record_path(daemon))
        if listener:
            listener.close()
        try:
            self.wait_ready(daemon, pidfd, notify, log_start)
        finally:
            notify.close()
            if pidfd is not None:
                os.close(pidfd)
        return pid

    def wait_ready(self, daemon, pidfd, notify, log_start):
        deadline = time.monotonic() + START_SECONDS
        while True:
            left = deadline - time.monotonic()
            waiting = [notify] + ([pidfd] if pidfd is not None else [])
            ready = select.select(waiting, [], [], max(0, left))[0] if pidfd is not None else []
            if notify in ready:
                if any(line == "READY=1" for line in notify.recv(4096).decode().split("\n")):
                    return
                continue
            why = "it ended" if pidfd is None or pidfd in ready else f"not ready in {START_SECONDS} s"
            raise Failure(f"start {daemon} of cluster {self.name}: {why}; its log:\n"
                          f"{self.log_tail(daemon, log_start)}")

    def log_tail(self, daemon, start=0):
        with open(self.log_path(daemon), "rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").strip().splitlines()
        return "\n".join("  " + line for line in lines[-20:])

    def enter_daemon_cgroup(self):
        # In the first hierarchy (v2 where there is one), so that whatever a daemon starts is found.
        for mount, _ in cgroup_hierarchies()[:1]:
            leaf = mount / self.cgroup / "daemons"
            leaf.mkdir(parents=True, exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))

    def up(self, nodes, bin_dir):
        began = time.monotonic()
        RUN.mkdir(mode=0o755, exist_ok=True)
        DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
        left = self.leftovers()
        if left:
            raise Failure(f"cluster {self.name} exists, or is left over from a crash "
                          f"({left[0]} …): scripts/cluster down {self.name}")
        self.state.mkdir(mode=0o700)
        self._api = None  # of an earlier life: another port, other certificates
        self.save({"nodes": nodes, "bin": str(bin_dir), "port": 0, "created": time.time()})
        for path in [self.data / "master", self.data / "log"]:
            path.mkdir(parents=True)
        (self.data / "registries.json").write_text("{}\n")
        for node in self.nodes:
            for path in (self.state / node / "run", self.state / node / "proxy",
                         self.data / node / "kubelet", self.data / node / "images"):
                path.mkdir(parents=True)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            network = pool.submit(self.make_network)
            (self.state / "resolv.conf").write_text(
                f"nameserver {DNS}\nsearch default.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}\n"
                "options ndots:5\n")
            network.result()
        self.start("master")
        self.make_kubeconfigs()
        self.start_all([daemon for daemon in self.daemons() if daemon != "master"])
        self.route_pods(self.wait_nodes_ready())
        return time.monotonic() - began

    def start_all(self, daemons):
        # Each start is a fork of this process: threads here only wait, so they are started from
        # one process each.
        children = []
        for daemon in daemons:
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                os.close(reader)
                code = 1
                try:
                    self.start(daemon)
                    code = 0
                except BaseException as error:
                    os.write(writer, str(error).encode()[:60000])
                finally:
                    os._exit(code)
            os.close(writer)
            children.append((pid, reader))
        failures = []
        for pid, reader in children:
            with os.fdopen(reader) as stream:
                message = stream.read()
            if os.waitpid(pid, 0)[1] != 0:
                failures.append(message)
        if failures:
            raise Failure("\n".join(failures))

    @property
    def api(self):
        if self._api is None:
            self._api = Api(self.kubeconfig)
        return self._api

    def wait_nodes_ready(self, seconds=START_SECONDS):
        """Watches Nodes until all of them are Ready and have a Pod CIDR; returns them by name."""
        def ready(node):
            conditions = {c["type"]: c["status"]
                          for c in node.get("status", {}).get("conditions", [])}
            return conditions.get("Ready") == "True" and node.get("spec", {}).get("podCIDR")
        try:
            return self.api.until("/api/v1/nodes", lambda nodes: all(
                name in nodes and ready(nodes[name]) for name in self.nodes), seconds)
        except TimeoutError as error:
            missing = [name for name in self.nodes
                       if name not in error.args[1] or not ready(error.args[1][name])]
        raise Failure(f"cluster {self.name}: {', '.join(missing)} not Ready in {seconds} s; the log of "
                      f"its kubelet:\n{self.log_tail(missing[0] + '/kubelet')}")

    def route_pods(self, nodes):
        """The way from the master to Pods, by their nodes: it calls webhooks and API servers there, and
        as it is no node itself, no kubelet makes these routes for it."""
        run("ip", "-n", self.netns, "-batch", "-", input="".join(
            f"route replace {nodes[name]['spec']['podCIDR']} via {self.node_ip(name)}\n" for name in self.nodes))

    # -- using it

    def load(self, archive):
        archive = pathlib.Path(archive)
        if not archive.is_file():
            raise Failure(f"load {archive}: no such file")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda node: run(
                self.bin / "sampan", "image", "load", "--image-root",
                self.data / node / "images", archive.resolve()), self.nodes))

    def enter(self, node=None):
        """Moves this process into a node's network, with the cluster's DNS and KUBECONFIG."""
        node = node or self.nodes[0]
        if node != "master" and node not in self.nodes:
            raise Failure(f"node {node!r}: cluster {self.name} has {', '.join(self.nodes)}")
        enter_netns(self.netns if node == "master" else self.node_netns(node))
        check(LIBC.unshare(CLONE_NEWNS), "unshare the mount namespace")
        check(LIBC.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "make / a slave mount")
        target = os.path.realpath("/etc/resolv.conf")
        if not os.path.exists(target):
            raise Failure(f"bind the cluster's resolv.conf to {target}: it does not exist: touch it")
        check(LIBC.mount(str(self.state / "resolv.conf").encode(), target.encode(), None,
                         MS_BIND, None), f"bind the cluster's resolv.conf to {target}")
        os.environ["KUBECONFIG"] = str(self.inner_kubeconfig)
        os.environ["SAMPAN_CLUSTER"] = self.name
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy",
                         "ALL_PROXY"):
            os.environ.pop(variable, None)

    def exec(self, command, node=None):
        self.config  # says so when there is no such cluster
        self.enter(node)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            raise Failure(f"exec {command[0]}: {error.strerror}") from None

    def popen(self, command, node=None, **options):
        """exec as a child process: for the demo and the tests."""
        words = [sys.executable, str(SOURCE / "scripts/cluster"), "exec"]
        if node:
            words += ["--node", node]
        return subprocess.Popen(words + [self.name, "--"] + [str(w) for w in command], **options)

    def kill(self, daemon, number=signal.SIGKILL):
        """Ends a daemon and waits until it is gone; returns its pid."""
        daemon = self.daemon(daemon)
        found = self.recorded(daemon)
        fd = open_process(*found) if found else None
        if fd is None:
            raise Failure(f"kill {daemon} of {self.name}: it is not running")
        try:
            signal.pidfd_send_signal(fd, number)
            if wait_dead([fd], STOP_SECONDS):
                raise Failure(f"kill {daemon} of {self.name}: alive {STOP_SECONDS} s after "
                              f"signal {int(number)}")
        finally:
            os.close(fd)
        return found[0]

    def restart(self, daemon):
        if self.pid(daemon):
            self.kill(daemon, signal.SIGTERM)
        return self.start(daemon)

    # -- what belongs to the cluster

    def netns_names(self):
        try:
            names = os.listdir("/run/netns")
        except OSError:
            return []
        pattern = re.compile(re.escape(self.netns) + r"(-node-\d+)?")
        return sorted(name for name in names if pattern.fullmatch(name))

    def cgroups(self):
        """Directories, deepest first."""
        found = []
        for mount, _ in cgroup_hierarchies():
            top = mount / self.cgroup
            for path, _, _ in os.walk(top, topdown=False):
                found.append(pathlib.Path(path))
        return found

    def mounts(self):
        """Mount points in this mount namespace, latest first."""
        found = []
        tops = (f"{self.state}/", f"{self.data}/")
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
            if point.startswith(tops):
                found.append(point)
        return found[::-1]

    def processes(self):
        """[(pid, start ticks, command)]: in the cluster's cgroups or namespaces, or recorded."""
        inodes = set()
        for name in self.netns_names():
            with contextlib.suppress(OSError):
                inodes.add(os.stat(f"/run/netns/{name}").st_ino)
        mark = f"SAMPAN_CLUSTER={self.name}".encode()
        recorded = set()
        for path in self.state.glob("*.pid"):
            with contextlib.suppress(OSError, ValueError):
                recorded.add(tuple(int(word) for word in path.read_text().split()))
        pods = re.compile(rf":/{re.escape(self.cgroup)}(/|$)", re.M)
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                ticks = start_ticks(entry)
                if ticks is None:
                    continue
                ours = (os.stat(f"/proc/{entry}/ns/net").st_ino in inodes
                        or pods.search(pathlib.Path(f"/proc/{entry}/cgroup").read_text())
                        or (int(entry), ticks) in recorded)
                if not ours:
                    # A sampan-pod in its Pod's namespaces, started by a kubelet that died early.
                    ours = (os.path.basename(os.readlink(f"/proc/{entry}/exe")).startswith("sampan")
                            and mark in pathlib.Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"))
                if ours:
                    words = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
                    found.append((int(entry), ticks,
                                  " ".join(w.decode(errors="replace") for w in words[:4]).strip()))
            except OSError:
                continue  # ended meanwhile
        return found

    def leftovers(self):
        """Everything of the cluster that exists, one line each; empty after down."""
        lines = [f"process {pid} {command}" for pid, _, command in self.processes()]
        lines += [f"mount {point}" for point in self.mounts()]
        for name in self.netns_names():
            lines.append(f"netns {name}")
            with contextlib.suppress(Failure):
                lines += [f"link {name} {line.split(':')[1].strip()}" for line in
                          run("ip", "-n", name, "-o", "link").splitlines()]
            with contextlib.suppress(Failure):
                lines += [f"nft {name} {line}" for line in
                          run("nsenter", f"--net=/run/netns/{name}", "nft", "list",
                              "tables").splitlines()]
        # The host's own: links whose other end is, or was named, in a namespace of the cluster.
        with contextlib.suppress(Failure):
            lines += [f"link host {line.split(':')[1].strip()}" for line in
                      run("ip", "-o", "link").splitlines()
                      if re.search(rf"link-netns {re.escape(self.netns)}(-node-\d+)?(\s|$)", line)]
        lines += [f"cgroup {path}" for path in self.cgroups()]
        lines += [f"directory {path}" for path in (self.state, self.data) if path.exists()]
        return lines

    # -- down

    def kill_everything(self):
        deadline = time.monotonic() + STOP_SECONDS
        for daemon_first in (True, False):
            while time.monotonic() < deadline:
                processes = self.processes()
                if daemon_first:  # whoever would restart what we kill goes first
                    processes = [p for p in processes if re.search(r"sampan-(kubelet|master)", p[2])]
                fds = [fd for pid, ticks, _ in processes
                       if (fd := open_process(pid, ticks)) is not None]
                if not fds:
                    break
                for fd in fds:
                    with contextlib.suppress(ProcessLookupError):
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                wait_dead(fds, max(0.1, deadline - time.monotonic()))
                for fd in fds:
                    os.close(fd)

    def down(self):
        self.thaw()
        self.kill_everything()
        for point in self.mounts():
            LIBC.umount2(point.encode(), MNT_DETACH)
        for name in self.netns_names():
            run("ip", "netns", "delete", name)
        # A killed process leaves its v1 cgroup when the kernel is done with it; no event tells.
        deadline = time.monotonic() + STOP_SECONDS
        while paths := self.cgroups():
            for path in paths:
                with contextlib.suppress(OSError):
                    path.rmdir()
            if time.monotonic() > deadline:
                break
            if self.cgroups():
                time.sleep(0.005)
        for path in (self.data, self.state):
            shutil.rmtree(path, ignore_errors=True)
        for path in (RUN, DATA):
            with contextlib.suppress(OSError):
                path.rmdir()
        left = self.leftovers()
        if left:
            raise Failure(f"down {self.name}: left over:\n" + "\n".join(left))

    def thaw(self):
        """A frozen process does not die of SIGKILL (v1)."""
        for path in self.cgroups():
            for file, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
                with contextlib.suppress(OSError):
                    if (path / file).exists():
                        (path / file).write_text(value)
