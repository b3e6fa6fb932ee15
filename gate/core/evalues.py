"""E-values: may these failures still be chance? What halts a rollout by statistics.

- An e-value is a bet against "harmless" that wins nothing on average: P(E ever >= 1/a | harmless) <= a (Ville), however
  often one looks. So nothing is ever reset, neither between rings nor by a restart.
- A *trial* is one scheduled boot of one machine; it fails when it is silent or failed. A *span* is what the trials
  that began in the same stretch of time (an hour) showed; a span counts once all its trials have begun.
- Against controls, machines of the same make and hours that were not updated: given k failures among all, as many hit
  the exposed as their share says. ``r``: how many times more often they fail. (The safe logrank test; Grünwald, Ly,
  Pérez-Ortiz, ter Schure, 2020.)
- Where no controls are left, against a fixed background ``b0``. ``p``: the rate at which they fail instead.
- Each of four guesses, the mild ones first, keeps its own running logarithm: by its ``r`` in a span with controls, by
  its ``p`` in one without. The e-value is the mean of the four. A span costs four additions; four floats are the state.
- Together: 0.2 the fleet, 0.4 the mean over makes, 0.4 the mean over boot numbers 1 to 5. A weighted mean of e-values
  is an e-value under any dependence. A part that has shown nothing counts as 1, which is an e-value too.
- A make's span holds the trials of every boot, so that its controls count once; a boot number has its own. The
  fleet is the sum of its makes, so that a make with a worse background does not stain the release.
- Everything is in natural logarithms, so that 120,000 machines do not overflow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

RATIOS = (3, 10, 30, 100)
LOG_RATIOS = tuple((math.log(r), r - 1) for r in RATIOS)
MULTIPLES, RATES = (3, 10), (0.3, 0.9)  # p: of b0, and plain
HIGHEST_RATE = 0.99  # no guess says that every machine fails: one healthy machine would disprove it for ever
LEAST_BACKGROUND = 0.001  # with less, two failures anywhere would halt the country
FLEET_WEIGHT, MAKES_WEIGHT, BOOTS_WEIGHT = 0.2, 0.4, 0.4
BOOTS = 5
CONTROLS_PER_CANARY, CONTROLS_PER_MAKE = 20, 200


@dataclass(frozen=True, slots=True)
class Span:
    """Trials that began in one stretch of time: of exposed machines and of controls, and how many failed."""

    exposed: int
    failed: int
    controls: int = 0
    controls_failed: int = 0


@dataclass(frozen=True, slots=True)
class Running:
    """The four logarithms so far, one a guess. Store the floats as they are: they are restored exactly."""

    logs: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def against_controls(self, span: Span) -> Running:
        """After one more span, by the failures of its controls."""
        assert 0 <= span.failed <= span.exposed and 0 <= span.controls_failed <= span.controls
        every = span.exposed + span.controls
        if every == 0:
            return self
        share, failed = span.exposed / every, span.failed + span.controls_failed
        own, log1p = span.failed, math.log1p
        return self._plus([own * log_r - failed * log1p(more * share) for log_r, more in LOG_RATIOS])

    def against_background(self, span: Span, background: float) -> Running:
        """After one more span, by a fixed background rate; its controls are not looked at."""
        assert 0 <= span.failed <= span.exposed
        base, healthy = min(max(background, LEAST_BACKGROUND), HIGHEST_RATE), span.exposed - span.failed
        return self._plus([span.failed * lost + healthy * well for lost, well in _odds(base)])

    @property
    def log_e(self) -> float:
        """Log of the e-value: of the mean over the four guesses."""
        return _log_mean(self.logs)

    def plus(self, more: Running) -> Running:
        """After what another has shown of other trials: what a make's span adds, its fleet's running adds too."""
        return self._plus(more.logs)

    def _plus(self, more: Sequence[float]) -> Running:
        (a, b, c, d), (e, f, g, h) = self.logs, more
        return Running((a + e, b + f, c + g, d + h))


def against_background(span: Span, background: float) -> Running:
    """Of all that was ever shown, from two counters: against one background it does not matter when a failure came."""
    return Running().against_background(span, background)


def guessed_rates(background: float) -> list[float]:
    """The four p for a background, none below it: fewer failures than usual are no evidence."""
    guesses = [*(multiple * background for multiple in MULTIPLES), *RATES]
    return [max(min(guess, HIGHEST_RATE), background) for guess in guesses]


@lru_cache(maxsize=256)
def _odds(base: float) -> list[tuple[float, float]]:
    """What one failure and one healthy trial add to each guess."""
    return [(math.log(p / base), math.log1p(-p) - math.log1p(-base)) for p in guessed_rates(base)]


def enough_controls(canaries: int, controls: int) -> bool:
    """May a make be held against its controls? ``canaries``: its machines in the first batch, not in later rings."""
    return controls >= max(CONTROLS_PER_MAKE, CONTROLS_PER_CANARY * canaries)


def merged(fleet: Running, makes: Iterable[Running], boots: Mapping[int, Running]) -> float:
    """Log of the e-value of a rollout.

    ``makes``: one for every make that the fleet had when the rollout began, shown or not, so that the weights do not
    follow the evidence. ``boots``: by boot number, 1 to 5; what is missing counts as 1, what is above 5 as nothing.
    """
    by_boot = [boots[number].log_e if number in boots else 0.0 for number in range(1, BOOTS + 1)]
    parts = (
        math.log(FLEET_WEIGHT) + fleet.log_e,
        math.log(MAKES_WEIGHT) + _log_mean([make.log_e for make in makes]),
        math.log(BOOTS_WEIGHT) + _log_mean(by_boot),
    )
    return _log_sum(parts)


def halts(log_e: float, false_halt: float, machines: int, sites: int, sites_exposed: int) -> bool:
    """Does the rollout halt by statistics? E >= 1/``false_halt``, and at least two different machines have failed, at
    two sites where two are exposed: neither one machine's reports nor one power cut halt a country."""
    assert 0 < false_halt < 1
    return log_e >= -math.log(false_halt) and machines >= 2 and sites >= min(2, sites_exposed)


def _log_mean(logs: Sequence[float]) -> float:
    return _log_sum(logs) - math.log(len(logs)) if logs else 0.0


def _log_sum(logs: Sequence[float]) -> float:
    highest = max(logs)
    return highest + math.log(math.fsum(math.exp(one - highest) for one in logs))
