"""A source says that something exists: check it, store it, start its rollout.

- The same version with other bytes is refused and alarmed; a bad vendor signature is refused.
- ``first_seen_at`` is the gate's own clock, never the vendor's.
- One release of a source runs at a time. A newer one waits, and those between are superseded (``supersede: queue``);
  or it takes over at once, at ring 0 (``restart``) or at the ring that the running one has reached (``inherit``).
- What has waited runs under the policy that rules when it begins, with that one's rings, budgets and background.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from gate.core import background, makes
from gate.core.claims import WORKING
from gate.core.errors import GateError, Overtaken, SourceError
from gate.core.model import (
    FLEET,
    Artifact,
    Budget,
    Release,
    RingState,
    Rollout,
    RolloutState,
    Stratum,
    Trust,
)
from gate.core.policy import Policy
from gate.flows import followers, inheritance
from gate.hookspecs import Candidate
from gate.ports import EVERY, Asked, Gate, Tx

_Member = tuple[float, str, bool]  # rank, site, has a peer of its role there
KEPT_COHORTS = 200
LEARNT_FROM = 50  # rollouts that a background is measured on
BUSY = (RolloutState.RUNNING, RolloutState.HELD)
SCANNED = 100
RECOVERED = {
    "source_failed": "source_recovered",
    "mirror_failed": "mirror_recovered",
    "candidate_refused": "candidates_good",
}
"""Kind of trouble with a source -> the event that ends it; no other kind does."""
ALIVE = (*BUSY, RolloutState.QUEUED, RolloutState.DONE)
"""What a new rollout must look at, however many newer ones have been superseded meanwhile."""


def manifest_bytes(
    source: str, version: str, kind: str, boot_critical: bool, counter: int, artifacts: tuple[Artifact, ...]
) -> bytes:
    """The manifest as canonical JSON (OLPC): its sha256 is the release's id."""
    body = {
        "source": source,
        "version": version,
        "kind": kind,
        "boot_critical": boot_critical,
        "counter": counter,
        "artifacts": [{"name": a.name, "length": a.length, "sha256": a.sha256} for a in artifacts],
    }
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # OLPC canonical JSON escapes only the backslash and the quote; names with control characters are refused before.
    return text.encode()


def candidate_seen(
    tx: Tx,
    gate: Gate,
    *,
    source: str,
    version: str,
    kind: str,
    boot_critical: bool,
    artifacts: tuple[Artifact, ...],
    trust: Trust,
    now: datetime,
    policy_version: str,
    signer: str = "",
    findings: Sequence[Mapping[str, Any]] = (),
) -> Rollout | None:
    """Stores a verified candidate and starts (or queues) its rollout; None when it is known already.

    Raises:
        SourceError: ``changed_bytes`` when this version is known with other bytes; ``bad_name``.
    """
    texts = [version, kind, *(artifact.name for artifact in artifacts)]
    if not version or any(ord(char) < 32 for text in texts for char in text):
        raise SourceError("bad_name", "a version or an artifact's name is empty or has control characters")
    known = tx.release_by_version(source, version)
    if known is not None:
        if sorted(known.artifacts, key=lambda a: a.name) != sorted(artifacts, key=lambda a: a.name):
            raise SourceError("changed_bytes", f"{source} {version} is known with other bytes")
        return None
    counter = tx.next_counter(source)
    manifest = manifest_bytes(source, version, kind, boot_critical, counter, artifacts)
    release = Release(
        id="sha256:" + hashlib.sha256(manifest).hexdigest(),
        source=source,
        version=version,
        kind=kind,
        boot_critical=boot_critical,
        counter=counter,
        artifacts=artifacts,
        trust=trust,
        first_seen_at=now,
    )
    if not tx.add_release(release, manifest):
        return None
    detail: dict[str, Any] = {"version": version, "counter": counter, "trust": trust.value}
    tx.append("release_seen", f"source:{source}", release.id, now, detail | ({"signer": signer} if signer else {}))
    if findings:
        tx.append("content_findings", f"source:{source}", release.id, now, {"findings": list(findings)})
    return start_rollout(tx, gate, release, policy_version, now)


