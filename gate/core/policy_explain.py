"""A whole policy in sentences of German or English, each with the path of its rule.

What people read before they sign: the rings in order with their reasons, what opens the next, the limits, what stops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gate.core.policy import LANE, OWN, Policy, RingSettings
from gate.core.policy_texts import LANGUAGES, text
from gate.core.policy_words import chosen, counted, form, joined, label, pick, said

SHOWN_APART = ("evidence", "boots", "stay_up", "deadline")
CHOSEN = ("evidence", "reboot", "on_halt", "decides", "supersede", "trust")
"""The fields that take one of a closed set of words."""
OF_SOURCE = ("trust", "hosts", "must_be_everywhere_by", "keep")
LANGUAGE_SILENCE = "learned"


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence about one rule. ``ring``: it belongs to a ring, and is shown under its name."""

    path: str
    line: int
    text: str
    ring: str = ""


def explain(policy: Policy, language: str) -> tuple[Said, ...]:
    """The policy in words."""
    found = []
    for path, key, ring, arguments in _sentences(policy, language):
        words = text(f"explain.{key}", language, **arguments)
        found.append(Said(path, policy.line_of(path), words, ring))
    return tuple(found)


Sentence = tuple[str, str, str, dict[str, Any]]


def _sentences(policy: Policy, language: str) -> Iterator[Sentence]:
    yield "fleet", "fleet", "", {"fleet": policy.fleet, "zone": policy.timezone}
    yield "makes.by", "makes", "", {"facts": said(policy.makes, language)}
    for index, source in enumerate(policy.sources):
        kind, lever = chosen(source.kind, language), chosen(source.lever, language)
        arguments = {"name": source.name, "kind": kind, "plugin": source.plugin, "lever": lever}
        yield f"sources[{index}]", "source", "", arguments
        if source.boot_critical:
            yield f"sources[{index}].boot_critical", "critical", "", {}
        yield from _source(policy, index, language)
        for key, value in source.own.items():
            yield f"sources[{index}].{key}", "own", "", _field(key, value, language)
    for index in range(len(policy.rings)):
        yield from _ring(policy, index, language)
    yield from _budget(policy, language)
    yield from _health(policy, language)
    yield from _times(policy, language)
    yield from _stops(policy, language)


def _source(policy: Policy, index: int, language: str) -> Iterator[Sentence]:
    """What may come in, from where, and by when: what it states, and its plugin's own keys."""
    source, path = policy.sources[index], f"sources[{index}]"
    values: dict[str, Any] = {key: getattr(source, key) for key in OF_SOURCE if f"{path}.{key}" in policy.stated}
    for key, value in {**values, **source.options}.items():
        yield f"{path}.{key}", "of_source", "", {"name": source.name, **_field(f"sources[].{key}", value, language)}


def _ring(policy: Policy, index: int, language: str) -> Iterator[Sentence]:
    rule = policy.rings[index]
    path, name = f"rings[{index}]", rule.name
    settings = policy.settings_for(name, "")

    def one(part: str, key: str, **arguments: Any) -> Sentence:
        return f"{path}.{part}", key, name, arguments

    yield one("name", "ring", number=index + 1, count=len(policy.rings), name=name)
    if rule.why:
        yield one("why", "why", why=rule.why)
    yield one("pick", "pick", pick=pick(rule.pick, language))
    if settings.share is not None:
        share, least = said(settings.share, language), settings.at_least
        yield one("at_most.share", "share", share=share, at_least=least)
    yield one("at_most.per_site", "per_site", per_site=said(settings.per_site, language))
    if settings.cap is not None:
        yield one("at_most.cap", "cap", cap=counted(settings.cap, "unit.claim", language))
    if settings.floor:
        yield one("floor", "floor", floor=said(settings.floor, language))
    if settings.needs_people:
        yield one("needs.people", "people", people=counted(settings.needs_people, "unit.person", language))
    if rule.windows:
        windows = tuple(policy.windows[window] for window in rule.windows)
        yield one("windows", "windows", windows=said(windows, language))
    if rule.probes:
        yield one("probes", "own", **_field("probes", rule.probes, language))
    for key in OWN:
        if key in rule.own:
            yield one(key, "own", **_field(key, rule.own[key], language))
    yield from _gate(policy, index, settings, language)


