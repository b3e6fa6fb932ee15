"""Time for the flows: deadlines, soaks, windows and freezes of one site, from the pure calendar.

- An ``always_on`` site is open and expected-on always, and has neither windows nor site-relative freezes.
- Where a calendar knows no answer within its horizon, the answer is the horizon: late, never early.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from gate.core import calendar, site_time
from gate.core.admission import Wait
from gate.core.calendar import Interval
from gate.core.model import Claim, ClaimState, Release, Site
from gate.core.policy import Policy, RingSettings
from gate.core.times import OpenDuration
from gate.ports import Gate, Tx

HORIZON = timedelta(days=21)
NEAR = timedelta(days=2)
BOOT_LEAD = timedelta(minutes=90)  # tills are commonly booted 90 minutes before opening


def opened(gate: Gate, site: Site | None, start: datetime, end: datetime) -> Sequence[Interval]:
    """When a site is open around [start, end): its hours, without its closing days, with its duty."""
    if site is None or site.always_on:
        return (Interval(start - HORIZON, end + HORIZON),)
    return site_time.opened(gate.hours.intervals(site.hours, site.land, start, end), site.times, start, end)


def deadline(gate: Gate, tx: Tx, claim: Claim, site: Site | None, now: datetime, *, natural: bool) -> datetime:
    """When silence of a claim counts as failure, under the policy that its rollout keeps."""
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    settings = policy.settings_for(claim.ring, claim.source)
    return silent_at(gate, policy, settings, site, now, claim.stay_up, natural=natural)


def silent_at(
    gate: Gate,
    policy: Policy,
    settings: RingSettings,
    site: Site | None,
    now: datetime,
    stay_up: timedelta,
    *,
    natural: bool,
) -> datetime:
    """When silence counts as failure: the policy's deadline of open time from now, or from the next opening day where
    the machine reboots by itself only then. The time that it must stay up comes on top, once a boot."""
    intervals = opened(gate, site, now, now + HORIZON)
    start = now
    if natural and site is not None and not site.always_on:
        today = calendar.opening_day(intervals, now)
        start = today.end_at if today and today.start_at <= now else now
    limit = calendar.add(intervals, start, settings.deadline, policy.zone)
    return (limit or now + HORIZON) + stay_up


def soak_end(gate: Gate, site: Site | None, soak: OpenDuration, now: datetime, policy: Policy) -> datetime:
    """When a soak that starts now is over on this site's clock."""
    always = site is None or site.always_on
    if soak.days and always:
        return now + timedelta(days=soak.days)
    intervals = opened(gate, site, now, now + HORIZON)
    return calendar.add(intervals, now, soak, policy.zone) or now + HORIZON


def window_wait(
    gate: Gate, policy: Policy, settings: RingSettings, release: Release | None, site: Site | None, now: datetime
) -> Wait | None:
    """The window that a claim waits for, None while one is open."""
    if site is not None and site.always_on:
        return None
    names = settings.windows or ((policy.default_windows.get(release.kind) or ()) if release else ())
    windows = [policy.windows[name] for name in names if name in policy.windows]
    if not windows:
        return None
    for ahead in (NEAR, HORIZON):
        inside, until = calendar.window_until(windows, opened(gate, site, now - NEAR, now + ahead), now)
        if inside:
            return None
        if until is not None:
            break
    return Wait(", ".join(names), f"windows.{names[0]}", until)


def freeze_wait(gate: Gate, policy: Policy, site: Site | None, now: datetime) -> Wait | None:
    """The first freeze that holds for a site now: dated ones, and those relative to its own day."""
    always = site is not None and site.always_on
    for index, freeze in enumerate(policy.freezes):
        if always and (freeze.start is not None or freeze.duty):
            continue
        intervals = opened(gate, site, now - NEAR, now + NEAR) if freeze.start else ()
        duty = site_time.duty_until(site.times, now) if site is not None and freeze.duty else None
        frozen, until = calendar.frozen_until(freeze, intervals, now, policy.zone, BOOT_LEAD, duty)
        if frozen:
            return Wait(freeze.name, f"freeze[{index}]", until)
    return None


def dated_freeze(policy: Policy, now: datetime) -> Wait | None:
    """The freeze by date or day of the month that stops openings now."""
    for index, freeze in enumerate(policy.freezes):
        if freeze.start is not None or freeze.duty:
            continue
        frozen, until = calendar.frozen_until(freeze, (), now, policy.zone, BOOT_LEAD, None)
        if frozen:
            return Wait(freeze.name, f"freeze[{index}]", until)
    return None


def freeze_why(policy: Policy, name: str) -> str:
    """The reason beside a freeze."""
    return next((freeze.why for freeze in policy.freezes if freeze.name == name), "")


def count_silent(gate: Gate, tx: Tx, rollout: str, rings: list[str], within: timedelta, now: datetime) -> int:
    """Machines with a claim in flight and no sign of life for ``within`` of expected-on time, and those already silent.

    Counted from the grant or the last word, whichever is later."""
    count = 0
    for claim in tx.quiet_since(rollout, rings, now - within, 200):
        machine = tx.machine(claim.machine)
        last = max(claim.granted_at, machine.last_seen_at or claim.granted_at) if machine else claim.granted_at
        intervals = opened(gate, tx.site(claim.site), last, now)
        count += calendar.open_time(intervals, last, now) >= within
    return count + tx.count_bad(rollout, rings, (ClaimState.SILENT,), now - within)
