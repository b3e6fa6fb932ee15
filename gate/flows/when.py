"""Time for the flows: deadlines, soaks, windows and freezes of one site, from the pure calendar.

- An ``always_on`` site is open and expected-on always, and has neither windows nor site-relative freezes.
- Where a calendar knows no answer within its horizon, the answer is the horizon: late, never early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core import boot_times, calendar, habits, site_time
from gate.core.admission import Wait
from gate.core.calendar import Interval
from gate.core.habits import Habit
from gate.core.model import Claim, ClaimState, Machine, Release, Site
from gate.core.policy import Policy, RingSettings
from gate.core.times import OpenDuration, Window
from gate.ports import Gate, Tx

HORIZON = timedelta(days=21)
LONGEST = timedelta(days=60)  # a clock that has not come to its end by then never will: the claim is silent
FRESH = timedelta(minutes=10)
NEAR = timedelta(days=2)
DRAWN_FIRST = timedelta(hours=4)
A_WEEK = timedelta(days=7)
BOOT_LEAD = timedelta(minutes=90)  # tills are commonly booted 90 minutes before opening


def opened(gate: Gate, site: Site | None, start: datetime, end: datetime) -> Sequence[Interval]:
    """When a site is open around [start, end): its hours, without its closing days, with its duty."""
    if site is None or site.always_on:
        return (Interval(start - HORIZON, end + HORIZON),)
    return site_time.opened(gate.hours.intervals(site.hours, site.land, start, end), site.times, start, end)


def around(gate: Gate, site: Site | None, since: datetime, until: datetime) -> Sequence[Interval]:
    """As ``opened``, with what is over of the opening day that ``since`` is in: a break at noon begins no new one."""
    return opened(gate, site, since - NEAR, until)


def gaps(tx: Tx, policy: Policy, since: datetime) -> list[Interval]:
    """When nobody listened, each with the check-in that machines are given afterwards."""
    return [Interval(one.start_at, one.end_at + policy.checkin) for one in tx.gaps(since - policy.checkin)]


def not_counted(
    gate: Gate, tx: Tx, policy: Policy, claim: Claim, machine: Machine | None, site: Site | None, since: datetime
) -> list[Interval]:
    """When a claim's clock stands though its site is open: our gaps, and a planned shutdown until the next opening day.
    A machine that is to boot at once after the installation has no shutdown to wait for."""
    return gaps(tx, policy, since) + shut_down(gate, claim, machine, site)


def shut_down(gate: Gate, claim: Claim, machine: Machine | None, site: Site | None) -> list[Interval]:
    """A planned shutdown until the next opening day."""
    down = machine.down_at if machine is not None else None
    at_once = claim.state is ClaimState.INSTALLED and claim.reboot != "natural"
    if down is not None and site is not None and not site.always_on and not at_once:
        days = calendar.opening_days(around(gate, site, down, down + HORIZON))
        return [Interval(down, next((day.start_at for day in days if day.start_at > down), down + HORIZON))]
    return []


def deadline_of(gate: Gate, tx: Tx, settings: RingSettings, make: str, now: datetime) -> OpenDuration:
    """The policy's own deadline; where it is learned, the make's (read anew every ten minutes), or ``2h open`` before
    there is one."""
    if not settings.learned:
        return settings.deadline
    read_at, found = gate.learned.get(make, (now - 2 * FRESH, None))
    if abs(now - read_at) > FRESH:
        found = boot_times.learned(tx.boot_times(make))
        gate.learned[make] = (now, found)
    return found or settings.deadline


def clocked(gate: Gate, tx: Tx, claim: Claim, machine: Machine | None, site: Site | None, now: datetime) -> Claim:
    """The claim with a clock that begins now, under the policy that its rollout keeps."""
    begun = replace(claim, clock_from=now, dark_at=None)
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    return _timed(gate, tx, policy, begun, machine, site, now, [])


def next_day(gate: Gate, tx: Tx, claim: Claim, machine: Machine, now: datetime) -> tuple[datetime, datetime]:
    """When a machine that is watched is first expected on its next opening day, and must have been heard of."""
    site, habit = tx.site(claim.site), habit_of(machine)
    policy, limit = _ruled(gate, tx, claim, now)
    until = silent_at(gate, policy, limit, site, now, claim.stay_up, natural=True, habit=habit)
    return expected_from(gate, policy, site, now, until, habit, natural=True), until


def due(gate: Gate, tx: Tx, claim: Claim, machine: Machine, since: datetime, now: datetime) -> datetime:
    """When a machine that is watched must have been heard of, by a clock that began ``since`` and stood in our gaps."""
    site, habit = tx.site(claim.site), habit_of(machine)
    policy, limit = _ruled(gate, tx, claim, now)
    gone = gaps(tx, policy, since)
    return silent_at(gate, policy, limit, site, since, claim.stay_up, natural=False, now=now, gone=gone, habit=habit)


def _ruled(gate: Gate, tx: Tx, claim: Claim, now: datetime) -> tuple[Policy, OpenDuration]:
    """The policy that a claim's rollout keeps, and its make's deadline."""
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    return policy, deadline_of(gate, tx, policy.settings_for(claim.ring, claim.source), claim.make, now)


def counted_again(gate: Gate, tx: Tx, policy: Policy, claim: Claim, site: Site | None, now: datetime) -> Claim:
    """The claim with its deadline by the calendar as it is now, without what does not count."""
    machine = tx.machine(claim.machine)
    gone = not_counted(gate, tx, policy, claim, machine, site, _since(claim))
    return _timed(gate, tx, policy, claim, machine, site, now, gone)


def took(
    gate: Gate, tx: Tx, claim: Claim, machine: Machine, site: Site | None, now: datetime
) -> tuple[timedelta, timedelta]:
    """The expected-on time that a machine took to come back, and what its deadline was of that: both without the time
    that it had to stay up, in which nobody listened, and in which its whole site was dark."""
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    since, policy = _since(claim), gate.policy(rollout.policy_version)
    intervals, habit = around(gate, site, since, max(now, claim.deadline_at)), habit_of(machine)
    start = begins(intervals, site, since, habit, policy, natural=_natural(claim))
    gone = not_counted(gate, tx, policy, claim, machine, site, since)
    if claim.dark_at is not None:  # one that has become silent was found dark until a check-in before its deadline
        last = claim.deadline_at - policy.checkin if claim.state is ClaimState.SILENT else now
        gone.append(Interval(claim.dark_at, max(claim.dark_at, last)))
    on = site_time.without(expected_on(intervals, site, habit, policy), gone)
    deadline = calendar.open_time(on, start, claim.deadline_at - claim.stay_up)
    return calendar.open_time(on, start, now - claim.stay_up), deadline


def habit_of(machine: Machine | None) -> Habit:
    """What is known of when a machine is usually on."""
    return habits.read(machine.habit) if machine is not None else Habit()


def expected_on(hours: Sequence[Interval], site: Site | None, habit: Habit, policy: Policy) -> Sequence[Interval]:
    """A site's hours as one of its machines keeps them."""
    return hours if site is None or site.always_on else habits.expected_on(hours, habit, policy.zone)


