"""What the read plane should say, gathered from what has been committed.

- The bundle: floors, the common floor, and the machines that people let in early; they are few, by policy.
- The catalogue of a source: its newest releases (``keep``), those that an approval names, those that may still open a
  ring however many newer ones wait, those that a recall would go back to in any ring, and those that a pointer of the
  mirror leads to, or led to before: it may go back there. The last two are walked every few minutes only (``kept``):
  what has left the newest was among them for longer than that.
- The publisher compares this with what stands; so nothing here remembers what was published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from gate.core.model import Release, RolloutState, Trust
from gate.core.policy import Policy
from gate.flows import approvals
from gate.ports import Catalogued, Gate, Tx, Wanted

EARLY = 1000
LOOK_BACK = 8
MAY_OPEN = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.QUEUED, RolloutState.HALTED)
MAY_OPEN_MOST = 50
STANDS = (
    RolloutState.RUNNING,
    RolloutState.HELD,
    RolloutState.HALTED,
    RolloutState.DONE,
    RolloutState.RECALLED,
)
MAX_STALE_S = 300
VENDOR = {Trust.VENDOR_SIGNED: "good", Trust.DIGEST_PINNED: "none", Trust.UNVERIFIED: "none"}


Kept = Mapping[str, Collection[str]]


def wanted(tx: Tx, gate: Gate, response_key: str, root_sha256: str, kept: Kept) -> Wanted | None:
    """The state that should stand; None while no policy is active. ``kept``: what the catalogues hold besides."""
    active = tx.active_policy()
    if active is None:
        return None
    policy = gate.policy(active.commit)
    sources = [source.name for source in policy.sources]
    rings: dict[str, dict[str, dict[str, Any]]] = {ring.name: {} for ring in policy.rings}
    named: dict[str, set[str]] = {source: set() for source in sources}
    for approval in approvals.wanted(tx, sources):
        named[approval.source].add(approval.release)
        recall = {"recalls": approval.recalls} if approval.recalls else {}
        rings.setdefault(approval.ring, {})[approval.source] = {
            "release": approval.release,
            "decision": approval.decision,
            "decided_at": _wire(approval.decided_at),
            "policy_version": approval.policy_version,
            "makes": "all" if approval.recalls else list(approval.makes),
            "action": approval.action.value,
            **recall,
        }
    for source in sources:
        named[source].update(_not_over(tx, source))
        named[source].update(kept.get(source, ()))
    catalog = {rule.name: _catalog(tx, rule.name, rule.keep, named[rule.name]) for rule in policy.sources}
    size, root = tx.audit_head()
    bundle = {
        "policy_version": active.commit,
        "floor_s": {ring.name: _floor_s(policy, ring.name) for ring in policy.rings},
        "common_floor_s": int(policy.common_floor.total_seconds()),
        "early": _early(tx, policy),
        "max_stale_s": MAX_STALE_S,
        "min_counter": {},
        "response_key": response_key,
        "root_sha256": root_sha256,
    }
    return Wanted(bundle, catalog, rings, size, root.hex())


def kept(tx: Tx, gate: Gate) -> Kept:
    """source -> the releases that machines may still go back to; a walk over pointers and the newest rollouts."""
    active = tx.active_policy()
    found = {name: set(releases) for name, releases in tx.pointed().items()}
    for source in gate.policy(active.commit).sources if active is not None else ():
        found.setdefault(source.name, set()).update(_gone_back_to(tx, source.name))
    return found


def _not_over(tx: Tx, source: str) -> set[str]:
    """What may still open a ring, and what the newest of it would go back to. What is older than a release that is done
    never runs again, whoever resumes it."""
    newest = tx.rollouts(states=(*MAY_OPEN, RolloutState.DONE), source=source, limit=MAY_OPEN_MOST)
    found = set[str]()
    for rollout in newest:
        if rollout.state is RolloutState.DONE:
            break
        found.add(rollout.release)
    for rollout in [one for one in newest if one.state in (RolloutState.RUNNING, RolloutState.HALTED)][:1]:
        found.update(one.release for one in tx.done_before(rollout.id, 1))
    return found


def _gone_back_to(tx: Tx, source: str) -> set[str]:
    found = set[str]()
    for rollout in tx.rollouts(states=STANDS, source=source, limit=LOOK_BACK):
        rings = {ring.ring for ring in tx.rings(rollout.id)}
        for other in tx.done_before(rollout.id):
            known = rings & {ring.ring for ring in tx.rings(other.id)}
            if known:
                found.add(other.release)
                rings -= known
            if not rings:
                break
    return found


def _catalog(tx: Tx, source: str, keep: int, named: set[str]) -> list[Catalogued]:
    found = {release.id: release for release in tx.releases(source, keep)}
    for release_id in sorted(named - found.keys()):
        release = tx.release(release_id)
        if release is not None:
            found[release_id] = release
    return [_catalogued(tx, release) for release in sorted(found.values(), key=lambda one: one.counter)]


def _catalogued(tx: Tx, release: Release) -> Catalogued:
    manifest = tx.manifest(release.id)
    assert manifest is not None, "a release is stored with its manifest"
    return Catalogued(manifest, _wire(release.first_seen_at), VENDOR[release.trust], release.counter)


def _early(tx: Tx, policy: Policy) -> dict[str, list[str]]:
    found = {}
    for ring in policy.rings:
        if _floor_s(policy, ring.name) < policy.common_floor.total_seconds():
            members = tx.machines(ring=ring.name, status="active", limit=EARLY)
            found[ring.name] = [machine.id for machine in members]
    return found


def _floor_s(policy: Policy, ring: str) -> int:
    return int(policy.settings_for(ring, "").floor.total_seconds())


def _wire(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
