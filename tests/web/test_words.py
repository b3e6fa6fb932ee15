"""Every sentence that people read exists in German: refusals, reasons, events, states; no page says an English one."""

from __future__ import annotations

import ast
import html
import importlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from gate.adapters.policy_yaml import parse_text, problems_of
from gate.bootstrap import seed_policy
from gate.core import policy_texts, reason_texts, said_texts
from gate.core.claims import Taken
from gate.core.model import ClaimState, MachineStatus, RolloutState
from gate.core.policy import not_enforced
from gate.flows import claims, going_back, intake, levers, policy_remote, protection, unclear
from gate.hookvalues import WEIGHTS
from gate.web import event_texts, texts
from gate.web.texts import GERMAN, translate
from tests.conftest import REPOSITORY
from tests.web.busy import Busy, busy

DOORS = (
    "acts.py",
    "app.py",
    "audit.py",
    "auth.py",
    "backtests.py",
    "calendars.py",
    "filters.py",
    "forms.py",
    "hold_pages.py",
    "lists.py",
    "oidc.py",
    "pages.py",
    "places.py",
    "policy_edit_pages.py",
    "policy_pages.py",
    "recovery_pages.py",
    "ring_forms.py",
    "ring_pages.py",
    "roles.py",
    "site_forms.py",
    "source_pages.py",
    "system.py",
)
NOT_SHOWN = {
    "this machine has no such claim",  # agents read these three
    "the last seq was {}",
    "seq steps by more than {} from {}",
    "ring {}",  # an error of ours
    "{}: {}",  # a host, and what its server says
    "{} has no place on the shelf",
}
PROPOSED = {f"{kind}_proposed" for kind in ("resume", "recall", "lift_hold", "waive", "user_change", "change_site")}
STEPPED = {f"rollout_{state}" for state in (RolloutState.RUNNING, RolloutState.SUPERSEDED)}
TROUBLES = {"source_failed", "candidate_refused", "mirror_failed"}
DYNAMIC = {
    "f'{kind}_proposed'": PROPOSED,
    "f'rollout_{state.value}'": STEPPED,
    "f'report_{taken.value}'": {f"report_{one}" for one in Taken},
    "ASKED": {unclear.ASKED},
    "intake.py: kind": TROUBLES,
    "intake.py: RECOVERED[kind]": set(intake.RECOVERED.values()),
    "levers.py: KINDS[probe.shown]": set(levers.KINDS.values()),
    "policy_remote.py: kind": set(policy_remote.TROUBLES),
    "protection.py: kind": set(protection.ALARMS),
}
"""The kinds of events that are not written out where they are appended."""


def sources(*names: str) -> list[Path]:
    return [path for name in names for path in sorted((REPOSITORY / "gate").glob(name))]


