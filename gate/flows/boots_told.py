"""What a report tells of a machine's boots is kept, in the transaction of the report; the last few of each machine.

- A report that tells boots costs one statement more, and one that tells something new of them costs two.
- They are for people: no decision reads how they ended. What is noted against a claim is of ``restarts``.
"""

from __future__ import annotations

from collections.abc import Sequence

from gate.core import boots
from gate.core.boots import Boot
from gate.core.errors import Overtaken
from gate.core.model import Claim, Step
from gate.ports import Tx


def keep(tx: Tx, claim: Claim, step: Step, boot_id: str, release: str, said: Sequence[tuple[str, str, str]]) -> None:
    """Keeps the boots of a report made in ``boot_id``; ``said``: (boot, when it began, how it ended), the newest last.

    Raises:
        Overtaken: another report of this machine has told something meanwhile.
    """
    if not said:
        return
    before = tx.boots_of(claim.machine)
    after = boots.told(before, claim, step, boot_id, release, [Boot(*one) for one in said])
    if after != before and not tx.save_boots(claim.machine, after, before):
        raise Overtaken
