"""The policy as a JSON Schema (2020-12), for completion and marks in editors; ``gate policy lint`` says more.

Built from the same words as the reader; a test holds their keys together.
"""

from __future__ import annotations

from typing import Any

from gate.core import policy as read

SPAN = {"type": "string", "pattern": r"^\d{1,6}\s?[smhd]$", "examples": ["15m", "2h", "7d"]}
OPEN_SPAN = {"type": "string", "pattern": r"^\d{1,6}\s?[smhd](\s+open)?$", "examples": ["4h open", "1d open", "1h"]}
SHARE = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,6})?\s?%$", "examples": ["2%", "25%"]}
SLUG = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,40}$"}
HOST = {
    "type": "string",
    "pattern": r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?$",
    "maxLength": 259,
    "examples": ["database.example", "database.example:8443"],
}
TEXT = {"type": "string", "maxLength": 500}
EDGE = {
    "type": "string",
    "pattern": r"^(opening|closing|boot|\d{1,5}\s?[smhd]\s+(before|after)\s+(opening|closing|boot))$",
    "examples": ["30m after opening", "opening", "boot"],
}
DAY = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
CLOCK = {"type": "string", "pattern": r"^\d{1,2}:\d{2}$"}


def _whole(low: int, high: int = 10**9) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


def _one_of(*words: str) -> dict[str, Any]:
    return {"enum": list(words)}


def _many(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _either(word: str, other: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"const": word}, other]}


def _map(fields: dict[str, Any], *needed: str) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(needed), "additionalProperties": False}


def schema() -> dict[str, Any]:
    """The whole schema."""
    own = {
        "evidence": _one_of("boot", "alive"),
        "reboot": _one_of("natural", "after install"),
        "boots": _whole(1, 20),
        "stay_up": SPAN,
        "tries": _whole(1, 10),
        "deadline": _either("learned", OPEN_SPAN),
        "lease": SPAN,
        "checkin": SPAN,
        "site_dark_grace": OPEN_SPAN,
        "on_halt": _one_of("stay", "recall"),
        "decides": _one_of("gate", "people"),
    }
    probes = _many(TEXT)
    ring = {
        "name": SLUG,
        "why": TEXT,
        "pick": {"type": "object", "additionalProperties": _many(TEXT)},
        "windows": _many(TEXT),
        "at_most": _map({"per_site": _either("half", _whole(1, 1000)), "share": SHARE, "cap": _whole(1)}),
        "gate": _map(
            {
                "soak": OPEN_SPAN,
                "at_least": _whole(1, 100000),
                "sites": _whole(1, 100000),
                "rule_out": {"anyOf": [SHARE, _map({"make": SHARE, "fleet": SHARE})]},
                "boots": _whole(1, 20),
            }
        ),
        "floor": SPAN,
        "needs": _map({"people": _whole(1, 10)}),
        "probes": probes,
        **own,
    }
    source = {
        "name": SLUG,
        "plugin": SLUG,
        "kind": _one_of(*read.KINDS),
        "boot_critical": {"type": "boolean"},
        "lever": _one_of("held", "advised", "no lever"),
        "keep": _whole(1, 1000),
        "must_be_everywhere_by": SPAN,
        "hosts": _many(HOST),
        "trust": _one_of(*read.TRUSTS),
        "mirror": TEXT,
        "order": TEXT,
        **own,
    }
    defaults = {
        **own,
        "confidence": SHARE,
        "false_halt": SHARE,
        "background": _either("measured", SHARE),
        "watch": SPAN,
        "supersede": _one_of("queue", "restart", "inherit"),
        "background_cap": SHARE,
        "inconclusive_after": OPEN_SPAN,
        "max_lead_rings": _whole(0, 100),
        "probes": probes,
    }
    freeze = {
        "name": SLUG,
        "why": TEXT,
        "owner": TEXT,
        "from": {"anyOf": [DAY, EDGE]},
        "to": {"anyOf": [DAY, EDGE, CLOCK]},
        "during": _one_of("duty"),
        "days": _many(_whole(1, 31)),
    }
    events = "|".join(read.EVENTS)
    brake = {
        "if": {"type": "string", "pattern": rf"^({events})\s*>=\s*\d{{1,6}}(\.\d+)?(\s?%)?$"},
        "within": {"type": "string", "pattern": r"^\d{1,6}\s?[smhd](\s+after install)?$"},
        "at": EDGE,
        "in": _many(SLUG),
        "then": _one_of("halt"),
        "and": _many(_one_of("page", "morning_notice")),
        "why": TEXT,
    }
    skips = _many(_one_of("soak", "windows", "rings", "per_site", "brakes", "floor", "at_least"))
    top = {
        "version": {"const": 1},
        "fleet": SLUG,
        "timezone": {"type": "string"},
        "makes": _map({"by": _many(TEXT)}, "by"),
        "sources": {"type": "array", "items": _map(source, "name", "plugin")},
        "rings": {"type": "array", "minItems": 1, "items": _map(ring, "name", "pick")},
        "at_risk": _map({"per_make": _whole(1), "fleet": _whole(1)}),
        "first_batch": _whole(1, 1000),
        "common_floor": SPAN,
        "defaults": _map(defaults),
        "windows": {"type": "object", "additionalProperties": _map({"from": EDGE, "to": EDGE})},
        "default_windows": _map(dict.fromkeys(read.KINDS, _many(TEXT))),
        "freeze": {"type": "array", "items": _map(freeze, "name")},
        "brakes": {"type": "array", "items": _map(brake, "if", "then")},
        "expedite": _map({"people": _whole(2, 10), "may_skip": skips, "never_skip": skips, "expires": SPAN}),
        "unreachable": _map({"agent": _one_of("keep"), "remind_after": SPAN}),
    }
    needed = ("version", "fleet", "timezone", "makes", "sources", "rings")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gate policy", **_map(top, *needed)}
