"""What a source's vendor is told: holds, which machines get what, and how a recall would go.

- Wanted is what the store says anyway: a rollout that has halted, and the pointers that claims move (``mirror``). Done
  is a row that is saved once the vendor has answered. After a crash, or with several workers, the vendor is told again:
  plugins are idempotent.
- A halt asks for a hold of each ring that is open, once, and until the vendor has stopped. A ring's machines are told
  nothing else before that was tried; it need not succeed: a vendor that cannot stop must still be told to go back.
- A vendor has stopped for good only where no call about the ring's machines ran when it was told: such a call may end
  after the hold, and undo it. Who calls says so first and looks for a halt then; a call that nobody has ended counts
  for ``CALL``, which is longer than any lasts.
- What fails is tried again, later each time and with jitter: a hold after a minute at most, the rest after ten.
- Each success is an event, and each first failure of a kind; what fails now stands in the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core.errors import Overtaken
from gate.core.model import ABSENT, Machine, Release, Rollout, RolloutState
from gate.flows.approvals import former, speaker
from gate.hookspecs import Held, Published, RecallPlan, Receiver
from gate.ports import LeverTrouble, MoveDue, Pointer, Tx, VendorHold, VendorMove

CALLS = "vendor-calls:"
STOPPED = (RolloutState.HALTED, RolloutState.HELD, RolloutState.RECALLED)
PLANNED = (RolloutState.HALTED, RolloutState.RECALLED)
FIRST = timedelta(seconds=2)
LATEST_HOLD, LATEST_MOVE = timedelta(minutes=1), timedelta(minutes=10)
CALL = timedelta(minutes=2)
AGAIN = "the vendor has stopped; it is asked once more, since a call that began before may end after that"
PAGE = 500
NAMED = 100
LONG = 400


@dataclass(frozen=True, slots=True)
class HoldDue:
    """A ring of a source whose vendor is to stop. ``halt``: which halt asks for it."""

    source: str
    ring: str
    rollout: Rollout
    halt: str
    before: VendorHold | None


@dataclass(frozen=True, slots=True)
class Planned:
    """How a recall would go in one ring, as the source's plugin has said it."""

    ring: str
    how: str
    steps: Sequence[str]
    needs_agent: bool


def later(key: str, tries: int, latest: timedelta) -> timedelta:
    """How long to wait after so many tries: doubled each time, with a jitter of its own for each key and try."""
    drawn = int.from_bytes(hashlib.sha256(f"{key}/{tries}".encode()).digest()[:2]) / 0xFFFF
    return min(FIRST * 2.0 ** min(tries, 12), latest) * (0.5 + drawn / 2)


def holds_due(tx: Tx, source: str, now: datetime) -> list[HoldDue]:
    """The rings of a source in which its vendor is to stop now."""
    return [one for one in _halted(tx, source) if not _waits(one, now)]


def begun(tx: Tx, source: str, ring: str, now: datetime) -> None:
    """A vendor is about to be told of a ring's machines."""
    tx.count_mark(f"{CALLS}{source}/{ring}", 1, now, now - CALL)


def ended(tx: Tx, source: str, ring: str, now: datetime) -> None:
    """It was told, or was not."""
    tx.count_mark(f"{CALLS}{source}/{ring}", -1, now, now - CALL)


def quiet(tx: Tx, source: str, ring: str, now: datetime) -> bool:
    """Does no call about a ring's machines run?"""
    mark = tx.mark(f"{CALLS}{source}/{ring}")
    return mark.number == 0 or mark.at is None or abs(now - mark.at) > CALL


def held(tx: Tx, due: HoldDue, said: Held, now: datetime, *, alone: bool = True) -> None:
    """Keeps what a vendor has answered to a hold. ``alone``: no other call about the ring ran when this one began.

    Raises:
        Overtaken: another worker has asked meanwhile.
    """
    mine = due.before if due.before is not None and due.before.halt == due.halt else None
    tries = (mine.tries if mine else 0) + 1
    wait = later(f"{due.source}/{due.ring}", tries, LATEST_HOLD)
    since = mine.since if mine else now
    ok, detail = said.ok and alone, said.detail[:LONG] if alone or not said.ok else AGAIN
    after = VendorHold(due.source, due.ring, due.halt, ok, tries, now + wait, since, detail)
    if not tx.save_vendor_hold(after, due.before):
        raise Overtaken
    event = {"source": due.source, "ring": due.ring, "detail": after.detail}
    if ok:
        tx.append("vendor_held", "gate", due.rollout.id, now, event)
    elif not said.ok and (mine is None or mine.detail != after.detail):
        tx.append("vendor_failed", "gate", due.rollout.id, now, event)


def admit(tx: Tx, source: str, now: datetime) -> int:
    """A pointer for each active machine of a ring that has none yet; returns how many are new."""
    new, after = 0, ""
    while page := tx.machines(after=after, limit=PAGE, status="active"):
        after = page[-1].id
        new += sum(tx.add_pointer(Pointer(source, one.id, one.id, "", "", "", now, now)) for one in page if one.ring)
    return new


def moves(tx: Tx, source: str, now: datetime) -> list[list[MoveDue]]:
    """What a vendor is to be told, one list a call: machines of one ring and one release. Nothing of a ring whose hold
    was not tried yet, and no release that has stopped: its pointers go back first."""
    waiting = {one.ring for one in _halted(tx, source) if one.before is None or one.before.halt != one.halt}
    calls: dict[tuple[str, str], list[MoveDue]] = {}
    for one in tx.moves_due(source, now, NAMED):
        if one.machine.ring not in waiting:
            calls.setdefault((one.machine.ring, one.release), []).append(one)
    return [dues for (_, release), dues in calls.items() if not stopped(tx, release)]


