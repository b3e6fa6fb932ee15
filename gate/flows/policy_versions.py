"""The versions of the policy as people look at them: what each says, who agreed, when it ruled, what it changed.

- Who agreed and when a version ruled comes from events, never from the commit: whoever pushes writes into a commit what
  they like.
- A version that was never active has no times. One ends where the next begins.
- With the repository gone the versions that have ruled are still shown: their text is kept, the rest stands in events.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from itertools import dropwhile, islice

from gate.core.errors import GateError, Malformed, NotFound, OperatorError
from gate.core.lists import VersionList
from gate.core.policy import Policy
from gate.core.policy_diff import Change, diff
from gate.core.policy_values import Problem
from gate.flows.audit import moment
from gate.ports import Asked, Event, Gate, Proposal, Tx, Version

LOOKED_AT = 200  # versions that a page looks at for those that are asked for
MOST_COMPARED = 256 * 1024
AROUND = 3
UNKNOWN, NEVER = "unknown", datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Past:
    """A version and its time: ``active_to`` is None while it rules, and both are where it never did."""

    version: Version
    active_from: datetime | None = None
    active_to: datetime | None = None
    people: tuple[str, ...] = ()
    because: str = ""
    before: str = ""  # what ruled before it; empty where it never ruled, or was the first
    refused: str = ""  # why it was refused as the branch's head; empty where it ruled, or was never looked at


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison: `` ``, ``+``, ``-``, or ``@`` before a gap; ``number`` in the newer text, else 0."""

    sign: str
    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What a version changes of another. ``changes`` is None where one of the two is no policy."""

    changes: Sequence[Change] | None
    lines: Sequence[Line]


def past(tx: Tx, gate: Gate, limit: int) -> list[Past]:
    """Versions, newest first: from the head on, else (it cannot be read) from the active one; with no repository those
    that have ruled."""
    return [_past(tx, one) for one in _versions(tx, gate, limit, "")]


def listed(tx: Tx, gate: Gate, asked: VersionList, zone: tzinfo, limit: int) -> tuple[list[Past], str]:
    """A page of the versions that are asked for, and the commit behind which the next begins; empty: there are no
    more. A page has fewer where they are rare.

    Raises:
        Malformed: a time that cannot be read.
    """
    since, until = moment(asked.since, zone), moment(asked.until, zone, ends=True)
    author, text = asked.author.casefold(), asked.text.casefold()

    def wanted(one: Version) -> bool:
        said = text in one.message.casefold() or one.commit.startswith(text)
        late = (since is None or one.at >= since) and (until is None or one.at < until)
        return author in one.author.casefold() and said and late

    most = LOOKED_AT if author or text or since or until else limit
    looked_at = _versions(tx, gate, most + 2, asked.after or "")
    looked_at = looked_at[1:] if asked.after else looked_at[: most + 1]
    found: list[Version] = []
    for number, one in enumerate(looked_at):
        if len(found) == limit or number == most:
            return [_past(tx, version) for version in found], looked_at[number - 1].commit
        if wanted(one):
            found.append(one)
    return [_past(tx, version) for version in found], ""


def _versions(tx: Tx, gate: Gate, limit: int, start: str) -> list[Version]:
    """From ``start`` on, else from the newest."""
    try:
        return list(gate.texts.history(limit, start))
    except OperatorError:
        active = tx.active_policy()
        try:
            return list(gate.texts.history(limit, start or (active.commit if active else "")))
        except OperatorError:
            ruled = dropwhile(lambda one: start not in ("", one), _ruled(tx))
            return [_kept(tx, commit) for commit in islice(ruled, limit)]


def one_past(tx: Tx, gate: Gate, commit: str) -> Past:
    """One version.

    Raises:
        NotFound: no such commit.
    """
    try:
        version = gate.texts.version(commit)
    except GateError as problem:
        if tx.policy_text(commit) is None:
            raise NotFound(f"there is no policy version {commit[:12]}") from problem
        version = _kept(tx, commit)
    return _past(tx, version)


def _kept(tx: Tx, commit: str) -> Version:
    """What events say of a version that has ruled; it stands on the one that ruled before."""
    event = _activation(tx, commit)
    if event is None:
        return Version(commit, UNKNOWN, NEVER, "")
    before = str(event.detail.get("before", ""))
    return Version(commit, event.actor, event.at, event.because, event.because, (before,) if before else ())


def _past(tx: Tx, version: Version) -> Past:
    event = _activation(tx, version.commit)
    if event is None:
        refusals = (one for one in tx.events(subject=version.commit, limit=100) if one.kind == "policy_refused")
        return Past(version, refused=next((str(one.detail.get("problem", "")) for one in refusals), ""))
    people = tuple(str(one) for one in event.detail.get("people", ()))
    before, after = str(event.detail.get("before", "")), tx.event_after("policy_activated", event.index)
    return Past(version, event.at, after.at if after else None, people or (event.actor,), event.because, before)


def _activation(tx: Tx, commit: str) -> Event | None:
    found = [one for one in tx.events(subject=commit, limit=100) if one.kind == "policy_activated"]
    return found[0] if found else None


def ruled_before(tx: Tx, proposal: Proposal) -> str:
    """What ruled when a proposal was enacted; empty where no event says so."""
    asked = Asked(proposal.proposed_by, "policy_activated", since=proposal.proposed_at)
    found = (one for one in tx.asked_events(asked) if one.detail.get("proposal") == proposal.id)
    return next((str(one.detail["before"]) for one in found), "")


def keep_texts(tx: Tx, gate: Gate) -> None:
    """Copies the text of every version that rules, has ruled or was frozen, where none is kept and it can be read."""
    for commit in {*_ruled(tx), *tx.frozen_policies()}:
        if tx.policy_text(commit) is None:
            text = text_of(gate, commit)
            if text:
                tx.keep_policy_text(commit, text)


def _ruled(tx: Tx) -> Iterator[str]:
    """The active version and those before it, as far back as the events go."""
    active = tx.active_policy()
    commit = active.commit if active else ""
    while commit:
        yield commit
        event = _activation(tx, commit)
        commit = str(event.detail.get("before", "")) if event else ""


def changed(gate: Gate, old: str, new: str, today: date) -> Changed:
    """What the version ``new`` changes of ``old``; an empty ``old`` says nothing yet."""
    before, after = (text_of(gate, one) for one in (old, new))
    rules = _policy(gate, old), _policy(gate, new)
    changes = diff(rules[0], rules[1], today) if rules[0] and rules[1] else None
    return Changed(changes, list(compared(before, after)))


def lines(gate: Gate, commit: str, text: str) -> list[Version | None]:
    """For each line of a version's text who changed it last; None where the repository cannot say."""
    count = len(text.splitlines())
    try:
        found: list[Version | None] = [*gate.texts.lines(commit)]
    except OperatorError:
        found = []
    return (found + [None] * count)[:count]


