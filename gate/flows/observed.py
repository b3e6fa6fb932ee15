"""What machines really run, and the alarm where somebody went past the gate (``core.bypass`` has the rules).

- Heard are: the release that the agent says is installed, and what the machine's own software says of itself
  (``runs.<source>`` among its facts), which the source's plugin reads. A vendor that delivers is asked itself.
- What was judged stands until the machine runs something else; a bypass is looked at again with every word of its
  machine, and is over when it runs what it may.
- A plugin that fails leaves what is known as it is, and is an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.core.bypass import Runs, Standing, judge
from gate.core.errors import Overtaken
from gate.core.model import ABSENT, Action, Machine, Release, RolloutState
from gate.core.policy import SourceRule
from gate.flows.approvals import former, speaker
from gate.hookspecs import Observed
from gate.ports import Observation, Tx

RUNS = "runs."
SHORT = 200
LISTED = 50


@dataclass(frozen=True, slots=True)
class Heard:
    """What is heard of one machine about one source. ``installed``: a release's id, ``report``: of its software."""

    machine: Machine
    installed: str
    report: str


@dataclass(frozen=True, slots=True)
class Bypass:
    """A machine that runs what it was never granted; ``should``: the version that it may have, empty: none."""

    seen: Observation
    name: str
    site: str
    ring: str
    should: str


def heard(machine: Machine, installed: Mapping[str, str], source: str) -> Heard:
    """What a machine has said."""
    said = installed.get(source, "")
    return Heard(machine, "" if said == ABSENT else said, machine.facts.get(RUNS + source, ""))


def keep(tx: Tx, rule: SourceRule, said: Heard, seen: Observed | None, now: datetime) -> Observation | None:
    """Judges what a machine runs and keeps it; None: nothing has changed. ``seen``: as the plugin has read it, which is
    the software's own word and counts before the agent's.

    Raises:
        Overtaken: another worker has judged it meanwhile.
    """
    release = _release(tx, rule.name, said, seen)
    version = release.version if release else (seen.version if seen else said.installed)[:SHORT]
    before = tx.observation(rule.name, said.machine.id)
    same = before is not None and (before.release, before.version) == (release.id if release else "", version)
    if before is None and not version:
        return None
    standing = _judged(tx, rule, said.machine, release, version, before if same else None)
    if before is not None and same and before.standing == standing:
        return None
    detail = (seen.detail if seen else said.report)[:SHORT]
    after = Observation(rule.name, said.machine.id, release.id if release else "", version, standing, now, detail)
    if not tx.save_observation(after, before):
        raise Overtaken
    if standing == Standing.BYPASSED:
        should = tx.release(may_have(tx, rule.name, said.machine.ring))
        more = {"source": rule.name, "version": version, "ring": said.machine.ring, "detail": detail}
        more["should"] = should.version if should else ABSENT
        tx.append("bypassed", f"machine:{said.machine.id}", said.machine.id, now, more)
    elif before is not None and before.standing == Standing.BYPASSED:
        over = {"source": rule.name, "before": before.version, "version": version or ABSENT}
        tx.append("bypass_over", f"machine:{said.machine.id}", said.machine.id, now, over)
    return after


def may_have(tx: Tx, source: str, ring: str) -> str:
    """The release that a ring's machines may have now; empty: none."""
    rollout = speaker(tx, source, ring) if ring else None
    if rollout is None:
        return ""
    if rollout.state in (RolloutState.RECALLED, RolloutState.HALTED):
        return former(tx, rollout, ring)
    return rollout.release


def bypasses(tx: Tx, *, source: str = "", machine: str = "") -> list[Bypass]:
    """Machines that run what they were never granted, newest first."""
    found = []
    should: dict[tuple[str, str], str] = {}
    for one in tx.observations(Standing.BYPASSED.value, source, machine, LISTED):
        who = tx.machine(one.machine)
        assert who is not None, "an observation is of a machine"
        key = one.source, who.ring
        if key not in should:
            release = tx.release(may_have(tx, *key))
            should[key] = release.version if release else ""
        found.append(Bypass(one, who.name, who.site, who.ring, should[key]))
    return found


def unknown(tx: Tx, source: str) -> Sequence[Observation]:
    """Versions that machines run and of which nobody can say whether they may: listed, no alarm."""
    return tx.observations(Standing.UNKNOWN.value, source, limit=LISTED)


def _release(tx: Tx, source: str, said: Heard, seen: Observed | None) -> Release | None:
    if seen is not None and seen.version:
        return tx.release_by_version(source, seen.version)
    found = tx.release(said.installed) if said.installed else None
    return found if found is not None and found.source == source else None


def _judged(
    tx: Tx, rule: SourceRule, machine: Machine, release: Release | None, version: str, before: Observation | None
) -> str:
    rollout = tx.rollout_of(release.id) if release else None
    claims = tx.claims_of(machine.id, rollout.id) if rollout else []
    back = release is not None and may_have(tx, rule.name, machine.ring) == release.id
    rings = tx.rings(rollout.id) if rollout else []
    runs = Runs(
        version=version,
        counter=release.counter if release else None,
        state=rollout.state if rollout else None,
        claimed=back or any(one.action == Action.INSTALL for one in claims),
        opened=any(one.ring == machine.ring and one.opened_at is not None for one in rings),
        ring=machine.ring,
        lever=rule.lever,
        before=Standing(before.standing) if before else None,
    )
    return judge(runs).value
