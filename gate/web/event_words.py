"""What an event carries, as pairs of words: never a raw dict, a time in UTC's own spelling, or a word of the code.

- A long list folds under how many there are.
- Times are local, days by the language; what is empty is left out; ``because`` has a column of its own.
- What people and policies wrote stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from gate.core import reason_texts, said_texts, words
from gate.core.backtests import ALL, RECORDED
from gate.core.policy_words import chosen
from gate.web import event_texts
from gate.web.texts import translate

STATES = ("state", "was", "step")
ROLES = ("role",)
CHOICES = ("trust", "lever")
TESTED = {RECORDED: "recorded days", ALL: "all shipped scenarios"}
FOLDS = 3
Local = Callable[[datetime], str]


def details(detail: Mapping[str, Any], language: str, local: Local) -> list[tuple[str, str, str]]:
    """(word, value, what it folds under or nothing) of each thing that an event carries; ``local`` says a time."""
    found = []
    for key, value in detail.items():
        said, word = _said(key, value, language, local), event_texts.carried(key, language)
        if key != "because" and said:
            many = isinstance(value, list | tuple | Mapping) and len(value) > FOLDS
            found.append((word, said, f"{len(value)} {word}" if many else ""))
    return found


def _said(key: str, value: Any, language: str, local: Local) -> str:
    match value:
        case None | "":
            return ""
        case bool():
            return translate("yes" if value else "no", language)
        case Mapping():
            pairs = {str(one): _said(str(one), more, language, local) for one, more in value.items()}
            return ", ".join(f"{event_texts.carried(one, language)}: {said}" for one, said in pairs.items() if said)
        case list() | tuple():
            return "; ".join(_said(key, one, language, local) for one in value)
        case str():
            return _word(key, value, language, local)
        case _:
            return str(value).replace(".", ",") if isinstance(value, float) and language == "de" else str(value)


def _word(key: str, value: str, language: str, local: Local) -> str:
    if key in ("make", "make_before", "makes"):
        return words.make(value, language)
    if key in STATES:
        return reason_texts.LANGUAGES[language].get(f"state.{value}") or translate(value, language)
    if key in ROLES:
        return translate(value, language)
    if key in CHOICES:
        return chosen(value, language)
    if key == "tested":
        return translate(TESTED[value], language) if value in TESTED else value
    if key in ("detail", "problem", "said"):
        return said_texts.said(value, language)
    return _time(value, language, local) or value


def _time(value: str, language: str, local: Local) -> str:
    """A time or a day in words; empty: it is neither."""
    if len(value) < 10 or value[4:5] != "-":
        return ""
    try:
        if len(value) == 10:
            day = date.fromisoformat(value)
            return day.strftime("%d.%m.%Y" if language == "de" else "%d %b %Y")
        at = datetime.fromisoformat(value)
    except ValueError:
        return ""
    return local(at) if at.tzinfo else ""
