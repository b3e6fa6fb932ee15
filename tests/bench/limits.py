"""The limits that stand beside ours: bare callables on the same server, with nothing of gate but what is named.

``python -m tests.bench.limits bytes|files|sign PORT FOLDER``; ``sign`` verifies, signs and waits for a shared commit.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server
from nacl.signing import SigningKey
from sqlalchemy import Column, MetaData, Table, Text

from gate.adapters.store.prepared import add
from gate.adapters.store.sql import SqlStore
from gate.adapters.store.writer import GroupCommit

BARE = Table("bare", MetaData(), Column("id", Text), Column("body", Text))
ADD = add(BARE)
Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


def unchanged(folder: Path) -> Wsgi:
    """Answers 304 with the headers of a published file."""
    headers = [
        ("ETag", '"18a-1b3"'),
        ("Last-Modified", "Mon, 02 Mar 2026 09:00:00 GMT"),
        ("Cache-Control", "no-cache"),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ]

    def app(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("304 Not Modified", headers)
        return []

    return app


def files(folder: Path) -> Wsgi:
    """Answers with the bytes of ``small`` or ``large``, read once, or 304; the headers as of a published file."""
    said = {}
    for name in ("small", "large"):
        body = (folder / name).read_bytes()
        headers = [
            ("ETag", '"18a-1b3"'),
            ("Last-Modified", "Mon, 02 Mar 2026 09:00:00 GMT"),
            ("Cache-Control", "no-cache"),
            ("Accept-Ranges", "bytes"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        whole = [*headers, ("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))]
        said[name] = body, headers, whole

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body, headers, whole = said["large" if environ["PATH_INFO"].endswith("large") else "small"]
        if "HTTP_IF_MODIFIED_SINCE" in environ:
            start_response("304 Not Modified", headers)
            return []
        start_response("200 OK", whole)
        return [body]

    return app


def signed(folder: Path) -> Wsgi:
    """Verifies one signature, stores one row durably in a shared commit, signs the answer."""
    store = SqlStore((folder / "url").read_text())
    with store.connection() as connection, connection.begin():
        BARE.create(connection, checkfirst=True)
    commit = GroupCommit(store)
    key = SigningKey(hashlib.sha256(b"bare").digest())
    message = b"x" * 300
    signature = key.sign(message).signature

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        key.verify_key.verify(message, signature)
        commit.submit(lambda tx: tx._later(ADD, id="x", body=body.decode()))
        answer = key.sign(body).signature.hex().encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]

    return app


if __name__ == "__main__":
    kind, port, folder = sys.argv[1:]
    Server(
        "bare",
        address="127.0.0.1",
        port=int(port),
        interface=Interfaces.WSGI,
        blocking_threads=64,
        backlog=2048,
        log_level=LogLevels.error,
    ).serve(
        target_loader=partial({"bytes": unchanged, "files": files, "sign": signed}[kind], Path(folder)),
        wrap_loader=False,
    )
