"""Machine -> make -> ring, by facts and stable hash; never dice.

- A make is the text of the facts that the policy names, in its order: ``role=till|os_build=19045``; absent is ``-``.
- A machine belongs to the first ring whose pick it meets; all keys must match, a list is any of.
- A ``|`` inside a fact is written ``%7C``: no machine can word itself into another make.
- A share is drawn by the rank of (salt, machine): the same rollout draws the same machines.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

ABSENT = "-"
Pick = Mapping[str, Sequence[str]]


def make_of(facts: Mapping[str, str], by: Iterable[str]) -> str:
    """The canonical text of a machine's make."""
    return "|".join(f"{name}={_written(facts.get(name))}" for name in by)


def _written(fact: str | None) -> str:
    return fact.replace("%", "%25").replace("|", "%7C") if fact else ABSENT


def facts_of(make: str) -> dict[str, str]:
    """The facts that a make's text names, the absent ones too."""
    return dict(_read(part) for part in make.split("|") if part)


def _read(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return name, value.replace("%7C", "|").replace("%25", "%")


def asked_of(probes: Iterable[str], make: str) -> list[str]:
    """The probes by name that this make is asked: ``disk``, or ``till-software if role=till``."""
    facts = make.split("|")
    parts = (probe.partition(" if ") for probe in probes)
    return list(dict.fromkeys(name for name, _, fact in parts if not fact or fact in facts))


def ring_of(
    picks: Iterable[tuple[str, Pick]], site: str, labels: Collection[str], facts: Mapping[str, str]
) -> str | None:
    """The first ring (by name) whose pick the machine meets, None when none does."""
    return next((name for name, pick in picks if meets(pick, site, labels, facts)), None)


def last_ring(
    picks: Iterable[tuple[str, Pick]], site: str, labels: Collection[str], facts: Mapping[str, str]
) -> str | None:
    """The last ring (by name) whose pick the machine meets, None when none does."""
    return ring_of(reversed(list(picks)), site, labels, facts)


def meets(pick: Pick, site: str, labels: Collection[str], facts: Mapping[str, str]) -> bool:
    """Does a machine meet every key of the pick? Keys are ``site``, ``label`` or a fact."""
    for key, wanted in pick.items():
        if key == "site":
            good = site in wanted
        elif key == "label":
            good = any(label in wanted for label in labels)
        else:
            good = (facts.get(key) or ABSENT) in wanted
        if not good:
            return False
    return True


def rank(salt: str, machine: str) -> float:
    """A stable number in [0, 1) for one machine under one rollout's salt."""
    digest = hashlib.sha256(f"{salt}/{machine}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def drawn(ranks: Collection[float], share: float | None, at_least: int) -> tuple[int, float]:
    """(how many of a make a share takes, the highest rank among them): rounded up, at least ``at_least``, or all.

    ``ranks``: one of each of the make's machines in the ring; a machine is in the share when its rank is at most
    the cut, which is 1.0 where all are.
    """
    count = taking(len(ranks), share, at_least)
    if count == len(ranks):
        return count, 1.0
    return count, sorted(ranks)[count - 1] if count else -1.0


def taking(count: int, share: float | None, at_least: int) -> int:
    """How many of ``count`` machines of a make a share takes."""
    return count if share is None else min(count, max(math.ceil(share * count - 1e-9), at_least))


DRAWN = 3
"""Times a first batch: so many machines are drawn for it, at different sites, since some are off that day."""


def first_cut(drawable: Iterable[tuple[float, str, bool]], first_batch: int) -> float:
    """The rank up to which a make's machines may be the first, while nothing of it has resolved; 1.0: any may.

    ``drawable``: (rank, site, is another of its role at its site) of each that takes part. One a site is drawn; of
    those that are the only one of their role, none while there are others.
    """
    best = dict[bool, dict[str, float]]()
    for rank_of, site, plural in drawable:
        mine = best.setdefault(plural, {})
        mine[site] = min(rank_of, mine.get(site, 1.0))
    ranks = sorted(best.get(True, best.get(False, {})).values())
    number = DRAWN * first_batch
    return 1.0 if len(ranks) <= number else ranks[number - 1]


def in_share(salt: str, machine: str, cut: float) -> bool:
    """Is a machine drawn, under the cut of its make?"""
    return rank(salt, machine) <= cut