def _since(claim: Claim) -> datetime:
    return claim.clock_from or claim.installed_at or claim.granted_at


def _natural(claim: Claim) -> bool:
    """Does the machine boot by itself, on its next opening day, and has its clock to wait for that?"""
    begun = claim.state is not ClaimState.GRANTED and (claim.evidence == "boot" or claim.boots_healthy > 0)
    return begun and claim.reboot == "natural"


def _timed(
    gate: Gate,
    tx: Tx,
    policy: Policy,
    claim: Claim,
    machine: Machine | None,
    site: Site | None,
    now: datetime,
    gone: Sequence[Interval],
) -> Claim:
    settings = policy.settings_for(claim.ring, claim.source)
    limit = deadline_of(gate, tx, settings, claim.make, now)
    since, stay_up, natural, habit = _since(claim), claim.stay_up, _natural(claim), habit_of(machine)
    until = silent_at(gate, policy, limit, site, since, stay_up, natural=natural, now=now, gone=gone, habit=habit)
    start = expected_from(gate, policy, site, since, until, habit, natural=natural, gone=gone)
    return replace(claim, deadline_at=until, trial_at=start)


def expected_from(
    gate: Gate,
    policy: Policy,
    site: Site | None,
    since: datetime,
    until: datetime,
    habit: Habit,
    *,
    natural: bool,
    gone: Sequence[Interval] = (),
) -> datetime:
    """When a machine whose clock is counted from ``since`` is expected on first."""
    intervals = around(gate, site, since, until)
    start = begins(intervals, site, since, habit, policy, natural=natural)
    left = site_time.without(expected_on(intervals, site, habit, policy), gone)
    return start if calendar.is_open(left, start) else calendar.next_opening(left, start) or start


