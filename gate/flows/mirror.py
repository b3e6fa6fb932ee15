"""Stock clients take a source's content from the mirror: tokens let them in, and the worker claims for their machines.

- A machine's token reads that machine's pointer. The pointer moves under a claim that the worker makes by the ordinary
  admission: caps, ``per_site``, budget, windows, holds. So the lever is *held*.
- A ring's token reads the ring's pointer, which moves when the ring opens, for everybody who knows it: no claim, no
  cap, no evidence. Its lever is *advised*.
- A pointer that is not moved stays: halted and held machines go on being served what they were last released. Where
  the rollout stops before a machine has fetched what it was granted, its pointer goes back to what it was.
- Where a vendor delivers (``gate_publish``), a machine's pointer is what its vendor is told, without any token: see
  ``orders``. What it runs is what was observed of it.
- A recall moves pointers back, each under a claim to go back; a machine that never took the release needs none, nor
  does one that nobody claims for, since it was revoked or never heard of.
- A machine that is revoked loses its tokens in the same transaction, and its pointers with them.
- Evidence is what the agent of that machine says as it checks in: the release in place, the boot, the probe
  (``probe.<source>`` among its facts: ``good``, or what is wrong). A machine that was never heard of gets no claim.
- A claim whose lease is over and whose release is not in place: first the pointer goes back; a check-in of at least
  ``WITHDRAWN`` later that still does not have it lets the claim expire. A client in between keeps its slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core.claims import HOLDS_SLOT
from gate.core.errors import Malformed, NotFound, Overtaken
from gate.core.model import ABSENT, Action, Claim, ClaimState, Machine, MachineStatus, RolloutState, Step
from gate.core.verdict import Refusal
from gate.flows import claims, going_back, in_place
from gate.flows.approvals import former, speaker
from gate.flows.people import digest
from gate.ports import Gate, MirrorToken, Pointer, Tx

RING = "ring-"
RINGS = "mirror-rings:"
"""The mark of a source with the number of its addresses that are for a whole ring: pages read it, and count nothing."""
PROBE = "probe."
GOOD = "good"
LOOK_AGAIN = timedelta(minutes=10)
SOONEST, LATEST = timedelta(seconds=1), timedelta(hours=1)
WITHDRAWN = timedelta(minutes=5)
TAKES = (RolloutState.RUNNING, RolloutState.DONE)
STOPPED = (RolloutState.HALTED, RolloutState.HELD)


def admit(
    tx: Tx, gate: Gate, source: str, secret: str, by: str, now: datetime, *, machine: str = "", ring: str = ""
) -> MirrorToken:
    """A token for one machine or one ring; ``secret`` is what its clients say, and only its hash is kept.

    Raises:
        NotFound: no such source, active machine or ring. Malformed: both or neither.
    """
    active = tx.active_policy()
    policy = gate.policy(active.commit) if active else None
    if policy is None or policy.source(source) is None:
        raise NotFound(f"the policy has no source {source}")
    if bool(machine) == bool(ring):
        raise Malformed("bad_field", "a token is for one machine or for one ring")
    known = tx.machine(machine) if machine else None
    if machine and (known is None or known.status is not MachineStatus.ACTIVE):
        raise NotFound(f"there is no active machine {machine}")
    if ring and ring not in {rule.name for rule in policy.rings}:
        raise NotFound(f"the policy has no ring {ring}")
    sha256 = digest(secret)
    made = MirrorToken("mt-" + sha256[:12], source, machine or RING + ring, sha256, now, by)
    tx.add_mirror_token(made, Pointer(source, made.holder, machine, ring, "", "", now, now))
    detail = {"token": made.id, "source": source, "lever": "held" if machine else "advised"}
    tx.append("mirror_token_created", by, made.holder, now, detail)
    if ring:
        count_rings(tx, [source], now)
    return made


def revoke(tx: Tx, token_id: str, by: str, now: datetime) -> MirrorToken:
    """A token is worth nothing from now on.

    Raises:
        NotFound: there is none, or it is revoked already.
    """
    found = next((one for one in tx.mirror_tokens() if one.id == token_id), None)
    if found is None or not _revoked(tx, found, by, now):
        raise NotFound(f"there is no token {token_id} that could be revoked")
    return found


def shut_out(tx: Tx, machine: str, by: str, now: datetime) -> None:
    """A machine is revoked: its tokens are worth nothing from now on, and it is served nothing."""
    for one in tx.mirror_tokens(holder=machine):
        _revoked(tx, one, by, now)


def shut_out_left(tx: Tx, now: datetime) -> None:
    """The same for tokens that were made while their machine was revoked, or before a revoked machine lost them."""
    for one in tx.mirror_tokens_left():
        _revoked(tx, one, "gate", now)


def _revoked(tx: Tx, token: MirrorToken, by: str, now: datetime) -> bool:
    if not tx.revoke_mirror_token(token.id, now):
        return False
    tx.append("mirror_token_revoked", by, token.holder, now, {"token": token.id, "source": token.source})
    if token.holder.startswith(RING):
        count_rings(tx, [token.source], now)
    return True


def miscounted(tx: Tx, tokens: Collection[MirrorToken]) -> list[str]:
    """The sources whose mark says another number than there are addresses for a whole ring."""
    there = Counter(one.source for one in tokens if one.revoked_at is None and one.holder.startswith(RING))
    sources = {one.source for one in tokens}
    marks = tx.marks([RINGS + source for source in sources])
    return sorted(one for one in sources if there[one] != (marks[RINGS + one].number if RINGS + one in marks else 0))


def count_rings(tx: Tx, sources: Iterable[str], now: datetime) -> None:
    """Keeps how many addresses of these sources are for a whole ring."""
    for source in sources:
        live = [one for one in tx.mirror_tokens(source) if one.revoked_at is None and one.holder.startswith(RING)]
        tx.set_mark(RINGS + source, now, len(live))


def used(tx: Tx, token: MirrorToken, at: datetime, now: datetime) -> None:
    """Keeps when a token was last used; its first use is an event."""
    if tx.mirror_used(token.id, at) and token.used_at is None:
        tx.append("mirror_token_used", token.holder, token.holder, now, {"token": token.id, "source": token.source})


def ask(tx: Tx, gate: Gate, pointer: Pointer, now: datetime) -> Pointer | None:
    """What a pointer should serve now: the pointer as it was moved, or None where it stays.

    Raises:
        Overtaken: somebody else has moved it; nothing has changed then.
    """
    if pointer.ring:
        wanted: str | timedelta = _of_ring(tx, pointer)
    else:
        wanted = _of_machine(tx, gate, pointer, now)
    if isinstance(wanted, timedelta):
        if not tx.ask_pointer_at(pointer, now + min(max(wanted, SOONEST), LATEST)):
            raise Overtaken
        return None
    if not tx.move_pointer(pointer, wanted, now):
        raise Overtaken
    detail = {"source": pointer.source, "before": pointer.release or ABSENT, "release": wanted or ABSENT}
    tx.append("mirror_moved", "gate", pointer.holder, now, detail)
    return replace(pointer, release=wanted, before=pointer.release, moved_at=now, ask_at=now)


def _of_ring(tx: Tx, pointer: Pointer) -> str | timedelta:
    rollout = speaker(tx, pointer.source, pointer.ring)
    if rollout is None:
        return LOOK_AGAIN
    if rollout.state is RolloutState.RECALLED:
        wanted = former(tx, rollout, pointer.ring)
    else:
        wanted = rollout.release if rollout.state in TAKES else _good(tx, pointer.release, pointer.ring)
    return LOOK_AGAIN if wanted == pointer.release else wanted


def _of_machine(tx: Tx, gate: Gate, pointer: Pointer, now: datetime) -> str | timedelta:
    """The release to serve from now on, or how long to wait."""
    machine, session = tx.machine(pointer.machine), tx.session(pointer.machine)
    ring = machine.ring if machine is not None else ""
    served = _good(tx, pointer.release, ring)
    if machine is None or machine.status is not MachineStatus.ACTIVE or session is None:
        return LOOK_AGAIN if served == pointer.release else served  # nobody claims for it
    rollout = speaker(tx, pointer.source, ring) if ring else None
    state = rollout.state if rollout is not None else None
    has = in_place.of(tx, session, machine.id, pointer.source)
    if rollout is not None and state in STOPPED and pointer.release == rollout.release != has:
        return _good(tx, pointer.before, ring)
    if served != pointer.release != has:  # recalled, and it never took it
        return served
    bad = rollout if rollout is not None and state is RolloutState.RECALLED and has == rollout.release else None
    if state not in TAKES and served != pointer.release:
        bad = tx.rollout_of(pointer.release)  # recalled before, and still in place
    if bad is not None:
        wanted = former(tx, bad, ring)
    elif rollout is not None and state in TAKES:
        wanted = rollout.release
    else:
        return LOOK_AGAIN
    if wanted == pointer.release:
        return LOOK_AGAIN
    if bad is None and has == wanted:
        return wanted
    answer: object
    if bad is not None:
        back = wanted or bad.release
        answer = going_back.claim(tx, gate, machine, pointer.source, back, session.boot_id, now, of=bad)
    else:
        answer = claims.claim(tx, gate, machine, pointer.source, wanted, session.boot_id, now)
    if answer is None:
        return LOOK_AGAIN
    return timedelta(seconds=answer.retry_after_s) if isinstance(answer, Refusal) else wanted


def _good(tx: Tx, release: str, ring: str) -> str:
    """The release itself; where it was recalled, the one to go back to (empty: none)."""
    rollout = tx.rollout_of(release) if release else None
    gone = rollout is not None and (
        rollout.state is RolloutState.RECALLED
        or (rollout.state is RolloutState.RETIRED and rollout.halted_at is not None)
    )
    return former(tx, rollout, ring) if rollout is not None and gone else release


def heard(tx: Tx, gate: Gate, machine: Machine, live: Claim, said: claims.Heard, now: datetime) -> bool:
    """Takes a check-in as evidence for the claim in hand; False where the machine does not take it by the mirror."""
    pointer = tx.pointer(live.source, machine.id)
    if pointer is None:
        return False
    has = said.installed.get(live.source) or in_place.of(tx, None, machine.id, live.source) or ABSENT
    if live.action == Action.RECALL:
        if has == live.release and live.state is ClaimState.GRANTED:
            claims.report(tx, gate, machine, _report(live, Step.ROLLED_BACK, said, has), now)
    elif has == live.release:
        for _ in _reported(tx, gate, machine, live, said, now):
            pass
    elif live.state is ClaimState.GRANTED and now > live.lease_until:
        _withdraw(tx, gate, pointer, live, now)
    return True


def _reported(tx: Tx, gate: Gate, machine: Machine, claim: Claim, said: claims.Heard, now: datetime) -> Iterator[Claim]:
    """The steps that a check-in shows, each reported in its turn."""
    if claim.state is ClaimState.GRANTED:
        claim, _ = claims.report(tx, gate, machine, _report(claim, Step.INSTALLED, said, claim.release), now)
        yield claim
    stayed = said.uptime
    if claim.evidence == "boot":
        if said.boot_id == claim.boot_id or (claim.boots_healthy and said.boot_id == claim.last_boot_id):
            return
        if claim.state is ClaimState.INSTALLED:
            claim, _ = claims.report(tx, gate, machine, _report(claim, Step.BOOTED, said, claim.release), now)
            yield claim
    else:
        stayed = min(stayed, now - (claim.installed_at or now))
    if claim.state in HOLDS_SLOT and stayed >= claim.stay_up:
        heard_so = replace(_report(claim, Step.HEALTHY, said, claim.release), uptime=stayed)
        claim, _ = claims.report(tx, gate, machine, heard_so, now)
        yield claim


def _report(claim: Claim, step: Step, said: claims.Heard, release: str) -> claims.Report:
    word = said.facts.get(PROBE + claim.source, "")
    probes = (claims.Probe("client", word == GOOD, "" if word == GOOD else word),) if word else ()
    return claims.Report(claim.id, step, said.boot_id, said.uptime, release, probes)


def _withdraw(tx: Tx, gate: Gate, pointer: Pointer, live: Claim, now: datetime) -> None:
    if pointer.release == live.release:
        machine = tx.machine(pointer.machine)
        back = _good(tx, pointer.before, machine.ring if machine else "")
        if not tx.move_pointer(pointer, back, now):
            raise Overtaken
        detail = {"source": pointer.source, "before": pointer.release, "release": back or ABSENT}
        tx.append("mirror_moved", "gate", pointer.holder, now, detail)
    elif now - pointer.moved_at >= WITHDRAWN:
        claims.lapse(tx, gate, live, now)
