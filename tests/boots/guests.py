"""One guest: a QEMU process under software emulation, its own thin disk, its console in a file."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from gate.agent import settings
from tests.boots.image import Image

MEMORY_MIB = 256
APPEND = (  # no_timer_check: a host that is busy makes the kernel believe that its timer is dead, and panic
    "root=/dev/vda console=ttyS0 quiet loglevel=5 panic=1 mitigations=off audit=0 no_timer_check tsc=unstable "
    "init_on_alloc=0 apparmor=0 selinux=0 nokaslr "
    "systemd.show_status=false "
    "memmap=0x80000$0x8000000"  # this part of the memory is ramoops': it is kept over a reset
)


@dataclass
class Guest:
    """One machine; ``name`` is its host name. ``make`` is what the stand-in for a driver goes by."""

    image: Image
    folder: Path
    name: str
    make: str
    site: str
    labels: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    since: int = 0

    @property
    def console(self) -> Path:
        return self.folder / f"{self.name}.console"

    @property
    def disk(self) -> Path:
        return self.folder / f"{self.name}.qcow2"

    def prepare(self, port: int, code: str) -> None:
        """A thin disk on the shared image, and the seed: what a person would type on a new machine."""
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.image.disk), "-F", "raw", str(self.disk)]
        subprocess.run(words, check=True)
        source = {"plugin": "directory", "folder": "/srv/shop", "probe": "/bin/grep -q ^shop {current}/driver.conf"}
        facts = {"role": "till", "platform": "vm", "model": self.make}
        toml = settings.render(facts, {"shop": source}, {"reboot": "systemctl reboot"})
        seed = f"NAME={self.name}\nPORT={port}\nCODE={code}\n"
        with tarfile.open(self.folder / f"{self.name}.seed", "w") as tar:
            for name, text in (("seed", seed), ("make", f"{self.make}\n"), ("agent.toml", toml)):
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(text), 0o600
                tar.addfile(member, io.BytesIO(text.encode()))

    def switch_on(self, hold: str = "") -> None:
        """``hold``: the release and the moment of it at which its agent stands still (``guest/hold``); empty: none."""
        assert not self.on, f"{self.name} is on"
        self.since = self.console.stat().st_size if self.console.exists() else 0
        self.process = self._start(self.disk, self.console, APPEND + (f" hold={hold}" if hold else ""))

    def heard(self) -> str:
        """What its console has said since it was switched on."""
        with self.console.open("rb") as file:
            file.seek(self.since)
            return file.read().decode(errors="replace")

    def rescue(self) -> str:
        """Starts a rescue system with this machine's disk as its third, and waits until it is through; what it said."""
        assert not self.on, f"{self.name} is on"
        thin, console = self.folder / f"{self.name}.rescue", self.folder / f"{self.name}.rescue-console"
        words = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.image.disk), "-F", "raw", str(thin)]
        subprocess.run(words, check=True)
        more = ("-drive", f"file={self.disk},format=qcow2,if=virtio,cache=writeback")
        self._start(thin, console, f"{APPEND} rescue", *more).wait(300)
        return console.read_text(errors="replace")

    def _start(self, disk: Path, console: Path, append: str, *more: str) -> subprocess.Popen[bytes]:
        words = [
            *("qemu-system-x86_64", "-accel", "tcg,tb-size=96", "-machine", "pc,hpet=off", "-cpu", "qemu64,+rdrand"),
            *("-smp", "1", "-m", str(MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", append),
            *("-drive", f"file={disk},format=qcow2,if=virtio,cache=writeback"),
            *("-drive", f"file={self.folder / (self.name + '.seed')},format=raw,if=virtio,readonly=on"),
            *("-netdev", "user,id=line", "-device", "virtio-net-pci,netdev=line,romfile="),
            *("-chardev", f"file,id=console,path={console},append=on", "-serial", "chardev:console"),
            *("-qmp", f"unix:{self.monitor},server=on,wait=off"),
            *more,
        ]
        with (self.folder / f"{self.name}.qemu").open("ab") as log:
            return subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=lambda: os.nice(10),
            )  # fmt: skip

    @property
    def monitor(self) -> Path:
        return self.folder / f"{self.name}.qmp"

    @property
    def on(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def cut_power(self) -> None:
        """Nothing is written any more, from one moment to the next; what the disk had not been told to keep is lost."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def press_power(self) -> None:
        """The power button: the machine goes down by itself. One that is on its way down to start again stays off, too:
        there is nobody any more who would hear the button."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(20)
            line.connect(str(self.monitor))
            talk = line.makefile("rw")
            stays_off = {"execute": "set-action", "arguments": {"reboot": "shutdown"}}
            for word in ({"execute": "qmp_capabilities"}, stays_off, {"execute": "system_powerdown"}):
                talk.write(json.dumps(word) + "\n")
                talk.flush()
                talk.readline()

    def said(self, lines: int = 40) -> str:
        """The end of its console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return f"--- {self.name}\n" + "\n".join(text.splitlines()[-lines:])
