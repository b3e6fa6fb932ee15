"""What a change of the policy loosens: a table of limits for each field, and what no change can get around."""

from __future__ import annotations

import re
import string
from dataclasses import fields, replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.adapters.policy_yaml import parse_text
from gate.core import policy as language
from gate.core import policy_cells, policy_texts
from gate.core.policy import AtRisk, Brake, Defaults, Policy, RingRule, RingSettings, SourceRule
from gate.core.policy_diff import Direction, diff, people_needed
from gate.core.policy_rows import ROWS
from gate.core.policy_schema import schema
from gate.core.policy_words import label, sentence, verdict
from gate.core.times import Freeze, OpenDuration, Window
from tests.core.test_policy import LEAST, SEED, WALK, keys_of

BASE = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role, pos]}
sources: [{name: s, plugin: directory, kind: content#source#}]
rings:
  - {name: a, why: first, pick: {label: pilot}, windows: [day]#a#}
  - {name: b, why: then, pick: {role: till}#b#}
windows:
  day: {from: 30m after opening, to: 60m before closing}
  night: {from: 10m after closing, to: 2h after closing}
default_windows: {content: [day]}
#top#
"""


def policy(**parts: str) -> Policy:
    said = BASE
    for name in ("source", "a", "b", "top"):
        extra = parts.get(name, "")
        said = said.replace(f"#{name}#", extra if name == "top" or not extra else f", {extra}")
    return parse_text(said)


def way(old: Policy, new: Policy) -> Direction | None:
    return max((change.direction for change in diff(old, new)), default=None)


# where, tighter, as it is, looser
LIMITS = [
    ("b", "gate: {soak: 5h open}", "gate: {soak: 4h open}", "gate: {soak: 239m open}"),
    ("b", "gate: {soak: 2d open}", "gate: {soak: 1d open}", "gate: {soak: 0s}"),
    ("b", "gate: {soak: 4h open}", "gate: {soak: 4h}", "gate: {soak: 3h open}"),
    ("b", "gate: {at_least: 4}", "gate: {at_least: 3}", "gate: {at_least: 2}"),
    ("b", "gate: {at_least: 4}", "", "gate: {at_least: 2}"),
    ("b", "gate: {sites: 3}", "gate: {sites: 2}", "gate: {sites: 1}"),
    ("b", "gate: {rule_out: 4%}", "gate: {rule_out: 5%}", "gate: {rule_out: 6%}"),
    ("b", "gate: {rule_out: {make: 5%, fleet: 1%}}", "gate: {rule_out: 5%}", ""),
    ("b", "gate: {rule_out: {fleet: 0.9%}}", "gate: {rule_out: {fleet: 1%}}", "gate: {rule_out: {fleet: 1.1%}}"),
    ("b", "gate: {boots: 3}", "gate: {boots: 2}", "gate: {boots: 1}"),
    ("b", "floor: 7h", "floor: 6h", "floor: 359m"),
    ("a", "floor: 7h", "floor: 6h", ""),
    ("b", "at_most: {cap: 49}", "at_most: {cap: 50}", "at_most: {cap: 51}"),
    ("b", "at_most: {cap: 50}", "", ""),
    ("b", "at_most: {share: 24%}", "at_most: {share: 25%}", "at_most: {share: 26%}"),
    ("b", "at_most: {share: 25%}", "at_most: {share: 50%}", ""),
    ("b", "at_most: {per_site: 1}", "at_most: {per_site: 2}", "at_most: {per_site: 3}"),
    ("b", "at_most: {per_site: 1}", "at_most: {per_site: 2}", "at_most: {per_site: half}"),
    ("b", "at_most: {per_site: 1}", "at_most: {per_site: half}", "at_most: {per_site: 2}"),
    ("b", "needs: {people: 2}", "needs: {people: 1}", ""),
    ("b", "probes: [x, y]", "probes: [x]", ""),
    ("b", "", "", "windows: [always]"),
    ("b", "", "", "windows: [day, night]"),
    ("b", "windows: [day]", "windows: [day, night]", "windows: [always]"),
    ("b", "", "", "reboot: after install"),
    ("b", "", "reboot: after install", "reboot: natural"),
    ("b", "evidence: boot", "evidence: alive", "evidence: alive"),
    ("b", "", "", "evidence: alive"),
    ("b", "stay_up: 16m", "stay_up: 15m", "stay_up: 899s"),
    ("b", "tries: 1", "tries: 2", "tries: 3"),
    ("b", "boots: 3", "boots: 2", "boots: 1"),
    ("b", "deadline: 1h open", "deadline: 2h open", "deadline: 121m open"),
    ("b", "deadline: 2h", "deadline: 2h open", "deadline: learned"),
    ("b", "lease: 29m", "lease: 30m", "lease: 31m"),
    ("b", "", "", "checkin: 6m"),
    ("b", "", "", "checkin: 4m"),
    ("b", "site_dark_grace: 3h open", "", "site_dark_grace: 5h open"),
    ("b", "", "on_halt: recall", "on_halt: stay"),
    ("b", "", "decides: people", "decides: gate"),
    ("source", "stay_up: 16m", "", "stay_up: 14m"),
    ("source", "", "boot_critical: true", "boot_critical: false"),
    ("source", "boot_critical: true", "boot_critical: false", "lever: advised"),
    ("source", "", "keep: 5", "keep: 6"),
    ("source", "", "keep: 5", "keep: 4"),
    ("source", "", "", "mirror: https://a.example"),
    ("source", "", "order: numbers", "order: dates"),
    ("source", "hosts: [a.example]", "hosts: [a.example, b.example]", "hosts: [a.example, b.example, c.example]"),
    ("source", "", "hosts: [a.example]", "hosts: [a.example:8443]"),
    ("source", "trust: vendor_signed", "", "trust: unverified"),
    ("source", "", "", "must_be_everywhere_by: 5d"),
    ("top", "at_risk: {per_make: 9}", "at_risk: {per_make: 10}", "at_risk: {per_make: 11}"),
    ("top", "at_risk: {fleet: 19}", "", "at_risk: {fleet: 21}"),
    ("top", "first_batch: 2", "", "first_batch: 4"),
    ("top", "common_floor: 7h", "common_floor: 6h", "common_floor: 5h"),
    ("top", "defaults: {confidence: 96%}", "", "defaults: {confidence: 94%}"),
    ("top", "defaults: {false_halt: 2%}", "", "defaults: {false_halt: 0.9%}"),
    ("top", "defaults: {background: 0%}", "defaults: {background: 0.5%}", "defaults: {background: 0.6%}"),
    ("top", "", "", "defaults: {background: 0.5%}"),
    ("top", "", "", "defaults: {background: 0%}"),
    ("top", "defaults: {background: 0%}", "defaults: {background: 0.5%}", "defaults: {background: measured}"),
    ("top", "defaults: {background_cap: 2%}", "", "defaults: {background_cap: 4%}"),
    ("top", "defaults: {inconclusive_after: 0s}", "", "defaults: {inconclusive_after: 2d open}"),
    ("top", "defaults: {max_lead_rings: 0}", "", "defaults: {max_lead_rings: 2}"),
    ("top", "defaults: {watch: 8d}", "", "defaults: {watch: 6d}"),
    ("top", "defaults: {probes: [x]}", "", ""),
    ("top", "defaults: {supersede: queue}", "defaults: {supersede: inherit}", "defaults: {supersede: inherit}"),
    ("top", "", "", "defaults: {supersede: inherit}"),
    ("top", "", "", "defaults: {supersede: restart}"),
    ("top", "defaults: {stay_up: 16m}", "", "defaults: {stay_up: 14m}"),
    ("top", "unreachable: {remind_after: 6d}", "unreachable: {remind_after: 7d}", "unreachable: {agent: keep}"),
    ("top", "", "expedite: {people: 2}", "expedite: {people: 2, may_skip: [soak]}"),
    ("top", "expedite: {people: 3}", "expedite: {people: 2}", "expedite: {may_skip: [soak]}"),
    ("top", "", "expedite: {expires: 24h}", "expedite: {expires: 25h}"),
    ("top", "expedite: {people: 2, expires: 23h}", "expedite: {people: 2}", "expedite: {people: 2, expires: 25h}"),
    ("top", "expedite: {people: 3, expires: 24h}", "expedite: {expires: 24h}", "expedite: {people: 2, expires: 25h}"),
    ("top", "expedite: {never_skip: [rings, floor]}", "expedite: {never_skip: [rings]}", "expedite: {people: 2}"),
    ("top", "", "", "expedite: {people: 10, expires: 1s}"),
]  # fmt: skip
FREEZES = [
    ("from: 2026-12-22, to: 2027-01-04", "from: 2026-12-23, to: 2027-01-04", "from: 2026-12-24, to: 2027-01-04"),
    ("from: 2026-12-23", "from: 2026-12-23, to: 2027-01-04", "from: 2026-12-23, to: 2027-01-03"),
    ('days: [1, 2], to: "12:00"', 'days: [1], to: "12:00"', 'days: [1], to: "11:59"'),
    ('days: [1, 2], to: "12:00"', 'days: [1], to: "12:00"', 'days: [2], to: "12:00"'),
    ("from: boot, to: 31m after opening", "from: boot, to: 30m after opening", "from: boot, to: 29m after opening"),
    ("from: boot, to: closing", "from: opening, to: closing", "from: opening, to: opening"),
    ("from: 1h before boot, to: closing", "from: boot, to: closing", "from: 1h after boot, to: closing"),
]  # fmt: skip
LIMITS += [("top", *(f"freeze: [{{name: x, {one}}}]" if one else "" for one in row)) for row in FREEZES]
LIMITS += [("top", "freeze: [{name: x, during: duty}]", "", ""), ("top", "", "freeze: [{name: x, during: duty}]", "")]
BRAKES = [
    ("if: crashed >= 1, within: 30m", "if: crashed >= 2, within: 30m", "if: crashed >= 3, within: 30m"),
    ("if: crashed >= 2, within: 31m", "if: crashed >= 2, within: 30m", "if: crashed >= 2, within: 29m"),
    ("if: failed >= 2, within: 30m", "if: failed >= 2, within: 30m, in: [a]", "if: failed >= 2, within: 30m, in: [b]"),
    ("if: failed >= 1, within: 1h, in: [a, b]", "if: failed >= 1, within: 1h, in: [a]", "if: failed >= 1, within: 59m"),
    ("if: silent >= 2, within: 20m", "if: silent >= 3, within: 20m", "if: silent >= 3, within: 21m"),
    ("if: silent >= 2, within: 20m", "if: silent >= 3, within: 20m", "if: silent >= 3, within: 19m"),
    ("if: missing >= 4%, at: opening", "if: missing >= 5%, at: opening", "if: missing >= 5%, at: closing"),
    ("if: missing >= 4%, and: page", "if: missing >= 5%, and: page", "if: missing >= 5%"),
    ("if: missing >= 4%, in: [a]", "if: missing >= 5%, in: [a]", "if: missing >= 5%"),
    ("if: missing >= 4%, in: [b, a]", "if: missing >= 5%, in: [a, b]", "if: missing >= 5%, in: [a]"),
    ("if: missing >= 4%", "if: missing >= 5%", "if: missing >= 5%, in: [a, b]"),
    ("if: missing >= 4%, in: [a]", "if: missing >= 5%, in: [a]", "if: missing >= 5%, in: [a, b]"),
    ("if: missing >= 3, in: [a]", "if: missing >= 4, in: [a]", "if: missing >= 4"),
]  # fmt: skip
LIMITS += [("top", *(f"brakes: [{{{one}, then: halt}}]" for one in row)) for row in BRAKES]


@pytest.mark.parametrize(("where", "tighter", "now", "looser"), LIMITS, ids=[f"{r[0]}: {r[2]} {r[3]}" for r in LIMITS])
def test_each_field_has_a_side_that_tightens_and_a_side_that_loosens(
    where: str, tighter: str, now: str, looser: str
) -> None:
    today = policy(**{where: now})
    assert diff(today, policy(**{where: now})) == ()
    if tighter != now and tighter:
        assert way(today, policy(**{where: tighter})) is Direction.TIGHTENS
        assert way(policy(**{where: tighter}), today) is Direction.LOOSENS
        assert people_needed(diff(today, policy(**{where: tighter}))) == 1
    if looser != now:
        found = diff(today, policy(**{where: looser}))
        assert way(today, policy(**{where: looser})) is Direction.LOOSENS, found
        assert people_needed(found) == 2


def test_what_is_said_without_a_change_decides_nothing() -> None:
    assert (
        diff(policy(), policy(source="boot_critical: false", b="on_halt: stay, boots: 1", top="first_batch: 3")) == ()
    )
    words = policy(top="freeze: [{name: x, during: duty, why: new, owner: me}]")
    (only,) = diff(policy(top="freeze: [{name: y, during: duty}, {name: z, during: duty}]"), words)[:1]
    assert only.direction is Direction.NEUTRAL
    assert people_needed(diff(policy(top="freeze: [{name: y, during: duty}]"), words)) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pick: {role: till}", "pick: {role: [till, server]}"),
        ("pick: {role: till}", "pick: {role: till, pos: x}"),  # narrower: fewer machines prove for the next ring
        ("fleet: f", "fleet: g"),
        ("Europe/Berlin", "Europe/Vienna"),
        ("[role, pos]", "[role]"),
        ("[role, pos]", "[role, pos, disk]"),  # finer: each make begins at a first batch of its own
        ("name: a", "name: c"),
        ("plugin: directory", "plugin: http"),
        ("kind: content", "kind: os"),
        ("day: {from: 30m after", "day: {from: 29m after"),
        ("default_windows: {content: [day]}", "default_windows: {content: [night]}"),
        ("default_windows: {content: [day]}", "default_windows: {content: [day, night]}"),
        ("default_windows: {content: [day]}", ""),
    ],
)  # fmt: skip
def test_what_nobody_can_classify_loosens_in_both_directions_or_back_tightens(old: str, new: str) -> None:
    before = parse_text(clean(BASE))
    after = parse_text(clean(BASE.replace(old, new)))
    assert way(before, after) is Direction.LOOSENS
    assert way(after, before) in (Direction.LOOSENS, Direction.TIGHTENS)


def clean(said: str) -> str:
    for name in ("source", "a", "b", "top"):
        said = said.replace(f"#{name}#", "")
    return said


def test_the_order_of_rings_loosens_and_a_ring_or_a_source_that_comes_or_goes() -> None:
    base = policy()
    turned = replace(base, rings=tuple(reversed(base.rings)))
    (moved,) = (change for change in diff(base, turned) if change.key == "reordered")
    assert (moved.before, moved.after, moved.direction) == ("[a, b]", "[b, a]", Direction.LOOSENS)
    for fewer in (base.rings[:1], base.rings[1:]):
        assert way(base, replace(base, rings=fewer)) is Direction.LOOSENS
        assert way(replace(base, rings=fewer), base) is Direction.LOOSENS
    assert way(base, replace(base, sources=())) is Direction.LOOSENS
    assert way(replace(base, sources=()), base) is Direction.LOOSENS
    (gone,) = diff(base, replace(base, sources=()))
    assert sentence(gone, "en") == (
        "Source s is gone (loosens). Nobody calls back what it has brought, nor sees that its vendor withdraws it."
    )


def test_one_field_that_leans_on_another_is_told() -> None:
    """More at_least makes a share take more; a smaller share lets rule_out rest on fewer machines."""
    before = policy(b="at_most: {share: 2%}, gate: {at_least: 3, rule_out: 5%}")
    more = diff(before, policy(b="at_most: {share: 2%}, gate: {at_least: 4, rule_out: 5%}"))
    assert [(one.row, one.direction.name) for one in more] == [
        ("rings[].at_most.share (drawn)", "LOOSENS"),
        ("rings[].gate.at_least", "TIGHTENS"),
    ]
    less = diff(before, policy(b="at_most: {share: 1%}, gate: {at_least: 3, rule_out: 5%}"))
    assert [(one.row, one.direction.name) for one in less] == [
        ("rings[].at_most.share (proof)", "LOOSENS"),
        ("rings[].at_most.share", "TIGHTENS"),
    ]
    earlier = policy(a="at_most: {share: 2%}", b="gate: {rule_out: 5%}")
    assert people_needed(diff(earlier, policy(a="at_most: {share: 1%}", b="gate: {rule_out: 5%}"))) == 2
    assert people_needed(diff(policy(a="at_most: {share: 2%}"), policy(a="at_most: {share: 1%}"))) == 1


def test_a_freeze_that_is_over_is_dropped_by_one_person_and_one_that_is_not_by_two() -> None:
    before = policy(top="freeze: [{name: x, from: 2026-12-23, to: 2027-01-04}]")
    assert people_needed(diff(before, policy(), date(2027, 1, 5))) == 1
    assert people_needed(diff(before, policy(), date(2027, 1, 4))) == 2
    assert people_needed(diff(before, policy())) == 2


def test_a_change_has_its_lines_in_both_policies_and_its_notation() -> None:
    (change,) = diff(policy(b="floor: 6h"), policy(b="floor: 90m"))
    assert (change.path, change.line, change.old_line) == ("rings[1].floor", 8, 8)
    assert (change.before, change.after) == ("6h", "90m")
    gone = diff(policy(top="freeze: [{name: x, during: duty}]"), policy())[0]
    assert (gone.key, gone.line, gone.old_line) == ("removed", 0, 13)


def test_a_default_that_every_ring_overrides_still_counts() -> None:
    """Else it could be loosened first, alone, and the overrides dropped later by somebody else."""
    own = {"a": "stay_up: 15m", "b": "stay_up: 15m", "source": "stay_up: 15m"}
    assert way(policy(**own), policy(**own, top="defaults: {stay_up: 1m}")) is Direction.LOOSENS
    assert diff(policy(**own), policy()) == ()


ODD: dict[type, Any] = {
    str: lambda value: value + "x",
    bool: lambda value: not value,
    int: lambda value: value + 1,
    float: lambda value: value / 2,
    timedelta: lambda value: value + timedelta(hours=1),
    OpenDuration: lambda value: OpenDuration(timedelta(hours=77)),
    type(None): lambda value: 7,
}


def another(owner: Any, name: str, value: Any) -> Any:
    """Some other value of a field, whatever it is."""
    if name == "timezone":
        return "Europe/Vienna"
    if name == "windows" and isinstance(owner, RingRule):
        return ("night",)
    if name in ("start", "end", "at"):
        return language.read.edge(language.Reader(""), language.Node(1, 1, "3h after opening"), "")
    if name in ("first", "last"):
        return date(2030, 1, 1)
    if name == "floor":
        return timedelta(hours=99)
    if name == "default_windows":
        return {"content": ("night",)}
    if name == "windows":
        return value | {"new": Window("new")}
    if name == "days":
        return (7,)
    if isinstance(value, dict) or hasattr(value, "keys"):
        return {**value, "new": ("1",)}
    if isinstance(value, tuple):
        return value[:-1] if value and not isinstance(value[0], str) else (*value, "b")
    if isinstance(value, AtRisk):
        return replace(value, fleet=1)
    if isinstance(value, Defaults):
        return replace(value, confidence=0.5)
    return ODD[type(value)](value)


FULL = policy(
    a="at_most: {share: 5%}, floor: 1h, needs: {people: 1}, probes: [x]",
    source="mirror: https://a.example, stay_up: 3m",
    top="freeze: [{name: x, during: duty}, {name: y, from: opening, to: closing}, {name: z, days: [1]},"
    " {name: w, from: 2026-01-01, to: 2026-02-02}]\n"
    "brakes: [{if: failed >= 3, within: 20m, in: [a], then: halt, and: page}]\nexpedite: {people: 2}\n",
)


def with_freeze(index: int, new: Freeze) -> Policy:
    return replace(FULL, freezes=(*FULL.freezes[:index], new, *FULL.freezes[index + 1 :]))


PARTS: list[tuple[str, Any, Any]] = [
    ("policy", FULL, lambda new: new),
    ("source", FULL.sources[0], lambda new: replace(FULL, sources=(new,))),
    ("ring", FULL.rings[0], lambda new: replace(FULL, rings=(new, FULL.rings[1]))),
    ("at_risk", FULL.at_risk, lambda new: replace(FULL, at_risk=new)),
    ("defaults", FULL.defaults, lambda new: replace(FULL, defaults=new)),
    ("window", FULL.windows["day"], lambda new: replace(FULL, windows={**FULL.windows, "day": new})),
    ("brake", FULL.brakes[0], lambda new: replace(FULL, brakes=(new,))),
    *((f"freeze {one.name}", one, lambda new, i=i: with_freeze(i, new)) for i, one in enumerate(FULL.freezes)),
]
NOT_ITS_OWN = {
    *(("policy", name) for name in ("lines", "stated", "warnings", "_settings")),
    ("window", "name"),
    ("freeze x", "start"), ("freeze x", "end"), ("freeze x", "first"), ("freeze x", "last"),  # duty rules alone
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "name"), [(what, one.name) for what, part, _ in PARTS for one in fields(part) if one.init]
)
def test_no_field_of_a_policy_can_change_unseen(what: str, name: str) -> None:
    if (what, name) in NOT_ITS_OWN:
        return
    part, build = next((part, build) for key, part, build in PARTS if key == what)
    changed = build(replace(part, **{name: another(part, name, getattr(part, name))}))
    assert diff(FULL, changed), f"{type(part).__name__}.{name}"


def test_the_parts_are_all_of_a_policy() -> None:
    seen = {type(part) for _, part, _ in PARTS}
    assert seen == {Policy, SourceRule, RingRule, AtRisk, Defaults, Window, Brake, Freeze}


@pytest.mark.parametrize(
    "new",
    [
        replace(FULL, rings=(replace(FULL.rings[0], gate={"luck": 3}), FULL.rings[1])),
        replace(FULL, rings=(replace(FULL.rings[0], at_most={"share": 0.05, "hurry": 3}), FULL.rings[1])),
        replace(FULL, rings=(replace(FULL.rings[0], own={"hope": 1}), FULL.rings[1])),
        replace(FULL, defaults=replace(FULL.defaults, own={"hope": 1})),
        replace(FULL, defaults=replace(FULL.defaults, later={"hope": 1})),
        replace(FULL, sources=(replace(FULL.sources[0], options={**FULL.sources[0].options, "hope": "x"}),)),
        replace(FULL, expedite={"people": 2, "hope": 1}),
        replace(FULL, unreachable={"hope": 1}),
    ],
)
def test_a_field_that_has_no_row_loosens(new: Policy) -> None:
    assert way(FULL, new) is Direction.LOOSENS
    assert way(new, FULL) is Direction.LOOSENS
    assert all(sentence(change, "de") and sentence(change, "en") for change in diff(FULL, new))


def test_the_table_has_a_row_for_every_key_of_the_language_and_for_every_setting_of_a_ring() -> None:
    sections = {"makes", "sources", "rings", "at_risk", "defaults", "windows", "default_windows", "freeze", "brakes"}
    sections |= {"unreachable", "rings[].at_most", "rings[].gate", "rings[].needs"}
    wanted = set()
    for key in keys_of(schema()) - sections:
        section, _, last = key.rpartition(".")
        if section in ("defaults", "sources[]", "rings[]") and last in language.OWN:
            key = last
        key = "default_windows.<kind>" if section == "default_windows" else key
        wanted.add("windows.<name>" if section.startswith("windows") else key)
    extra = {
        "freeze[]",
        "brakes[]",
        "sources[].name (gone)",
        "rings[].at_most.share (drawn)",
        "rings[].at_most.share (proof)",
    }
    assert set(ROWS) == {key for key in wanted if not key.startswith("windows.*")} | extra
    for one in fields(RingSettings):
        if one.name == "learned":  # how ``deadline`` was written
            continue
        row = one.name if one.name in language.OWN else policy_cells.SETTINGS.get(one.name, f"rings[].{one.name}")
        assert row in ROWS, one.name


TOLD_WHOLE = re.compile(r"(freeze|brakes)\[\]\.")  # a freeze or a brake is told as one


@pytest.mark.parametrize("row", sorted(row for row in ROWS if not TOLD_WHOLE.match(row)))
def test_every_row_has_its_words_in_both_languages(row: str) -> None:
    for tongue in policy_texts.LANGUAGES:
        assert f"({row})" not in label(row, tongue), row
        for direction in ("LOOSENS", "TIGHTENS"):
            assert f"effect.{ROWS[row].effect}.{direction}" in policy_texts.LANGUAGES[tongue]


def test_both_languages_say_the_same_with_the_same_fields() -> None:
    assert list(policy_texts.GERMAN) == list(policy_texts.ENGLISH)
    for key, said in policy_texts.ENGLISH.items():
        other = policy_texts.GERMAN[key]
        assert named(said) == named(other), key
        assert said.count("|") == other.count("|"), key


def named(said: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(said) if name}


def test_a_loosening_is_said_in_both_languages_with_its_meaning_and_its_people() -> None:
    before, after = parse_text(SEED), parse_text(SEED.replace("soak: 4h open", "soak: 2h open"))
    (change,) = changes = diff(before, after)
    assert sentence(change, "en") == (
        "Ring pilots: soak: 2 opening hours instead of 4 opening hours (loosens). Rings can open sooner."
    )
    assert sentence(change, "de") == (
        "Ring pilots: Bewährungszeit: 2 Öffnungsstunden statt 4 Öffnungsstunden (lockert). Ringe können früher öffnen."
    )
    assert verdict(changes, "en") == "Two people must agree: 1 of 1 changes loosen."
    assert "Zwei Personen" in verdict(changes, "de")
    assert "One person" in verdict(diff(after, before), "en")


# One value of each kind that a person may write; drawn together, so that fields meet.
POOL = {
    "source": ["", "stay_up: 1m", "boots: 2", "keep: 6", "boot_critical: true"],
    "a": ["", "floor: 2h", "at_most: {share: 50%}", "at_most: {share: 10%, cap: 9}", "gate: {soak: 1h, at_least: 1}",
          "gate: {soak: 1h open, at_least: 5}", "gate: {soak: 1d open, rule_out: 9%}", "stay_up: 1h", "boots: 3",
          "at_most: {share: 10%}, gate: {at_least: 4}", "deadline: 1h open", "evidence: alive"],
    "b": ["", "floor: 1h", "windows: [night]", "windows: [day, night]", "at_most: {per_site: half}", "boots: 2",
          "gate: {rule_out: {fleet: 1%}}", "gate: {sites: 2}", "needs: {people: 1}", "deadline: learned",
          "at_most: {per_site: 2}"],
    "top": ["", "defaults: {stay_up: 2m, boots: 2}", "defaults: {background: 1%, supersede: inherit}",
            "first_batch: 1", "expedite: {people: 3, may_skip: [soak]}", "expedite: {people: 2}",
            "freeze: [{name: x, during: duty}]", "freeze: [{name: x, from: 2026-01-01}]",
            "freeze: [{name: x, from: 2026-01-01, to: 2026-02-01}, {name: y, days: [1, 2]}]",
            "brakes: [{if: failed >= 1, within: 2h, then: halt}]",
            "brakes: [{if: failed >= 2, within: 1h, in: [a], then: halt}]",
            "brakes: [{if: failed >= 2, within: 1h, then: halt}, {if: silent >= 2, within: 1h, then: halt}]"],
}  # fmt: skip


PARSED = {name: [policy(**{name: one}) for one in POOL[name]] for name in POOL}
DAYS = [parse_text(clean(BASE.replace("30m after opening", f"{day} after opening"))).windows for day in ("30m", "20m")]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    source, a, b, top = (draw(st.sampled_from(PARSED[name])) for name in ("source", "a", "b", "top"))
    rings = (a.rings[0], b.rings[1])
    return replace(
        top,
        sources=draw(st.sampled_from([source.sources] * 4 + [()])),
        rings=draw(st.sampled_from([rings] * 4 + [rings[::-1], rings[:1]])),
        windows=draw(st.sampled_from(DAYS)),
    )


POLICIES = policies()


@settings(deadline=None)
@given(POLICIES)
def test_no_change_is_no_change(one: Policy) -> None:
    assert diff(one, one) == ()


@settings(deadline=None)
@given(POLICIES, POLICIES)
def test_a_loosening_turned_round_is_never_neutral(one: Policy, other: Policy) -> None:
    if way(one, other) is Direction.LOOSENS:
        assert way(other, one) in (Direction.LOOSENS, Direction.TIGHTENS)
    if way(one, other) in (None, Direction.NEUTRAL):
        assert way(other, one) in (None, Direction.NEUTRAL), "what decides nothing decides nothing back"


@settings(max_examples=300, deadline=None)
@given(POLICIES, POLICIES, POLICIES)
def test_a_loosening_cannot_be_split_into_steps_of_which_none_loosens(one: Policy, two: Policy, three: Policy) -> None:
    steps = people_needed(diff(one, two)), people_needed(diff(two, three))
    if people_needed(diff(one, three)) == 2:
        assert 2 in steps


@settings(deadline=None)
@given(POLICIES, POLICIES)
def test_every_change_can_be_said_and_the_worst_decides(one: Policy, other: Policy) -> None:
    changes = diff(one, other)
    for tongue in policy_texts.LANGUAGES:
        assert all(sentence(change, tongue).endswith(".") for change in changes)
    loosens = any(change.direction is Direction.LOOSENS for change in changes)
    assert people_needed(changes) == (2 if loosens else 1)
    assert len({(change.row, change.path, change.before, change.after) for change in changes}) == len(changes)


def test_the_shipped_policies_differ_from_each_other_and_from_the_least() -> None:
    shipped = [parse_text(said) for said in (SEED, WALK, LEAST)]
    for one in shipped:
        for other in shipped:
            assert (diff(one, other) == ()) == (one is other)


# what is said is what changes


def said(old: Policy, new: Policy) -> list[tuple[str, str, str, str]]:
    return [(one.path, one.before, one.after, sentence(one, "en")) for one in diff(old, new)]


UNSURE = "(loosens). Nobody can say which way this goes, so it counts as looser."


def test_a_deadline_to_and_from_learned_is_one_change_that_nobody_can_compare() -> None:
    learned, stated = policy(top="defaults: {deadline: learned}"), policy(top="defaults: {deadline: 2h open}")
    [(path, before, after, words)] = said(learned, stated)
    assert (path, before, after) == ("defaults.deadline", "learned", "2h open")
    assert words.endswith(f"2 opening hours instead of as learned {UNSURE}")
    [(path, before, after, words)] = said(stated, learned)
    assert (path, before, after) == ("defaults.deadline", "2h open", "learned")
    assert words.endswith(f"as learned instead of 2 opening hours {UNSURE}")
    [(*_, words)] = said(stated, policy(top="defaults: {deadline: 3h open}"))
    assert words.endswith("(loosens). What goes wrong is noticed later.")


def test_a_day_of_opening_hours_is_not_said_as_an_opening_day() -> None:
    day, hours = policy(b="gate: {soak: 1d open}"), policy(b="gate: {soak: 24h open}")
    assert said(day, hours) == [
        (
            "rings[1].gate.soak",
            "1d open",
            "24h open",
            f"Ring b: soak: 24 opening hours instead of 1 opening day {UNSURE}",
        )
    ]
    assert str(OpenDuration(timedelta(days=2), 0, True)) == "48h open"
    assert str(OpenDuration(timedelta(days=2))) == "2d"


def test_a_floor_that_a_ring_says_no_longer_is_said_of_that_ring() -> None:
    both, one = policy(a="floor: 2h", b="floor: 12h"), policy(a="floor: 2h")
    [(path, before, after, words)] = said(both, one)
    assert (path, before, after) == ("rings[1].floor", "12h", "2h")
    assert words.startswith("Ring b: ")
    [(path, before, after, words)] = said(one, both)
    assert (path, before, after) == ("rings[1].floor", "2h", "12h")
    assert words.startswith("Ring b: ")
    [(path, _, _, words)] = said(one, policy(a="floor: 3h"))
    assert path == "rings[0].floor", "both rings have it from the first one, which says it"
    assert words.startswith("Ring a: ")
