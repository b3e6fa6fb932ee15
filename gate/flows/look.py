"""A look at one source: what is new, in which order, brought in, verified, looked into, and stored.

- What the plugin's order calls older than the newest release is history, and left alone; where nothing that is offered
  is as new as what the gate has, somebody replays or downgrades, and that is alarmed.
- Where the plugin knows no order, that of discovery is the order: what is listed before a release that the gate has is
  older. What comes there later, beside what was listed when this process looked first, is alarmed and left alone.
- What the vendor has withdrawn halts before anything else is asked of it, and never comes in.
- Of a source that is new only the newest candidate is taken, what lies before it is history too.
- Refused bytes are not fetched again while source, policy and announcement are the same; a candidate that announces no
  digest is tried again after ``AGAIN``.
- A cursor is kept once nothing that was found waits: neither what is too much for one look, nor what the policy trusts
  too little. Else an upstream that answers *unchanged* would hide it for ever.
- A candidate that cannot be brought, verified or looked into is trouble and put off: tried again at the next look,
  then less and less often, after ``AGAIN`` at the longest. It holds up no newer one, and is passed over for good once a
  newer one is taken. After ``TROUBLES`` of them in one look the rest waits for the next.
- Nothing is fetched without room for it, for what other looks are fetching, and for ``SPARE``; nor is it stored
  without. What stops half-way leaves no bytes behind.
- What was refused is trouble until a look finds nothing wrong with anything that is offered.
- What a source does harms no other one: whatever goes wrong is an event about it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cmp_to_key
from itertools import combinations
from typing import Any, Protocol, TypeVar

from gate.core.errors import GateError, OperatorError, SourceError
from gate.core.model import Artifact, Release, Trust
from gate.core.policy import TRUSTS, SourceRule
from gate.flows import intake, recalls
from gate.hookspecs import Baseline, Candidate, Discovered, Fetched, Finding, Source, Verification
from gate.ports import SPARE, Clock, Gate, Publisher, Sources, Store, Tx

log = logging.getLogger(__name__)
T = TypeVar("T")
AGAIN = timedelta(hours=1)
AT_ONCE = 50  # new candidates of one look; the rest comes with the next
SORTED = 200  # each is compared with each
MARK_EVERY = timedelta(minutes=1)
TROUBLES = 3


class Within(Protocol):
    """Transactions."""

    def write(self, act: Callable[[Tx], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Looking:
    """What a look needs, and what this process remembers of earlier ones: of each source its own, since looks at
    several go on at once."""

    store: Store
    within: Within
    gate: Gate
    clock: Clock
    sources: Sources
    publisher: Publisher
    options: Mapping[str, Mapping[str, str]]
    history: dict[str, tuple[tuple[object, ...], tuple[str, ...]]] = field(default_factory=dict)
    """source -> (newest release and candidates beside it, what is alarmed about them)."""
    refused: dict[tuple[object, ...], tuple[datetime | None, bool]] = field(default_factory=dict)
    """Candidate, policy version and announcement -> until when it is not fetched again (None: never), and whether
    another policy would take it."""
    failing: dict[tuple[object, ...], tuple[int, datetime]] = field(default_factory=dict)
    """The same -> how often it has failed, and until when it is put off."""
    listed: dict[str, Mapping[str, bool]] = field(default_factory=dict)
    """source -> versions that it has listed, each with whether it is older by its place; not those that came late."""
    taking: dict[str, int] = field(default_factory=dict)
    """source -> bytes that what it is fetching may still take up."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held over ``taking``."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A candidate whose bytes are in the spool, verified and looked into."""

    candidate: Candidate
    fetched: Sequence[Fetched]
    verified: Verification
    findings: Sequence[Finding]


def configured(rule: SourceRule, options: Mapping[str, Mapping[str, str]]) -> Source:
    """A source as its plugin sees it."""
    return Source(rule.name, {**rule.options, **options.get(rule.name, {})}, hosts=rule.hosts)


def look_at(parts: Looking, rule: SourceRule, commit: str) -> None:
    """One look at one source."""
    source = configured(rule, parts.options)
    try:
        with parts.store.read() as tx:
            cursor, looked = tx.cursor(rule.name), tx.mark(f"look:{rule.name}").at
            troubles = intake.troubles(tx, rule.name)
        found = parts.sources.discover(rule.plugin, source, cursor)
        if found.withdrawn:  # what comes in its place may be long on its way
            parts.within.write(lambda tx: recalls.withdrawn(tx, rule.name, found.withdrawn, parts.clock.now()))
        new, alarms, more = _new(parts, rule, source, found)
        waits, behind = _each(parts, rule, source, new, commit)
    except SourceError as problem:
        if problem.kind == "source_unfinished":
            log.info("source %s goes on with the next look: %s", rule.name, problem.detail)
        else:
            _failed(parts, rule.name, "source_failed", problem.detail)
        return
    except OperatorError as problem:
        _failed(parts, rule.name, "source_failed", problem.detail)
        raise
    finally:
        parts.sources.clean(rule.name)
    for alarm in [*alarms, *(f"skipped {sentence}" for sentence in found.skipped)]:
        _failed(parts, rule.name, "candidate_refused", alarm)
    now = parts.clock.now()
    refused = any((rule.name, commit, candidate) in parts.refused for candidate in new)
    good = not (alarms or found.skipped or refused or more or found.unchanged)
    moved = found.cursor != cursor and not (more or waits or behind)
    due = looked is None or abs(now - looked) >= MARK_EVERY
    over = [
        kind for kind in troubles if (kind == "source_failed" and not behind) or (kind == "candidate_refused" and good)
    ]
    if not (due or over or moved):
        return  # an idle source costs no write

    def noted(tx: Tx) -> None:
        for kind in over:
            intake.recovered(tx, rule.name, kind, now)
        if due:
            tx.set_mark(f"look:{rule.name}", now)
        if moved:
            tx.save_cursor(rule.name, found.cursor)

    parts.within.write(noted)


def in_order(
    sources: Sources, plugin: str, source: Source, candidates: Sequence[Candidate], newest: str
) -> list[Candidate] | None:
    """Those that are newer than ``newest``, oldest first; the newest alone where there is none yet. None: the plugin
    has no order of its own."""
    if newest:
        said = sources.order(plugin, source, [(one.version, newest) for one in candidates])
        if said is None:
            return None
        candidates = [one for one, way in zip(candidates, said, strict=True) if way == 1][:SORTED]
    else:
        candidates = candidates[-SORTED:]
    pairs = list(combinations([one.version for one in candidates], 2))
    said = sources.order(plugin, source, pairs)
    if said is None:
        return None
    order = dict(zip(pairs, said, strict=True))

    def compared(a: Candidate, b: Candidate) -> int:
        return order[a.version, b.version] if (a.version, b.version) in order else -order[b.version, a.version]

    kept = sorted(candidates, key=cmp_to_key(compared))
    return kept if newest else kept[-1:]


def _new(
    parts: Looking, rule: SourceRule, source: Source, found: Discovered
) -> tuple[list[Candidate], list[str], bool]:
    """The candidates to take, oldest first; what is wrong with others; whether there are more for the next look."""
    with parts.store.read() as tx:
        last = tx.releases(rule.name, 1)
        newest = last[0].version if last else ""
        key = (rule, newest, found.candidates, found.withdrawn)
        if parts.history.get(rule.name, ((), ()))[0] == key:
            return [], list(parts.history[rule.name][1]), False
        new, alarms = intake.unknown(tx, rule.name, found.candidates)
    gone = {one.version for one in new} & set(found.withdrawn)
    new = [one for one in new if one.version not in gone]
    found = replace(found, candidates=tuple(one for one in found.candidates if one.version not in gone))
    newer = in_order(parts.sources, rule.plugin, source, new, newest)
    before, older = parts.listed.get(rule.name), set[str]()
    if newer is None:
        newer = _as_listed(found, new, newest, before)
        older = {one.version for one in new} - {one.version for one in newer}
    late = [] if before is None else sorted(older - before.keys())
    alarms += [f"{one} is listed before what is here, so it is older: it is left alone" for one in late]
    if not found.unchanged:
        said = {one.version: one.version in older for one in found.candidates if one.version not in late}
        parts.listed[rule.name] = {**(before or {}), **said}
    taken = newer[:AT_ONCE]
    replays: tuple[str, ...] = ()
    if new and newest and not taken and newest not in {one.version for one in found.candidates}:
        offered = ", ".join(one.version for one in new[-3:])
        replays = (f"{offered} is not newer than {newest}, which is offered no more: a replay or a downgrade",)
    if not taken:
        parts.history[rule.name] = key, (*alarms, *replays)
    return taken, [*alarms, *replays], len(newer) > len(taken)


def _as_listed(
    found: Discovered, new: Sequence[Candidate], newest: str, before: Mapping[str, bool] | None
) -> list[Candidate]:
    """What is listed after all that the gate has. Where it lists nothing of that any more, what was not older at an
    earlier look; without one, and of a new source, the last alone."""
    unknown = {one.version for one in new}
    known = [at for at, one in enumerate(found.candidates) if one.version not in unknown]
    if known and newest:
        return list(found.candidates[known[-1] + 1 :])
    if before is None or not newest:
        return list(new[-1:])
    return [one for one in new if not before.get(one.version)]


def _each(
    parts: Looking, rule: SourceRule, source: Source, new: Sequence[Candidate], commit: str
) -> tuple[bool, Sequence[tuple[object, ...]]]:
    """Takes one after another; whether one waits for another policy or the next look, and those that are put off."""
    waits, troubles, behind = False, 0, list[tuple[object, ...]]()
    for candidate in new:
        key, now = (rule.name, commit, candidate), parts.clock.now()
        tries, until = parts.failing.get(key, (0, now))
        if now < until:
            behind.append(key)
            continue
        if troubles == TROUBLES:
            return True, behind
        try:
            waits = _take(parts, rule, source, candidate, commit) or waits
        except SourceError as problem:
            if problem.kind == "source_unfinished":
                raise
            off = timedelta() if problem.kind == "no_room" else min(AGAIN, MARK_EVERY * (2 ** min(tries, 10) - 1))
            parts.failing[key] = tries + 1, now + off
            behind.append(key)
            troubles += 1
            _failed(parts, rule.name, "source_failed", f"{candidate.version}: {problem.detail}")
            continue
        parts.failing.pop(key, None)
        if key not in parts.refused:
            for one in behind:
                parts.refused[one] = None, False
                parts.failing.pop(one, None)  # what is listed twice is behind twice
            behind.clear()
    return waits, behind


def _take(parts: Looking, rule: SourceRule, source: Source, candidate: Candidate, commit: str) -> bool:
    """Whether it waits for another policy."""
    key = (rule.name, commit, candidate)
    now = parts.clock.now()
    if key in parts.refused:
        until, waits = parts.refused[key]
        if until is None or now < until:
            return waits
    with _room(parts, rule.name, candidate.version, 2 * sum(one.length for one in candidate.artifacts)):
        why, waits = _brought(parts, rule, source, candidate, commit)
    if why:
        told = bool(candidate.artifacts) and all(one.sha256 for one in candidate.artifacts)
        parts.refused[key] = None if told else now + AGAIN, waits
        _failed(parts, rule.name, "candidate_refused", f"{candidate.version}: {why}")
    return waits


def _brought(parts: Looking, rule: SourceRule, source: Source, candidate: Candidate, commit: str) -> tuple[str, bool]:
    """Why it is not taken (empty: it is), and whether it waits for another policy."""
    into, fetched = parts.sources.fetch(rule.plugin, source, candidate)
    verified = parts.sources.verify(rule.plugin, source, candidate, fetched, into)
    findings: Sequence[Finding] = ()
    why = _untrusted(rule, candidate, verified)
    waits = bool(why) and verified.ok
    if not why:
        findings = parts.sources.lint(rule.plugin, source, candidate, fetched, into, _baseline(parts, rule.name))
        why = _harmful(findings)
    if not why:
        with _room(parts, rule.name, candidate.version, sum(one.length for one in fetched)):
            for one in fetched:
                parts.publisher.put_blob(into / one.name, one.sha256)
        why = _stored(parts, rule, Brought(candidate, fetched, verified, findings), commit)
    return why, waits


@contextmanager
def _room(parts: Looking, source: str, version: str, needed: int) -> Iterator[None]:
    """Keeps so many bytes for a source; what is fetched lies in the spool and at its digest. A candidate without files
    needs none."""
    with parts.lock:
        others = sum(length for name, length in parts.taking.items() if name != source)
        free = parts.publisher.room() - others
        if needed and free < needed + SPARE:
            wanted, there = needed + SPARE >> 20, max(free, 0) >> 20
            raise SourceError(
                "no_room", f"{version} needs {wanted} MiB and there are {there} MiB: nothing of it is stored"
            )
        before, parts.taking[source] = parts.taking.get(source, 0), needed
    try:
        yield
    finally:
        with parts.lock:
            parts.taking[source] = before


def _untrusted(rule: SourceRule, candidate: Candidate, verified: Verification) -> str:
    if not verified.ok:
        return verified.detail or "it cannot be verified"
    if candidate.artifacts and TRUSTS.index(verified.trust) < TRUSTS.index(rule.trust):
        more = f" ({verified.detail})" if verified.detail else ""
        return f"it is {verified.trust}, and the policy wants {rule.trust}{more}"
    return ""


def _harmful(findings: Sequence[Finding]) -> str:
    bad = [f"{one.code}: {one.detail}" for one in findings if one.weight == "refuse"]
    return "; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else "")


def _baseline(parts: Looking, source: str) -> Baseline | None:
    with parts.store.read() as tx:
        last = tx.releases(source, 1)
    return _based(parts.publisher, last[0]) if last else None


def _based(publisher: Publisher, release: Release) -> Baseline | None:
    files = {one.name: publisher.blob(one.sha256) for one in release.artifacts}
    return Baseline(release.version, files) if all(path.exists() for path in files.values()) else None


def _stored(parts: Looking, rule: SourceRule, brought: Brought, commit: str) -> str:
    """Why it could not be; empty: it is."""
    now = parts.clock.now()
    artifacts = tuple(Artifact(one.name, one.length, one.sha256) for one in brought.fetched)
    findings: list[dict[str, Any]] = [
        {"weight": one.weight, "code": one.code, "detail": one.detail} for one in brought.findings
    ]

    def seen(tx: Tx) -> None:
        intake.candidate_seen(
            tx,
            parts.gate,
            source=rule.name,
            version=brought.candidate.version,
            kind=rule.kind,
            boot_critical=rule.boot_critical,
            artifacts=artifacts,
            trust=Trust(brought.verified.trust),
            now=now,
            policy_version=commit,
            signer=brought.verified.signer,
            findings=findings,
        )

    try:
        parts.within.write(seen)
    except SourceError as problem:
        return problem.detail
    return ""


def _failed(parts: Looking, source: str, kind: str, detail: str) -> None:
    try:
        if parts.within.write(lambda tx: intake.failed(tx, source, kind, detail, parts.clock.now())):
            log.warning("source %s: %s: %s", source, kind, detail)
    except GateError as problem:
        log.error("source %s: that cannot be noted: %s", source, problem.detail)
