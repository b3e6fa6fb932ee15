"""May this machine have it now? The rules that need no counter; caps and slots are the store's conditional statements.

- The first rule that refuses is the answer: a kind of the protocol, a sentence, the policy line, when to ask again.
- A machine that failed with a release is not offered it again; one whose claim expired may ask again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.model import Claim, ClaimState, Hold, Machine, Rollout, RolloutState, Stratum
from gate.core.verdict import Offer, Refusal

EARLY_RINGS = 3
"""Rings 0 to 2, and a make of which nothing is resolved: machines in flight of one make are on different sites."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A window or a freeze that is in the way: its name, its line's path, when it ends."""

    name: str
    path: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One machine's question and all that the pure rules need."""

    now: datetime
    machine: Machine
    release: str
    known_release: bool
    rollout: Rollout | None
    ring_path: str
    position: int  # of its ring in the policy
    ring_opened_at: datetime | None
    stratum: Stratum | None
    stopped: bool  # its make has an unexplained failure
    budget_full: bool  # no room in the exposure budget of its make or of the fleet
    resolved: int  # machines of its make that have resolved, over all rings
    follows: str  # outside its ring's share: the ring that it follows with, which has not opened; else empty
    installed: bool
    own: Claim | None  # its newest claim under this rollout
    live: Claim | None  # the claim it has in hand, of any source
    drawn_until: datetime | None  # nothing of its make has resolved, and until then others are drawn to be first
    checkin_s: int  # how often machines come
    freeze: Wait | None
    window: Wait | None
    per_site: int
    sole: bool
    people_missing: int = 0
    hold: Hold | None = None  # of people, that keeps this machine out


def answer(ask: Ask) -> Offer | Refusal:
    """Offer or the first Refusal."""
    for rule in RULES:
        refusal = rule(ask)
        if refusal is not None:
            return refusal
    assert ask.machine.ring
    cohort = ask.ring_opened_at is not None and (ask.machine.accepted_at or ask.now) <= ask.ring_opened_at
    alone = ask.resolved == 0 or ask.position < EARLY_RINGS
    return Offer(ask.machine.ring, ask.machine.make, ask.per_site, alone, ask.sole, cohort)


def _approval(ask: Ask) -> Refusal | None:
    if not ask.known_release:
        return Refusal("unknown_release", "no source has brought this release")
    if not ask.machine.ring:
        return Refusal("no_approval", "no ring of the policy picks this machine", 3600, "rings")
    if ask.rollout is None:
        return Refusal("no_approval", "no rollout of this release is running")
    return None


def _state(ask: Ask) -> Refusal | None:
    assert ask.rollout is not None
    match ask.rollout.state:
        case RolloutState.RUNNING | RolloutState.DONE:
            return None
        case RolloutState.HALTED:
            detail = f"halted by {ask.rollout.halted_by}: {ask.rollout.halted_because}"
            said = {"by": ask.rollout.halted_by, "because": ask.rollout.halted_because}
            return Refusal("halted", detail, 600, numbers=said)
        case RolloutState.HELD | RolloutState.QUEUED:
            return Refusal("held", "the rollout waits", 600)
        case _:
            return Refusal("superseded", "a newer release has taken over", 300)


def _hold(ask: Ask) -> Refusal | None:
    return None if ask.hold is None else held(ask.hold, ask.now)


def held(hold: Hold, now: datetime) -> Refusal:
    """The sentence of a hold by selector."""
    detail = f"held until {hold.until:%d %B %Y %H:%M} UTC by {hold.owner}: {hold.because}"
    retry = _seconds(now, hold.until, 3600)
    return Refusal("held", detail, retry, "", hold.until, {"owner": hold.owner, "because": hold.because})


def _seconds(now: datetime, until: datetime, most: int) -> int:
    return max(min(int((until - now).total_seconds()) + 1, most), 5)


def _own(ask: Ask) -> Refusal | None:
    if ask.own is not None and ask.own.state in FAILURE:
        return Refusal("unexplained_failure", "this machine has failed with this release", 3600)
    if ask.installed or (ask.own is not None and ask.own.state is ClaimState.HEALTHY):
        return Refusal("already_installed", "this machine has the release", 3600)
    if ask.live is not None and ask.live.state in HOLDS_SLOT:
        ends = ask.live.state is ClaimState.GRANTED and ask.now < ask.live.lease_until  # not begun: its lease ends it
        lease = ask.live.lease_until if ends else None
        retry = 600 if lease is None else _seconds(ask.now, lease, 600)
        said = {"source": ask.live.source}
        return Refusal("other_in_flight", f"this machine has {ask.live.source} in hand", retry, "", lease, said)
    return None


def _ring(ask: Ask) -> Refusal | None:
    if ask.ring_opened_at is None:
        if ask.people_missing:
            detail, rule = f"{ask.people_missing} more must approve", f"{ask.ring_path}.needs.people"
            return Refusal("needs_people", detail, 600, rule, numbers={"more": ask.people_missing})
        said = {"ring": ask.machine.ring}
        return Refusal("ring_not_open", f"ring {ask.machine.ring} has not opened", 300, ask.ring_path, numbers=said)
    if ask.follows:
        later = ask.follows != ask.machine.ring
        after = f"with ring {ask.follows}" if later else f"once ring {ask.follows} has passed its gate"
        detail, rule = f"outside its ring's share; it follows {after}", f"{ask.ring_path}.at_most.share"
        return Refusal("outside_share", detail, 3600, rule, numbers={"ring": ask.follows, "later": later})
    if ask.stopped:
        detail, said = f"a failure of {ask.machine.make} waits for a person", {"make": ask.machine.make}
        return Refusal("unexplained_failure", detail, 600, numbers=said)
    if ask.stratum is None or not ask.stratum.open:
        detail, said = f"{ask.machine.make} has not been proven for this ring", {"make": ask.machine.make}
        return Refusal("make_unproven", detail, 300, ask.ring_path, numbers=said)
    return None


def _times(ask: Ask) -> Refusal | None:
    for wait, kind, word in ((ask.freeze, "frozen", "freeze"), (ask.window, "window_closed", "window")):
        if wait is not None:
            retry = 3600 if wait.until is None else int((wait.until - ask.now).total_seconds()) + 1
            retry, said = max(min(retry, 3600), 5), {"name": wait.name}
            return Refusal(kind, f"{word} {wait.name}", retry, wait.path, wait.until, said)
    return None


def _budget(ask: Ask) -> Refusal | None:
    """Said early; the store's conditional statement decides."""
    if ask.budget_full:
        return Refusal(
            "budget_reached", "more in flight would put more machines at risk than the policy allows", 1800, "at_risk"
        )
    return None


def _drawn(ask: Ask) -> Refusal | None:
    if ask.drawn_until is None:
        return None
    detail = f"others of {ask.machine.make} are drawn to be first"
    said = {"make": ask.machine.make}
    retry = max(min(600, ask.checkin_s), 1)  # one of them may have shown it when it comes again anyway
    return Refusal("outside_share", detail, retry, "first_batch", ask.drawn_until, said)


RULES: tuple[Callable[[Ask], Refusal | None], ...] = (_approval, _state, _own, _hold, _ring, _times, _budget, _drawn)
