"""The silent-morning guard: how many machines should be up by now, how many were heard of, and is that as usual?

- Each site's next morning is planned once, some hundred sites a transaction; again when its hours or closing days
  change. While some site is within its morning (or an alarm stands) one grouped statement a minute counts the fleet.
- A morning is the opening of a site's own hours, also where night duty keeps it open through the night; duty makes one
  on a day without. Who runs through the night has been heard since and is not missing.
- A machine should be up from its own usual first word on; where that is not known, a till or server from its site's
  first scheduled boot on, and others never.
- What was missed while nobody listened says nothing: after a gap of our own every machine gets one check-in first.
- An alarm holds every opening until as many have come as the rule asks for, or a person ends it; one that nobody ends
  stands over the night. What a person has ended does not rise again on that day.
- A brake on missing machines counts by the same look, and only the rings that it names: those of the active policy and
  of what runs under an older one are counted beside the fleet. It counts nothing once a person has ended the alarm of
  the day, while nobody listened or nobody at all is heard (then it is us), and for machines at one site alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from gate.core import calendar, mornings
from gate.core.errors import Conflict, GateError
from gate.core.facts import BrakeCount
from gate.core.model import RolloutState, Site, TimeKind
from gate.core.mornings import Morning, Party, Point, SiteDay
from gate.core.policy import Brake, Policy
from gate.core.times import Anchor
from gate.flows import when
from gate.flows.agreement import reason_given
from gate.ports import Gate, Tx

PAGE = 200
MISSED = 3  # check-ins without a word from anybody: then it is us
MARK = "morning"
SUBJECT = "fleet"


def plan(tx: Tx, gate: Gate, now: datetime) -> int:
    """Plans the next morning of some sites; returns of how many, 0 when all are planned."""
    active = tx.active_policy()
    if active is None:
        return 0
    zone = gate.policy(active.commit).zone
    days = [day_of(gate, zone, site, now) for site in tx.sites_to_plan(now, PAGE)]
    tx.save_days(days)
    return len(days)


def day_of(gate: Gate, zone: ZoneInfo, site: Site, now: datetime) -> SiteDay:
    """A site's morning of today, or its next one."""
    today = now.astimezone(zone).date()
    if not site.always_on:
        for opens_at in _openings(gate, zone, site, now):
            opens = opens_at.astimezone(zone).date()
            if opens >= today:
                until = _midnight(opens + calendar.DAY, zone)
                return SiteDay(site.id, opens.isoformat(), opens_at - when.BOOT_LEAD, opens_at, until)
    return SiteDay(site.id, "", None, None, _midnight(today + calendar.DAY, zone))


def _openings(gate: Gate, zone: ZoneInfo, site: Site, now: datetime) -> list[datetime]:
    """When a site opens, once a local date: by its own hours, and by its duty only where those have no opening."""
    start, end = now - when.NEAR, now + when.HORIZON
    by_hours = replace(site, times=tuple(one for one in site.times if one.kind is not TimeKind.DUTY))
    found: dict[date, datetime] = {}
    for one in (by_hours, site):
        hours = when.opened(gate, one, start, end)
        opens = {part.start_at for part in hours}  # a day of what never closes has no opening, and no morning
        for day in calendar.opening_days(hours):
            if day.start_at in opens:
                found.setdefault(day.start_at.astimezone(zone).date(), day.start_at)
    return sorted(found.values())


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def count(tx: Tx, gate: Gate, now: datetime) -> tuple[Party, ...] | None:
    """Counts the fleet, where there is something to count: reads only, so that nobody waits for it to write."""
    active = tx.active_policy()
    if active is None:
        return None
    policy = gate.policy(active.commit)
    day, last = today(policy, now), tx.morning()
    span = tx.morning_span(day)
    within = span is not None and span[0] <= now < span[1] + mornings.AFTER
    if not within and not (last is not None and last.stands):
        return None
    local = now.astimezone(policy.zone)
    minute = local.hour * 60 + local.minute
    found = tx.parties(day, minute, now)
    for rings in sorted(_named(tx, gate, policy)):
        found += tx.parties(day, minute, now, rings)
    return tuple(found)


def _named(tx: Tx, gate: Gate, active: Policy) -> set[tuple[str, ...]]:
    """The rings that brakes on missing machines name. A policy of before that can no longer be read names none."""
    policies = [active]
    for version in {one.policy_version for one in tx.rollouts(states=(RolloutState.RUNNING, RolloutState.DONE))}:
        with suppress(GateError):
            policies.append(gate.policy(version))
    brakes = [brake for policy in policies for brake in policy.brakes]
    return {brake.rings for brake in brakes if brake.what == "missing" and brake.rings}


