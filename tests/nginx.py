"""A real nginx with the shipped configuration, on a free port."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.load import await_answer, free_port

LOGGED = "access_log /var/log/nginx/gate-mirror.log combined buffer=64k flush=5s;"


def nginx() -> str | None:
    """Where it is."""
    return shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)


@contextmanager
def in_front(folder: Path, data: Path, ports: Sequence[int], plain: Path | None = None) -> Iterator[int]:
    """nginx in front of web processes on these ports, with what ``data`` holds for it; gives its own port.

    Only names, paths and addresses of the shipped file are changed, and TLS is left out. ``plain``: a folder that is
    served as it is below ``/plain/``, and below ``/logged/`` with nginx's own log; below ``/bare/`` the mirror's folder
    is, in the same way: all to compare with."""
    program = nginx()
    assert program is not None
    port = free_port()
    text = (REPOSITORY / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    servers = "\n".join(f"    server 127.0.0.1:{one} max_fails=1 fail_timeout=2s;" for one in ports)
    changes = {
        "    server 127.0.0.1:8400 max_fails=1 fail_timeout=2s;": servers,
        "listen 443 ssl;": f"listen 127.0.0.1:{port} backlog=4096;",
        "    ssl_certificate /etc/ssl/gate.pem;\n    ssl_certificate_key /etc/ssl/gate.key;\n": "",
        "/srv/gate/data/public": str(data / "public"),
        "/srv/gate/data/mirror/at/": f"{data / 'mirror' / 'at'}/",
        "/var/log/nginx/gate-mirror.log": str(folder / "gate-mirror.log"),
        "/var/log/nginx/gate-mirror-error.log": str(folder / "gate-mirror-error.log"),
        "limit_conn gate_lines 100;": "limit_conn gate_lines 20000;",
    }
    if plain is not None:
        place = "    location ^~ /mirror/ {"
        assert place in text
        places = {"plain": (plain, ""), "logged": (plain, LOGGED), "bare": (data / "mirror" / "at", LOGGED)}
        beside = [
            f"    location ^~ /{name}/ {{ alias {of}/; if_modified_since before; {more} }}\n"
            for name, (of, more) in places.items()
        ]
        text = text.replace(place, f"{''.join(beside)}{place}")
    for before, after in changes.items():
        assert before in text, f"deploy/nginx.conf has no {before!r}"
        text = text.replace(before, after)
    config = folder / "nginx.conf"
    config.write_text(
        f"user root; worker_processes 1; worker_rlimit_nofile 65536; pid {folder}/nginx.pid; daemon off;\n"
        f"error_log {folder}/nginx.log error;\nevents {{ worker_connections 16384; }}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{text}\n}}\n"
    )
    started = subprocess.Popen([program, "-c", str(config)])
    try:
        await_answer(port)
        yield port
    finally:
        started.terminate()
        started.wait(20)