def unknown(tx: Tx, source: str, candidates: Iterable[Candidate]) -> tuple[list[Candidate], list[str]]:
    """The candidates whose version is new, and alarms about known versions that announce other bytes now."""
    new, alarms, candidates = [], [], tuple(candidates)
    versions = tx.releases_by_version(source, [candidate.version for candidate in candidates])
    for candidate in candidates:
        known = versions.get(candidate.version)
        if known is None:
            new.append(candidate)
            continue
        held = {one.name: (one.length, one.sha256) for one in known.artifacts}
        told = {one.name: (one.length, one.sha256) for one in candidate.artifacts}
        if held.keys() != told.keys() or any(one[1] and one != held[name] for name, one in told.items()):
            alarms.append(f"{candidate.version} is known with other bytes")
    return new, alarms


def troubles(tx: Tx, source: str) -> dict[str, str]:
    """What is wrong with a source now, the worst first: each kind of ``RECOVERED`` with its newest sentence."""
    subject = f"source:{source}"
    newest = tx.events(subject=subject, limit=SCANNED)
    found = {}
    for kind, over in RECOVERED.items():
        last = next((one for one in newest if one.kind in (kind, over)), None)
        if last is None and len(newest) == SCANNED:  # many alarms of another kind
            ever = [tx.asked_events(Asked(subject=subject, kind=one), limit=1) for one in (kind, over)]
            last = max((event for events in ever for event in events), key=lambda event: event.index, default=None)
        if last is not None and last.kind == kind:
            found[kind] = str(last.detail.get("detail", ""))
    return found


def failed(tx: Tx, source: str, kind: str, detail: str, now: datetime) -> bool:
    """An event about a source, once for the same trouble until that kind of trouble is over; was it one?"""
    subject = f"source:{source}"
    for event in tx.events(subject=subject, limit=SCANNED):
        if event.kind == kind and event.detail.get("detail") == detail[:1000]:
            return False
        if event.kind == RECOVERED[kind]:
            break
    tx.append(kind, "gate", subject, now, {"detail": detail[:1000]})
    return True


def recovered(tx: Tx, source: str, kind: str, now: datetime) -> None:
    """A kind of trouble is over, where it stood."""
    if kind in troubles(tx, source):
        tx.append(RECOVERED[kind], "gate", f"source:{source}", now)


def start_rollout(tx: Tx, gate: Gate, release: Release, policy_version: str, now: datetime) -> Rollout:
    """The rollout of a release under one frozen policy version; it waits while another of its source runs, and is
    frozen anew as it begins then."""
    policy = gate.policy(policy_version)
    others = tx.rollouts(states=ALIVE, source=release.source)
    rollout_id = "r-" + release.hex[:20]
    for other in others:
        if other.state is RolloutState.QUEUED:
            _step(tx, other, RolloutState.SUPERSEDED, now, by=rollout_id)
    running = [other for other in others if other.state in BUSY]
    inherited = -1
    if policy.defaults.supersede != "queue":
        for other in running:
            if policy.defaults.supersede == "inherit":
                inherited = max(inherited, inheritance.reached(tx, policy, other))
            _step(tx, other, RolloutState.SUPERSEDED, now, by=rollout_id)
        running = []
    past = tx.past_trials(LEARNT_FROM)
    rollout = Rollout(
        id=rollout_id,
        release=release.id,
        source=release.source,
        state=RolloutState.QUEUED if running else RolloutState.RUNNING,
        reached=-1,
        salt=release.hex,
        policy_version=policy_version,
        version=1,
        started_at=now,
        background=background.of(policy, past.exposed, past.failed),
        measured=background.measured(policy, past.exposed, past.failed),
        inherited=inherited,
    )
    tx.add_rollout(rollout, *_frozen(tx, policy, rollout))
    detail: dict[str, Any] = {"state": rollout.state.value}
    if inherited >= 0:
        detail["takes_over_at"] = policy.rings[inherited].name
    tx.append("rollout_started", "gate", rollout.id, now, detail, "", policy_version)
    if rollout.state is RolloutState.RUNNING:
        _supersede_done(tx, others, rollout_id, now)
    return rollout


