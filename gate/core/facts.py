"""The facts that a decision about one ring rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class GateRule:
    """What the ring before must have shown. ``rule_out_*`` are shares (0.12 = 12 %), None where not asked for."""

    path: str  # of the ring before in the policy: rings[2]
    at_least: int
    sites: int | None
    rule_out_make: float | None
    rule_out_fleet: float | None
    soak_text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What the earlier rings have shown of one make (counts of machines), and what they could show at most.

    ``available``: share members of the earlier rings; ``sites``: different sites among them.
    """

    make: str
    wanted: bool  # the ring that may open has members of it
    opened: bool  # the ring is open for it already
    available: int
    sites: int
    healthy: int
    healthy_sites: int
    bad: int
    pending: int
    explained: int
    stopped: bool
    soak_until: datetime | None
    in_previous: bool  # the ring just before has members of it
    reached: int | None = None  # the last ring before the first one that has opened without it; None: it is in all
    extending: bool = False  # stopped, and a batch more is being tried


@dataclass(frozen=True, slots=True)
class BrakeCount:
    """One brake of the policy and what it counts now; ``of``: the machines that a share is of; None: no share,
    or stored before it was kept."""

    path: str
    text: str
    why: str
    limit: int
    count: int
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision about one ring rests on; stored with it, so that it can be replayed."""

    now: datetime
    ring: str
    path: str
    position: int
    members: int
    verified: bool
    first_seen_at: datetime
    floor: timedelta
    freeze: str  # the name of a dated freeze in force, or empty
    freeze_why: str
    freeze_path: str
    freeze_until: datetime | None
    people_needed: int
    people: tuple[str, ...]
    previous_open: bool
    previous_empty: bool
    gate: GateRule | None
    confidence: float
    background: float
    brakes: tuple[BrakeCount, ...]
    makes: tuple[Shown, ...]
    whole: bool = False  # it opens for all makes together or not at all (the rollout's end)
    log_e: float = 0.0  # of evalues.merged; 0: nothing shown
    false_halt: float = 0.01
    failed_machines: int = 0  # different machines whose trials have failed
    failed_sites: int = 0  # their sites; looked up where log_e alone would halt, as are
    exposed_sites: int = 0  # sites with an exposed machine, counted up to two
    max_lead: int = 1
    gap_until: datetime | None = None  # nobody listened, and machines may come back until then
    controls: int = 0  # machines without the release that were to be on, at the last look
    controls_silent: int = 0
    measured: float = 0.0  # the background as it was measured; 0: stated, or not known
    background_cap: float | None = None  # None: facts from before it was looked at
    morning: str = ""  # why openings wait after a silent morning
    morning_until: datetime | None = None
    people_decide: str = ""  # the rule by which people open this ring; empty: the gate does
    lever_broken: bool = False  # a stock client got what was withheld, and no person has cleared that
    waived: bool = False  # two people have set what the rings before must show aside
    dropped: bool = False  # the ring has no machine, and the policy of today has it no more
