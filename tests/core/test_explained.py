"""Why a ring is not open, in words: every reason in both languages, the numbers that would open it, the time."""

from __future__ import annotations

import math
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import explained, reason_texts, said_texts, stats, words
from gate.core.evidence import rate_of, required
from gate.core.exposure import lost
from gate.core.facts import BrakeCount
from gate.core.model import FLEET, Budget
from gate.core.opening import judge
from gate.core.verdict import Reason, Refusal, Verdict
from gate.flows import claims, facts_json, replay, sentences
from gate.ports import Gate, Holder, StoredDecision
from tests.conftest import NOW
from tests.core.test_opening import GOOD, HOUR, RULE, TILL, TWO_SITES, shown

BERLIN = ZoneInfo("Europe/Berlin")
MAKE = "role=till|platform=hyperv|os_build=19045"
VM = replace(TILL, make=MAKE)

MAKES = [
    (MAKE, 2, "tills on hyperv with 19045", "Kassen auf hyperv mit 19045"),
    (MAKE, 1, "till on hyperv with 19045", "Kasse auf hyperv mit 19045"),
    (
        "role=server|vendor_version=7.1|pos=awinta%7C3",
        2,
        "servers with 7.1 and awinta|3",
        "Server mit 7.1 und awinta|3",
    ),
    ("role=-|platform=-", 2, "machines", "Rechner"),
    ("role=till|platform=-|os_build=19045|pos=-", 2, "tills with 19045", "Kassen mit 19045"),
    ("role=kiosk", 2, "kiosk", "kiosk"),
    (FLEET, 2, "the fleet", "die Flotte"),
    ("", 1, "machine", "Rechner"),
]


@pytest.mark.parametrize(("make", "number", "english", "german"), MAKES)
def test_a_make_is_named_in_words(make: str, number: int, english: str, german: str) -> None:
    assert words.make(make, "en", number) == english
    assert words.make(make, "de", number) == german


REASONS = [
    ({"brakes": (BrakeCount("b", "silent >= 3", "dead", 3, 3),)}, "brake", "the brake 'silent >= 3' counts 3: dead"),
    ({"log_e": math.log(5000), **TWO_SITES}, "not_chance", "2 machines at 2 sites have failed: 5,000 to 1"),
    ({"verified": False}, "not_verified", "the release's origin could not be verified"),
    ({"lever_broken": True}, "lever_broken", "a probe got what is withheld"),
    ({"previous_open": False}, "ring_before", "the ring before has not opened yet"),
    ({"previous_empty": True}, "ring_empty", "the ring before has no machine"),
    ({"members": 0}, "ring_empty", "ring rest has no machine"),
    ({"floor": 8 * HOUR}, "floor", "seen Mon 02 Mar 04:00 + 8 hours = Mon 02 Mar 12:00"),
    ({"freeze": "x", "freeze_why": "team away"}, "frozen", "freeze x without an end: team away"),
    ({"freeze": "x", "freeze_until": NOW + HOUR}, "frozen", "freeze x until Mon 02 Mar 11:00"),
    ({"people": ()}, "needs_people", "1 more must approve"),
    ({"makes": (replace(VM, healthy=2),)}, "at_least", "needs 1 more till on hyperv with 19045 healthy: 2 of 3 so far"),
    (
        {"makes": (replace(VM, healthy=2),), "gate": replace(RULE, at_least=6)},
        "at_least",
        "needs 4 more tills on hyperv with 19045 healthy: 2 of 6 so far",
    ),
    ({"makes": (replace(VM, healthy_sites=1),)}, "sites", "needs tills on hyperv with 19045 healthy at 2 more sites"),
    ({"makes": (replace(VM, soak_until=NOW + HOUR),)}, "soak", "soak 4 opening hours until Mon 02 Mar 11:00"),
    ({"makes": (replace(VM, soak_until=None),)}, "soak", "have not begun to soak 4 opening hours"),
    ({"makes": (replace(VM, stopped=True, bad=1),)}, "unexplained_failure", "a person must explain it, or halt"),
    ({"makes": (replace(VM, stopped=True, bad=1, extending=True),)}, "unexplained_failure", "a batch more is tried"),
    (
        {"gate": replace(RULE, rule_out_make=0.12), "makes": (replace(VM, available=99),)},
        "rule_out",
        "up to 63.2% of the tills on hyperv with 19045 could fail and at most 12% may: needs 21 more tills",
    ),
    (
        {"gate": replace(RULE, rule_out_fleet=0.12), "makes": (replace(VM, available=99, bad=1),)},
        "rule_out",
        "up to 75.1% of the fleet could fail and at most 12% may: needs 34 more machines healthy",
    ),
    (
        {"gate": replace(RULE, rule_out_make=0.12), "makes": (replace(VM, available=10, bad=1),)},
        "rule_out",
        "the rings before have only 6 left",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "code", "said"), REASONS)
