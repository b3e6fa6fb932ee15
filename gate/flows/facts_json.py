"""A decision's facts and reasons as plain JSON, and back: what makes a decision replayable.

- Times are RFC 3339 texts, durations seconds; nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from gate.core.facts import BrakeCount, Facts, GateRule, Shown
from gate.core.verdict import Reason, Verdict


def dump(facts: Facts) -> dict[str, Any]:
    """Facts as JSON values."""
    plain = _plain(asdict(facts))
    assert isinstance(plain, dict)
    return plain


def load(stored: Mapping[str, Any]) -> Facts:
    """The very facts that ``dump`` wrote."""
    values = dict(stored)
    values["makes"] = tuple(Shown(**{**row, "soak_until": _time(row["soak_until"])}) for row in values["makes"])
    values["brakes"] = tuple(BrakeCount(**row) for row in values["brakes"])
    values["gate"] = GateRule(**values["gate"]) if values["gate"] else None
    values["people"] = tuple(values["people"])
    values["floor"] = timedelta(seconds=values["floor"])
    for name in ("now", "first_seen_at", "freeze_until", "gap_until", "morning_until"):
        values[name] = _time(values.get(name))
    return Facts(**{field.name: values[field.name] for field in fields(Facts) if field.name in values})


def reason(one: Reason) -> dict[str, Any]:
    """A reason as JSON values."""
    earliest = one.earliest_at.isoformat() if one.earliest_at else None
    return {
        "verdict": one.verdict.name,
        "code": one.code,
        "detail": one.detail,
        "rule": one.rule,
        "earliest_at": earliest,
        "make": one.make,
        "numbers": dict(one.numbers),
    }


def reason_of(stored: Mapping[str, Any]) -> Reason:
    """The reason that ``reason`` wrote; one from before numbers were kept has none."""
    verdict, earliest = Verdict[stored["verdict"]], _time(stored["earliest_at"])
    said = stored["code"], stored["detail"], stored["rule"]
    return Reason(verdict, *said, earliest, stored["make"], stored.get("numbers", {}))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return value
