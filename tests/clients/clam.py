"""A gate that serves, and machines with stock ClamAV on them: freshclam, clamd, clamscan, and an agent of ours."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.clients.served import ServedGate, StockMachine, until
from tests.conftest import missing

SOURCE = "clamav-daily"
CHANGED = ("PrivateMirror", "ScriptedUpdates", "NotifyClamd")
FOUND = Path("/usr/share/clamav-testfiles/clam.exe")


def needed() -> None:
    """Skips, or fails, where a stock client is missing."""
    for program in ("freshclam", "clamscan", "clamd"):
        if where(program) is None:
            missing(f"{program} is not installed")
    if not FOUND.exists():
        missing("clamav-testfiles is not installed")


def where(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


class ClamGate(ServedGate):
    """A gate with ClamAV's daily."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SOURCE, "clamav", "content")

    def brings(self, content: bytes) -> None:
        """The vendor has a new daily."""
        new = self.upstream / ".new"
        new.write_bytes(content)
        new.rename(self.upstream / "daily.cvd")


class PatchedGate(ServedGate):
    """A gate with the database ``test``, for which its vendor's cdiffs are at hand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SOURCE, "clamav", "content", databases="test")

    def brings(self, version: int, content: bytes, patch: bytes = b"") -> None:
        """As cvdupdate does it: the cdiff first, where there is one."""
        if patch:
            (self.upstream / f"test-{version}.cdiff").write_bytes(patch)
        new = self.upstream / ".new"
        new.write_bytes(content)
        new.rename(self.upstream / "test.cvd")


class ClamMachine(StockMachine):
    """A machine with stock ClamAV; ``address``: where its client finds the gate, perhaps through nginx."""

    database = "daily"
    words: tuple[str, ...] = ()

    def __init__(
        self, gate: ServedGate, name: str, site: str, labels: Sequence[str] = (), port: int = 0, client: str = "mirror"
    ) -> None:
        super().__init__(gate, name, site, labels, port)
        self.databases = self.home / "db"
        self.databases.mkdir()
        self.clamd: subprocess.Popen[bytes] | None = None
        self._configure(client)
        options = {
            "folder": str(self.databases),
            "socket": str(self.home / "clamd.sock"),
            "freshclam": f"freshclam --config-file={self.home}/freshclam.conf",
        }
        self.begins(options)

    def _configure(self, client: str) -> None:
        common = f"DatabaseDirectory {self.databases}\nDatabaseOwner root\nMaxAttempts 1\n"
        common += f"NotifyClamd {self.home}/clamd.conf\n"
        common += "ScriptedUpdates no\nExcludeDatabase main\nExcludeDatabase bytecode\nConnectTimeout 5\n"
        if client == "mirror":
            common += f"PrivateMirror {self.address}\n"
        else:
            common += "DatabaseMirror http://127.0.0.1:9\nExcludeDatabase daily\n"
            common += f"DatabaseCustomURL {self.address}/daily.cvd\n"
        (self.home / "freshclam.conf").write_text(common)
        (self.home / "clamd.conf").write_text(
            f"DatabaseDirectory {self.databases}\nLocalSocket {self.home}/clamd.sock\nForeground yes\n"
            f"ConcurrentDatabaseReload no\nLogFile {self.home}/clamd.log\n"
        )

    def freshclam(self) -> tuple[int, str]:
        """One run; its exit code and what it said."""
        words = ["freshclam", f"--config-file={self.home}/freshclam.conf", "--stdout", *self.words]
        utc = {**os.environ, "TZ": "UTC"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=utc)
        return done.returncode, done.stdout + done.stderr

    def version(self) -> str:
        """Of the database on its disk."""
        found = [path.read_bytes()[:200] for path in self.databases.glob(f"{self.database}.c?d")]
        return found[0].decode("ascii", "replace").split(":")[2] if found else ""

    def updates(self) -> str:
        """freshclam runs, and must be content; the version afterwards."""
        code, said = self.freshclam()
        assert code == 0, said
        return self.version()

    def detects(self) -> bool:
        """Whether clamscan finds the harmless test file by what freshclam has brought."""
        words = ["clamscan", "--no-summary", f"--database={self.databases}", str(FOUND)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 1

    def loads(self) -> None:
        """clamd starts, once there is a database; freshclam tells it of others."""
        if self.clamd is not None:
            return
        program = where("clamd")
        assert program is not None
        words = [program, f"--config-file={self.home}/clamd.conf"]
        self.clamd = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: (self.home / "clamd.sock").exists(), "clamd has not started")

    def serves(self) -> str:
        """The version that the mirror has for this machine; empty: none."""
        link = self.gate.opened.settings.mirror / "to" / SOURCE / self.machine.id / f"{self.database}.cvd"
        return link.read_bytes()[:200].decode("ascii", "replace").split(":")[2] if link.exists() else ""

    def end(self) -> None:
        if self.clamd is not None:
            self.clamd.terminate()
            self.clamd.wait(30)
        super().end()


class PatchedMachine(ClamMachine):
    """A machine whose freshclam patches: ``DatabaseMirror`` and ``ScriptedUpdates``.

    clamd says the version of ``daily`` alone, so it has a folder of its own, with ``test`` under that name."""

    database = "test"
    words = ("--no-dns",)

    def _configure(self, client: str) -> None:
        super()._configure(client)
        config = self.home / "freshclam.conf"
        kept = [line for line in config.read_text().splitlines() if line.split()[0] not in CHANGED]
        kept += [f"DatabaseMirror {self.address}", "ScriptedUpdates yes", "ExtraDatabase test", "ExcludeDatabase daily"]
        config.write_text("\n".join([*kept, ""]))
        clamd = self.home / "clamd.conf"
        self.loaded = self.home / "loaded"
        self.loaded.mkdir()
        clamd.write_text(clamd.read_text().replace(str(self.databases), str(self.loaded)))

    def loads(self) -> None:
        for path in self.loaded.iterdir():
            path.unlink()
        for path in self.databases.glob("test.c?d"):
            shutil.copyfile(path, self.loaded / f"daily{path.suffix}")
        if self.clamd is None:
            super().loads()
            return
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.home / "clamd.sock"))
            line.sendall(b"zRELOAD\0")
            assert line.recv(100).startswith(b"RELOADING")