def text_of(gate: Gate, commit: str) -> str:
    """The text; empty where there is none that can be read."""
    try:
        return gate.texts.read(commit) if commit else ""
    except OperatorError:
        return ""


def _policy(gate: Gate, commit: str) -> Policy | None:
    try:
        return gate.policy(commit) if commit else None
    except (Malformed, OperatorError):
        return None


def compared(before: str, after: str) -> Iterator[Line]:
    """The lines that differ, with some around them; nothing where the texts are longer than a policy may be."""
    if max(len(before), len(after)) > MOST_COMPARED:
        return
    old, new = before.splitlines(), after.splitlines()
    for index, group in enumerate(difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(AROUND)):
        if index:
            yield Line("@", 0, "")
        for kind, old_from, old_to, new_from, new_to in group:
            if kind == "equal":
                yield from (Line(" ", at + 1, new[at]) for at in range(new_from, new_to))
                continue
            yield from (Line("-", 0, old[at]) for at in range(old_from, old_to))
            yield from (Line("+", at + 1, new[at]) for at in range(new_from, new_to))


def problems(gate: Gate, text: str) -> dict[int, list[Problem]]:
    """line -> what is wrong there; a problem past the last line is one of the last."""
    last = max(len(text.splitlines()), 1)
    found: dict[int, list[Problem]] = {}
    for one in gate.texts.problems(text):
        found.setdefault(min(one.line, last), []).append(one)
    return found
