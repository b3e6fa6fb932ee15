"""The policy language: what is read, every problem at once with its place, and what a ring's settings come to."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta
from ruamel.yaml import YAML

from gate.adapters.policy_yaml import PolicyProblems, parse_new, parse_text, render
from gate.core import policy as rules
from gate.core.policy import Policy, not_enforced
from gate.core.policy_schema import schema
from gate.core.times import OpenDuration
from tests.conftest import REPOSITORY

SEED = (REPOSITORY / "gate" / "seed" / "policy.yaml").read_text(encoding="utf-8")
WALK = (REPOSITORY / "gate" / "seed" / "walk.yaml").read_text(encoding="utf-8")
LEAST = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: s, plugin: directory}]
rings: [{name: r, why: all, pick: {role: till}}]
"""


def problems(text: str) -> list[str]:
    try:
        parse_new(text, "policy.yaml")
    except PolicyProblems as found:
        return [str(problem) for problem in found.problems]
    return []


def changed(old: str, new: str, text: str = LEAST) -> str:
    assert old in text
    return text.replace(old, new)


def test_the_seed_and_the_walk_are_valid() -> None:
    seed = parse_text(SEED)
    assert [ring.name for ring in seed.rings] == ["lab", "pilots", "first-till", "rest", "servers"]
    assert (seed.at_risk.per_make, seed.at_risk.fleet, seed.first_batch) == (10, 20, 3)
    assert [source.name for source in parse_text(WALK).sources] == ["shop-content"]


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("a.example", True),
        ("a.example:8443", True),
        ("127.0.0.1:80", True),
        ("a" * 253, True),
        ("a" * 254, False),
        ("*.example", False),
        ("A.example", False),
        ("https://a.example", False),
        ("a.example/", False),
        ("a..example", False),
        ("a.example.", False),
        ("-a.example", False),
        ("a.example:", False),
        ("a.example:123456", False),
        ("a b", False),
    ],
)
def test_a_host_of_a_source_is_one_host_exactly(host: str, good: bool) -> None:
    text = changed("plugin: directory", f"plugin: directory, hosts: ['{host}']")
    assert (problems(text) == []) is good


def test_settings_come_from_the_ring_else_the_source_else_the_defaults_else_the_language() -> None:
    text = LEAST + "defaults: {stay_up: 2m, boots: 2}\n"
    assert parse_text(LEAST).settings_for("r", "s").stay_up == timedelta(minutes=15)
    assert parse_text(text).settings_for("r", "s").stay_up == timedelta(minutes=2)
    source = changed("plugin: directory", "plugin: directory, stay_up: 3m", text)
    assert parse_text(source).settings_for("r", "s").stay_up == timedelta(minutes=3)
    ring = changed("why: all", "why: all, stay_up: 4m", source)
    assert parse_text(ring).settings_for("r", "s").stay_up == timedelta(minutes=4)
    assert parse_text(changed("why: all", "why: all, gate: {boots: 5}", text)).settings_for("r", "s").boots == 5


def test_a_ring_without_a_floor_inherits_the_largest_before_it() -> None:
    rings = "rings:\n" + "".join(
        f"  - {{name: {name}, why: w, pick: {{role: till}}{floor}}}\n"
        for name, floor in (("a", ""), ("b", ", floor: 6h"), ("c", ", floor: 2h"), ("d", ""))
    )
    policy = parse_text(LEAST.replace("rings: [{name: r, why: all, pick: {role: till}}]\n", rings))
    assert [policy.settings_for(name, "s").floor for name in "abcd"] == [
        timedelta(0),
        timedelta(hours=6),
        timedelta(hours=2),
        timedelta(hours=6),
    ]


def test_defaults_of_the_language() -> None:
    found = parse_text(LEAST).settings_for("r", "s")
    assert (found.at_least, found.per_site, found.share, found.cap, found.needs_people) == (3, 1, None, None, 0)
    assert (found.evidence, found.reboot, found.boots, found.tries) == ("boot", "natural", 1, 2)
    assert found.deadline == OpenDuration(timedelta(hours=2), 0, True), "2h open until it is learned"
    assert (found.lease, found.checkin) == (timedelta(minutes=30), timedelta(minutes=5))