def stopped(tx: Tx, release: str) -> bool:
    """Must no vendor be told any more that machines may have it?"""
    rollout = tx.rollout_of(release) if release else None
    return rollout is not None and rollout.state in STOPPED


def moved(tx: Tx, source: str, dues: Sequence[MoveDue], said: Published, now: datetime) -> None:
    """Keeps for which machines a vendor has done what was wanted.

    Raises:
        Overtaken: another worker has asked meanwhile.
    """
    release, ring, done = dues[0].release, dues[0].machine.ring, set(said.machines)
    for one in dues:
        if not tx.save_vendor_move(_told(source, one, one.machine.id in done, said.detail, now), one.before):
            raise Overtaken
    subject = _rollout(tx, release or next((one.before.release for one in dues if one.before), ""))
    detail = {"source": source, "ring": ring, "release": release or ABSENT}
    if done:
        tx.append("vendor_moved", "gate", subject, now, detail | {"machines": sorted(done)})
    failed = [one for one in dues if one.machine.id not in done]
    if any(one.before is None or not one.before.tries for one in failed):
        more = {"machines": sorted(one.machine.id for one in failed), "detail": said.detail[:LONG]}
        tx.append("vendor_failed", "gate", subject, now, detail | more)


def troubles(tx: Tx) -> list[LeverTrouble]:
    """What cannot be done at a vendor now; a hold whose halt has ended is none any more."""
    found = tx.lever_troubles()
    holds = {one.source: _failing(tx, one.source) for one in found if not one.machines}
    return [one for one in found if one.machines or one.ring in holds[one.source]]


def _failing(tx: Tx, source: str) -> set[str]:
    return {one.ring for one in _halted(tx, source) if one.before is not None and one.before.halt == one.halt}


def receiver(machine: Machine) -> Receiver:
    """A machine as a plugin may know it."""
    return Receiver(machine.id, machine.name, machine.facts)


def unplanned(tx: Tx, source: str) -> Iterator[tuple[Rollout, str, Release, str]]:
    """(rollout, ring, the bad release, the version to go back to) of what has halted, where nobody has said yet how
    machines would go back."""
    for rollout in tx.rollouts(states=PLANNED, source=source, limit=8, opened=True):
        bad = tx.release(rollout.release)
        known = {one.ring for one in planned(tx, rollout.id)}
        for ring in tx.rings(rollout.id) if bad is not None else ():
            if ring.opened_at is not None and ring.ring not in known:
                assert bad is not None
                good = tx.release(former(tx, rollout, ring.ring))
                yield rollout, ring.ring, bad, good.version if good else ""


def plan(tx: Tx, rollout: Rollout, ring: str, said: RecallPlan, now: datetime) -> None:
    """Keeps how machines of a ring would go back."""
    if any(one.ring == ring for one in planned(tx, rollout.id)):
        return
    steps = [step[:LONG] for step in said.steps[:20]]
    detail = {"ring": ring, "how": said.how, "steps": steps, "needs_agent": said.needs_agent}
    tx.append("recall_planned", f"source:{rollout.source}", f"{rollout.id}/recall", now, detail)


def planned(tx: Tx, rollout_id: str) -> list[Planned]:
    """What plugins have said of how machines of a halted rollout would go back, ring by ring."""
    events = [one for one in tx.events(subject=f"{rollout_id}/recall", limit=100) if one.kind == "recall_planned"]
    return [
        Planned(str(said["ring"]), str(said["how"]), list(said["steps"]), bool(said["needs_agent"]))
        for said in (one.detail for one in reversed(events))
    ]


def sources_stopped(tx: Tx, sources: Sequence[str]) -> set[str]:
    """Those of these sources that have a release which was stopped after a ring had opened."""
    return {one for one in sources if tx.rollouts(states=STOPPED, source=one, limit=1, opened=True)}


def _halted(tx: Tx, source: str) -> Iterator[HoldDue]:
    """Every ring that a halt of this source concerns now, whether or not its hold is done."""
    stopped = tx.rollouts(states=STOPPED, source=source, limit=8, opened=True)
    rings = {ring.ring for one in stopped for ring in tx.rings(one.id) if ring.opened_at is not None}
    for ring in sorted(rings):
        rollout = speaker(tx, source, ring)
        if rollout is not None and rollout.state in STOPPED:
            since = rollout.halted_at.isoformat() if rollout.halted_at else f"v{rollout.version}"
            halt = f"{rollout.id}/{since}"
            yield HoldDue(source, ring, rollout, halt, tx.vendor_hold(source, ring))


def _waits(due: HoldDue, now: datetime) -> bool:
    mine = due.before is not None and due.before.halt == due.halt
    return mine and due.before is not None and (due.before.ok or now < due.before.try_at)


def _told(source: str, due: MoveDue, done: bool, detail: str, now: datetime) -> VendorMove:
    machine, before = due.machine, due.before
    if done:
        return VendorMove(source, machine.id, machine.ring, due.release, 0, now)
    tries = (before.tries if before else 0) + 1
    wait = later(f"{source}/{machine.ring}", tries, LATEST_MOVE)
    was = before or VendorMove(source, machine.id, "", "", 0, now)
    return replace(was, tries=tries, try_at=now + wait, detail=detail[:LONG] or "the vendor has not done it")


def _rollout(tx: Tx, release: str) -> str:
    found = tx.rollout_of(release) if release else None
    return found.id if found else ABSENT
