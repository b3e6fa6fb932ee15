"""A value as a policy says it: the other way round from reading. Nothing is the empty text."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from gate.core.policy import Brake
from gate.core.times import Edge, Freeze, OpenDuration, Window


def written(value: Any) -> str:
    """The notation of the policy language."""
    match value:
        case None | "" | () | []:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return share(value)
        case timedelta():
            return str(OpenDuration(value))
        case Edge():
            return edge(value)
        case Window():
            return "always" if value.start is None or value.end is None else _span(value.start, value.end)
        case Freeze():
            return freeze(value)
        case Brake():
            return brake(value)
        case date():
            return value.isoformat()
        case Mapping():
            return "{" + ", ".join(f"{key}: {written(one)}" for key, one in value.items()) + "}"
        case tuple() | list():
            return "[" + ", ".join(written(one) for one in value) + "]"
        case _:
            return str(value)


def share(value: float) -> str:
    """0.0075 -> ``0.75%``."""
    return f"{value * 100:.6f}".rstrip("0").rstrip(".") + "%"


def edge(value: Edge) -> str:
    """``30m after opening``."""
    if not value.offset:
        return value.anchor.value
    side = "after" if value.offset > timedelta() else "before"
    return f"{OpenDuration(abs(value.offset))} {side} {value.anchor.value}"


def clock(minute: int) -> str:
    """Minutes after midnight -> ``12:00``."""
    return f"{minute // 60:02}:{minute % 60:02}"


def freeze(value: Freeze) -> str:
    """When it holds, and its words."""
    said = {"name": value.name}
    if value.duty:
        said["during"] = "duty"
    if value.days:
        said |= {"days": written(value.days), "to": f'"{clock(value.until_minute)}"'}
    if value.start is not None and value.end is not None:
        said |= {"from": edge(value.start), "to": edge(value.end)}
    said |= {"from": value.first.isoformat()} if value.first else {}
    said |= {"to": value.last.isoformat()} if value.last else {}
    said |= {key: text for key, text in (("owner", value.owner), ("why", value.why)) if text}
    return "{" + ", ".join(f"{key}: {text}" for key, text in said.items()) + "}"


def brake(value: Brake) -> str:
    """Its condition and what comes after, with its words."""
    number = share(value.number) if value.share else f"{value.number:g}"
    said = {"if": f"{value.what} >= {number}"}
    if value.within is not None:
        said["within"] = f"{OpenDuration(value.within)}" + (" after install" if value.after_install else "")
    said |= {"at": edge(value.at)} if value.at else {}
    said |= {"in": written(value.rings)} if value.rings else {}
    said |= {"then": "halt"}
    said |= {"and": written(value.and_)} if value.and_ else {}
    said |= {"why": value.why} if value.why else {}
    return "{" + ", ".join(f"{key}: {text}" for key, text in said.items()) + "}"


def _span(start: Edge, end: Edge) -> str:
    return "{from: " + edge(start) + ", to: " + edge(end) + "}"
