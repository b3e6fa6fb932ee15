"""A value of the policy, or a change of one, in words of German or English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from gate.core import policy_written
from gate.core.policy import Brake
from gate.core.policy_diff import Change, Direction, people_needed
from gate.core.policy_order import same
from gate.core.policy_rows import ROWS
from gate.core.policy_texts import LANGUAGES, text
from gate.core.times import Edge, Freeze, OpenDuration, Window

UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def sentence(change: Change, language: str) -> str:
    """One change with what it means: ``Ring pilots: soak: 2 hours instead of 4 hours (loosens). Rings ...``."""
    known = ROWS.get(change.row)
    effect = known.effect if known else "unknown"
    said = _what(change, effect, language)
    way = text(f"way.{change.direction.name}", language)
    if change.direction is Direction.NEUTRAL:
        return f"{said} ({way})."
    meant = text(f"effect.{'unknown' if _unsure(change) else effect}.{change.direction.name}", language)
    return f"{said} ({way}). {meant}."


def _unsure(change: Change) -> bool:
    """Is it looser only because nobody can compare the two?"""
    known = ROWS.get(change.row)
    if known is None or change.key != "changed" or change.direction is not Direction.LOOSENS:
        return False
    return known.tighter is not same and not known.tighter(
        change.arguments.get("after"), change.arguments.get("before")
    )


def verdict(changes: Sequence[Change], language: str) -> str:
    """How many people it needs, and why."""
    if not changes:
        return text("people.0", language)
    loose = sum(change.direction is Direction.LOOSENS for change in changes)
    return text(f"people.{people_needed(changes)}", language, count=loose, total=len(changes))


def label(row: str, language: str) -> str:
    """The name of a field in words."""
    last = row.rpartition(".")[2]
    known = LANGUAGES[language]
    for key in (f"label.{row}", f"label.{row.removeprefix('rings[].gate.')}", f"label.{last}"):
        if key in known:
            return known[key]
    return known["label.unknown"] + f" ({row})"


def chosen(value: str, language: str) -> str:
    """One of a closed set of words, such as the lever ``held``."""
    return LANGUAGES[language].get(f"choice.{value}", value)


def _what(change: Change, effect: str, language: str) -> str:
    arguments = dict(change.arguments)
    where, subject = str(arguments.get("where", "")), arguments.get("subject", "")
    before, after = (said(arguments.get(one), language) for one in ("before", "after"))
    place = text(f"where.{where}", language, subject=subject) if f"where.{where}" in LANGUAGES[language] else ""
    special = f"{change.key}.{where}"
    if special in LANGUAGES[language]:
        return text(special, language, subject=subject, before=before, after=after)
    if effect == "words":
        return text("words", language, where=place, label=label(change.row, language))
    if change.key == "changed" and before == after:
        return text("renamed", language, where=place)
    if change.key != "changed":
        before, after = before or change.before, after or change.after
    return text(change.key, language, where=place, label=label(change.row, language), before=before, after=after)


def said(value: Any, language: str) -> str:
    """A value in words; ``None`` is *nothing*."""
    match value:
        case None:
            return _word("none", language)
        case bool():
            return _word("yes" if value else "no", language)
        case float():
            return (
                policy_written.share(value)
                .replace("%", " %" if language == "de" else "%")
                .replace(".", "," if language == "de" else ".")
            )
        case timedelta():
            return span(value, language)
        case OpenDuration():
            return _open(value, language)
        case date():
            return value.strftime("%d.%m.%Y") if language == "de" else value.isoformat()
        case Edge():
            return _edge(value, language)
        case Window():
            return _window(value, language)
        case Freeze():
            return _freeze(value, language)
        case Brake():
            return _brake(value, language)
        case Mapping():
            return pick(value, language)
        case tuple() | list():
            word = "or" if value and isinstance(value[0], Window) else "and"
            return joined([said(one, language) for one in value], word, language) or _word("none", language)
        case _:
            return LANGUAGES[language].get(f"word.{value}", str(value))


def joined(parts: Sequence[str], word: str, language: str) -> str:
    """``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {_word(word, language)} {parts[-1]}"


def counted(number: int, key: str, language: str) -> str:
    """A number with its noun: ``1 hour``, ``4 hours``."""
    return f"{number} {form(number, key, language)}"


def form(number: int, key: str, language: str) -> str:
    """The form of a noun or a verb that a number asks for."""
    one, many = LANGUAGES[language][key].split("|")
    return one if number == 1 else many


def span(value: timedelta, language: str, kind: str = "unit", units: Sequence[tuple[int, str]] = UNITS) -> str:
    """A duration in its largest whole unit."""
    seconds = int(value.total_seconds())
    for size, unit in units:
        if seconds >= size and seconds % size == 0:
            return counted(seconds // size, f"{kind}.{unit}", language)
    return counted(seconds, f"{kind}.s", language)


def pick(value: Mapping[str, Sequence[str]], language: str) -> str:
    """``role till or workstation and label pilot``."""
    parts = []
    for key, wanted in value.items():
        words = [_named(one, language) for one in wanted]
        parts.append(f"{_named(key, language)} {joined(words, 'or', language)}")
    return joined(parts, "and", language)


def _named(word: str, language: str) -> str:
    known = ("role", "label", "site", "till", "server", "workstation")
    return _word(word, language) if word in known else word


def _word(word: str, language: str) -> str:
    return LANGUAGES[language][f"word.{word}"]


def _open(value: OpenDuration, language: str) -> str:
    if value.days:
        return counted(value.days, "unit.open.d", language)
    if not value.open:
        return span(value.amount, language)
    return span(value.amount, language, "unit.open", UNITS[1:])  # a day of open hours is no opening day


def _edge(value: Edge, language: str) -> str:
    anchor = _word(value.anchor.value, language)
    if not value.offset:
        return anchor
    side = _word("after" if value.offset > timedelta() else "before", language)
    return f"{span(abs(value.offset), language)} {side} {anchor}"


def _window(value: Window, language: str) -> str:
    if value.start is None or value.end is None:
        return _word("always", language)
    return _span(value.start, value.end, language)


def _span(start: Edge, end: Edge, language: str) -> str:
    return text("word.span", language, start=_edge(start, language), end=_edge(end, language))


def _freeze(value: Freeze, language: str) -> str:
    if value.duty:
        return _word("duty", language)
    if value.first or value.last:
        key = "word.dates" if value.first and value.last else "word.dates from" if value.first else "word.dates to"
        return text(key, language, first=said(value.first, language), last=said(value.last, language))
    if value.days:
        days = joined([f"{day}." if language == "de" else str(day) for day in value.days], "and", language)
        return text("word.days", language, days=days, clock=policy_written.clock(value.until_minute))
    assert value.start is not None
    assert value.end is not None
    return _span(value.start, value.end, language)


def _brake(value: Brake, language: str) -> str:
    number = said(value.number, language) if value.share else f"{value.number:g}"
    parts = [text("word.brake", language, number=number, what=_word(value.what, language))]
    if value.within is not None:
        key = "word.unheard" if value.after_install else "word.within"
        parts.append(text(key, language, span=span(value.within, language)))
    if value.at is not None:
        parts.append(text("word.at", language, at=_edge(value.at, language)))
    if value.rings:
        parts.append(text("word.in", language, rings=joined(value.rings, "and", language)))
    if value.and_:
        acts = joined([_word(act, language) for act in value.and_], "and", language)
        parts.append(text("word.then", language, acts=acts))
    return ", ".join(parts)