def _frozen(tx: Tx, policy: Policy, rollout: Rollout) -> tuple[list[RingState], list[Budget]]:
    """The rings and budgets that a rollout begins with under this policy."""
    settings = [policy.settings_for(ring.name, rollout.source) for ring in policy.rings]
    rings = [
        RingState(rollout.id, ring.name, position, None, 0, chosen.cap or 0, 0)
        for position, (ring, chosen) in enumerate(zip(policy.rings, settings, strict=True))
    ]
    found = sorted({make for ring in policy.rings for make in tx.ring_makes(ring.name)})
    fleet = max(policy.at_risk.fleet, policy.first_batch)
    budgets = [Budget(rollout.id, make, 0, policy.first_batch, 0, 0, False) for make in found]
    return rings, [*budgets, Budget(rollout.id, FLEET, 0, fleet, 0, 0, False)]


def background_now(tx: Tx, policy: Policy) -> float:
    """The background that a rollout would have that began now."""
    past = tx.past_trials(LEARNT_FROM)
    return background.of(policy, past.exposed, past.failed)


def may_begin(tx: Tx) -> list[str]:
    """The sources of which a rollout waits and none is running: a person or the vendor has halted that."""
    waiting = {one.source for one in tx.rollouts(states=(RolloutState.QUEUED,), limit=EVERY)}
    return sorted(waiting - {one.source for one in tx.rollouts(states=BUSY, limit=EVERY)}) if waiting else []


def promote_queued(tx: Tx, gate: Gate, source: str, now: datetime) -> Rollout | None:
    """The newest waiting rollout of a source starts, once none of that source is running.

    It runs under the policy that rules now: no machine has a claim under the one in which it came, and nobody's word
    for a ring of it. It keeps that one where no policy rules, where the one that does cannot be read, or has no such
    source any more."""
    others = tx.rollouts(states=ALIVE, source=source)
    if any(other.state in BUSY for other in others):
        return None
    for waiting in others:
        if waiting.state is RolloutState.QUEUED:
            _supersede_done(tx, others, waiting.id, now)
            rules = ruling(tx, gate)
            if rules is None or rules[1].source(source) is None:
                return _step(tx, waiting, RolloutState.RUNNING, now)
            return _begun(tx, waiting, *rules, now)
    return None


def ruling(tx: Tx, gate: Gate) -> tuple[str, Policy] | None:
    """The policy version that rules now, where one does and it can be read."""
    active = tx.active_policy()
    if active is None:
        return None
    try:
        return active.commit, gate.policy(active.commit)
    except GateError:
        return None


def _begun(tx: Tx, waiting: Rollout, policy_version: str, policy: Policy, now: datetime) -> Rollout:
    """What has waited runs, frozen anew under this policy."""
    past = tx.past_trials(LEARNT_FROM)
    after = replace(
        waiting,
        state=RolloutState.RUNNING,
        policy_version=policy_version,
        background=background.of(policy, past.exposed, past.failed),
        measured=background.measured(policy, past.exposed, past.failed),
        version=waiting.version + 1,
    )
    if not tx.begin_rollout(after, *_frozen(tx, policy, after)):
        raise Overtaken
    instead = {} if policy_version == waiting.policy_version else {"came_under": waiting.policy_version}
    tx.append("rollout_running", "gate", after.id, now, instead, "", policy_version)
    return after


def _supersede_done(tx: Tx, others: Iterable[Rollout], by: str, now: datetime) -> None:
    for other in others:
        if other.state is RolloutState.DONE:
            _step(tx, other, RolloutState.SUPERSEDED, now, by=by)


