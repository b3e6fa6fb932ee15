"""``supersede: inherit``: a newer release takes over at the ring that the one before it had reached, make by make.

- What a release had taken over itself and not opened yet (a floor, a freeze) is handed on with what it has opened: many
  releases in a row do not make the ladder shorter.
- A make that has stopped in any of them since is not taken over, nor anything of one that was halted meanwhile.
- Every release begins with a first batch of its own in each ring.
"""

from __future__ import annotations

from collections.abc import Mapping

from gate.core.model import Rollout, RolloutState
from gate.core.policy import Policy
from gate.ports import Tx

LOOKED_BACK = 100
"""Rollouts of a source in a row; what was opened before them has to be shown again."""


def reached(tx: Tx, policy: Policy, other: Rollout) -> int:
    """The last ring that ``other`` has opened or taken over, as far as both policies have the same rings in the same
    order; -1: none."""
    theirs = [ring.ring for ring in tx.rings(other.id)[: max(other.reached, other.inherited) + 1]]
    names = [ring.name for ring in policy.rings]
    same = 0
    while same < min(len(theirs), len(names)) and theirs[same] == names[same]:
        same += 1
    return same - 1


def taken_over(tx: Tx, rollout: Rollout) -> Mapping[str, frozenset[str]]:
    """ring -> the makes that it was open for in the releases that ``rollout`` took over from."""
    found = tx.rollouts(source=rollout.source, limit=LOOKED_BACK)
    own, chain = next((place for place, one in enumerate(found) if one.id == rollout.id), len(found)), []
    for one in found[own + 1 :]:
        if one.reached < 0 and one.inherited < 0:  # it waited, or opened nothing
            continue
        if one.state is not RolloutState.SUPERSEDED:
            break
        chain.append(one.id)
        if one.reached >= one.inherited:
            break
    return tx.opened_in(chain) if chain else {}
