"""A guest's disk, kernel and initial RAM disk, made from Debian's packages and the shipped .deb of the agent.

- Two layers, each kept in ``build/boots`` under a hash of what went into it: Debian's part, and the agent on top of it.
- The kernel is Debian's cloud kernel as it is; its modules for disk, network, power button and ramoops go into the
  initial RAM disk, which is ours (a few lines for busybox), because Debian's own takes a minute under emulation.
- Needs root: it installs packages into a folder (mmdebstrap, chroot) and keeps their owners.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

CACHE = REPOSITORY / "build" / "boots"
GUEST = Path(__file__).parent / "guest"
SUITE = "bookworm"
PACKAGES = "systemd,systemd-sysv,udev,kmod,dbus,python3,procps,hostname"
KERNEL = "linux-image-cloud-amd64"
MODULES = (
    "failover",
    "net_failover",
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "evdev",
    "button",
    "reed_solomon",
    "ramoops mem_address=0x8000000 mem_size=0x80000 record_size=0x10000 console_size=0",
)
DISK_MIB = 700
PLACES = {
    "shop-driver": "usr/lib/shop/driver",
    "setup": "usr/lib/shop/setup",
    "shop-driver.service": "etc/systemd/system/shop-driver.service",
    "gate-line.socket": "etc/systemd/system/gate-line.socket",
    "gate-line.service": "etc/systemd/system/gate-line.service",
    "guest-setup.service": "etc/systemd/system/guest-setup.service",
    "rescue.service": "etc/systemd/system/rescue.service",
    "hold": "usr/lib/shop/hold",
    "hold.service": "etc/systemd/system/hold.service",
    "starts.conf": "etc/systemd/system/gate-agent.service.d/starts.conf",
    "few.conf": "etc/systemd/system/systemd-udev-trigger.service.d/few.conf",
    "10-wired.network": "etc/systemd/network/10-wired.network",
}
SPEAKING = ("gate-agent", "gate-agent-early", "guest-setup", "rescue")  # on the console too
PLAIN = ("systemd-journald", "systemd-udevd", "systemd-networkd", "systemd-logind")
GENERATORS = ("cryptsetup", "gpt-auto", "hibernate-resume", "integritysetup", "veritysetup", "sysv", "getty")
"""Of systemd's own, those that have nothing to find in a guest."""
ENABLED = (
    "systemd-networkd.service",
    "shop-driver.service",
    "gate-line.socket",
    "guest-setup.service",
    "rescue.service",
    "hold.service",
)
MASKED = (
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "systemd-timesyncd.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "systemd-networkd-wait-online.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-clean.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-network-generator.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
    "systemd-initctl.socket",
)
RECOVERS = "gate-agent recover --root /mnt"  # what rescue.service does with the disk of a machine that is dead
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "mmdebstrap": "mmdebstrap",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
}


@dataclass(frozen=True)
class Image:
    """What a guest starts from; ``disk`` is shared and never written."""

    disk: Path
    kernel: Path
    initrd: Path


def lacking() -> str:
    """What is missing on this machine for guests, in words; empty: nothing."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = [package for program, package in NEEDED.items() if shutil.which(program, path=path) is None]
    if not Path("/bin/busybox").exists():
        packages.append("busybox-static")
    if packages:
        return f"missing on this machine: {' '.join(packages)} (as root: apt-get install {' '.join(packages)})"
    return "" if os.geteuid() == 0 else "only root can make a guest's disk"


def made() -> Image:
    """The image, from the cache where nothing has changed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    base = _base()
    package = REPOSITORY / _run("scripts/deb", cwd=REPOSITORY).split()[-1]
    wanted = _hashed(Path(__file__).read_bytes(), base.name.encode(), package.read_bytes(), *_guest_files())
    final = CACHE / f"guest-{wanted}"
    if not final.exists():
        new = CACHE / f".guest-{os.getpid()}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        _lay_agent(base / "tree", package, new)
        shutil.copy(base / "vmlinuz", new / "vmlinuz")
        _initrd(base, new)
        new.rename(final)
        for old in CACHE.glob("guest-*"):
            if old != final:
                shutil.rmtree(old)
    return Image(final / "root.img", final / "vmlinuz", final / "initrd")


