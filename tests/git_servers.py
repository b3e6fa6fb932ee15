"""Stock git behind a stock sshd, and behind http as ``git http-backend`` serves it: loopback, free ports, own keys."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.load import free_port

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
"""
PRIVSEP = Path("/run/sshd")
"""A folder without which an sshd of root does not start."""


@dataclass(frozen=True)
class Sshd:
    """A running sshd: every login ends in git-shell, as deploy/README.md has it."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """As ssh's and git's addresses begin."""
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}"

    def lets_in(self, public_line: str) -> None:
        """Who has this key may push and fetch, and nothing else."""
        with (self.folder / "authorized").open("a", encoding="utf-8") as file:
            file.write(f"""restrict,command="git-shell -c \\"$SSH_ORIGINAL_COMMAND\\"" {public_line}\n""")

    def command(self, key: Path) -> list[str]:
        """A stock client that knows this host and has this key, and nothing of whoever runs the tests."""
        known = f"UserKnownHostsFile={self.folder}/known"
        words = ["ssh", "-F", "none", "-i", str(key), "-o", known]
        for option in ("StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes"):
            words += ["-o", option]
        return words

    def environment(self, key: Path) -> dict[str, str]:
        """What git is told to reach it."""
        return {"GIT_SSH_COMMAND": shlex.join(self.command(key))}


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """As the user that runs the tests, with a host key made for it; stopped afterwards."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists():
        missing("openssh-server")
    folder.mkdir()
    made = PRIVSEP.exists() or os.getuid()
    if not made:
        PRIVSEP.mkdir(mode=0o755)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
    port = free_port()
    host = " ".join((folder / "host.pub").read_text(encoding="utf-8").split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}\n", encoding="utf-8")
    (folder / "authorized").touch()
    config = folder / "sshd_config"
    config.write_text(CONFIG.format(port=port, folder=folder), encoding="utf-8")
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stdin=subprocess.DEVNULL, stderr=log)
        try:
            _await_banner(port, started, folder / "log")
            yield Sshd(folder, port)
        finally:
            started.terminate()
            started.wait(20)
            if not made:
                PRIVSEP.rmdir()


def _await_banner(port: int, started: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 30
    while True:
        assert started.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                assert line.recv(8).startswith(b"SSH-")
                return
        except OSError:
            assert time.monotonic() < until, "sshd never answered"
            time.sleep(0.05)


def http_backend(environ: dict[str, Any], start: Any, root: Path, path: str, user: str = "") -> list[bytes]:
    """One request as stock ``git http-backend`` answers it; a ``user`` may push."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    names = ("REQUEST_METHOD", "QUERY_STRING", "CONTENT_TYPE", "HTTP_GIT_PROTOCOL", "HTTP_CONTENT_ENCODING")
    told = {name: environ[name] for name in names if name in environ}
    told |= {"GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "PATH": os.environ["PATH"], "HOME": str(root)}
    told |= {"PATH_INFO": path, "CONTENT_LENGTH": str(len(body))} | ({"REMOTE_USER": user} if user else {})
    done = subprocess.run(["git", "http-backend"], input=body, env=told, capture_output=True, check=True)
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
    start(fields.pop("Status", "200 OK"), list(fields.items()))
    return [answer]