def test_each_reason_is_a_sentence_in_both_languages(change: dict[str, object], code: str, said: str) -> None:
    found = explained.explained(replace(GOOD, **change))  # type: ignore[arg-type]
    reason = next(one for one in found.decision.reasons if one.code == code)
    stored = facts_json.reason_of(facts_json.reason(reason))
    assert stored == reason
    assert said in explained.sentence(stored, "en", BERLIN)
    german = explained.sentence(stored, "de", BERLIN)
    assert german != explained.sentence(stored, "en", BERLIN)
    for spoken in (*found.sentences("en", BERLIN), *found.sentences("de", BERLIN), found.risk("en")):
        assert "role=" not in spoken
        assert "{" not in spoken


def test_a_reason_stored_before_there_were_numbers_keeps_its_own_sentence() -> None:
    detail = f"needs 2 more healthy of {MAKE}"
    old = {"verdict": "HOLD", "code": "at_least", "detail": detail, "rule": "", "earliest_at": None, "make": MAKE}
    said = explained.sentence(facts_json.reason_of(old), "en", BERLIN)
    assert said == "needs 2 more healthy of tills on hyperv with 19045"


def test_the_earliest_time_is_the_latest_of_the_times_and_says_how_it_comes_about() -> None:
    late = replace(
        GOOD,
        floor=8 * HOUR,
        freeze="x",
        freeze_until=NOW + HOUR,
        makes=(replace(VM, soak_until=NOW + 3 * HOUR),),
    )
    assert explained.explained(late).sentences("en", BERLIN)[-1] == (
        "Ring rest: Mon 02 Mar 13:00 at the earliest (the latest of age: Mon 02 Mar 04:00 + 8 hours = Mon 02 Mar 12:00,"
        " freeze x until Mon 02 Mar 11:00 and soak of tills on hyperv with 19045 until Mon 02 Mar 13:00)."
    )
    waits = explained.explained(replace(late, people=()))
    assert waits.sentences("en", BERLIN)[-1].startswith("Ring rest: not before Mon 02 Mar 13:00 (")
    assert explained.explained(late).earliest_at == NOW + 3 * HOUR
    assert waits.earliest_at is None, "people have no time of their own"
    assert explained.explained(GOOD).earliest_at is None, "nothing holds it"
    people = explained.explained(replace(GOOD, people=())).sentences("de", BERLIN)[-1]
    assert people == "Ring rest: keine früheste Zeit, es hängt von Rechnern und Personen ab."


def test_a_make_is_told_what_holds_it_and_everybody_but_not_what_holds_another() -> None:
    facts = replace(GOOD, people=(), makes=(replace(VM, healthy=1), replace(TILL, make="role=server", healthy=2)))
    said = " ".join(explained.explained(facts).sentences("en", BERLIN, MAKE))
    assert "2 more tills on hyperv" in said
    assert "1 more must approve" in said
    assert "server" not in said


LOST = [
    # limit, in flight, healthy, failed, more that may take it, lost at worst
    (3, 0, 0, 0, 100, 3),
    (3, 0, 0, 0, 2, 2),
    (15, 0, 3, 0, 100, 10),
    (15, 0, 3, 0, 5, 4),
    (338, 0, 100, 0, 1000, 10),
    (338, 100, 100, 0, 0, 3),
    (0, 0, 3, 3, 100, 0),
]


@pytest.mark.parametrize(("limit", "flight", "healthy", "failed", "more", "worst"), LOST)
def test_what_could_be_lost_is_what_the_budget_lets_out_at_the_rate_not_excluded(
    limit: int, flight: int, healthy: int, failed: int, more: int, worst: int
) -> None:
    budget = Budget("r", MAKE, flight, limit, healthy, failed, False)
    assert lost(budget, more, 0.0, 0.95) == worst