def _base() -> Path:
    final = CACHE / f"debian-{_hashed(SUITE.encode(), PACKAGES.encode(), KERNEL.encode())}"
    if final.exists():
        return final
    new = CACHE / f".debian-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    passing = new / "tmp"  # apt works as a user of its own, who must be able to write there
    passing.mkdir()
    passing.chmod(0o1777)
    _run("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "--skip=cleanup/apt/lists",
         "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
         "--dpkgopt=path-exclude=/usr/share/doc/*",
         "--customize-hook=chroot \"$1\" sh -c 'cd /var/tmp && apt-get download "
         f"$(apt-cache depends {KERNEL} | sed -n \"s/ *Depends: *//p\")'",
         "--customize-hook=mkdir -p \"$1/kernel\"; mv \"$1\"/var/tmp/linux-image-*.deb \"$1/kernel/\"",
         SUITE, str(new / "tree"), environment={"TMPDIR": str(passing)})  # fmt: skip
    tree = new / "tree"
    package = next((tree / "kernel").glob("*.deb"))
    (new / "kernel").mkdir()
    _run("dpkg-deb", "-x", str(package), str(new / "kernel"))
    shutil.rmtree(tree / "kernel")
    shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)
    shutil.copy(next((new / "kernel" / "boot").glob("vmlinuz-*")), new / "vmlinuz")
    shutil.rmtree(passing)
    new.rename(final)
    return final


def _lay_agent(tree: Path, package: Path, into: Path) -> None:
    """Debian's part with the agent installed as a person would, and the stand-ins of a guest, as one ext4 disk."""
    root = into / "tree"
    _run("cp", "-a", "--reflink=auto", str(tree), str(root))
    shutil.copy(package, root / "gate-agent.deb")
    _run("chroot", str(root), "dpkg", "-i", "/gate-agent.deb")
    (root / "gate-agent.deb").unlink()
    for name, place in PLACES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(GUEST / name, root / place)
    for unit in SPEAKING:
        (root / f"etc/systemd/system/{unit}.service.d").mkdir(exist_ok=True)
        shutil.copy(GUEST / "console.conf", root / f"etc/systemd/system/{unit}.service.d")
    for unit in PLAIN:
        (root / f"etc/systemd/system/{unit}.service.d").mkdir(exist_ok=True)
        shutil.copy(GUEST / "plain.conf", root / f"etc/systemd/system/{unit}.service.d")
    (root / "etc/systemd/system-generators").mkdir(exist_ok=True)
    for name in GENERATORS:
        (root / f"etc/systemd/system-generators/systemd-{name}-generator").symlink_to("/dev/null")
    for unit in ENABLED:
        _run("chroot", str(root), "systemctl", "--quiet", "enable", unit)
    for unit in MASKED:
        _run("chroot", str(root), "systemctl", "--quiet", "mask", unit)
    (root / "etc/machine-id").write_text("")
    for done in ("etc/.updated", "var/.updated"):  # nothing to catch up with in the first boot
        (root / done).touch()
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults,noatime 0 0\n")
    (root / "etc/hostname").write_text("guest\n")
    (root / "srv/shop").mkdir(parents=True, exist_ok=True)
    (root / "var/log/journal").mkdir(exist_ok=True)
    disk = into / "root.img"
    _run("mke2fs", "-q", "-t", "ext4", "-L", "root", "-m", "0", "-d", str(root), str(disk), f"{DISK_MIB}M")
    shutil.rmtree(root)


def _initrd(base: Path, into: Path) -> None:
    root = into / "initrd.d"
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    shutil.copy(GUEST / "init", root / "init")
    for one in MODULES:
        shutil.copy(next((base / "kernel" / "lib").rglob(f"{one.split()[0]}.ko")), root / "modules")
    (root / "modules" / "order").write_text("".join(f"{one}\n" for one in MODULES))
    listed = "\n".join(str(one.relative_to(root)) for one in sorted(root.rglob("*")))
    with (into / "initrd").open("wb") as file:
        subprocess.run(
            ["/bin/busybox", "cpio", "-o", "-H", "newc"],
            input=listed.encode(),
            stdout=file,
            stderr=subprocess.DEVNULL,
            cwd=root,
            check=True,
        )
    shutil.rmtree(root)


def _guest_files() -> list[bytes]:
    return [path.name.encode() + path.read_bytes() for path in sorted(GUEST.iterdir())]


def _hashed(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


def _run(*words: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    ended = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PATH": path, **(environment or {})}
    )
    assert ended.returncode == 0, f"{words[0]} ended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


if __name__ == "__main__":
    problem = lacking()
    sys.exit(problem) if problem else print(made())