def silent_at(
    gate: Gate,
    policy: Policy,
    limit: OpenDuration,
    site: Site | None,
    since: datetime,
    stay_up: timedelta,
    *,
    natural: bool,
    now: datetime | None = None,
    gone: Sequence[Interval] = (),
    habit: Habit | None = None,
) -> datetime:
    """When silence counts as failure: ``limit`` of open time after ``since``, or after the next opening day begins
    where the machine reboots by itself only then. The time that it must stay up comes on top, once a boot; the clock
    stands in ``gone``, and while this machine is usually off. No answer within the horizon of ``now``: the horizon,
    until ``LONGEST`` has passed."""
    far = min(max(now or since, since) + HORIZON, since + LONGEST)
    habit = habit or Habit()
    intervals = around(gate, site, since, far)
    start = begins(intervals, site, since, habit, policy, natural=natural)
    if limit.open:
        on = site_time.without(expected_on(intervals, site, habit, policy), gone)
        found = calendar.add(on, start, limit, policy.zone)
    else:
        plain = limit.amount + limit.days * calendar.DAY
        found = calendar.add_open_time(site_time.without([Interval(start, far + plain)], gone), start, plain)
    return (found or far) + stay_up


def begins(
    intervals: Sequence[Interval], site: Site | None, since: datetime, habit: Habit, policy: Policy, *, natural: bool
) -> datetime:
    """When a clock begins: at once, or after the opening day where the machine reboots by itself on the next one.
    Who speaks before opening has had that day's boot: the day begins with its first scheduled boot, or its own."""
    if not natural or site is None or site.always_on:
        return since
    today = calendar.opening_day(intervals, since)
    if today is None:
        return since
    own = habits.own_day(habit, today, policy.zone)
    first = min(today.start_at - BOOT_LEAD, own.start_at if own else today.start_at)
    return today.end_at if first <= since else since


def soak_end(
    gate: Gate,
    site: Site | None,
    soak: OpenDuration,
    now: datetime,
    policy: Policy,
    gone: Sequence[Interval] = (),
) -> datetime:
    """When a soak that starts now is over on this site's clock, which stands in ``gone``."""
    always = site is None or site.always_on
    if soak.days and always:
        return now + timedelta(days=soak.days) + sum((one.end_at - one.start_at for one in gone), timedelta())
    intervals = site_time.without(opened(gate, site, now, now + HORIZON), gone)
    return calendar.add(intervals, now, soak, policy.zone) or now + HORIZON


def soak_over(
    gate: Gate,
    sites: Mapping[str, int],
    known: Mapping[str, Site],
    need: int,
    soak: OpenDuration,
    start: datetime,
    policy: Policy,
    gone: Sequence[Interval] = (),
) -> datetime:
    """When ``need`` machines have soaked since ``start``, each on its own site's clock; ``sites``: machines of each."""
    over = [(soak_end(gate, known.get(site), soak, start, policy, gone), count) for site, count in sites.items()]
    ends = sorted(end for end, machines in over for _ in range(machines))
    return ends[min(need, len(ends)) - 1] if ends else start


def soak_resumed(
    gate: Gate,
    sites: Mapping[str, int],
    known: Mapping[str, Site],
    need: int,
    soak: OpenDuration,
    stood: tuple[datetime, datetime, datetime],
    gone: tuple[Sequence[Interval], Sequence[Interval]],
) -> datetime:
    """When a soak is over for ``need`` machines whose clock stood. ``stood``: since when, when it would have been over,
    and until when. ``gone``: what else did not count until then, and what does not from now on."""
    start, until, now = stood
    if not soak.open:
        return now + (until - start)
    ends = []
    for site, machines in sites.items():
        hours = opened(gate, known.get(site), start, max(now, until) + HORIZON)
        left = calendar.open_time(site_time.without(hours, gone[0]), start, until)
        if left:
            end = calendar.add_open_time(site_time.without(hours, gone[1]), now, left) or now + HORIZON
            ends += [end] * machines
    ends.sort()
    return ends[min(need, len(ends)) - 1] if ends else now + (until - start)


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


def drawn_wait(
    gate: Gate,
    policy: Policy,
    settings: RingSettings,
    release: Release | None,
    site: Site | None,
    since: datetime,
    now: datetime,
) -> datetime | None:
    """Until when a make that has a ring open ``since`` then is for the machines that are drawn to be its first there:
    ``DRAWN_FIRST`` in which this site's machines could have claimed it, a week at most; None where that is over."""
    hours = opened(gate, site, since - NEAR, since + A_WEEK)
    windows = () if site is None or site.always_on else _windows(policy, settings, release)
    if all(one.start is not None for one in windows):
        stretches = [calendar.spans(one.start, one.end, hours, timedelta()) for one in windows if one.start and one.end]
        hours = site_time.joined(*stretches) if windows else hours
    over = calendar.add_open_time(hours, since, DRAWN_FIRST)
    over = min(over or since + A_WEEK, since + A_WEEK)
    return over if now < over else None


def _windows(policy: Policy, settings: RingSettings, release: Release | None) -> list[Window]:
    names = settings.windows or ((policy.default_windows.get(release.kind) or ()) if release else ())
    return [policy.windows[name] for name in names if name in policy.windows]


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
