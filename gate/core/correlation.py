"""Do the machines of one site fail together? The intra-site correlation of failures, from pairs. Pure.

- A pair is two machines of one site that have the same release and are resolved; ``both``: both of them failed.
- rho = (P(both fail) - p^2) / (p (1 - p)): 0 where they fail by themselves, 1 where a site fails as one (the moment
  estimator of the intra-cluster correlation; Ridout, Demetrio and Firth, Biometrics 55, 1999, "pairs").
- n machines at sites of m each then say as much as n / (1 + (m - 1) rho) machines at sites of their own (Kish's design
  effect).
- Below ``LEAST_FAILURES`` failures nothing is said: two failures decide the number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LEAST_FAILURES = 5


@dataclass(frozen=True, slots=True)
class Pairs:
    """What releases have shown: resolved machines, those that failed, pairs at one site, pairs that both failed."""

    machines: int = 0
    failed: int = 0
    pairs: int = 0
    both: int = 0

    def plus(self, more: Pairs) -> Pairs:
        """Both together."""
        return Pairs(
            self.machines + more.machines,
            self.failed + more.failed,
            self.pairs + more.pairs,
            self.both + more.both,
        )


def pairs_of(sites: Iterable[tuple[int, int]]) -> Pairs:
    """``sites``: (resolved machines, failed among them) of each site, under one release."""
    found = Pairs()
    for machines, failed in sites:
        found = found.plus(Pairs(machines, failed, machines * (machines - 1) // 2, failed * (failed - 1) // 2))
    return found


def correlation(shown: Pairs) -> float | None:
    """rho, between 0 and 1; None where too little has been shown."""
    if shown.failed < LEAST_FAILURES or shown.failed >= shown.machines or not shown.pairs:
        return None
    rate = shown.failed / shown.machines
    rho = (shown.both / shown.pairs - rate * rate) / (rate * (1 - rate))
    return min(max(rho, 0.0), 1.0)


def counts_as(machines: int, a_site: float, rho: float) -> float:
    """As many machines at sites of their own as ``machines`` at sites of ``a_site`` each speak for."""
    return machines / (1 + (a_site - 1) * rho)
