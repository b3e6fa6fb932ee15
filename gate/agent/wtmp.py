"""What ``/var/log/wtmp`` says of boots that the journal has not kept: were they shut down?

- A record of ``reboot`` belongs to the boot in whose span its moment lies. Where a span has none, or more than one
  (boots that nobody of us was awake in), nothing is known of that boot.
- A ``shutdown`` before the next ``reboot`` is a clean end. None of it is no proof of the contrary.

Source: utmp(5).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from gate.agent.boots import Cause, Ended
from gate.agent.times import moment

RECORD = struct.Struct("<hxxi32s4s32s256shhiii16s20x")
RUN_LEVEL, BOOT_TIME = 1, 2
BEFORE = timedelta(seconds=60)
"""So much earlier than a boot is remembered to have begun its record may say."""


def with_wtmp(boots: Sequence[Ended], present: Sequence[Ended], raw: bytes) -> tuple[Ended, ...]:
    """The boots before ``present``, the ends that are not known filled in where wtmp says *clean*."""
    records = ends(raw)
    found = list(boots)
    for index, (one, after) in enumerate(zip(boots, (*boots[1:], *present), strict=False)):
        if one.ended != "unknown" or not one.started_at or not after.started_at:
            continue
        begin, end = moment(one.started_at) - BEFORE, moment(after.started_at) - BEFORE
        mine = [clean for at, clean in records if begin <= at < end]
        if mine == [True]:
            found[index] = replace(one, ended="clean", cause=Cause.PLANNED)
    return tuple(found)


def ends(raw: bytes) -> list[tuple[datetime, bool]]:
    """Each boot in wtmp, oldest first: when it began, and whether it said ``shutdown``."""
    found: list[tuple[datetime, bool]] = []
    for start in range(0, len(raw) - RECORD.size + 1, RECORD.size):
        kind, _, _, _, user, _, _, _, _, seconds, *_ = RECORD.unpack_from(raw, start)
        if kind == BOOT_TIME:
            found.append((datetime.fromtimestamp(seconds % 2**32, UTC), False))
        elif kind == RUN_LEVEL and user.rstrip(b"\0") == b"shutdown" and found:
            found[-1] = found[-1][0], True
    return found