def test_the_worst_case_is_said_by_make_and_for_the_fleet() -> None:
    two = replace(GOOD, makes=(VM, replace(TILL, make="role=server")))
    both = explained.explained(two, {MAKE: 5, "role=server": 1, FLEET: 6}).risk("en")
    assert both == (
        "If ring rest opened now, at most 6 machines of the fleet could be lost:"
        " 5 tills on hyperv with 19045 and 1 server."
    )
    one = explained.explained(replace(GOOD, makes=(VM,)), {MAKE: 5, FLEET: 5})
    assert one.risk("en") == "If ring rest opened now, at most 5 tills on hyperv with 19045 could be lost."
    assert (
        one.risk("de")
        == "Öffnete Ring rest jetzt, könnte höchstens dies verloren gehen: 5 Kassen auf hyperv mit 19045."
    )
    assert explained.explained(GOOD).risk("en") == ""


ONE = {"machines": 2, "sites": 1, "log_e": math.log(148)}
ALONE = [
    ("not_chance", ONE, "en", "2 machines at 1 site have failed: 148 to 1 against chance"),
    ("not_chance", ONE, "de", "2 Rechner in 1 Apotheke sind ausgefallen: 148 zu 1 gegen Zufall"),
    ("make_behind", {"make": "role=till", "bad": 1}, "en", "1 of the tills failed, too many rings behind"),
    ("sites", {"more": 1, "healthy": 2}, "en", "needs tills healthy at 1 more site: 2 so far"),
    ("sites", {"more": 1, "healthy": 2}, "de", "noch nötig: Kassen, gesund (1 weitere Apotheke; bisher 2)"),
    ("sites", {"more": 2, "healthy": 2}, "en", "needs tills healthy at 2 more sites: 2 so far"),
]


@pytest.mark.parametrize(("code", "numbers", "language", "said"), ALONE)
def test_one_is_no_plural(code: str, numbers: dict[str, float | str], language: str, said: str) -> None:
    make = "" if code == "not_chance" else "role=till"
    reason = Reason(Verdict.HOLD, code, "", "", None, make, numbers)
    assert explained.sentence(reason, language, BERLIN).startswith(said)


def test_one_machine_of_the_fleet_is_no_plural() -> None:
    two = replace(GOOD, makes=(VM, replace(TILL, make="role=server")))
    lost = {MAKE: 1, "role=server": 1, FLEET: 1}
    assert "at most 1 machine of the fleet could be lost" in explained.explained(two, lost).risk("en")
    assert "könnte höchstens dies verloren gehen: 1 Rechner der Flotte" in explained.explained(two, lost).risk("de")


@pytest.mark.parametrize(("sites", "places"), [("1 site", "1 Apotheke"), ("2 sites", "2 Apotheken")])
def test_why_it_halted_is_read_in_german_whether_one_site_or_more(sites: str, places: str) -> None:
    facts = replace(GOOD, **{**TWO_SITES, "failed_sites": int(sites[0]), "exposed_sites": int(sites[0])}, log_e=12.0)
    detail = judge(facts).reasons[0].detail
    assert detail == f"2 machines at {sites} have failed: 162,755 to 1 against chance"
    assert said_texts.said(detail, "de") == f"2 Rechner in {places} sind ausgefallen: 162,755 zu 1 gegen Zufall"
    stored_once = detail.replace("site ", "sites ")
    assert said_texts.said(stored_once, "de") == said_texts.said(detail, "de")


def test_what_was_stored_as_1_sites_is_judged_the_same() -> None:
    facts = replace(GOOD, **{**TWO_SITES, "failed_sites": 1, "exposed_sites": 1}, log_e=12.0)
    decision = judge(facts)
    reasons = [facts_json.reason(one) for one in decision.reasons]
    reasons[0]["detail"] = reasons[0]["detail"].replace("1 site", "1 sites")
    said = facts_json.dump(facts)
    stored = StoredDecision(0, "r", facts.ring, facts.now, "HALT", decision.makes, reasons, said, "p")
    assert "the reasons differ" not in replay.replay(Gate.__new__(Gate), stored, None).differences
    reasons[0]["detail"] = reasons[0]["detail"].replace("2 machines", "3 machines")
    assert "the reasons differ" in replay.replay(Gate.__new__(Gate), stored, None).differences


HOLDERS = [
    (1, 0, "en", "1 machine at 1 site still has it or may have it; it is heard of"),
    (1, 1, "en", "1 machine at 1 site still has it or may have it; 1 is not heard of: nord (1)"),
    (2, 2, "en", "2 machines at 1 site still have it or may have it; 2 are not heard of: nord (2)"),
    (1, 0, "de", "1 Rechner in 1 Apotheke hat sie noch, sicher oder vielleicht; er ist zu erreichen"),
    (2, 1, "de", "2 Rechner in 1 Apotheke haben sie noch, sicher oder vielleicht; nicht zu erreichen ist 1: nord (1)"),
]