BAD: list[tuple[str, str, str, str]] = [
    ("unknown key", "fleet: f", "fleeet: f", "policy.yaml:2:1: unknown key 'fleeet' (did you mean 'fleet'?)"),
    ("missing key", "timezone: Europe/Berlin\n", "", "needs 'timezone'"),
    ("no such zone", "Europe/Berlin", "Europe/Bärlin", "is not a time zone"),
    ("version 2", "version: 1", "version: 2", "'2' is not one of 1"),
    ("a ring's key", "why: all", "whi: all", "unknown key 'whi' (did you mean 'why'?)"),
    ("a name with a space", "name: r", "name: a b", "is not a name"),
    ("a reserved name", "name: s", "name: blobs", "is not a name"),
    ("a duration without unit", "why: all", "why: all, stay_up: 15", "is not a duration such as 15m"),
    ("a floor in open hours", "why: all", "why: all, floor: 4h open", "is not a duration such as 15m"),
    ("a share without sign", "why: all", "why: all, at_most: {share: 25}", "is not a share such as 2%"),
    ("a share of 101 %", "why: all", "why: all, at_most: {share: 101%}", "is not a share such as 2%"),
    ("a cap of 0", "why: all", "why: all, at_most: {cap: 0}", "is not a whole number from 1"),
    ("at_least of 0", "why: all", "why: all, gate: {at_least: 0}", "is not a whole number from 1"),
    ("evidence that nobody has", "why: all", "why: all, evidence: bot", "(did you mean 'boot'?)"),
    ("a window that is not there", "why: all", "why: all, windows: [evening]", "there is no window 'evening'"),
    ("alive for boot critical", "directory}", "directory, boot_critical: true, evidence: alive}", "is refused"),
    ("a pick of nothing", "pick: {role: till}", "pick: all", "a map such as {role: till}"),
    ("a key twice", "fleet: f", "fleet: f\nfleet: g", "twice"),
    ("two rings of one name", "rings: [", "rings: [{name: r, pick: {role: server}}, ", "'r' is there twice"),
    ("no ring", "rings: [{name: r, why: all, pick: {role: till}}]", "rings: []", "at least one ring"),
    ("a brake without within", "rings:", "brakes: [{if: crashed >= 2, then: halt}]\nrings:", "needs 'within'"),
    ("a brake of dreams", "rings:", "brakes: [{if: dreams >= 2, then: halt}]\nrings:", "a condition such as"),
    ("a brake in no ring", "rings:", "brakes: [{if: failed >= 2, within: 1h, in: x, then: halt}]\nrings:", "ring 'x'"),
    ("a brake of 0", "rings:", "brakes: [{if: failed >= 0, within: 1h, then: halt}]\nrings:", "a condition such as"),
    ("half a window", "rings:", "windows: {w: {from: opening}}\nrings:", "needs both 'from' and 'to'"),
    ("a freeze of nothing", "rings:", "freeze: [{name: x}]\nrings:", "needs 'from', 'days' or 'during'"),
    ("a freeze of dates and days", "rings:", "freeze: [{name: x, from: 2026-01-01, days: [1]}]\nrings:", "one of them"),
    ("a freeze on the 32nd", "rings:", "freeze: [{name: x, days: [32]}]\nrings:", "whole number from 1 to 31"),
    ("a freeze from the 30th of February", "rings:", "freeze: [{name: x, from: 2026-02-30}]\nrings:", "a date such as"),
    ("a freeze from a German day", "rings:", "freeze: [{name: x, from: 24.12.2026}]\nrings:", "a date such"),
    ("to be wholly sure", "rings:", "defaults: {confidence: 100%}\nrings:", "more than 0% and less than 100%"),
    ("never to be sure", "rings:", "defaults: {false_halt: 0%}\nrings:", "more than 0% and less than 100%"),
    ("an alias", "fleet: f", "fleet: &a f\ntimezone2: *a", "alias"),
    ("a tag", "fleet: f", "fleet: !!python/object:os.system f", "tag"),
    ("not YAML", "fleet: f", "fleet: [", "policy.yaml:"),
    ("a comment before its value", "fleet: f\n", "fleet: # ours\n  f\n\n", "2:1: a comment stands behind a key"),
    ("a line that only YAML ends", "fleet: f", "fleet: f  # a note\u2028first_batch: 9", "2:19: U+2028"),
    ("a next line", "fleet: f", "fleet: f  # a note\x85", "2:19: U+0085"),
    ("a paragraph", "fleet: f", "fleet: 'f\u2029'", "2:10: U+2029"),
    ("a list", LEAST, "- a\n", "must be a map"),
    ("nothing", LEAST, "", "policy.yaml:1"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "old", "new", "said"), BAD, ids=[row[0] for row in BAD])
