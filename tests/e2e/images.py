"""Small image archives for tests, made from programs of this machine; no network. Writes the
docker-archive form (manifest.json, config, layer.tar), below build/images."""
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import cases

DIRECTORY = cases.SOURCE / "build/images"


def _entry(archive, name, data=b"", mode=0o644, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.mode, info.type, info.linkname, info.size = mode, kind, target, len(data)
    archive.addfile(info, io.BytesIO(data))


def busybox_layer(files):
    busybox = shutil.which("busybox")
    if not busybox:
        raise RuntimeError("busybox is not installed (busybox-static): scripts/setup test")
    applets = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.split()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    udp, source = DIRECTORY / "udp", pathlib.Path(__file__).with_name("udp.c")
    if not udp.exists() or udp.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["cc", "-O2", "-static", "-s", "-o", udp, source], check=True)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777),
                                ("var", 0o755), ("www", 0o755)):
            _entry(archive, directory, mode=mode, kind=tarfile.DIRTYPE)
        _entry(archive, "bin/busybox", pathlib.Path(busybox).read_bytes(), 0o755)
        _entry(archive, "bin/udp", udp.read_bytes(), 0o755)
        for applet in applets:
            if applet != "busybox":
                _entry(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox", mode=0o777)
        _entry(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/www:/bin/sh\n")
        _entry(archive, "etc/group", b"root:x:0:\nweb:x:1000:\n")
        for name, text in files.items():
            _entry(archive, name, text.encode())
    return buffer.getvalue()


def docker_archive(name, layer, config):
    """Bytes of an archive as `docker save` writes it, with one layer."""
    digest = hashlib.sha256(layer).hexdigest()
    image = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                        "created": "2026-01-01T00:00:00Z", "history": [],
                        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}}).encode()
    image_name = hashlib.sha256(image).hexdigest() + ".json"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _entry(archive, image_name, image)
        _entry(archive, f"{digest}/layer.tar", layer)
        _entry(archive, "manifest.json", json.dumps([
            {"Config": image_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]).encode())
    return buffer.getvalue()


def busybox(name="test/busybox:1", files=None):
    """Path of an archive with busybox's applets; PID 1 sleeps unless a Pod says otherwise."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / (name.replace("/", "-").replace(":", "-") + ".tar")
    layer = busybox_layer(files or {})
    data = docker_archive(name, layer, {"Env": ["PATH=/bin"], "Cmd": ["sleep", "100000"],
                                        "WorkingDir": "/"})
    if not path.exists() or path.read_bytes() != data:
        temporary = path.with_suffix(".new")
        temporary.write_bytes(data)
        temporary.rename(path)
    return path


POSTGRES = pathlib.Path("/usr/lib/postgresql/15")
_POSTGRES_PROGRAMS = ("postgres", "initdb", "psql", "pg_isready")


def _libraries(programs):
    """What the dynamic linker needs for them, by the paths under which it looks."""
    listed = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, text=True, check=True).stdout
    return {word for line in listed.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")}


def postgres(name="test/postgres:15"):
    """Path of an archive with Debian's PostgreSQL as it is installed here, which makes its database below $PGDATA when
    there is none. None: it is not installed (postgresql-15)."""
    if not (POSTGRES / "bin/postgres").exists():
        return None
    files = {}
    for program in _POSTGRES_PROGRAMS:
        files[str(POSTGRES / "bin" / program)[1:]] = POSTGRES / "bin" / program
    modules = [POSTGRES / "lib" / module for module in ("plpgsql.so", "dict_snowball.so")]
    share = pathlib.Path("/usr/share/postgresql/15")
    for path in [*modules, *share.glob("*"), *share.glob("extension/plpgsql*"), *share.glob("t*search_data/*"),
                 *share.glob("timezonesets/*")]:
        if path.is_file():
            files[str(path)[1:]] = path
    programs = [POSTGRES / "bin" / program for program in _POSTGRES_PROGRAMS]
    for library in _libraries([*programs, *modules]):
        files[library[1:]] = pathlib.Path(library)
    for zone in ("UTC", "GMT", "Etc/UTC"):
        files[f"usr/share/zoneinfo/{zone}"] = pathlib.Path("/usr/share/zoneinfo") / zone
    start = """#!/bin/sh
set -e
test -s "$PGDATA/PG_VERSION" || initdb --auth=trust --locale=C --encoding=UTF8 --wal-segsize=1 >/dev/null
exec postgres -c listen_addresses= -c unix_socket_directories=/tmp -c min_wal_size=2MB -c max_wal_size=16MB \\
  -c timezone=UTC -c log_timezone=UTC
"""
    buffer = io.BytesIO(busybox_layer({}))
    with tarfile.open(fileobj=buffer, mode="a", format=tarfile.GNU_FORMAT) as archive:
        for target, source in sorted(files.items()):
            real = source.resolve()
            _entry(archive, target, real.read_bytes(), 0o755 if real.stat().st_mode & 0o111 else 0o644)
        _entry(archive, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\npostgres:x:999:999::/tmp:/bin/sh\n")
        _entry(archive, "bin/start", start.encode(), 0o755)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    path = DIRECTORY / (name.replace("/", "-").replace(":", "-") + ".tar")
    path.write_bytes(docker_archive(name, buffer.getvalue(), {
        "Env": ["PATH=/usr/lib/postgresql/15/bin:/bin", "PGDATA=/data/pg", "TZ=UTC", "LC_ALL=C"],
        "Cmd": ["start"], "User": "999", "WorkingDir": "/"}))
    return path
