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
