"""The audit log on a page: filters that stand in the address, pages by key, export as it flows, proof of an entry.

- Nothing is counted: a page is the next fifty by index, whatever the filter, from either end.
- An export reads page by page, each in a transaction of its own, so that it holds nobody up. Newest first it is what
  stood there when it began; oldest first it has what is written meanwhile too.
- What a cell of a spreadsheet would run (``=``, ``+``, ``-``, ``@`` first) is written with a quote before it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC

from flask import Response, g, render_template, request

from gate.core.errors import Malformed
from gate.flows import audit as log
from gate.ports import Asked, Event, Store
from gate.web import event_texts, filters

PAGE, EXPORTED = 50, 1000
SORTS = ("newest", "oldest")


def audit() -> str:
    """Everything that was done, newest first, of a person, a kind, a subject, a time; with the tree's head."""
    said, after = _words(), request.args.get("after", "")
    last = int(after) if _index(after) else None
    with g.parts.store.read() as tx:
        size, root = tx.audit_head()
        found = tx.asked_events(_asked(), last, PAGE + 1)
        following = str(found[PAGE - 1].index) if len(found) > PAGE else ""
        shown = filters.shown(tx, "audit", said, following, later=last is not None)
    kinds = sorted((event_texts.kind(kind, g.language), kind) for kind in event_texts.KINDS)
    return render_template(
        "audit.html", events=found[:PAGE], size=size, root=root.hex(), kinds=kinds, sorts=SORTS, **shown
    )


def audit_csv() -> Response:
    """The same as CSV."""
    return _export(_csv(g.parts.store, _asked()), "text/csv; charset=utf-8", "audit.csv")


def audit_json() -> Response:
    """The same as JSON."""
    return _export(_json(g.parts.store, _asked()), "application/json", "audit.json")


def audit_proof(index: int) -> Response:
    """That this entry stands in the tree."""
    with g.parts.store.read() as tx:
        size, root = log.prove(tx, index)
    found = log.proof(index, size, root, g.parts.leaves(size))
    return Response(json.dumps(found, indent=1, ensure_ascii=True) + "\n", mimetype="application/json")


def _words() -> dict[str, str]:
    said = {name: request.args.get(name, "").strip() for name in filters.TABLES["audit"].words}
    if any(len(one) > filters.LONGEST or any(ord(char) < 32 for char in one) for one in said.values()):
        raise Malformed("bad_field", "what is asked for is too long, or has control characters")
    return {name: word for name, word in said.items() if word}


def _asked() -> Asked:
    policy = g.parts.policy()
    return log.asked(_words(), policy.zone if policy else UTC)


def _index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _export(lines: Iterator[str], kind: str, name: str) -> Response:
    return Response(lines, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _events(store: Store, asked: Asked) -> Iterator[Event]:
    last: int | None = None
    while True:
        with store.read() as tx:
            found = tx.asked_events(asked, last, EXPORTED)
        yield from found
        if len(found) < EXPORTED:
            return
        last = found[-1].index


def _csv(store: Store, asked: Asked) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(log.FIELDS)
    for event in _events(store, asked):
        row = log.plain(event) | {"detail": json.dumps(event.detail, ensure_ascii=False)}
        writer.writerow([_harmless(str(value)) for value in row.values()])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _json(store: Store, asked: Asked) -> Iterator[str]:
    yield "["
    for number, event in enumerate(_events(store, asked)):
        yield (",\n" if number else "\n") + json.dumps(log.plain(event))
    yield "\n]\n"


GET = ["GET"]
VIEWS = (
    ("/audit", audit, "view", GET),
    ("/audit.csv", audit_csv, "view", GET),
    ("/audit.json", audit_json, "view", GET),
    ("/audit/<int:index>/proof", audit_proof, "view", GET),
)
