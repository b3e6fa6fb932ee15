"""A machine goes back from a recalled release: under a claim of its own, or under the one it has in hand.

- A recall takes a claim under ``per_site`` and the last of a role; windows, freezes, caps and the budget do not count.
- A machine that the release has broken holds its site's slot already: it takes no second one, and gives it back when it
  has gone back.
- It has gone back when its agent says so with the release before in place (``-``: none); no boot is waited for.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gate.core.claims import BROKEN, HOLDS_SLOT, WORKING
from gate.core.model import ABSENT, Action, Claim, ClaimState, Machine, Rollout, RolloutState
from gate.core.verdict import Refusal
from gate.flows import in_place
from gate.flows.approvals import former, speaker
from gate.flows.new_claim import new_claim
from gate.ports import Gate, GrantLimits, Tx

REFUSALS = {
    "site_limit": "another machine of this site is in flight",
    "last_of_role": "the site would have no working machine of this role",
    "other_in_flight": "this machine has another claim in hand",
    "superseded": "it is not recalled any more",
}
RETRY_S = 120


def claim(
    tx: Tx,
    gate: Gate,
    machine: Machine,
    source: str,
    release: str,
    boot_id: str,
    now: datetime,
    of: Rollout | None = None,
) -> tuple[Claim, bool] | Refusal | None:
    """Grants the claim to go back, gives the live one again, or refuses; None where no recall asks for ``release``.
    ``of``: the recalled rollout; none: the one that speaks for the machine's ring."""
    rollout = of or speaker(tx, source, machine.ring)
    if rollout is None or rollout.state is not RolloutState.RECALLED:
        return None
    back_to = former(tx, rollout, machine.ring)
    if release != (back_to or rollout.release):
        return None
    own = tx.claims_of(machine.id, rollout.id)
    newest = own[0] if own else None
    if newest and newest.action == Action.RECALL and newest.state in HOLDS_SLOT and now < newest.lease_until:
        return newest, False
    session = tx.session(machine.id)
    if session is None or in_place.of(tx, session, machine.id, source) != rollout.release:
        return Refusal("already_installed", "this machine does not have the recalled release", 3600)
    policy = gate.policy(rollout.policy_version)
    if machine.ring not in {ring.name for ring in policy.rings}:
        return None
    for one in own:
        if one.state is ClaimState.SILENT and not one.recovered:  # it asks: it is heard of
            tx.move(one, replace(one, recovered=True, version=one.version + 1))
    again = any(one.state in BROKEN and one.state is not ClaimState.SILENT and not one.recovered for one in own)
    new = new_claim(tx, gate, policy, machine, rollout, boot_id, now, release=back_to or ABSENT, action=Action.RECALL)
    per_site = policy.settings_for(machine.ring, source).per_site
    limits = GrantLimits(0 if per_site == "half" else int(per_site), False, False, 0, now - WORKING, again=again)
    kind = tx.grant(new, limits)
    if kind is not None:
        rule = f"rings[{policy.index(machine.ring)}].at_most"
        return Refusal(kind, REFUSALS.get(kind, kind), RETRY_S, rule)
    return new, True


def settle(tx: Tx, done: Claim, now: datetime) -> None:
    """Its machine has gone back: what the release had broken of it holds no slot any more."""
    for one in tx.claims_of(done.machine, done.rollout):
        if one.action == Action.RECALL or one.state not in BROKEN or one.recovered:
            continue
        if one.state is ClaimState.SILENT:
            after = replace(one, recovered=True)
        else:
            after = replace(one, state=ClaimState.ROLLED_BACK)
        tx.move(one, replace(after, version=one.version + 1))
