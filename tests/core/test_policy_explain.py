"""A policy in sentences: every rule that it states is said, in both languages, with its line."""

from __future__ import annotations

import re

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.core.policy_explain import Said, explain
from tests.core.test_policy import LEAST, SEED, WALK

LANGUAGES = ("de", "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("text", [SEED, WALK, LEAST])
def test_rings_come_in_order_and_every_line_is_a_line_of_the_policy(text: str, language: str) -> None:
    policy = parse_text(text)
    found = explain(policy, language)
    named = [one.ring for one in found if one.path.endswith(".name")]
    assert named == [ring.name for ring in policy.rings]
    for ring in policy.rings:
        assert not ring.why or any(ring.why in one.text for one in found if one.ring == ring.name)
    assert all(one.text[-1] == "." and "{" not in one.text for one in found)
    assert all(0 <= one.line <= len(text.splitlines()) for one in found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_line_of_the_seed_that_states_a_rule_is_said(language: str) -> None:
    policy = parse_text(SEED)
    said = {one.line for one in explain(policy, language)}
    words = {"version", "timezone", "why", "windows", "sources", "rings", "defaults", "default_windows", "freeze"}
    for path, line in policy.lines.items():
        last = path.rpartition(".")[2]
        if last in words or path.startswith(("windows.", "unreachable.")) or last in ("evidence", "stay_up"):
            continue
        assert line in said, path


NUMBERS = [
    ("at_risk: {per_make: 10, fleet: 20}", "at_risk: {per_make: 71, fleet: 82}", ("71", "82")),
    ("first_batch: 3", "first_batch: 74", ("74",)),
    ("cap: 50", "cap: 77", ("77",)),
    ("share: 25%", "share: 73%", ("73",)),
    ("floor: 12h", "floor: 79h", ("79",)),
    ("soak: 4h open", "soak: 7h open", ("7 opening hours", "7 Öffnungsstunden")),
    ("rule_out: {fleet: 5%}", "rule_out: {fleet: 7.5%}", ("7.5%", "7,5 %")),
    ("per_site: half", "per_site: 76", ("76",)),
    ("to: 2h after closing", "to: 78m after closing", ("78",)),
    ("crashed >= 2", "crashed >= 70", ("70",)),
    ("missing >= 5%", "missing >= 75%", ("75",)),
    ("stay_up: 15m", "stay_up: 72m", ("72",)),
    ("expires: 24h", "expires: 7h", ("7 hours", "7 Stunden")),
    ("days: [1, 15]", "days: [1, 27]", ("27",)),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("old", "new", "numbers"), NUMBERS, ids=[row[0] for row in NUMBERS])
def test_a_changed_number_is_said(old: str, new: str, numbers: tuple[str, ...], language: str) -> None:
    assert old in SEED

    def texts(found: tuple[Said, ...]) -> str:
        return "\n".join(one.text for one in found)

    before, after = (texts(explain(parse_text(text), language)) for text in (SEED, SEED.replace(old, new)))
    assert before != after
    added = set(after.splitlines()) - set(before.splitlines())
    assert any(re.search(rf"(?<!\d){re.escape(number)}(?!\d)", line) for number in numbers for line in added)


ALONE = [
    ("en", "once 1 machine of it at 1 site has shown itself healthy here and before", "have shown themselves"),
    ("en", "where there are fewer) and has then run for 1 hour", ""),
    ("en", "At most 1 machine of one make", ""),
    ("en", "At most 1 claim is in flight", ""),
    ("de", "sobald sich 1 Rechner von ihr in 1 Apotheke hier und vorher als gesund erwiesen hat (", "erwiesen haben"),
    ("de", "und danach so lange lief: 1 Stunde", "liefen"),
    ("de", "Im Ring zugleich unterwegs: höchstens 1 Zusage.", ""),
]


@pytest.mark.parametrize(("language", "told", "untold"), ALONE)
def test_one_machine_is_no_plural(language: str, told: str, untold: str) -> None:
    text = SEED.replace("per_make: 10", "per_make: 1").replace("cap: 50", "cap: 1")
    found = explain(parse_text(text), language)
    first = next(one.text for one in found if one.path == "rings[0].gate")
    assert told in " ".join(one.text for one in found)
    assert not untold or untold not in first


SOURCE = "trust: unverified, hosts: [more.example], must_be_everywhere_by: 9h, keep: 7, order: by-date"
FULL = (
    SEED.replace("kind: content, mirror", f"kind: content, {SOURCE}, mirror", 1)
    .replace("  stay_up: 15m", "  stay_up: 15m\n  probes: [ti-connector]\n  lease: 31m\n  background_cap: 3%", 1)
    .replace("    floor: 12h", "    floor: 12h\n    probes: [till-software if role=till]\n    tries: 4", 1)
)
SAID_ELSEWHERE = (
    "version",  # decides nothing
    r"timezone|sources\[\d+\]\.(name|plugin|kind|lever)|windows(\..*)?|expedite\..*|at_risk\..*|common_floor",
    r"rings\[\d+\]\.gate\.(at_least|soak|rule_out\..*)|freeze\[\d+\]\.(?!why).*|brakes\[\d+\]\.(?!why).*",
    r"defaults\.(evidence|stay_up)|unreachable\..*|sources\[\d+\]\.boot_critical|.*\]|makes|sources|rings|defaults",
    r"default_windows|freeze|brakes|expedite|unreachable|rings\[\d+\]\.(at_most|needs)",
)
"""In another field's sentence, which has the path of the whole; and what is no rule by itself."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_field_that_a_policy_states_has_its_sentence(language: str) -> None:
    policy = parse_text(FULL)
    said = {one.path for one in explain(policy, language)}
    elsewhere = re.compile("|".join(f"(?:{one})" for one in SAID_ELSEWHERE))
    assert {one for one in policy.stated if one not in said and not elsewhere.fullmatch(one)} == set()


RULES = [
    ("sources[1].trust", "clamav-daily: how far its bytes must be verified: unverified.", "ungeprüft."),
    ("sources[1].hosts", "clamav-daily: hosts that its plugin may reach: more.example.", "more.example."),
    ("sources[1].must_be_everywhere_by", "clamav-daily: must be everywhere within: 9 hours.", "9 Stunden."),
    ("sources[1].keep", "clamav-daily: releases that the catalogue lists: 7.", "7."),
    ("sources[1].mirror", "clamav-daily: mirror: https://database.example.", "Spiegel: https://database.example."),
    ("sources[1].order", "clamav-daily: order of versions: by-date.", "by-date."),
    ("defaults.probes", "Everywhere probes: ti-connector.", "Überall Proben: ti-connector."),
    ("rings[3].probes", "Here probes: till-software if role=till.", "Hier Proben: till-software if role=till."),
]


@pytest.mark.parametrize(("path", "english", "german"), RULES, ids=[row[0] for row in RULES])
def test_a_rule_that_decides_is_said(path: str, english: str, german: str) -> None:
    policy = parse_text(FULL)
    (first,), (second,) = ([one for one in explain(policy, each) if one.path == path] for each in ("en", "de"))
    assert first.text == english
    assert second.text.endswith(german)
    assert first.line == policy.line_of(path)
    assert first.ring == ("rest" if path.startswith("rings") else "")


def test_the_exposure_budget_is_said_in_plain_words() -> None:
    said = [one.text for one in explain(parse_text(SEED), "en")]
    assert any(one.startswith("At most 10 machines of one make and 20 of the whole fleet may be lost") for one in said)


@pytest.mark.parametrize(
    ("language", "told", "untold"),
    [
        ("en", "without a word for 20 minutes since the grant or the last one", "after the grant"),
        ("en", "people are to be paged (nothing is sent yet)", "people are paged"),
        ("en", "the morning notice is wanted (nothing is sent yet)", "goes out"),
        ("en", "A technician may stop a rollout", "Anybody"),
        ("de", "ohne ein Wort seit der Zusage oder dem letzten: 20 Minuten", "nach der Zusage"),
        ("de", "verschickt wird noch nichts", "geht hinaus"),
    ],
)
def test_what_is_said_of_brakes_is_what_they_do(language: str, told: str, untold: str) -> None:
    said = " ".join(one.text for one in explain(parse_text(SEED), language))
    assert told in said
    assert untold not in said
