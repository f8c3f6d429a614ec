"""The virtual machine's parts: a Debian root file system and its kernel, both from the packages that
apt on this machine is set up for, and a small initial ramdisk that mounts what the tests bring.

Owns build/vm: one directory per list of packages, made once, never changed, removed when another
takes its place. Runs nothing inside the tree but the packages' own maintainer scripts, in a mount
namespace of mmdebstrap's. Needs root.
"""
import fcntl
import hashlib
import inspect
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
KERNEL = "linux-image-cloud-amd64"
# The rest (ext4, serial console, cgroups) is built into Debian's cloud kernel; what else is needed
# udev loads from the root file system.
BOOT_MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk")
# sampan.source=DIR on the kernel's command line: where the second disk is mounted, which is where
# it was on the host, because the tests' programs carry that path.
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
for module in %s; do /bin/busybox insmod /modules/$module.ko; done
/bin/busybox mount -t devtmpfs dev /dev
read -r line < /proc/cmdline
for word in $line; do case $word in sampan.source=*) source=${word#*=} ;; esac; done
tries=0
while [ ! -b /dev/vda -o ! -b /dev/vdb ] && [ $tries -lt 500 ]; do /bin/busybox usleep 20000; tries=$((tries + 1)); done
/bin/busybox mount -t ext4 /dev/vda /root && /bin/busybox mkdir -p "/root$source" &&
  /bin/busybox mount -t ext4 /dev/vdb "/root$source" || { echo "initrd: cannot mount the disks"; /bin/busybox ls /dev; /bin/busybox poweroff -f; }
/bin/busybox cp -af /settings/. /root/
/bin/busybox printf 'SOURCE=%%s\\n' "$source" > /root/etc/sampan-tests.env
exec /bin/busybox switch_root /root /sbin/init
""" % " ".join(BOOT_MODULES)
UNIT = """[Unit]
Description=Sampan's tests
After=dbus.service systemd-logind.service systemd-udev-settle.service
Wants=systemd-udev-settle.service
[Service]
Type=oneshot
EnvironmentFile=/etc/sampan-tests.env
Environment=HOME=/root LANG=C.UTF-8
ExecStart=/usr/bin/python3 ${SOURCE}/tests/vm/inside.py
StandardOutput=journal+console
StandardError=journal+console
ExecStopPost=/bin/sh -c '[ -e /run/sampan-reboots ] || exec systemctl poweroff --force --force'
TimeoutStartSec=infinity
Delegate=no
[Install]
WantedBy=multi-user.target
"""
# Nothing that waits for a network, a clock or a person.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
          "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-timesyncd.service", "systemd-tmpfiles-clean.timer",
          "containerd.service", "podman.service", "podman.socket", "podman-restart.service", "podman-auto-update.timer",
          "e2scrub_reap.service", "systemd-networkd-wait-online.service", "systemd-pcrphase.service",
          "systemd-pcrphase-sysinit.service", "ldconfig.service", "systemd-update-done.service")

SETTINGS = {"hostname": "sampan-vm\n", "hosts": "127.0.0.1 localhost sampan-vm\n", "machine-id": "5a3f" * 8 + "\n",
            "systemd/journald.conf.d/tests.conf": "[Journal]\nStorage=volatile\nSeal=no\n"}


def run(*words, **options):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words[:8]))}: exit {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout


def libraries_of(programs):
    """Debian packages of the shared libraries that the programs are linked with."""
    files = set()
    for program in programs:
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        files |= {line.split()[2] for line in listed.splitlines() if "=> /" in line}
    # A package may name the file below /lib where the link that was followed says /usr/lib.
    paths = sorted({p for f in files for p in (f, str(pathlib.Path(f).resolve()))})
    found = subprocess.run(["dpkg-query", "--search", *paths], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                           text=True).stdout
    return {line.split(":")[0] for line in found.splitlines()}


def debian_sources():
    for path in ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"):
        if os.path.exists(path) and pathlib.Path(path).read_text().strip():
            return path
    raise RuntimeError("no Debian sources: neither /etc/apt/sources.list.d/debian.sources nor /etc/apt/sources.list")


def codename():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip('"')
    raise RuntimeError("/etc/os-release has no VERSION_CODENAME")


def fetch_kernel(directory):
    """The kernel's package is unpacked, not installed: no initramfs is made, no bootloader asked."""
    if not any(pathlib.Path("/var/lib/apt/lists").glob("*_Packages*")):
        run("apt-get", "update")
    depends = run("apt-cache", "depends", KERNEL)
    name = next(line.split()[1] for line in depends.splitlines() if line.strip().startswith("Depends: linux-image-"))
    run("apt-get", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3", "download", name, cwd=directory)
    package = next(directory.glob("linux-image-*.deb"))
    run("dpkg-deb", "-x", package, directory / "kernel")
    package.unlink()
    return directory / "kernel"


def make_initrd(parts, out):
    """Made for every boot: it carries the machine's settings beside what mounts the disks."""
    tree = out.parent / "initrd-tree"
    shutil.rmtree(tree, ignore_errors=True)
    units = tree / "settings/etc/systemd/system"
    for name in ("bin", "dev", "proc", "root"):
        (tree / name).mkdir(parents=True)
    (units / "multi-user.target.wants").mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    shutil.copytree(parts / "modules", tree / "modules")
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    (units / "sampan-tests.service").write_text(UNIT)
    (units / "multi-user.target.wants/sampan-tests.service").symlink_to("../sampan-tests.service")
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    for name, text in SETTINGS.items():
        (tree / "settings/etc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / "settings/etc" / name).write_text(text)
    names = "\n".join(str(p.relative_to(tree)) for p in sorted(tree.rglob("*")))
    with open(out, "wb") as file:
        subprocess.run(["/bin/busybox", "cpio", "-o", "-H", "newc"], input=names.encode(), stdout=file,
                       stderr=subprocess.DEVNULL, cwd=tree, check=True)
    shutil.rmtree(tree)


def make_ext4(tree, out, spare_mib, label):
    used = int(run("du", "-sm", "--apparent-size", tree).split()[0])
    out.unlink(missing_ok=True)
    # No journal and no checks: it lives for one boot, and what is written to it is thrown away.
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0", "-L", label, "-m", "0",
        "-d", tree, out, f"{used * 12 // 10 + spare_mib}M")


def make(directory, packages):
    tree = directory / "tree"
    work = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info", "bash-completion")]
    run("mmdebstrap", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}", *work,
        "--dpkgopt=force-unsafe-io", "--aptopt=Acquire::Languages none", "--aptopt=Acquire::Retries 3",
        codename(), tree, debian_sources())
    kernel = fetch_kernel(directory)
    version = next((kernel / "lib/modules").iterdir()).name
    shutil.copy(kernel / f"boot/vmlinuz-{version}", directory / "vmlinuz")
    (directory / "modules").mkdir()
    for name in BOOT_MODULES:
        shutil.copy(next((kernel / "lib/modules").rglob(f"{name}.ko")), directory / "modules")
    shutil.move(kernel / "lib/modules", tree / "usr/lib/modules")
    shutil.rmtree(kernel)
    run("chroot", tree, "depmod", version)
    make_ext4(tree, directory / "root.ext4", 1024, "root")
    shutil.rmtree(tree)


def ensure(cache, programs):
    """Directory with vmlinuz, modules and root.ext4; made when the packages or its making changed."""
    to_run = [line.split()[0] for line in (HERE.parents[1] / "scripts/packages").read_text().splitlines() if line.strip()]
    packages = sorted({*(HERE / "packages").read_text().split(), *to_run} | libraries_of(programs))
    recipe = [inspect.getsource(step) for step in (make, fetch_kernel, make_ext4)]
    key = hashlib.sha256("\n".join([*packages, *recipe, codename()]).encode()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = cache / key
        if (wanted / "root.ext4.done").exists():
            return wanted
        for old in cache.iterdir():
            if old.is_dir():
                shutil.rmtree(old)
        print(f"vm: making the image from {len(packages)} packages and what they depend on", flush=True)
        wanted.mkdir()
        make(wanted, packages)
        (wanted / "root.ext4.done").write_text("")
        return wanted


if __name__ == "__main__":
    print(ensure(pathlib.Path(sys.argv[1]).resolve(), [pathlib.Path(p) for p in sys.argv[2:]]))