def look(tx: Tx, gate: Gate, parties: tuple[Party, ...], now: datetime) -> Morning:
    """Judges what was counted, and keeps it; the morning as it is now."""
    of_rings = tuple(one for one in parties if one.rings)
    parties = tuple(one for one in parties if not one.rings)
    active = tx.active_policy()
    assert active is not None
    policy = gate.policy(active.commit)
    day, last = today(policy, now), tx.morning()
    before = last if last is not None and last.day == day else _begun(tx, day, last, now)
    after = replace(before, looked_at=now, parties=parties, of_rings=of_rings)
    if not tx.gaps(now - policy.checkin - mornings.LOOK_EVERY):
        expected, missing = mornings.newly_due(parties, before.judged_at, now)
        after = replace(after, judged_at=now, expected=before.expected + expected, missing=before.missing + missing)
        after = mornings.judged(after, mornings.measured(parties, mornings.DUE, now), now)
    tx.save_morning(after)
    tx.add_point(day, Point(now, sum(one.expected for one in parties), sum(one.seen for one in parties)))
    _tell(tx, before, after, now)
    return after


def _begun(tx: Tx, day: str, last: Morning | None, now: datetime) -> Morning:
    """A new day's morning; an alarm that still stands goes on into it."""
    share = mornings.usual(tx.mornings(day, mornings.LEARNT_FROM))
    alarm = last.alarm if last is not None and last.stands else None
    return Morning(day, now, None, share, 0, 0, (), alarm)


def _tell(tx: Tx, before: Morning, after: Morning, now: datetime) -> None:
    alarm = after.alarm
    if alarm is None or alarm == before.alarm:
        return
    if alarm.over_at is None:
        found = {"expected": alarm.expected, "missing": alarm.missing, "limit": alarm.limit}
        detail = {"day": after.day, **found, "usual": round(after.usual, 4)}
        tx.append("silent_morning", "gate", SUBJECT, now, detail)
    else:
        tx.append("silent_morning_over", "gate", SUBJECT, now, {"day": after.day})


def end(tx: Tx, by: str, because: str, now: datetime) -> Morning:
    """A person ends the alarm: openings go on, and it does not rise again on this day.

    Raises:
        Malformed: no reason. Conflict: no_alarm.
    """
    reason_given(because)
    morning = tx.morning()
    if morning is None or not morning.stands:
        raise Conflict("no_alarm", "no alarm of a silent morning stands")
    assert morning.alarm is not None
    after = replace(morning, alarm=replace(morning.alarm, over_at=now, over_by=by))
    tx.save_morning(after)
    tx.append("silent_morning_over", by, SUBJECT, now, {"day": after.day}, because)
    return after


def today(policy: Policy, now: datetime) -> str:
    """The local date, as mornings are named."""
    return now.astimezone(policy.zone).date().isoformat()


def sentence(morning: Morning | None) -> str:
    """Why openings wait, empty where they do not."""
    if morning is None or not morning.stands:
        return ""
    alarm = morning.alarm
    assert alarm is not None
    return (
        f"silent morning of {morning.day}: {alarm.missing} of {alarm.expected} machines were missing, {alarm.limit} are"
        f" far above the usual {morning.usual:.1%}; it ends when no more than half of that is missing, or by a person"
    )


def until(morning: Morning | None) -> datetime | None:
    """When that can change at the earliest: at the next look."""
    return morning.looked_at + mornings.LOOK_EVERY if morning is not None and morning.stands else None


def brake_count(policy: Policy, path: str, brake: Brake, morning: Morning | None, now: datetime) -> BrakeCount:
    """What a brake on missing machines counts by today's last look."""
    edge = brake.at if brake.at is not None and brake.at.anchor is not Anchor.CLOSING else mornings.DUE
    if morning is None or morning.day != today(policy, now) or not _tells(policy, morning):
        limit = mornings.brake_limit(brake.number, 0, share=brake.share)
        return BrakeCount(path, brake.text, brake.why, limit, 0, 0 if brake.share else None)
    parties = [one for one in morning.of_rings if one.rings == brake.rings] if brake.rings else morning.parties
    found = mornings.measured(parties, edge, now)
    limit = mornings.brake_limit(brake.number, found.machines, share=brake.share)
    count = found.missing if mornings.spread(found) else 0
    return BrakeCount(path, brake.text, brake.why, limit, count, found.machines if brake.share else None)


def _tells(policy: Policy, morning: Morning) -> bool:
    """Can a brake rest on it: we were listening, no person has ended the alarm, and somebody was heard just now?"""
    ended = morning.alarm is not None and morning.alarm.over_by not in ("", "gate")
    newest = max((one.heard_at for one in morning.parties), default=None)
    heard = newest is not None and morning.looked_at - newest <= MISSED * policy.checkin
    return morning.judged_at == morning.looked_at and not ended and heard