def test_a_mistake_has_its_place_and_its_sentence(what: str, old: str, new: str, said: str) -> None:
    found = problems(changed(old, new))
    assert found, what
    assert any(said in problem for problem in found), found
    assert all(problem.startswith("policy.yaml:") for problem in found)


def test_all_problems_are_listed_at_once_in_the_order_of_their_lines() -> None:
    text = "version: 3\nfleeet: x\ntimezone: nowhere\nmakes: {by: [role]}\nsources: [{nam: s}]\nrings: [{name: A}]\n"
    found = problems(text)
    assert len(found) >= 6
    lines = [int(problem.split(":")[1]) for problem in found]
    assert lines == sorted(lines)


def test_a_problem_is_shown_with_a_caret_under_it() -> None:
    text = changed("fleet: f", "fleeet: f")
    with pytest.raises(PolicyProblems) as raised:
        parse_text(text, "policy.yaml")
    unknown = next(one for one in raised.value.problems if "fleeet" in one.message)
    shown = render(unknown, text).splitlines()
    assert shown[-2].strip() == "fleeet: f"
    assert shown[-1].index("^") == shown[-2].index("fleeet")


STATED = {
    "background_cap": "3%",
    "inconclusive_after": "1d open",
    "max_lead_rings": "1",
    "probes": "[x]",
    "on_halt": "stay",
    "site_dark_grace": "4h open",
    "false_halt": "1%",
    "watch": "7d",
}


def test_what_is_not_enforced_yet_is_listed_with_its_line() -> None:
    found = not_enforced(parse_text(SEED))
    assert found
    for sentence in found:
        line = int(sentence.split(":")[0].removeprefix("line "))
        assert SEED.splitlines()[line - 1].strip()
    assert not_enforced(parse_text(LEAST)) == []
    later = [path for path in rules.LATER if path not in parse_text(SEED).stated]
    for path in later:
        section, _, key = path.partition(".")
        value = STATED[key]
        text = f"{LEAST}{section}: {{{key}: {value}}}\n"
        assert any(key in sentence for sentence in not_enforced(parse_text(text))), path


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("at: 15m before opening", ""),
        ("at: 15m before opening, in: [all]", ""),
        ("at: 15m before closing", "counts 15m before opening"),
        ("and: [page, morning_notice]", "page, morning_notice is noted as an event, and sent to nobody yet"),
    ],
)
def test_a_brake_on_missing_machines_acts_and_says_what_of_it_does_not(more: str, said: str) -> None:
    ring = re.search(r"name: ([a-z0-9-]+), pick", LEAST) or re.search(r"rings:.*?name: ([a-z0-9-]+)", LEAST, re.S)
    assert ring is not None
    brake = f"brakes:\n  - {{if: missing >= 5%, {more.replace('[all]', f'[{ring[1]}]')}, then: halt}}\n"
    found = not_enforced(parse_text(LEAST + brake))
    assert [said in sentence for sentence in found] == ([True] if said else [])


@given(st.text(max_size=300))
def test_any_text_is_a_policy_or_a_list_of_problems(text: str) -> None:
    try:
        parse_text(text)
    except PolicyProblems as found:
        assert found.problems