def _gate(policy: Policy, index: int, settings: RingSettings, language: str) -> Iterator[Sentence]:
    path, name = f"rings[{index}].gate", policy.rings[index].name
    last = index == len(policy.rings) - 1
    sites = settings.sites or settings.at_least
    least = counted(settings.at_least, "unit.machine", language)
    arguments = {"at_least": least, "sites": counted(sites, "unit.site", language)}
    arguments["shown"] = form(settings.at_least, "verb.shown", language)
    soaks = settings.soak.days or settings.soak.amount
    if soaks:
        arguments |= {"run": form(settings.at_least, "verb.run", language), "soak": said(settings.soak, language)}
    if not last:
        arguments["next"] = policy.rings[index + 1].name
    yield path, ("done" if last else "next") + ("" if soaks else "_at_once"), name, arguments
    if "boots" in policy.rings[index].gate:
        yield f"{path}.boots", "own", name, _field("boots", settings.boots, language)
    for whom, rate in (("make", settings.rule_out_make), ("fleet", settings.rule_out_fleet)):
        if rate is not None:
            words = {"rate": said(rate, language), "whom": text(f"explain.whom.{whom}", language)}
            yield f"{path}.rule_out", "rule_out", name, words


def _budget(policy: Policy, language: str) -> Iterator[Sentence]:
    per_make = counted(policy.at_risk.per_make, "unit.machine", language)
    numbers = {"per_make": per_make, "fleet": policy.at_risk.fleet}
    yield "at_risk", "at_risk", "", numbers | {"confidence": said(policy.defaults.confidence, language)}
    yield "first_batch", "first_batch", "", {"count": counted(policy.first_batch, "unit.first", language)}
    if policy.common_floor:
        yield "common_floor", "common_floor", "", {"floor": said(policy.common_floor, language)}


def _health(policy: Policy, language: str) -> Iterator[Sentence]:
    own = policy.defaults.own
    stay_up = said(own.get("stay_up", timedelta(minutes=15)), language)
    if own.get("evidence", "boot") == "boot":
        boots = counted(own.get("boots", 1), "unit.boot", language)
        yield "defaults.boots", "healthy", "", {"boots": boots, "stay_up": stay_up}
    else:
        yield "defaults.evidence", "alive", "", {"stay_up": stay_up}
    silence = said(own.get("deadline", LANGUAGE_SILENCE), language)
    yield "defaults.deadline", "silence", "", {"deadline": silence}
    for key, value in own.items():
        if key not in SHOWN_APART:
            yield f"defaults.{key}", "default", "", _field(key, value, language)
    plain = ("confidence", "false_halt", "background", "watch", "supersede", "probes")
    for key in plain:
        if f"defaults.{key}" in policy.stated:
            row, value = f"defaults.{key}", getattr(policy.defaults, key)
            yield row, "default", "", _field(row, value, language)
    for key, value in policy.defaults.later.items():
        yield f"defaults.{key}", "default", "", _field(f"defaults.{key}", value, language)


def _times(policy: Policy, language: str) -> Iterator[Sentence]:
    for kind, names in policy.default_windows.items():
        windows = said(tuple(policy.windows[name] for name in names), language)
        yield f"default_windows.{kind}", "by_kind", "", {"kind": chosen(kind, language), "windows": windows}
    for index, freeze in enumerate(policy.freezes):
        owner = text("explain.owner", language, owner=freeze.owner) if freeze.owner else ""
        arguments = {"when": said(freeze, language), "name": freeze.name, "owner": owner}
        key = "site_freeze" if freeze.duty or freeze.start is not None else "freeze"
        yield f"freeze[{index}]", key, "", arguments
        if freeze.why:
            yield f"freeze[{index}].why", "why", "", {"why": freeze.why}


def lane(policy: Policy, language: str) -> str:
    """What its fast lane takes and skips, in one sentence."""
    key, arguments = _lane(policy, language)
    return text(f"explain.{key}", language, **arguments)


def _lane(policy: Policy, language: str) -> tuple[str, dict[str, object]]:
    rule = policy.expedite
    if not rule:
        return "no_lane", {}
    may, never = (
        joined([_skipped(word, language) for word in rule.get(key, ())], "and", language) or said(None, language)
        for key in ("may_skip", "never_skip")
    )
    people = counted(rule.get("people", LANE["people"]), "unit.person", language)
    expires = said(rule.get("expires", LANE["expires"]), language)
    key = "expedite" if rule.get("never_skip") else "expedite_plain"
    return key, {"people": people, "may": may, "never": never, "expires": expires}


def _stops(policy: Policy, language: str) -> Iterator[Sentence]:
    for index, brake in enumerate(policy.brakes):
        yield f"brakes[{index}]", "brake", "", {"brake": said(brake, language)}
        if brake.why:
            yield f"brakes[{index}].why", "why", "", {"why": brake.why}
    yield "brakes", "resume", "", {}
    key, arguments = _lane(policy, language)
    yield "expedite", key, "", arguments
    yield "unreachable.agent", "unreachable", "", {}


def _field(row: str, value: Any, language: str) -> dict[str, Any]:
    words = chosen(value, language) if row.rpartition(".")[2] in CHOSEN else said(value, language)
    return {"label": label(row, language), "value": words}


def _skipped(word: str, language: str) -> str:
    return LANGUAGES[language].get(f"skip.{word}", word)