def template(node: ast.AST) -> str | None:
    """The sentence with ``{}`` for what stands in it; None where it is no sentence of its own."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)
    return None


def raised() -> Iterator[tuple[str, str]]:
    """(where, sentence) of each refusal that a page can show."""
    for path in sources("flows/*.py", "web/*.py", "adapters/mirror_folder.py", "adapters/policy_*.py"):
        if path.parent.name == "web" and path.name not in DOORS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            for one in node.exc.args[-1:]:
                found = template(one)
                if found is not None and " " in found:
                    yield f"{path.name}:{node.lineno}", found


def in_german(sentence: str) -> bool:
    """With something in every gap."""
    return said_texts.said(sentence.replace("{}", "x1"), "de") != sentence.replace("{}", "x1")


def problems() -> Iterator[tuple[str, str]]:
    """(where, sentence) of each thing that can be wrong with a policy."""
    places = {"Wanted": 0, "scalar": 1, "read.scalar": 1, "reader.problem": 1, "self.problem": 1, "at": 1, "Problem": 3}
    for path in sources("core/policy.py", "core/policy_values.py", "adapters/policy_yaml.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and named in places and len(node.args) > places[named]:
                found = template(node.args[places[named]])
                said = "x1 is not " if places[named] < 2 and named in ("Wanted", "scalar", "read.scalar") else ""
                if found is not None and found != "{}: {} {}":
                    yield f"{path.name}:{node.lineno}", said + found


def test_everything_that_can_be_wrong_with_a_policy_has_its_german() -> None:
    found = list(problems())
    assert len(found) > 40
    assert [one for one in found if not in_german(one[1])] == []
    several = "policy.yaml:2:1: unknown key 'x' (did you mean 'y'?); policy.yaml:3:1: rings[0].floor: 'x' is not a date"
    assert said_texts.said(f"commit 0a is refused: {several}", "de") == (
        "Commit 0a wird abgelehnt: policy.yaml:2:1: unbekannter Schlüssel 'x' (meinten Sie 'y'?); "
        "policy.yaml:3:1: rings[0].floor: 'x' ist kein Tag"
    )


BROKEN = (
    "a: [1, 2\nb: 3",
    "a: {b: 1\nc: 2",
    "a: {b: 1 ]",
    "a: [1, 2 }",
    "a: b: c",
    "a:\n  - b\n c: d",
    "a:\n  b: 1\n - c",
    "a: @b",
    "a: `b",
    "a:\n\t- b",
    "a: 'b",
    'a: "b',
    'a: "\\q"',
    'a: "\\xzz"',
    "a: 1\n? b: [\n: c",
    "a: }",
    "a: - b",
    "a: ? b",
    "%YAML x\n---\na: 1",
    "%YAML 1.2\na: 1",
    "a: # ours\n  b\n\nc: 1",
    "a: 1\n---\nb: 2",
    "a: 1\n...\nb: 2",
    "a: &\n",
    "a: |x\n  b",
    "a: |0\n  b",
    "a: > b\n  c",
    "a\nb: 1",
    "a: 'b\n--- c'",
    "a: \x00",
)
"""What a hand that is not used to it makes of YAML."""


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_yaml_is_said_in_german(text: str) -> None:
    found = [one.message for one in problems_of(text)]
    assert found
    for one in found:
        said = said_texts.said(one, "de")
        assert said != one
        assert re.search(r"\b(expected|found|allowed|but|not|could)\b", re.sub("'[^']*'", "", said)) is None, said


def found_in_content() -> Iterator[tuple[str, str]]:
    """(where, sentence) of what a shipped plugin notes or warns of."""
    for path in sorted(REPOSITORY.glob("plugins/gate_*/*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named: dict[str, list[ast.expr]] = defaultdict(list)
        for one in ast.walk(tree):
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                named[one.targets[0].id].append(one.value)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and len(node.args) == 3:
                weight, _, detail = node.args
                details = named[detail.id] if isinstance(detail, ast.Name) else [detail]
                if ast.unparse(weight) != "'refuse'":
                    yield from ((f"{path.name}:{node.lineno}", said) for one in details if (said := template(one)))


def test_what_shipped_plugins_say_of_their_lever_and_note_of_content_has_its_german() -> None:
    notes = list(found_in_content())
    assert len(notes) > 6
    assert [one for one in notes if not in_german(one[1])] == []
    described = [
        importlib.import_module(f"{path.parent.name}.source").gate_describe()
        for path in sorted(REPOSITORY.glob("plugins/gate_*/source.py"))
    ]
    whys = {why for one in described for why in (one.why, *(stream.why for stream in one.streams)) if why}
    assert len(whys) > 6
    assert [why for why in sorted(whys) if not in_german(why)] == []


def test_every_refusal_of_a_form_has_its_german() -> None:
    found = [one for one in raised() if one[1] not in NOT_SHOWN]
    assert len(found) > 60
    assert [one for one in found if not in_german(one[1])] == []


def test_every_reason_without_numbers_and_every_late_refusal_has_its_german() -> None:
    tree = ast.parse((REPOSITORY / "gate" / "core" / "opening.py").read_text(encoding="utf-8"))
    [check] = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name == "_unclear"]
    unclear_ones = [template(one.value) for one in ast.walk(check) if isinstance(one, ast.Assign)]
    found = [one for one in unclear_ones if one is not None and " " in one]
    found += [*claims.REFUSALS.values(), *going_back.REFUSALS.values()]
    assert len(found) > 14
    assert [one for one in found if not in_german(one)] == []


def test_what_is_wrong_with_opening_hours_and_what_is_not_enforced_is_said_in_german() -> None:
    tree = ast.parse((REPOSITORY / "gate" / "adapters" / "calendar.py").read_text(encoding="utf-8"))
    checks = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name.startswith("check_")]
    returned = [one.value for check in checks for one in ast.walk(check) if isinstance(one, ast.Return) and one.value]
    parts = [part for one in returned if isinstance(one, ast.IfExp) for part in (one.body, one.orelse)]
    found = [said for part in [*returned, *parts] if (said := template(part))]
    found += not_enforced(parse_text(seed_policy()))
    assert len(found) > 6
    assert [one for one in found if not in_german(one)] == []


def test_the_gaps_of_a_sentence_are_filled_in_both_languages_and_shares_and_states_are_german() -> None:
    for english, german in said_texts.GERMAN.items():
        assert english.count("{}") == german.count("{}"), english
    assert said_texts.said("the rollout is running", "de") == "der Rollout: läuft"
    assert said_texts.said("the rollout is running", "en") == "the rollout is running"
    said = said_texts.said("2.5% of earlier boots failed without this release, more than 2.0%", "de")
    assert said == "2,5 % der früheren Starts sind ohne diese Freigabe ausgefallen, mehr als 2,0 %"
    assert said_texts.said("what a person wrote", "de") == "what a person wrote"


def test_every_weight_of_a_finding_has_its_word_in_both_languages() -> None:
    template = (REPOSITORY / "gate" / "web" / "templates" / "sources.html").read_text(encoding="utf-8")
    assert 't("weight." ~ finding.weight)' in template
    for one in WEIGHTS:
        assert f"weight.{one}" != translate(f"weight.{one}", "en") != translate(f"weight.{one}", "de")


@pytest.mark.parametrize("states", [RolloutState, ClaimState, MachineStatus])
def test_every_state_has_a_word_in_german(states: type) -> None:
    for one in states:  # type: ignore[attr-defined]
        assert f"state.{one.value}" in reason_texts.GERMAN or one.value in GERMAN, one


def appended() -> Iterator[tuple[str, ast.Call, ast.AST]]:
    """(file, call, the function around it) of each event that gate appends."""
    for path in sources("flows/*.py", "web/*.py", "cli/*.py", "worker.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "tx.append":
                    yield path.name, node, function


def test_every_kind_of_event_is_said_in_both_languages() -> None:
    kinds: set[str] = set()
    for file, call, function in appended():
        first = call.args[0]
        if isinstance(first, ast.Name):
            named = [
                one.value
                for one in ast.walk(function)
                if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == first.id
            ]
            words = [part.value for one in named for part in _words(one)]
            if words and file != "protection.py":
                kinds |= set(words)
                continue
        if isinstance(first, ast.Constant):
            kinds.add(str(first.value))
            continue
        said = ast.unparse(first)
        kinds |= DYNAMIC.get(said) or DYNAMIC[f"{file}: {said}"]
    assert kinds == set(event_texts.KINDS)
    for english, german in event_texts.KINDS.values():
        assert english
        assert german
        assert english != german


def _words(node: ast.AST) -> list[ast.Constant]:
    """The kinds that an expression may come to."""
    if isinstance(node, ast.IfExp):
        return [*_words(node.body), *_words(node.orelse)]
    return [node] if isinstance(node, ast.Constant) and node.value else []


def test_everything_that_an_event_carries_has_its_word() -> None:
    carried: set[str] = set()
    for _, call, function in appended():
        if len(call.args) < 5:
            continue
        given = call.args[4]
        found = [given] if isinstance(given, ast.Dict) else []
        if isinstance(given, ast.Name):
            for one in ast.walk(function):
                if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == given.id:
                    found.append(one.value)  # type: ignore[arg-type]
                if isinstance(one, ast.Subscript) and ast.unparse(one.value) == given.id:
                    carried |= {str(one.slice.value)} if isinstance(one.slice, ast.Constant) else set()
        for one in found:
            keys = getattr(one, "keys", [])
            carried |= {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    assert len(carried) > 40
    assert carried - set(event_texts.CARRIED) == set()


# a page


@pytest.fixture(scope="module", params=[("july-19", 12), ("healthy-week", 33)], ids=lambda one: str(one[0]))
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A day after its halt, and one on which rings open; in German."""
    scenario, hours = request.param
    found = busy(tmp_path_factory.mktemp("day"), scenario, timedelta(hours=hours))
    client = found.app.test_client()
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de"
    return Day(client, found)