KEYS = ["version", "fleet", "rings", "sources", "makes", "defaults", "brakes", "freeze", "windows", "name", "pick"]
WORDS = st.sampled_from(["2%", "4h open", "always"])
VALUES = st.recursive(
    st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=20), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=15,
)


@given(VALUES)
def test_any_tree_is_a_policy_or_a_list_of_problems(tree: Any) -> None:
    import json

    try:
        parse_text(json.dumps(tree))
    except PolicyProblems as found:
        assert found.problems


def as_json(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(
        text.replace("2026-12-23", '"2026-12-23"').replace("2027-01-04", '"2027-01-04"')
    )


def test_the_schema_takes_the_shipped_policies_and_refuses_an_unknown_key() -> None:
    validator = Draft202012Validator(schema())
    assert meta.is_valid(schema())
    for text in (SEED, WALK, LEAST):
        assert list(validator.iter_errors(as_json(text))) == []
    assert list(validator.iter_errors(as_json(changed("fleet: f", "fleeet: f"))))
    assert list(validator.iter_errors(as_json(changed("why: all", "whi: all"))))


def keys_of(part: dict[str, Any], path: str = "") -> set[str]:
    found = set()
    for key, inner in part.get("properties", {}).items():
        found |= {f"{path}{key}"} | keys_of(inner, f"{path}{key}.")
    for other in part.get("anyOf", ()):
        found |= keys_of(other, path)
    if isinstance(part.get("items"), dict):
        found |= keys_of(part["items"], path.removesuffix(".") + "[].")
    if isinstance(part.get("additionalProperties"), dict):
        found |= keys_of(part["additionalProperties"], path + "*.")
    return found


def test_the_schema_and_the_reader_know_the_same_keys() -> None:
    found = keys_of(schema())
    assert {key for key in found if "." not in key} == set(rules.TOP)
    assert {key.removeprefix("defaults.") for key in found if key.startswith("defaults.")} == set(rules.DEFAULT_FIELDS)
    gate = {key.removeprefix("rings[].gate.") for key in found if key.startswith("rings[].gate.")}
    assert {key.partition(".")[0] for key in gate} == set(rules.GATE)
    assert {k.removeprefix("rings[].at_most.") for k in found if k.startswith("rings[].at_most.")} == set(rules.AT_MOST)
    for section, name in (("sources", "s"), ("rings", "r")):
        prefix = f"{section}[]."
        for key in {key.removeprefix(prefix) for key in found if key.startswith(prefix)} - {"name"}:
            if "." in key:
                continue
            text = changed(f"{{name: {name}, ", f"{{name: {name}, {key}: [[]], ")
            assert not any("unknown key" in problem for problem in problems(text)), (section, key)


def test_lines_name_the_rule_or_the_nearest_rule_around_it() -> None:
    policy = parse_text(SEED)
    assert isinstance(policy, Policy)
    line = policy.line_of("rings[1].at_most.per_site")
    assert "at_most" in SEED.splitlines()[line - 1]
    assert policy.line_of("rings[1].at_most.nothing") == line
    assert policy.line_of("nothing") == 0


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("from: 2026-12-23, to: 2026-01-04", "2026-01-04 is before 2026-12-23"),
        ("days: []", "freeze[0].days names no day"),
    ],
)
def test_a_freeze_that_would_never_hold_is_a_problem(rule: str, said: str) -> None:
    [problem] = problems(LEAST + f"freeze: [{{name: x, {rule}}}]\n")
    assert said in problem
    assert problems(LEAST + "freeze: [{name: x, from: 2026-12-23, to: 2026-12-23}]\n") == []


def test_a_folded_text_over_two_lines_is_one_line_of_words() -> None:
    """ruamel marks each fold with a bell, which is no part of the text."""
    text = WALK.replace("why: one machine tries it before the other", "why: >-\n      longer\n      than a line", 1)
    assert parse_text(text).rings[0].why == "longer than a line"