@pytest.mark.parametrize(("machines", "unheard", "language", "said"), HOLDERS)
def test_one_machine_that_still_has_it_is_no_plural(machines: int, unheard: int, language: str, said: str) -> None:
    assert sentences.recalled([Holder("nord", "nord", machines, unheard, None)], language) == said


def test_one_more_site_that_is_not_heard_of_is_no_plural() -> None:
    six = [Holder(f"s{one}", f"s{one}", 1, 1, None) for one in range(6)]
    assert sentences.recalled(six, "en").endswith("s4 (1) and 1 more site")
    assert sentences.recalled(six, "de").endswith("s4 (1) und 1 weitere Apotheke")


@given(
    st.integers(0, 300), st.integers(0, 9), st.integers(0, 9), st.floats(0.001, 0.9), st.sampled_from([0.8, 0.95, 0.99])
)
def test_the_number_of_further_healthy_machines_is_the_smallest_that_does(
    healthy: int, failed: int, pending: int, limit: float, confidence: float
) -> None:
    more = stats.more_healthy(limit, healthy, failed, pending, confidence)
    assert more is not None

    def bound(further: int) -> float:
        return stats.upper_bound(healthy + further, failed, max(pending - further, 0), confidence)

    assert bound(more) <= limit
    assert more == 0 or bound(more - 1) > limit


@pytest.mark.parametrize(("limit", "more"), [(0.65, 3), (0.12, 24), (0.03, 99), (0.01, 299), (0.0, None), (-1.0, None)])
def test_from_nothing_it_takes_as_many_as_the_table_says(limit: float, more: int | None) -> None:
    assert stats.more_healthy(limit, 0, 0, 0, 0.95) == more


@given(st.lists(shown, max_size=4, unique_by=lambda one: one.make), st.sampled_from([None, 0.1, 0.3, 0.9]))
def test_with_exactly_what_is_said_to_be_missing_a_make_passes_and_with_one_less_it_does_not(
    makes: list[object], rule_out: float | None
) -> None:
    facts = replace(GOOD, makes=tuple(makes), gate=replace(RULE, rule_out_make=rule_out))  # type: ignore[arg-type]
    for row in explained.explained(facts).makes:
        one = next(m for m in facts.makes if m.make == row.make)
        if one.stopped or one.available == 0:
            continue
        codes = {reason.code for reason in judge(facts).reasons if reason.make == row.make}
        assert ("at_least" in codes) == (row.more_healthy > 0)
        if row.rate is not None and row.rate.more and not row.more_healthy and not row.more_sites:
            assert "rule_out" in codes
            enough = replace(
                one, healthy=one.healthy + row.rate.more, pending=max(one.pending - row.rate.more, 0), sites=0
            )
            assert rate_of([enough], rule_out or 0, facts).more == 0
        assert row.wanted == required(RULE.at_least, one)


def test_both_languages_have_the_same_keys_and_the_same_places() -> None:
    assert reason_texts.ENGLISH.keys() == reason_texts.GERMAN.keys()
    for key, english in reason_texts.ENGLISH.items():
        fields = [
            {name for _, name, _, _ in string.Formatter().parse(said) if name}
            for said in (english, reason_texts.GERMAN[key])
        ]
        assert fields[0] == fields[1], key
        assert ("|" in english) == ("|" in reason_texts.GERMAN[key]), key


CLOCKS = [
    # the clock goes back on 25 October 2026 at 01:00 UTC, and forward on 29 March
    (datetime(2026, 10, 25, 0, 10, tzinfo=UTC), "Sun 25 Oct 02:10 CEST", "So 25.10. 02:10 CEST"),
    (datetime(2026, 10, 25, 1, 10, tzinfo=UTC), "Sun 25 Oct 02:10 CET", "So 25.10. 02:10 CET"),
    (datetime(2026, 10, 24, 0, 59, tzinfo=UTC), "Sat 24 Oct 02:59", "Sa 24.10. 02:59"),
    (datetime(2026, 10, 24, 1, 0, tzinfo=UTC), "Sat 24 Oct 03:00 CEST", "Sa 24.10. 03:00 CEST"),
    (datetime(2026, 10, 26, 0, 59, tzinfo=UTC), "Mon 26 Oct 01:59 CET", "Mo 26.10. 01:59 CET"),
    (datetime(2026, 10, 26, 1, 0, tzinfo=UTC), "Mon 26 Oct 02:00", "Mo 26.10. 02:00"),
    (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), "Sun 29 Mar 01:30 CET", "So 29.03. 01:30 CET"),
    (datetime(9999, 12, 30, 23, 0, tzinfo=UTC), "Fri 31 Dec 00:00", "Fr 31.12. 00:00"),
    (datetime(2026, 3, 29, 4, 30, tzinfo=BERLIN), "Sun 29 Mar 04:30 CEST", "So 29.03. 04:30 CEST"),
]


