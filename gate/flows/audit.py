"""The audit log from outside: what somebody asks for, and the proof that an entry stands in the tree.

A proof is RFC 6962's: the leaf's bytes, its index, and the hashes beside its path, against a size and a root that were
noted elsewhere (a timestamp, a checkpoint, another day's printout). It needs every leaf once: the tree is not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from gate.core import merkle
from gate.core.errors import Conflict, Malformed, NotFound
from gate.ports import Asked, Event, Tx

FIELDS = ("index", "at", "kind", "actor", "subject", "because", "policy_version", "detail")


def asked(query: Mapping[str, str], zone: tzinfo = UTC) -> Asked:
    """What a query asks for: actor, kind, subject, since, until, and the oldest first (``sort``).

    Raises:
        Malformed: a time that cannot be read.
    """
    words = {name: query.get(name, "") for name in ("actor", "kind", "subject")}
    since, until = moment(query.get("since", ""), zone), moment(query.get("until", ""), zone, ends=True)
    return Asked(**words, since=since, until=until, oldest=query.get("sort") == "oldest")


def moment(text: str, zone: tzinfo = UTC, *, ends: bool = False) -> datetime | None:
    """A time that was asked for, in the zone where it says no other; a day's end where it ``ends`` something.

    Raises:
        Malformed: no time.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        if ends and len(text) == 10:
            found += timedelta(days=1)
        found = (found.replace(tzinfo=zone) if found.tzinfo is None else found).astimezone(UTC)
        if not 1971 <= found.year < 9999:
            raise ValueError
    except (ValueError, OverflowError) as problem:
        raise Malformed("bad_field", f"{text[:40]} is no time, such as 2026-03-02T09:00") from problem
    return found


def plain(event: Event) -> dict[str, Any]:
    """An entry as it is written out."""
    return {name: getattr(event, name) for name in FIELDS} | {"at": event.at.isoformat()}


def prove(tx: Tx, index: int) -> tuple[int, bytes]:
    """The head that a proof of this entry is against: size and root.

    Raises:
        NotFound: there is no such entry.
    """
    size, root = tx.audit_head()
    if not 0 <= index < size:
        raise NotFound(f"there is no entry {index}: the log has {size}")
    return size, root


def proof(index: int, size: int, root: bytes, leaves: Iterable[bytes]) -> dict[str, Any]:
    """The proof that the entry stands at ``index`` of the tree of ``size``; ``leaves`` are all of them in order.

    Raises:
        Conflict: the leaves do not give that root: the log is not what it was.
    """
    hashes, leaf = [], b""
    for number, one in enumerate(leaves):
        if number == index:
            leaf = one
        hashes.append(merkle.leaf_hash(one))
    found = merkle.inclusion_proof(index, hashes) if len(hashes) == size else []
    if not merkle.includes(index, size, merkle.leaf_hash(leaf), found, root):
        raise Conflict("not_well", "the leaves do not give the stored root: gate audit verify")
    return {
        "index": index,
        "size": size,
        "root": root.hex(),
        "leaf": leaf.decode("utf-8", "surrogatepass"),
        "leaf_hash": hashes[index].hex(),
        "proof": [one.hex() for one in found],
    }
