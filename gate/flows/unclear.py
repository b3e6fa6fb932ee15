"""Nothing can be concluded: since when, and when a person is asked.

- While nothing can be concluded a rollout is held, and nothing times out into OPEN.
- The clock stands meanwhile: once something can be concluded again, soaks that ran have left what they had.
- After the policy's ``inconclusive_after`` (days are counted to the same clock time, hours as they pass) it is an
  event, once for each time that nothing could be concluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core import calendar, opening
from gate.core.calendar import Interval
from gate.core.model import Rollout
from gate.core.policy import Policy
from gate.core.times import OpenDuration
from gate.core.verdict import Decision
from gate.flows import soaks
from gate.ports import Gate, Sight, Tx

AFTER = OpenDuration(timedelta(), 1, True)
ASKED = "nothing_concluded"


def note(
    tx: Tx, gate: Gate, policy: Policy, rollout: Rollout, sight: Sight, decisions: Sequence[Decision], now: datetime
) -> None:
    """Keeps since when nothing is concluded; asks a person once that has lasted. At its end soaks go on."""
    codes = sorted({code for decision in decisions for code in opening.unclear(decision)})
    if not codes:
        if sight.unclear_since is not None:
            strata, place = tx.strata(rollout.id), {ring.ring: ring.position for ring in tx.rings(rollout.id)}
            stood = soaks.stood(tx, gate, policy, rollout.source, strata, strata, place, sight.unclear_since, now)
            tx.save_strata_times(stood)
            tx.save_sight(rollout.id, replace(sight, unclear_since=None, asked_at=None))
        return
    since = sight.unclear_since
    if since is None:
        tx.save_sight(rollout.id, replace(sight, unclear_since=now, asked_at=None))
        since = now
    if sight.asked_at is None and now >= asks_at(policy, since):
        tx.save_sight(rollout.id, replace(sight, unclear_since=since, asked_at=now))
        detail = {"since": since.isoformat(), "because": codes}
        tx.append(ASKED, "gate", rollout.id, now, detail, "", rollout.policy_version)


def asks_at(policy: Policy, since: datetime) -> datetime:
    """When a person is asked about what is not conclusive since then."""
    after = policy.defaults.later.get("inconclusive_after", AFTER)
    always = [Interval(since, since + timedelta(days=after.days + 2) + after.amount)]
    found = calendar.add(always, since, after, policy.zone)
    assert found is not None
    return found
