"""What a check-in says of a machine's boots while a release of it is watched: a crash, or restarts nobody asked for.

- One crash that the machine tells of, or the second boot that nobody asked for, and it has *relapsed*: a failure, as
  of one that is missing. It has come back, so it is recovered once it is heard again, and stays a failure.
- A crash is kept, for the brakes on crashes, also of one that is a failure already: that was missing before it told of
  it, or is silent. Neither its state nor its slot changes by that.
- Nobody asked for a boot where the machine was expected on all the time since its last word, that word was not
  ``going_down``, and it does not say that the boot before ended clean. So the first boot of a day is none, nor one
  after a pause in the site's hours, nor one in a gap of our own.
- What a machine says while it has another claim in hand that it has begun, is that claim's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from gate.core import boots, calendar, site_time
from gate.core.errors import Overtaken
from gate.core.model import Action, Claim, ClaimState, Machine
from gate.core.spans import dated
from gate.flows import in_place, watch, when
from gate.flows.claims import renew_limits
from gate.ports import Gate, Tx

CRASHED = "crashed"  # events of a check-in
ENDED_CLEAN = "ended_clean"
ENOUGH = 2
CRASH = "it crashed"
TWICE = "it has booted twice without anybody having asked for it"


class Event(Protocol):
    """An event as the machine tells it."""

    @property
    def kind(self) -> str: ...


class Word(Protocol):
    """What a check-in says that is looked at here."""

    @property
    def boot_id(self) -> str: ...
    @property
    def installed(self) -> Mapping[str, str]: ...
    @property
    def events(self) -> Sequence[Event]: ...


def heard(tx: Tx, gate: Gate, machine: Machine, boot_before: str, said: Word, now: datetime) -> list[Claim]:
    """Takes a check-in as evidence against what is watched; returns what has relapsed by it, as it was. ``machine`` and
    ``boot_before``: as of its last word.

    Raises:
        Overtaken: another process has moved a claim meanwhile.
    """
    kinds = {one.kind for one in said.events}
    crashed, restarted = CRASHED in kinds, said.boot_id != boot_before != "" and ENDED_CLEAN not in kinds
    if not crashed and (not restarted or machine.down_at is not None):
        return []
    live = tx.live_claim(machine.id)
    if live is not None and live.state is not ClaimState.GRANTED:
        if crashed and live.state is ClaimState.SILENT and live.action != Action.RECALL:
            _tells(tx, live, now)
        return []
    late = [one for one in tx.relapsed_of(machine.id, now) if _has(tx, one, said)] if crashed else []
    watched = [one for one in tx.watched_of(machine.id, now) if _has(tx, one, said)]
    if watched and not crashed:
        watched = _restarted(tx, gate, machine, said.boot_id, watched, now)
    for claim in watched:
        _relapse(tx, gate, claim, now, crashed=crashed)
    for claim in late:
        _tells(tx, claim, now)
    return watched


def _has(tx: Tx, claim: Claim, said: Word) -> bool:
    """Has the machine still what it was watched for?"""
    return (said.installed.get(claim.source) or in_place.of(tx, None, claim.machine, claim.source)) == claim.release


def _restarted(tx: Tx, gate: Gate, machine: Machine, boot_id: str, watched: list[Claim], now: datetime) -> list[Claim]:
    """Notes a boot that nobody asked for; those of the claims that it was enough for."""
    claims = [one for one in watched if _expected_since(tx, gate, one, machine, now)]
    if not claims:
        return []
    before = tx.boots_of(machine.id)
    after = boots.unasked(before, boots.Boot(boot_id, now.isoformat()), [one.id for one in claims])
    if after != before and not tx.save_boots(machine.id, after, before):
        raise Overtaken
    return [one for one in claims if sum(one.id in boot.against for boot in after) >= ENOUGH]


def _expected_since(tx: Tx, gate: Gate, claim: Claim, machine: Machine, now: datetime) -> bool:
    """Was the machine expected on, and somebody there to hear it, all the time since its last word?"""
    last, rollout, site = machine.last_seen_at, tx.rollout(claim.rollout), tx.site(machine.site)
    if last is None or rollout is None:
        return False
    policy = gate.policy(rollout.policy_version)
    hours = when.expected_on(when.around(gate, site, last, now), site, when.habit_of(machine), policy)
    on = site_time.without(hours, when.gaps(tx, policy, last))
    return calendar.open_time(on, last, now) >= now - last > timedelta()


def _tells(tx: Tx, claim: Claim, now: datetime) -> None:
    """It is a failure already, and tells only now that it crashed."""
    after = replace(claim, crashed_at=now, version=claim.version + 1)
    if claim.crashed_at is None and not tx.move(claim, after):
        raise Overtaken


def _relapse(tx: Tx, gate: Gate, claim: Claim, now: datetime, *, crashed: bool) -> None:
    again = now + watch.LOOK_AGAIN
    bad = replace(claim, state=ClaimState.RELAPSED, resolved_at=now, watch_at=again)
    after = dated(claim, replace(bad, crashed_at=now) if crashed else bad)
    if not tx.move(claim, replace(after, version=claim.version + 1)):
        raise Overtaken
    rollout, make = claim.rollout, claim.make
    tx.afterwards(("limits", rollout, make), "budgets", lambda: renew_limits(tx, gate, rollout, make))
    detail = {
        "claim": claim.id,
        "machine": claim.machine,
        "site": claim.site,
        "ring": claim.ring,
        "detail": CRASH if crashed else TWICE,
    }
    tx.append("claim_relapsed", f"machine:{claim.machine}", claim.rollout, now, detail)
