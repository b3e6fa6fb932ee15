"""What the gate is held against: procedures that others use, in the same fleet with the same content.

- A timer that ignores silence: dead machines send no report, so every ring opens after its night.
- Random canaries: rings drawn from the whole fleet, each opens unless more than 5 % of the ring before failed.
- Canaries of one make: the same, with the first two rings of the commonest make alone.
- Delivery without a limit in flight: claims come in at 200 a minute, and the dead are noticed after 18 minutes.
"""

from __future__ import annotations

import numpy as np

from tests.evidence.fleet import MACHINES, SILENT, SIZES, Content, Outcome

RINGS = (10, 100, 1_000, 10_000, MACHINES - 11_110)
THRESHOLD = 0.05
PER_MINUTE = 200
NOTICED_S = 18 * 60  # a machine that died while applying is silent: when a brake counts it
APPLY_S = 17  # content that a healthy machine applies without a boot: mean


def timer(content: Content, rng: np.random.Generator) -> Outcome:
    """One ring a night, whatever is silent."""
    return Outcome("out", MACHINES, int(rng.binomial(SIZES, content.bricks).sum()), len(RINGS))


def random_canaries(content: Content, rng: np.random.Generator, one_make: bool = False) -> Outcome:
    """A share of failures over all makes decides."""
    left, out = np.array(SIZES), Outcome()
    for ring, size in enumerate(RINGS):
        if ring < 2 and one_make:
            taken = np.array([size, *[0] * (len(SIZES) - 1)])
        else:
            taken = rng.multivariate_hypergeometric(left, size)
        left = left - taken
        bricked = rng.binomial(taken, content.bricks)
        failed = bricked.sum() + rng.binomial(size - bricked.sum(), SILENT)
        out.exposed, out.bricked, out.nights = out.exposed + size, out.bricked + int(bricked.sum()), ring + 1
        if failed > THRESHOLD * size:
            out.end = "halted"
            return out
    out.end = "out"
    return out


def crash_on_apply(releases: int, cap: int | None, rng: np.random.Generator) -> np.ndarray:
    """Machines exposed to content that kills while it is applied, by the second in which the first is silent."""
    arrived = rng.poisson(PER_MINUTE / 60, (releases, NOTICED_S)).cumsum(axis=1)
    first = (arrived > 0).argmax(axis=1)
    rest = rng.poisson(PER_MINUTE / 60 * first)  # who came in until the first one's silence was noticed
    exposed = arrived[:, -1] + rest
    return exposed if cap is None else np.minimum(exposed, cap)


def minutes_to_deliver(releases: int, cap: int | None, rng: np.random.Generator, machines: int = 10_000) -> np.ndarray:
    """Minutes until a ring of healthy machines has it: who is refused a place asks again."""
    done = np.zeros(releases, dtype=np.int64)
    flying = np.zeros(releases, dtype=np.int64)
    waiting = np.zeros(releases, dtype=np.int64)
    came = np.zeros(releases, dtype=np.int64)
    seconds = np.zeros(releases)
    for _ in range(4 * 60 * machines // PER_MINUTE):
        running = done < machines
        if not running.any():
            break
        seconds += running
        landed = rng.binomial(flying, 1 - np.exp(-1 / APPLY_S))
        done, flying = done + landed, flying - landed
        new = np.minimum(rng.poisson(PER_MINUTE / 60, releases), machines - came)
        came, waiting = came + new, waiting + new
        start = waiting if cap is None else np.minimum(waiting, cap - flying)
        waiting, flying = waiting - start, flying + start
    return seconds / 60
