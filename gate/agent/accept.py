"""The acceptance rule: may this machine take what its ring's approval names? Pure; the first that fails is the reason.

1. The metadata was refreshed within the last five minutes; my clock is not more than a minute behind the newest
   ``issued_at`` that I ever saw; this timestamp is not older than that one.
2. My ring has an approval for this source.
3. The catalogue has the same release with equal length and hash, and the release's id is that hash.
4. My ring is in the signed floor table.
5. The content's age reaches the ring's floor, and the common floor unless I am listed as early for my ring; or an
   unexpired override names the same release.
6. The catalogue's counter is the manifest's, not below the signed minimum, and not below the installed one unless the
   action is ``recall``.
7. The action is not ``hold``; a ``recall`` says which release is to go (the named one itself: it is removed).
8. My make is in ``makes``.
9. Nothing has changed since: the whole rule is asked again immediately before applying (and the lease, by the caller).

Source: the agent protocol, "Acceptance rule".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

FRESH = timedelta(minutes=5)
BEHIND = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Approved:
    """``rings/<ring>/<source>/current``."""

    release: str
    length: int
    sha256: str
    action: str
    makes: tuple[str, ...] | None  # None: all
    recalls: str = ""  # the release that is to go, where the action is recall


@dataclass(frozen=True, slots=True)
class InCatalogue:
    """``content/<source>/<hex>.json`` as the intake side signed it, and the counter in the manifest itself."""

    length: int
    sha256: str
    first_seen_at: datetime
    counter: int
    manifest_counter: int
    vendor_signature: str = "none"


@dataclass(frozen=True, slots=True)
class Bundle:
    """``policy/bundle``: what people have signed."""

    floor_s: Mapping[str, int]
    common_floor_s: int
    early: Mapping[str, tuple[str, ...]]
    min_counter: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Override:
    """The signed exception below the floor."""

    release: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the rule looks at."""

    now: datetime
    refreshed_at: datetime | None
    issued_at: datetime
    newest_issued_at: datetime
    source: str
    ring: str
    make: str
    machine: str
    approved: Approved | None
    catalogued: InCatalogue | None
    bundle: Bundle | None
    override: Override | None = None
    installed_counter: int = 0


@dataclass(frozen=True, slots=True)
class No:
    """Not acceptable: the number of the rule, its word, and a sentence."""

    rule: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Yes:
    """Acceptable: ``action`` is install or recall."""

    release: str
    action: str
    below_floor: bool = field(default=False)
    recalls: str = ""


def accept(seen: Seen) -> Yes | No:
    """Applies the rule."""
    stale = _fresh(seen)
    if stale is not None:
        return stale
    approved, listed, bundle = seen.approved, seen.catalogued, seen.bundle
    if approved is None or not seen.ring:
        return No(2, "no_approval", f"ring {seen.ring or '-'} has no approval for {seen.source}")
    if listed is None:
        return No(3, "not_in_catalogue", "the approved release is not in the catalogue")
    if (listed.length, listed.sha256) != (approved.length, approved.sha256):
        return No(3, "disagree", "ring and catalogue disagree about length or hash")
    if approved.release != f"sha256:{listed.sha256}":
        return No(3, "disagree", "the release's id is not its hash")
    if bundle is None or seen.ring not in bundle.floor_s:
        return No(4, "no_floor", f"ring {seen.ring} is not in the signed floor table")
    early = seen.machine in bundle.early.get(seen.ring, ())
    floor_s = bundle.floor_s[seen.ring] if early else max(bundle.floor_s[seen.ring], bundle.common_floor_s)
    young = seen.now - listed.first_seen_at < timedelta(seconds=floor_s)
    if young and not _overridden(seen, approved.release):
        until = listed.first_seen_at + timedelta(seconds=floor_s)
        return No(5, "below_floor", f"younger than the floor of {floor_s} s; old enough at {until:%Y-%m-%dT%H:%M:%SZ}")
    if listed.counter != listed.manifest_counter:
        return No(6, "disagree", "the catalogue's counter is not the manifest's")
    if listed.counter < bundle.min_counter.get(seen.source, 0):
        return No(6, "below_minimum", "older than the signed minimum")
    if approved.action != "recall" and listed.counter < seen.installed_counter:
        return No(6, "older", "older than what is installed")
    if approved.action not in ("install", "recall"):
        return No(7, "held", "the ring is held")
    if approved.action == "recall" and not approved.recalls:
        return No(7, "recalls_nothing", "the recall does not say which release is to go")
    if approved.makes is not None and seen.make not in approved.makes:
        return No(8, "make_not_listed", f"make {seen.make} is not among the approved")
    return Yes(approved.release, approved.action, young, approved.recalls)


def _fresh(seen: Seen) -> No | None:
    if seen.refreshed_at is None or not timedelta() <= seen.now - seen.refreshed_at <= FRESH:
        return No(1, "stale", "the metadata has not been refreshed within five minutes")
    if seen.now < seen.newest_issued_at - BEHIND:
        return No(1, "clock", "my clock is more than a minute behind the newest timestamp that I saw")
    if seen.issued_at < seen.newest_issued_at:
        return No(1, "older_timestamp", "the timestamp is older than one that I saw")
    return None


def _overridden(seen: Seen, release: str) -> bool:
    override = seen.override
    return override is not None and override.release == release and seen.now < override.expires_at
