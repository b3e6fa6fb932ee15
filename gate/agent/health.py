"""Boot-health of one release on one machine: raw facts in, good, bad or unknown out, with the reasons. Pure.

- Bad, where one of these is so: the machine crashed since the release was put in place; boots were lost that left no
  trace; another release is in place, or was as this boot began; the system came up for maintenance; a probe is bad.
- Unknown, where nothing is bad and one of these is so: no boot since, though one is asked for; a start that was none
  (fast start-up, hibernation); Safe Mode, which leaves drivers out; what was in place as the boot began is not known;
  awake for less than ``stay_up``, or nobody knows how long; still starting, or going down; a probe without an answer.
- Good is what is left. A boot before that ended by a loss of power, or by somebody's hand, is no failure by itself: it
  has used up a try (``hands.count``), since nobody can tell a dead kernel from a pulled plug.

What is unknown waits: for the next round, and in the end for the gate's deadline, which counts silence as failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

STARTING = ("initializing", "starting", "stopping")
DOWN = ("maintenance",)


class Word(StrEnum):
    """From the most cautious."""

    BAD = "bad"
    UNKNOWN = "unknown"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Probe:
    """``ok`` is None where nobody answered for it."""

    name: str
    ok: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Raw:
    """All that is known. Digests are hex; an empty one is *nothing in place*, None is *not known*."""

    wanted: str
    in_place: str
    needs_boot: bool
    booted_since: bool
    in_place_at_boot: str | None
    awake_s: float | None
    stay_up_s: int
    tries: int
    probes: tuple[Probe, ...] = ()
    crashes: tuple[str, ...] = ()
    lost_boots: int = 0
    system: str = ""
    fast_start: bool = False
    safe_mode: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not good."""

    word: Word
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """``reasons`` are those of ``word``; none where it is good."""

    word: Word
    reasons: tuple[Reason, ...] = ()

    @property
    def because(self) -> str:
        """The reasons as one sentence."""
        return "; ".join(reason.detail for reason in self.reasons)


def judge(raw: Raw) -> Health:
    """The most cautious word that a fact asks for."""
    reasons = (*_bad(raw), *_unknown(raw))
    for word in (Word.BAD, Word.UNKNOWN):
        found = tuple(reason for reason in reasons if reason.word is word)
        if found:
            return Health(word, found)
    return Health(Word.GOOD)


def _bad(raw: Raw) -> list[Reason]:
    found = [("crashed", f"it crashed under this release: {said}") for said in raw.crashes]
    if raw.lost_boots >= raw.tries:
        found.append(("lost_boots", f"{raw.lost_boots} boots left no trace"))
    if raw.in_place != raw.wanted:
        found.append(("another_release", "another release is in place"))
    if raw.needs_boot and raw.booted_since and raw.in_place_at_boot not in (None, raw.wanted):
        found.append(("another_at_boot", "another release was in place as this boot began"))
    if raw.system in DOWN:
        found.append(("maintenance", f"the system is in {raw.system}"))
    found += [("probe", f"{one.name}: {one.detail or 'bad'}") for one in raw.probes if one.ok is False]
    return [Reason(Word.BAD, code, detail) for code, detail in found]


def _unknown(raw: Raw) -> list[Reason]:
    found = []
    if raw.needs_boot and not raw.booted_since:
        found.append(("no_boot", "it has not booted since"))
    if raw.needs_boot and raw.fast_start:
        found.append(("fast_start", "it was woken and not booted: fast start-up or hibernation"))
    if raw.needs_boot and raw.in_place_at_boot is None:
        found.append(("not_known_at_boot", "what was in place as this boot began is not known"))
    if raw.safe_mode:
        found.append(("safe_mode", "Safe Mode leaves out what is to be proven"))
    if raw.awake_s is None or raw.awake_s < raw.stay_up_s:
        found.append(("stay_up", f"awake for {raw.awake_s or 0:.0f} of {raw.stay_up_s} s"))
    if raw.system in STARTING:
        found.append(("starting", f"the system is {raw.system}"))
    found += [("probe_silent", f"{one.name}: no answer") for one in raw.probes if one.ok is None]
    return [Reason(Word.UNKNOWN, code, detail) for code, detail in found]