@pytest.mark.parametrize(("at", "english", "german"), CLOCKS)
def test_a_moment_within_a_day_of_a_clock_change_names_the_clock(at: datetime, english: str, german: str) -> None:
    assert words.moment(at, "en", BERLIN) == english
    assert words.moment(at, "de", BERLIN) == german


SUMS = [
    (datetime(2026, 10, 25, 0, 10, tzinfo=UTC), 2 * HOUR, "Sun 25 Oct 02:10 CEST + 2 hours = Sun 25 Oct 03:10 CET"),
    (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), 2 * HOUR, "Sun 29 Mar 01:30 CET + 2 hours = Sun 29 Mar 04:30 CEST"),
    (datetime(2026, 10, 23, 10, 0, tzinfo=UTC), 72 * HOUR, "Fri 23 Oct 12:00 CEST + 3 days = Mon 26 Oct 11:00 CET"),
]


@pytest.mark.parametrize(("seen", "floor", "said"), SUMS)
def test_the_sum_of_an_age_is_true_on_both_clock_change_nights(seen: datetime, floor: timedelta, said: str) -> None:
    young = explained.explained(replace(GOOD, first_seen_at=seen, floor=floor, now=seen))
    first, last = young.sentences("en", BERLIN)
    assert said in first
    assert said in last


def test_a_refusal_is_said_in_both_languages() -> None:
    no = Refusal("frozen", "freeze x", 5, "freeze[0]", NOW, {"name": "x"})
    assert explained.refused(no, "de", BERLIN) == "Sperrzeit x"
    own = Refusal("unexplained_failure", "this machine has failed with this release", 5)
    assert explained.refused(own, "en", BERLIN) == own.detail
    assert explained.refused(Refusal("new_kind", "said so.", 5), "de", BERLIN) == "said so"
    late = Refusal("other_in_flight", claims.REFUSALS["other_in_flight"], 5)
    assert explained.refused(late, "de", BERLIN) == said_texts.said(late.detail, "de") != late.detail


@pytest.mark.parametrize(
    ("numbers", "english", "german"),
    [
        (
            {"ring": "rest", "later": True},
            "outside its ring's share; it follows with ring rest",
            "außerhalb des Anteils seines Rings; folgt mit Ring rest",
        ),
        (
            {"ring": "some", "later": False},
            "outside its ring's share; it follows once ring some has passed its gate",
            "außerhalb des Anteils seines Rings; folgt, sobald Ring some bestanden hat",
        ),
        (
            {"make": MAKE},
            "others of the tills on hyperv with 19045 are drawn to be first; from {en} it may be as well",
            "andere der Kassen auf hyperv mit 19045 sind als Erste ausgelost; ab {de} darf er es auch sein",
        ),
    ],
)
def test_who_follows_and_who_is_drawn_is_said_in_both_languages(
    numbers: dict[str, float | str], english: str, german: str
) -> None:
    no = Refusal("outside_share", "it says so", 5, "first_batch", NOW if "make" in numbers else None, numbers)
    moments = {language: words.moment(NOW, language, BERLIN) for language in ("en", "de")}
    assert explained.refused(no, "en", BERLIN) == english.format(**moments)
    assert explained.refused(no, "de", BERLIN) == german.format(**moments)


def test_a_share_that_is_not_nothing_is_never_shown_as_nothing() -> None:
    assert [words.share(rate, "en") for rate in (0.5, 0.123, 0.0004, 0.00004, 0.0)] == [
        "50%", "12.3%", "0.04%", "0.004%", "0%",
    ]  # fmt: skip
    assert words.share(0.123, "de") == "12,3 %"


def test_a_duration_keeps_its_unit() -> None:
    assert words.span(timedelta(hours=6), "en") == "6 hours"
    assert words.open_span("1d open", "de") == "1 Öffnungstag"
    assert words.open_span("soon", "de") == "soon"


def test_a_halt_comes_before_what_merely_waits() -> None:
    facts = replace(GOOD, people=(), brakes=(BrakeCount("b", "silent >= 3", "dead", 3, 3),))
    assert explained.explained(facts).reasons()[0].verdict is Verdict.HALT