@dataclass(frozen=True)
class Day:
    """A browser, and what it may look at."""

    client: FlaskClient
    busy: Busy

    def text(self, place: str, language: str = "de") -> str:
        return self.client.get(place, headers={"Accept-Language": language}).text


def english() -> list[str]:
    """What stands in no German page: words of the pages, and the longest stretch of every sentence."""
    labels = {key for key, value in GERMAN.items() if value != key and (" " in key.strip() or key.istitle())}
    found = {key for key in labels if len(key) > 4 and not any(key in german for german in GERMAN.values())}
    german = " ".join([*reason_texts.GERMAN.values(), *said_texts.GERMAN.values(), *GERMAN.values()])
    policies = [one for key, one in policy_texts.ENGLISH.items() if one != policy_texts.GERMAN[key]]
    events = [one for one, _ in event_texts.KINDS.values()]
    for catalogue in (reason_texts.ENGLISH.values(), said_texts.GERMAN, events, policies):
        for sentence in catalogue:
            longest = max(re.split(r"\{\w*\}", sentence), key=len).strip(" :;,.'")
            if longest.count(" ") > 1 and longest not in german:
                found.add(longest)
    return sorted(found)


def seen(page: str) -> str:
    """What a person sees of a page: its text, and what is read out."""
    shown = re.sub(r"<(script|style|code)\b.*?</\1>", " ", page, flags=re.DOTALL)
    read = " ".join(re.findall(r'(?:aria-label|placeholder|alt)="([^"]*)"', shown))
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown)) + " " + read)


