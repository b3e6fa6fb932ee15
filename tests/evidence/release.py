"""One release, night by night, through the real rules: ``opening.judge``, ``exposure``, ``stats``, ``evalues``.

- In the evening rings open and machines claim; in the morning they boot, and each of the mornings after, five times.
- The first boot is what opens (``boots: 1``); every boot is a trial of what halts.
- A machine that is bricked boots no more; one that is silent for another cause is back the next morning.
- While controls are silent far above the background (an outage), first boots stay pending and are tried again.
- A person who is asked looks at the failed machines and sees whether the content did it. It costs a night.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np

from gate.core import evalues, stats
from gate.core.evalues import Running, Span
from gate.core.exposure import EXTENSIONS, Pace, batch, pace
from gate.core.facts import Facts, GateRule, Shown
from gate.core.opening import judge
from gate.core.verdict import Decision
from tests.evidence.fleet import BOOTS, MACHINES, MAKES, PER_SITE, SILENT, SIZES, Content, Ladder, Outcome

NOW = datetime(2026, 1, 5, 20, tzinfo=UTC)
COUNT = range(len(MAKES))
BACKGROUND_CAP = 0.03
LAST_NIGHT = 60


@lru_cache(maxsize=16)
def quotas_of(ladder: Ladder) -> list[list[int]]:
    """Members of each ring by make, once for all releases of a ladder."""
    return ladder.quotas()


@lru_cache(maxsize=16)
def up_to(ladder: Ladder) -> list[list[int]]:
    """Position -> members of all rings before it, by make."""
    quotas = quotas_of(ladder)
    return [[sum(quota[make] for quota in quotas[:position]) for make in COUNT] for position in range(len(quotas) + 1)]


class Release:
    """The state of one release; ``run`` returns how it ended."""

    def __init__(self, ladder: Ladder, content: Content, rng: np.random.Generator) -> None:
        self.ladder, self.content, self.rng = ladder, content, rng
        self.quotas = quotas_of(ladder)
        self.up_to = up_to(ladder)
        self.opened = [0 for _ in COUNT]
        self.extra = [0 for _ in COUNT]  # machines that extensions have added to the open rings
        self.extended = [0 for _ in COUNT]  # batches in the make's present ring
        self.fleet_extended: dict[int, int] = {}
        self.exposed = [0 for _ in COUNT]
        self.healthy = [0 for _ in COUNT]
        self.failed = [0 for _ in COUNT]
        self.explained = [0 for _ in COUNT]
        self.dead = [0 for _ in COUNT]
        self.again = [0 for _ in COUNT]  # exposed, first boot still pending after an outage
        self.watched: list[list[int]] = []  # machines by boots behind them, by make
        self.trials_failed = 0
        self.by_make = [Running() for _ in COUNT]
        self.by_boot = {boot: Running() for boot in range(1, BOOTS + 1)}
        self.fleet = Running()
        self.out = Outcome()

    def run(self) -> Outcome:
        quiet = 0
        for night in range(1, LAST_NIGHT + 1):
            claims = self.evening()
            if self.out.end:
                break
            if sum(claims):
                self.out.nights = night
            self.morning(night, claims)
            if self.halted():
                self.out.end = "halted"
                break
            quiet = 0 if sum(self.exposed) < MACHINES or sum(self.again) else quiet + 1
            if quiet >= BOOTS:
                self.out.end = "out"
                break
        else:
            self.out.end = "stuck"
        self.out.exposed, self.out.bricked = sum(self.exposed), sum(self.dead)
        return self.out

    # In the evening

    def evening(self) -> list[int]:
        """Opens what may open; how many machines of each make claim tonight."""
        if sum(self.exposed) == MACHINES:
            return list(self.again)
        shorts = self.open_rings()
        limits, asks = [], False
        for make in COUNT:
            bad, resolved = self.bad(make), self.healthy[make] + self.bad(make)
            step = pace(bad, resolved, self.ladder.background, self.extended[make], make in shorts)
            match step:
                case Pace.GROW:
                    limits.append(min(self.room(make), self.limit(make)))
                case Pace.EXTEND:
                    limits.append(self.extend(make, resolved))
                case Pace.ASK:
                    asks = self.ask([make]) or asks
                    limits.append(0)
        if self.out.end:
            return limits
        if not any(limits) and not asks and not any(self.again):
            limits = self.fleet_short()
        claims = self.within_fleet(limits)
        return [n + again for n, again in zip(claims, self.again, strict=True)]

    def open_rings(self) -> set[int]:
        """Judges each ring that is not open for all makes; the makes that fall short with all they have resolved."""
        shorts: set[int] = set()
        for position in range(1, len(self.quotas)):
            if min(self.opened) >= position:
                continue
            if max(self.opened) < position - 1:
                break
            decision = self.judged(position)
            for name in decision.makes:
                make = MAKES.index(name)
                self.opened[make], self.extended[make] = position, 0
            shorts |= {
                MAKES.index(reason.make)
                for reason in decision.reasons
                if reason.code in ("rule_out", "at_least") and reason.make
            }
        return {make for make in shorts if self.room(make) == 0 and self.again[make] == 0}

    def judged(self, position: int) -> Decision:
        ladder = self.ladder
        shown = tuple(
            Shown(
                make=MAKES[make],
                wanted=self.quotas[position][make] > 0 and self.opened[make] >= position - 1,
                opened=self.opened[make] >= position,
                available=self.available(make, position),
                sites=self.available(make, position),
                healthy=self.healthy[make],
                healthy_sites=self.healthy[make],
                bad=self.bad(make),
                pending=self.again[make],
                explained=self.explained[make],
                stopped=self.stopped(make),
                soak_until=NOW,
                in_previous=True,
                reached=self.opened[make],
            )
            for make in COUNT
        )
        rule = GateRule(
            f"rings[{position - 1}]",
            ladder.at_least,
            None,
            ladder.rule_out_make[position - 1],
            ladder.rule_out_fleet[position - 1],
            "4h open",
        )
        return judge(
            Facts(
                now=NOW,
                ring=f"ring-{position}",
                path=f"rings[{position}]",
                position=position,
                members=sum(self.quotas[position]),
                verified=True,
                first_seen_at=NOW,
                floor=timedelta(0),
                freeze="",
                freeze_why="",
                freeze_path="",
                freeze_until=None,
                people_needed=0,
                people=(),
                previous_open=True,
                previous_empty=False,
                gate=rule,
                confidence=ladder.confidence,
                background=ladder.background,
                brakes=(),
                makes=shown,
            )
        )

    def bad(self, make: int) -> int:
        return self.failed[make] - self.explained[make]

    def stopped(self, make: int) -> bool:
        return stats.unexplained(self.bad(make), self.healthy[make] + self.bad(make), self.ladder.background)

    def available(self, make: int, position: int) -> int:
        return self.up_to[position][make] + self.extra[make]

    def room(self, make: int) -> int:
        """Members of its open rings that have not claimed."""
        return min(self.available(make, self.opened[make] + 1), SIZES[make]) - self.exposed[make]

    def limit(self, make: int) -> int:
        ladder = self.ladder
        limit = stats.in_flight_limit(
            self.healthy[make],
            self.bad(make),
            ladder.at_risk_make,
            ladder.background,
            ladder.confidence,
            ladder.first_batch,
        )
        return max(limit - self.again[make], 0)

    def within_fleet(self, wanted: list[int]) -> list[int]:
        """The fleet's budget, shared in proportion to what the makes ask for."""
        ladder = self.ladder
        bad = sum(self.bad(make) for make in COUNT)
        first = max(ladder.at_risk_fleet, ladder.first_batch)
        limit = stats.in_flight_limit(
            sum(self.healthy), bad, ladder.at_risk_fleet, ladder.background, ladder.confidence, first
        )
        limit, total = max(limit - sum(self.again), 0), sum(wanted)
        if total <= limit:
            return wanted
        claims = [n * limit // total for n in wanted]
        for make in sorted(COUNT, key=lambda make: claims[make] - wanted[make]):
            if sum(claims) < limit and claims[make] < wanted[make]:
                claims[make] += 1
        return claims

    def extend(self, make: int, resolved: int) -> int:
        self.extended[make] += 1
        more = min(batch(resolved, self.ladder.first_batch), SIZES[make] - self.exposed[make])
        self.extra[make] += max(more - self.room(make), 0)
        return more

    def fleet_short(self) -> list[int]:
        """Nobody may claim, and no make alone is at fault: the fleet falls short of the ring's numbers."""
        ring = max(self.opened)
        if self.fleet_extended.get(ring, 0) >= EXTENSIONS:
            self.ask(list(COUNT))
            return [0 for _ in COUNT]
        self.fleet_extended[ring] = self.fleet_extended.get(ring, 0) + 1
        limits = []
        for make in COUNT:
            kept = self.extended[make]
            limits.append(self.extend(make, self.healthy[make] + self.bad(make)))
            self.extended[make] = kept
        return limits

    def ask(self, makes: list[int]) -> bool:
        """A person looks at what has failed: stops what the content broke, explains the rest."""
        self.out.asked += 1
        where = MAKES[makes[0]] if len(makes) == 1 else "fleet"
        count = sum(self.healthy[make] + self.bad(make) for make in makes)
        self.out.because.append(f"{where}: {sum(self.bad(make) for make in makes)} of {count}")
        if any(self.dead[make] for make in makes):
            self.out.end = "stopped by a person"
        for make in makes:
            self.explained[make] = self.failed[make]
        return True

    # In the morning

    def morning(self, night: int, claims: list[int]) -> None:
        outage = night in self.content.outage_nights
        silent = self.content.outage_silent if outage else SILENT
        new = [n - again for n, again in zip(claims, self.again, strict=True)]
        self.exposed = [before + n for before, n in zip(self.exposed, new, strict=True)]
        tried = [claims, *self.watched]
        died = self.die(tried)
        alive = (
            [[n - d for n, d in zip(*rows, strict=True)] for rows in zip(tried, died, strict=True)] if died else tried
        )
        quiet = self.rng.binomial(alive, silent).tolist()
        unexposed = [size - n for size, n in zip(SIZES, self.exposed, strict=True)]
        elsewhere = (sum(unexposed) / MACHINES) ** (PER_SITE - 1)
        controls = [int(n * elsewhere) for n in unexposed]
        controls_quiet = self.rng.binomial(controls, silent).tolist()
        failed = quiet
        if died:
            self.dead = [before + sum(row) for before, row in zip(self.dead, zip(*died, strict=True), strict=True)]
            failed = [[d + q for d, q in zip(*rows, strict=True)] for rows in zip(died, quiet, strict=True)]
        self.trials_failed += sum(map(sum, failed))
        self.bet(tried, failed, controls, controls_quiet)
        if sum(controls) >= evalues.CONTROLS_PER_MAKE and sum(controls_quiet) > BACKGROUND_CAP * sum(controls):
            self.again = alive[0]  # inconclusive: the clock stands
            self.watched = [[0 for _ in COUNT], *alive[1 : BOOTS - 1]]
            return
        self.again = [0 for _ in COUNT]
        for make in COUNT:
            self.failed[make] += failed[0][make]
            self.healthy[make] += claims[make] - failed[0][make]
        self.watched = alive[: BOOTS - 1]

    def die(self, tried: list[list[int]]) -> list[list[int]]:
        """Who dies at which boot; nothing at all when nobody can."""
        boot = self.content.at_boot
        if self.content.harmless or boot > len(tried):
            return []
        died = [[0 for _ in COUNT] for _ in tried]
        died[boot - 1] = self.rng.binomial(tried[boot - 1], self.content.bricks).tolist()
        return died

    def bet(
        self, tried: list[list[int]], failed: list[list[int]], controls: list[int], controls_failed: list[int]
    ) -> None:
        """One span a make, one a make and boot number; against a background the makes of a boot add up."""
        bare = [not self.controlled(make, controls) for make in COUNT]
        for make, row, lost in zip(COUNT, zip(*tried, strict=True), zip(*failed, strict=True), strict=True):
            exposed = sum(row)
            if exposed:
                span = Span(exposed, sum(lost), controls[make], controls_failed[make])
                shown = self.after(Running(), span, bare[make])
                self.by_make[make] = self.by_make[make].plus(shown)
                self.fleet = self.fleet.plus(shown)
        if not self.ladder.per_boot:
            return
        for boot, (row, lost) in enumerate(zip(tried, failed, strict=True), 1):
            running = self.by_boot[boot]
            for make in COUNT:
                if row[make] and not bare[make]:
                    span = Span(row[make], lost[make], controls[make], controls_failed[make])
                    running = self.after(running, span, False)
            exposed = sum(n for n, alone in zip(row, bare, strict=True) if alone)
            if exposed:
                failures = sum(n for n, alone in zip(lost, bare, strict=True) if alone)
                running = self.after(running, Span(exposed, failures), True)
            self.by_boot[boot] = running

    def controlled(self, make: int, controls: list[int]) -> bool:
        return self.ladder.controls and evalues.enough_controls(self.ladder.first_batch, controls[make])

    def after(self, running: Running, span: Span, bare: bool) -> Running:
        return running.against_background(span, self.ladder.background) if bare else running.against_controls(span)

    def halted(self) -> bool:
        every = (self.fleet, *self.by_make, *self.by_boot.values())
        if max(max(running.logs) for running in every) < -math.log(self.ladder.false_halt):
            return False  # a mean is never above its largest part
        log_e = evalues.merged(self.fleet, self.by_make, self.by_boot)
        sites = sum(self.exposed)  # the first rings take one machine a site
        return evalues.halts(log_e, self.ladder.false_halt, self.trials_failed, self.trials_failed, sites)
