"""Where a rollout stands, in sentences: for the page and for ``gate rollout show``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from gate.core import said_texts, words
from gate.core.explained import Explanation
from gate.core.model import Rollout, RolloutState
from gate.core.reason_texts import chosen, text
from gate.flows import explain, holds, recalls
from gate.flows.expedite import skips
from gate.ports import Asked, Gate, Holder, Tx


def of_rollout(tx: Tx, gate: Gate, rollout: Rollout, now: datetime, language: str = "en") -> list[str]:
    """Its state first, then all that people should know beside it."""
    found = standing(tx, gate, rollout, now, language)
    if rollout.state is RolloutState.RECALLED:
        found.append(recalled(recalls.holders(tx, gate, rollout, now), language))
    return found


def standing(tx: Tx, gate: Gate, rollout: Rollout, now: datetime, language: str) -> list[str]:
    """The same without who still has what is recalled, which takes a look at all machines that took it."""
    policy, release = gate.policy(rollout.policy_version), tx.release(rollout.release)
    version = release.version if release else rollout.release
    named = f"{rollout.source} {version}"
    state = ended(tx, rollout, language) or text(f"state.{rollout.state}", language)
    found = [text("rollout.is", language, release=named, state=state)]
    if rollout.halted_because:
        because = said_texts.halted(rollout.halted_because, rollout.halted_by, language)
        said = {"said": found[0], "by": rollout.halted_by, "because": because}
        found[0] = text("rollout.halted_by", language, **said)
    if rollout.expedited_until is not None and now < rollout.expedited_until:
        skipped = [text(f"rollout.{one}", language) for one in sorted(skips(policy, rollout, now))]
        until = words.moment(rollout.expedited_until, language, policy.zone)
        what = words.joined(skipped or [text("rollout.nothing", language)], language)
        found.append(text("rollout.expedited", language, until=until, skips=what))
    for hold in tx.holds(now):
        if hold.source in ("", rollout.source):
            until = words.moment(hold.until, language, policy.zone)
            about = {"pick": holds.words(hold), "owner": hold.owner, "because": hold.because, "id": hold.id}
            found.append(text("rollout.hold", language, until=until, **about))
    return found


def ended(tx: Tx, rollout: Rollout, language: str) -> str:
    """``done, superseded by 300`` of a rollout that a newer one has taken over from; else empty."""
    if rollout.state is not RolloutState.SUPERSEDED:
        return ""
    said = tx.asked_events(Asked(subject=rollout.id, kind="rollout_superseded"), None, 1)
    newer = tx.rollout(str(said[0].detail.get("by", ""))) if said else None
    release = tx.release(newer.release) if newer else None
    if release is None:  # it was not noted, or has left the database
        return ""
    return text("rollout.done_superseded" if rollout.done_at else "rollout.superseded", language, by=release.version)


def of_rings(tx: Tx, gate: Gate, rollout: Rollout, now: datetime, language: str = "en") -> list[str]:
    """Why the rings that wait are not open, when they could be, and what that would put at risk."""
    zone = gate.policy(rollout.policy_version).zone
    return of_waiting(explain.waiting(tx, gate, rollout, now), language, zone)


def of_waiting(waiting: Sequence[Explanation], language: str, zone: ZoneInfo) -> list[str]:
    """The same of what has been explained already."""
    return [said for one in waiting for said in (*one.sentences(language, zone), *filter(None, [one.risk(language)]))]


def recalled(sites: Sequence[Holder], language: str) -> str:
    """Who still has it."""
    machines, unheard = sum(one.machines for one in sites), sum(one.unheard for one in sites)
    if not machines:
        return text("rollout.nobody", language)
    count, places = words.counted(machines, "unit.machine", language), words.counted(len(sites), "unit.site", language)
    have = chosen("verb.have", language, machines)
    said = text("rollout.have", language, machines=count, sites=places, have=have)
    away = [one for one in sites if one.unheard]
    if not away:
        return text("rollout.heard", language, said=said, all=chosen("verb.all_are", language, machines))
    names = ", ".join(f"{one.name} ({one.unheard})" for one in away[:5])
    if len(away) > 5:
        names = text(
            "rollout.more_sites", language, names=names, more=words.counted(len(away) - 5, "unit.more_site", language)
        )
    return text(
        "rollout.unheard", language, said=said, unheard=unheard, be=chosen("verb.be", language, unheard), names=names
    )