def _step(tx: Tx, rollout: Rollout, state: RolloutState, now: datetime, *, by: str = "") -> Rollout:
    """``by``: the rollout that takes over."""
    after = replace(rollout, state=state, version=rollout.version + 1)
    if not tx.save_rollout(after):
        raise Overtaken
    tx.append(f"rollout_{state.value}", "gate", rollout.id, now, {"by": by} if by else {})
    return after


def taken_over(tx: Tx, rollout: Rollout) -> str:
    """The newer rollout of its source that is done; empty where none is."""
    newest = tx.rollouts(states=(RolloutState.DONE,), source=rollout.source, limit=1)
    return newest[0].id if newest and newest[0].started_at > rollout.started_at else ""


def cohort(tx: Tx, gate: Gate, policy: Policy, rollout: Rollout, ring: str, now: datetime) -> tuple[int, list[Stratum]]:
    """The members of a ring by make, with the cut of its share, and those that follow with it: walked once, and again
    when a membership changed."""
    key = (rollout.id, ring, tx.fleet_version(), now.date())
    if key not in gate.cohorts:
        if len(gate.cohorts) >= KEPT_COHORTS:
            gate.cohorts.clear()
        gate.cohorts[key] = _cohort(tx, policy, rollout, ring, now - WORKING)
    return gate.cohorts[key]


def _cohort(tx: Tx, policy: Policy, rollout: Rollout, ring: str, heard_since: datetime) -> tuple[int, list[Stratum]]:
    settings = policy.settings_for(ring, rollout.source)
    earlier = {rule.name for rule in policy.rings[: policy.index(ring)]}
    cuts = {(one.ring, one.make): one.share_cut for one in tx.strata(rollout.id)}
    own: dict[str, list[_Member]] = defaultdict(list)
    following: dict[str, list[_Member]] = defaultdict(list)
    taken: dict[str, set[str]] = defaultdict(set)  # make -> the sites that earlier rings take of it
    follow = followers.of(tx, policy, rollout, ring)
    for machine, its_ring, make, site, has_peer in tx.members(heard_since):
        later = follow.get(machine)
        if its_ring == ring:
            own[make].append((makes.rank(rollout.salt, machine), site, has_peer))
        elif later == ring:
            following[make].append((makes.rank(rollout.salt, machine), site, has_peer))
        elif (later or its_ring) in earlier:
            cut = 1.0 if later else cuts.get((its_ring, make), 1.0)
            if cut >= 1 or makes.in_share(rollout.salt, machine, cut):
                taken[make].add(site)
    strata = []
    for make in sorted(own.keys() | following.keys()):
        taking, cut = makes.drawn([rank for rank, *_ in own[make]], settings.share, settings.at_least)
        takes_part = [one for one in own[make] if one[0] <= cut] + following[make]
        stratum = Stratum(
            rollout.id,
            ring,
            make,
            open=False,
            members=len(own[make]) + len(following[make]),
            share_members=taking + len(following[make]),
            share_cut=cut,
            plural=sum(has_peer for *_, has_peer in takes_part),
            sites=len({site for _, site, _ in takes_part} - taken[make]),
            first_cut=makes.first_cut(takes_part, policy.first_batch),
        )
        strata.append(stratum)
    return sum(one.members for one in strata), strata


def counted(tx: Tx, policy: Policy, rollout: Rollout, ring: str) -> tuple[int, list[Stratum]]:
    """The members of a ring by make as ``cohort`` would say, but for the cut of its share: counted, not walked."""
    settings = policy.settings_for(ring, rollout.source)
    own, following = tx.ring_makes(ring), followers.counted(tx, policy, rollout, ring)
    strata = []
    for make in sorted(own.keys() | following.keys()):
        count, more = own.get(make, 0), following[make]
        taking = makes.taking(count, settings.share, settings.at_least) + more
        strata.append(Stratum(rollout.id, ring, make, False, count + more, taking, 1.0, 0))
    return sum(one.members for one in strata), strata