@pytest.mark.slow
def test_no_german_page_says_an_english_sentence(day: Day) -> None:
    words, bad = english(), []
    assert len(words) > 150
    for place in day.busy.places():
        page = seen(day.text(place))
        own = {"Windows"} if "/recovery" in place else set()  # there it is the system's name
        bad += [(place, one) for one in words if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", page) and one not in own]
    assert bad == []


class Asked(dict[str, str]):
    """A catalogue that remembers what it was asked for and does not have."""

    def __init__(self, known: Mapping[str, str]) -> None:
        super().__init__(known)
        self.missing: set[str] = set()

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]
        if key not in self:
            self.missing.add(key)
        return super().get(key, default)


ELSEWHERE = {"there is no rollout none"}
"""What is asked for and stands in another catalogue: refusals, which ``said_texts`` says."""


def test_no_page_asks_for_a_word_that_no_catalogue_has(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(GERMAN)
    monkeypatch.setattr(texts, "GERMAN", asked)
    for place in day.busy.places():
        day.text(place)
    assert asked.missing - ELSEWHERE == set()
    assert texts.translate("a word that nobody has", "de") == "a word that nobody has"
    assert "a word that nobody has" in asked.missing


WRITTEN = re.compile(r"\b\d{4}-\d\d-\d\d\b(?!T\d\d:\d\d\b)|\{['\"]|\bNone\b|\bdatetime\(")
"""A day as the code has it, a raw dict, nothing at all."""
AS_WRITTEN = ("/policy", "/rings/edit", "/machines.csv")
"""Pages that show the policy's own text, or how a value of it is written."""


def raw(page: str) -> list[str]:
    """What of a page is the code's own spelling."""
    shown = re.sub(r"<(script|style|code|pre|textarea)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return WRITTEN.findall(html.unescape(re.sub(r"<[^>]+>", " ", shown)))


def test_no_page_shows_what_only_code_writes(day: Day) -> None:
    places = [one for one in day.busy.places() if not one.startswith(AS_WRITTEN)]
    assert len(places) > 20
    assert [(place, found) for place in places if (found := raw(day.text(place)))] == []
    assert raw("<p>2026-12-24 {'a': 1} None</p>") == ["2026-12-24", "{'", "None"]


@pytest.mark.slow
def test_days_and_numbers_are_said_as_the_language_says_them(day: Day) -> None:
    rollout = f"/rollouts/{day.busy.rollout}"
    german, english_one = seen(day.text(rollout)), seen(day.text(rollout, "en"))
    assert re.search(r"\b\d\d\.\d\d\.20\d\d ", german)
    assert re.search(r"\b\d\d [A-Z][a-z]{2} 20\d\d ", english_one)
    assert not re.search(r"\b\d\d\.\d\d\.(?!\d)", english_one)


def test_every_link_of_every_page_leads_somewhere(day: Day) -> None:
    routes, asked = day.busy.app.url_map.bind("localhost"), dict[str, set[str]]()
    for place in day.busy.places():
        page = day.text(place)
        for what, link in re.findall(r'<(a|form)\b[^>]* (?:href|action)="(/[^"#]*)', page):
            path = html.unescape(link)
            gets = what == "a" or f'method="get" action="{link}"' in page
            endpoint, _ = routes.match(path.partition("?")[0], method="GET" if gets else "POST")
            if gets:
                asked.setdefault(str(endpoint), set()).add(path)
    asked.pop("audit_proof")  # these pages have no tree
    assert len(asked) > 15
    few = [path for paths in asked.values() for path in sorted(paths)[:5]]
    assert [path for path in few if day.client.get(path).status_code not in (200, 302)] == []


def test_an_english_page_says_them(day: Day) -> None:
    """So that the test above can find something."""
    words = english()
    pages = [seen(day.text(place, "en")) for place in day.busy.places()]
    assert sum(any(one in page for page in pages) for one in words) > 60


@pytest.mark.parametrize("day", [("july-19", 12)], indirect=True, ids=["july-19"])
def test_what_a_brake_has_counted_is_german_wherever_it_is_said(day: Day) -> None:
    rollout = f"/rollouts/{day.busy.rollout}"
    for place in ("/", "/rollouts", "/audit", "/machines/lab-001", "/why?machine=lab-001", rollout):
        page = seen(day.text(place))
        assert "3 gezählt. dead machines send no error reports" in page, place
        assert "3 counted" not in page, place


def test_what_a_person_wrote_stays_as_it_is() -> None:
    assert said_texts.halted("3 counted. I saw it", "anna", "de") == "3 counted. I saw it"
    assert said_texts.halted("3 counted. I saw it", "brakes[0]", "de") == "3 gezählt. I saw it"


@pytest.mark.parametrize("day", [("july-19", 12)], indirect=True, ids=["july-19"])
def test_many_makes_of_an_event_fold_away(day: Day) -> None:
    happened = day.text(f"/rollouts/{day.busy.rollout}").partition("Was geschah")[2]
    assert re.search(r"<details><summary>\d+ Bauarten</summary>Server auf hyperv", happened)


def test_dark_sites_are_counted_and_named_where_one_looks_first(day: Day) -> None:
    for place in ("/", f"/rollouts/{day.busy.rollout}"):
        page = day.text(place)
        assert "<summary>1 Apotheke ist dunkel</summary>" in page
        assert re.search(r'<li><a href="/sites/([a-z0-9]+)">\1</a></li>', page)


def test_numbers_stand_under_their_headers(day: Day) -> None:
    """A column of numbers is marked in its header as in its cells."""
    for place in day.busy.places():
        for table in re.findall(r"<table>(.*?)</table>", day.text(place), re.DOTALL):
            heads = re.findall(r'<th scope="col"( class="number")?>', table)
            rows = re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)
            cells = [re.findall(r"<(?:td|th)([^>]*)>", row) for row in rows]
            numbers = [any("number" in one for one in column) for column in zip(*cells, strict=True)]
            assert [bool(one) for one in heads] == numbers or not rows or "versus" in table, (place, table[:300])
