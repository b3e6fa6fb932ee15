"""One row for each field of the policy language: when a new value is surely not looser, and what that means.

``loosens`` is what policies/README.md says of it; ``effect`` names the two sentences for people (looser, tighter).
A field that has no row loosens by any change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gate.core import policy_order as order
from gate.core.policy import TRUSTS
from gate.core.policy_order import Relation


@dataclass(frozen=True, slots=True)
class Row:
    """How one field is compared. ``leans``: it follows from another field, and is told only where it loosens."""

    tighter: Relation
    loosens: str
    effect: str
    leans: bool = False


def _wider_draw(old: Any, new: Any) -> bool:
    return old is None or new is None or bool(new <= old)


def _thinner_proof(old: Any, new: Any) -> bool:
    return old is None or new is None or bool(new >= old)


UNKNOWN = Row(order.same, "any change", "unknown")
ANY = ("any change", "unknown")
TEXT = Row(order.anything, "-", "words")
FREEZE = Row(order.same, "less time frozen", "frozen")
BRAKE = Row(order.same, "what it would halt no longer", "brakes")
WINDOW = Row(order.same, "more time", "granted")
SHARE = "more, and less where this or a later ring states `rule_out`"
ROWS: Mapping[str, Row] = {
    "version": Row(order.same, "-", "unknown"),
    "fleet": Row(order.same, *ANY),
    "timezone": Row(order.same, *ANY),
    "makes.by": Row(order.same, *ANY),
    "sources[].name": Row(order.same, "a new source, and one that goes", "arrives"),
    "sources[].name (gone)": Row(order.same, "", "gone"),
    "sources[].plugin": Row(order.same, *ANY),
    "sources[].kind": Row(order.same, *ANY),
    "sources[].boot_critical": Row(order.ranked(False, True), "false", "proves"),
    "sources[].lever": Row(order.same, *ANY),
    "sources[].keep": Row(order.same, *ANY),
    "sources[].must_be_everywhere_by": Row(order.same, *ANY),
    "sources[].hosts": Row(order.subset, "more", "arrives"),
    "sources[].trust": Row(order.ranked(*TRUSTS), "less", "verifies"),
    "sources[].mirror": Row(order.same, *ANY),
    "sources[].order": Row(order.same, *ANY),
    "rings[].name": Row(order.same, "a ring added, removed or moved", "rings"),
    "rings[].why": TEXT,
    "rings[].pick": Row(order.same_pick, *ANY),
    "rings[].windows": WINDOW,
    "rings[].at_most.per_site": Row(order.per_site, "more", "exposes"),
    "rings[].at_most.share": Row(order.most, SHARE, "exposes"),
    "rings[].at_most.share (drawn)": Row(_wider_draw, "", "drawn", leans=True),
    "rings[].at_most.share (proof)": Row(_thinner_proof, "", "proof", leans=True),
    "rings[].at_most.cap": Row(order.most, "more", "exposes"),
    "rings[].gate.soak": Row(order.longer, "less", "opens"),
    "rings[].gate.at_least": Row(order.least, "less, and more where the ring has a share", "proves"),
    "rings[].gate.sites": Row(order.least, "less", "proves"),
    "rings[].gate.rule_out": Row(order.most, "more", "proves"),
    "rings[].gate.rule_out.make": Row(order.most, "more", "proves"),
    "rings[].gate.rule_out.fleet": Row(order.most, "more", "proves"),
    "rings[].gate.boots": Row(order.least, "less", "proves"),
    "rings[].floor": Row(order.least, "less", "opens"),
    "rings[].needs.people": Row(order.least, "less", "people"),
    "rings[].probes": Row(order.superset, "fewer", "proves"),
    "at_risk.per_make": Row(order.most, "more", "loses"),
    "at_risk.fleet": Row(order.most, "more", "loses"),
    "first_batch": Row(order.most, "more", "loses"),
    "common_floor": Row(order.least, "less", "opens"),
    "windows.<name>": WINDOW,
    "default_windows.<kind>": WINDOW,
    "freeze[]": FREEZE,
    "freeze[].name": TEXT,
    "freeze[].why": TEXT,
    "freeze[].owner": TEXT,
    "freeze[].from": FREEZE,
    "freeze[].to": FREEZE,
    "freeze[].days": FREEZE,
    "freeze[].during": FREEZE,
    "brakes[]": BRAKE,
    "brakes[].if": BRAKE,
    "brakes[].within": BRAKE,
    "brakes[].at": BRAKE,
    "brakes[].in": BRAKE,
    "brakes[].then": TEXT,
    "brakes[].and": Row(order.same, "fewer", "brakes"),
    "brakes[].why": TEXT,
    "expedite": Row(order.ranked(True, False), "a fast lane where there was none", "skips"),
    "expedite.people": Row(order.least, "fewer", "people"),
    "expedite.may_skip": Row(order.subset, "more", "skips"),
    "expedite.never_skip": Row(order.superset, "fewer", "skips"),
    "expedite.expires": Row(order.shorter, "longer", "skips"),
    "unreachable.agent": Row(order.same, "-", "unknown"),
    "unreachable.remind_after": Row(order.shorter, "longer", "notices"),
    "defaults.confidence": Row(order.least, "less", "proves"),
    "defaults.false_halt": Row(order.least, "less", "halts"),
    "defaults.background": Row(order.background, "more, and any change to or from measured", "proves"),
    "defaults.background_cap": Row(order.most, "more", "halts"),
    "defaults.inconclusive_after": Row(order.shorter, "longer", "notices"),
    "defaults.max_lead_rings": Row(order.most, "more", "opens"),
    "defaults.watch": Row(order.longer, "less", "notices"),
    "defaults.supersede": Row(order.supersede, "any change but away from inherit", "unknown"),
    "defaults.probes": Row(order.superset, "fewer", "proves"),
    "evidence": Row(order.ranked("alive", "boot"), "alive", "proves"),
    "reboot": Row(order.same, *ANY),
    "boots": Row(order.least, "less", "proves"),
    "stay_up": Row(order.longer, "less", "proves"),
    "tries": Row(order.most, "more", "notices"),
    "deadline": Row(order.deadline, "longer, and any change to or from learned", "notices"),
    "lease": Row(order.shorter, "longer", "notices"),
    "checkin": Row(order.same, *ANY),
    "site_dark_grace": Row(order.shorter, "longer", "notices"),
    "on_halt": Row(order.ranked("stay", "recall"), "stay", "halts"),
    "decides": Row(order.ranked("gate", "people"), "gate", "people"),
}
