"""What comes in: newer bytes, verified as far as the policy wants, in order, looked into, with room for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gate.core.policy import SourceRule
from gate.flows import look
from tests.flows.test_statements import counted
from tests.real_gate import RealGate

SCRIPTED = """
import hashlib, json
from pathlib import Path
from gate.hookspecs import *

def said(source):
    return json.loads(Path(source.options["script"]).read_text())

@hookimpl
def gate_describe():
    return SourceInfo("scripted", "held", ("content",), {"script": Option("what to say", True)})

@hookimpl
def gate_discover(source, cursor):
    script = said(source)
    if script.get("etag") and cursor == script["etag"]:
        return Discovered((), cursor, unchanged=True)
    found = []
    for version, text in script["offers"]:
        digest = hashlib.sha256(text.encode()).hexdigest() if script.get("tells", True) else ""
        found.append(Candidate(version, (Announced("a", script.get("length", len(text)), digest),), text))
    found += [Candidate(*one) for one in script.get("odd", [])]
    told = script.get("etag") or script.get("cursor", "")
    return Discovered(tuple(found), told, withdrawn=tuple(script.get("withdrawn", ())))

@hookimpl
def gate_fetch(source, candidate, into):
    counted = Path(source.options["script"]).with_suffix(".fetched")
    counted.write_text((counted.read_text() if counted.exists() else "") + candidate.version + " ")
    if candidate.version in said(source).get("gone", []):
        raise ValueError(said(source).get("problem", "404"))
    if candidate.version in said(source).get("slow", []):
        from gate.adapters.egress import Unfinished
        raise Unfinished("half of it so far")
    raw = said(source).get("brings", candidate.where).encode()
    (into / "a").write_bytes(raw)
    return [Fetched("a", len(raw), hashlib.sha256(raw).hexdigest())]

@hookimpl
def gate_verify(source, candidate):
    script = said(source)
    return Verification(script.get("trust", "digest_pinned"), script.get("ok", True), script.get("signer", ""))

@hookimpl
def gate_lint(source, candidate, into, baseline):
    text = (into / "a").read_text()
    if "broken" in text:
        return [Finding("refuse", "syntax", "line 1 does not parse")]
    if baseline and len(baseline.files["a"].read_text()) > 2 * len(text):
        return [Finding("warning", "shrunk", "half of it is gone since " + baseline.version)]
    return []

@hookimpl
def gate_order(source, a, b):
    return (int(a) > int(b)) - (int(a) < int(b))
"""


class Scripted:
    """A gate with one scripted source beside its own."""

    def __init__(self, gate: RealGate, folder: Path, more: str = "") -> None:
        self.gate = gate
        self.script = folder / "script.json"
        self.gate.worker._looking.options["scripted"] = {"script": str(self.script)}  # type: ignore[index]
        policies = gate.opened.policies
        text = policies.read(policies.head())
        extra = f"  - {{name: scripted, plugin: scripted, kind: content, evidence: alive{more}}}\n"
        gate.policy_says(text.replace("sources:\n", "sources:\n" + extra), "one more")

    def offers(self, *offers: str, **more: Any) -> None:
        """``version=text``; then one look."""
        said = [one.partition("=")[::2] for one in offers]
        self.script.write_text(json.dumps({"offers": [(v, text or f"text {v}") for v, text in said], **more}))
        self.gate.worker.look()

    def unordered(self) -> None:
        """From now on its plugin knows no order."""
        plugin = self.script.parent / "plugins" / "gate_scripted" / "source.py"
        plugin.write_text(SCRIPTED.replace("return (int(a) > int(b)) - (int(a) < int(b))", "return None"))

    def known(self) -> list[str]:
        with self.gate.opened.store.read() as tx:
            return [one.version for one in reversed(tx.releases("scripted", 100))]

    def said(self, kind: str) -> list[Any]:
        with self.gate.opened.store.read() as tx:
            events = tx.events(subject="source:scripted")
            return [event.detail for event in reversed(events) if event.kind == kind]

    def fetched(self) -> str:
        return self.script.with_suffix(".fetched").read_text()


@pytest.fixture
def more() -> str:
    return ""


@pytest.fixture
def source(sqlite_gate: RealGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> Iterator[Scripted]:
    package = tmp_path / "plugins" / "gate_scripted"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "source.py").write_text(SCRIPTED)
    monkeypatch.syspath_prepend(tmp_path / "plugins")  # type: ignore[no-untyped-call]
    yield Scripted(sqlite_gate, tmp_path, more)


def test_the_order_is_the_plugins_and_not_that_of_words(source: Scripted) -> None:
    source.offers("1")
    source.offers("10", "9", "1")
    assert source.known() == ["1", "9", "10"]
    assert source.said("candidate_refused") == []


def test_of_a_source_that_is_new_only_the_newest_is_taken(source: Scripted) -> None:
    source.offers("8", "10", "9")
    source.offers("8", "10", "9")
    assert source.known() == ["10"]
    assert source.said("candidate_refused") == []
    source.offers("8", "10", "9", "11")
    assert source.known() == ["10", "11"]


@pytest.mark.parametrize("offered", ["4", "05", "4 3"])
def test_an_older_release_that_takes_the_place_of_the_newest_is_refused_and_alarmed_once(
    source: Scripted, offered: str
) -> None:
    source.offers("5")
    for _ in range(3):
        source.offers(*offered.split())
    assert source.known() == ["5"]
    (alarm,) = source.said("candidate_refused")
    assert "is not newer than 5, which is offered no more: a replay or a downgrade" in alarm["detail"]
    assert source.fetched() == "5 "


def test_history_beside_the_newest_release_is_no_alarm(source: Scripted) -> None:
    source.offers("5")
    source.offers("3", "4", "5")
    assert source.known() == ["5"]
    assert source.said("candidate_refused") == []


def test_a_new_release_is_found_behind_a_long_history_and_many_new_ones_come_in_order(source: Scripted) -> None:
    source.offers("1000")
    history = [str(number) for number in range(1, 400)]
    source.offers(*history, "1000", "1002", "1001")
    assert source.known() == ["1000", "1001", "1002"]
    assert source.said("candidate_refused") == []


def test_of_a_new_source_without_an_order_the_last_that_is_listed_is_the_newest_and_alone_taken(
    source: Scripted,
) -> None:
    source.unordered()
    history = [f"v{number}" for number in range(40)]
    for _ in range(2):
        source.offers(*history)
        assert source.known() == ["v39"]
    source.offers(*history, "b", "a")
    assert source.known() == ["v39", "b", "a"]
    assert (source.fetched(), source.said("candidate_refused")) == ("v39 b a ", [])


def test_without_an_order_history_is_not_taken_either_where_the_newest_is_offered_no_more(source: Scripted) -> None:
    source.unordered()
    history = [f"v{number}" for number in range(9)]
    source.offers(*history, "bad")
    source.offers(*history)
    assert source.known() == ["bad"]
    (alarm,) = source.said("candidate_refused")
    assert "is not newer than bad, which is offered no more" in alarm["detail"]
    source.offers(*history, "good")
    assert source.known() == ["bad", "good"]


def test_without_an_order_a_process_that_has_just_begun_takes_history_for_no_news(source: Scripted) -> None:
    source.unordered()
    history = [f"v{number}" for number in range(9)]
    source.offers(*history, etag="a")
    source.gate.worker = source.gate.opened.worker()
    source.gate.worker.look()
    source.offers(*history, "new", etag="b")
    assert (source.known(), source.said("candidate_refused")) == (["v8", "new"], [])


def test_without_an_order_a_feed_that_lists_its_newest_alone_brings_each_of_them(source: Scripted) -> None:
    source.unordered()
    source.offers("c")
    source.offers("b", gone=["b"])
    source.gate.clock.forward(minutes=61)
    source.offers("b")
    source.offers("a")
    assert source.known() == ["c", "b", "a"]


def test_without_an_order_what_comes_before_what_is_here_is_alarmed_and_not_taken(source: Scripted) -> None:
    source.unordered()
    source.offers("1")
    for _ in range(2):
        source.offers("2", "1")
    assert source.known() == ["1"]
    said = "2 is listed before what is here, so it is older: it is left alone"
    assert source.said("candidate_refused") == [{"detail": said}]
    source.offers("2", "1", "3")
    assert source.known() == ["1", "3"]
    source.offers("2", "3", "4")
    assert source.known() == ["1", "3", "4"]
    assert source.said("candidates_good") == []
    source.offers("3", "4")
    assert len(source.said("candidates_good")) == 1


def test_what_is_too_much_for_one_look_comes_with_the_next_though_the_upstream_has_not_changed(
    source: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "AT_ONCE", 2)
    source.offers("1")
    source.offers("1", "2", "3", "4", "5", "6", etag="a")
    assert source.known() == ["1", "2", "3"]
    source.gate.worker.look()
    assert source.known() == ["1", "2", "3", "4", "5"]
    source.gate.worker.look()
    assert source.known() == ["1", "2", "3", "4", "5", "6"]
    with source.gate.opened.store.read() as tx:
        assert tx.cursor("scripted") == "a"


def test_what_the_policy_trusts_too_little_comes_once_it_trusts_it_though_the_upstream_has_not_changed(
    source: Scripted,
) -> None:
    source.offers("1", etag="a", trust="unverified")
    source.gate.worker.look()
    assert source.known() == []
    assert source.fetched() == "1 "
    policies = source.gate.opened.policies
    text = policies.read(policies.head())
    source.gate.policy_says(text.replace("plugin: scripted,", "plugin: scripted, trust: unverified,"), "take it")
    source.gate.worker.look()
    assert source.known() == ["1"]


def test_what_lint_has_refused_is_not_asked_for_again_while_the_upstream_has_not_changed(source: Scripted) -> None:
    source.offers("1=broken", etag="a")
    with source.gate.opened.store.read() as tx:
        assert tx.cursor("scripted") == "a"


def test_content_that_lint_refuses_never_comes_in_and_is_not_fetched_again(source: Scripted) -> None:
    source.offers("1")
    for _ in range(3):
        source.offers("1", "2=broken")
    assert source.known() == ["1"]
    assert source.said("candidate_refused") == [{"detail": "2: syntax: line 1 does not parse"}]
    assert source.fetched() == "1 2 "
    source.offers("1", "3")
    assert source.known() == ["1", "3"]


def test_a_candidate_without_digests_that_was_refused_is_tried_again_after_an_hour(source: Scripted) -> None:
    source.offers("1")
    for _ in range(3):
        source.offers("1", "2=broken", tells=False)
    assert source.fetched() == "1 2 "
    source.gate.clock.forward(minutes=61)
    source.offers("1", "2=broken", tells=False)
    assert source.fetched() == "1 2 2 "


def test_what_lint_finds_against_the_release_before_is_told_and_does_not_stop_it(source: Scripted) -> None:
    source.offers("1=" + "x" * 100)
    source.offers("2=x")
    assert source.known() == ["1", "2"]
    with source.gate.opened.store.read() as tx:
        (release,) = tx.releases("scripted", 1)
        told = next(event.detail for event in tx.events(subject=release.id) if event.kind == "content_findings")
    assert told["findings"] == [{"weight": "warning", "code": "shrunk", "detail": "half of it is gone since 1"}]


@pytest.mark.parametrize(
    ("more", "trust", "good"),
    [
        ("", "unverified", False),
        ("", "digest_pinned", True),
        ("", "vendor_signed", True),
        (", trust: unverified", "unverified", True),
        (", trust: vendor_signed", "digest_pinned", False),
        (", trust: vendor_signed", "vendor_signed", True),
    ],
)
def test_bytes_come_in_as_far_verified_as_the_policy_wants(source: Scripted, more: str, trust: str, good: bool) -> None:
    source.offers("1", trust=trust, signer="The Vendor")
    assert source.known() == (["1"] if good else [])
    if good:
        with source.gate.opened.store.read() as tx:
            (release,) = tx.releases("scripted", 1)
            seen = next(event for event in tx.events(subject=release.id) if event.kind == "release_seen")
        assert (seen.detail["trust"], seen.detail["signer"]) == (trust, "The Vendor")
    else:
        assert source.said("candidate_refused")[0]["detail"].startswith(f"1: it is {trust}, and the policy wants")


def test_nothing_is_fetched_without_room_for_it(source: Scripted) -> None:
    free = source.gate.opened.publisher.room()
    source.offers("1", length=free)
    assert source.known() == []
    assert "nothing of it is stored" in source.said("source_failed")[0]["detail"]
    assert not source.script.with_suffix(".fetched").exists()
    source.offers("1")
    assert source.known() == ["1"]


def test_a_candidate_that_cannot_be_brought_holds_up_no_newer_one(source: Scripted) -> None:
    source.offers("1")
    source.offers("1", "5", "6", gone=["5"])
    assert source.known() == ["1", "6"]
    assert source.said("source_failed") == [{"detail": "5: scripted.gate_fetch: ValueError: 404"}]
    source.offers("1", "5", "6", gone=["5"])
    assert source.fetched() == "1 5 6 ", "what is older than the newest release is history"


def test_what_cannot_be_brought_is_tried_at_once_and_then_less_often_and_stays_trouble_meanwhile(
    source: Scripted,
) -> None:
    source.offers("1")
    for _ in range(4):
        source.offers("1", "5", gone=["5"], etag="a")
    assert source.fetched() == "1 5 5 "
    assert (len(source.said("source_failed")), source.said("source_recovered")) == (1, [])
    source.gate.clock.forward(minutes=2)
    for _ in range(3):
        source.gate.worker.look()
    assert source.fetched() == "1 5 5 5 "
    source.gate.clock.forward(minutes=61)
    source.offers("1", "5", etag="a")
    assert source.known() == ["1", "5"]
    assert len(source.said("source_recovered")) == 1


def test_of_an_upstream_that_brings_nothing_a_look_asks_for_a_few(source: Scripted) -> None:
    source.offers("1")
    many = [str(number) for number in range(2, 20)]
    source.offers("1", *many, gone=many)
    assert len(source.fetched().split()) == 1 + look.TROUBLES


def test_where_versions_have_no_order_what_could_not_be_brought_does_not_come_after_a_newer_one(
    source: Scripted,
) -> None:
    source.unordered()
    source.offers("1")
    source.offers("1", "5", "6", gone=["5"])
    source.gate.clock.forward(minutes=61)
    source.offers("1", "5", "6")
    assert source.known() == ["1", "6"]


def test_bytes_that_cannot_be_stored_are_an_event_and_leave_nothing_behind(source: Scripted) -> None:
    blobs = source.gate.opened.publisher.blob("x").parent
    blobs.parent.mkdir(exist_ok=True)
    blobs.write_text("a file where the folder belongs")
    source.offers("1")
    assert source.known() == []
    assert "an artifact cannot be written" in source.said("source_failed")[0]["detail"]
    spool = source.gate.opened.settings.data / "spool"
    assert not [file for file in spool.rglob("*") if file.is_file()]
    blobs.unlink()
    source.offers("1")
    assert source.known() == ["1"]
    assert len(source.said("source_recovered")) == 1


def test_the_same_version_with_other_bytes_is_alarmed_whatever_the_order(source: Scripted) -> None:
    source.offers("1", "2")
    source.offers("1", "2=other")
    assert source.said("candidate_refused") == [{"detail": "2 is known with other bytes"}]
    assert source.known() == ["2"]


def test_a_look_at_a_year_of_versions_takes_hardly_more_statements_than_one_at_two(source: Scripted) -> None:
    """Ten a day; the older ones are history, and asked for all the same, since their bytes may have changed."""
    source.offers("4000")
    with counted(source.gate.opened.store) as few:
        source.offers("3999", "4000")
    with counted(source.gate.opened.store) as many:
        source.offers(*map(str, range(350, 4001)))
    assert len(many) <= len(few) + 3650 // 500 + 1
    with counted(source.gate.opened.store) as again:
        source.gate.worker.look()
    assert len(again) <= len(few)
    source.offers(*map(str, range(350, 4000)), "4000=other")
    assert source.said("candidate_refused") == [{"detail": "4000 is known with other bytes"}]


def test_when_a_source_was_looked_at_last_is_known(source: Scripted) -> None:
    source.offers("1")
    with source.gate.opened.store.read() as tx:
        assert tx.mark("look:scripted").at is not None


def test_a_source_sees_the_hosts_of_the_policy_and_the_options_of_the_settings() -> None:
    rule = SourceRule("s", "p", options={"mirror": "m"}, hosts=("a.example",))
    found = look.configured(rule, {"s": {"folder": "f"}, "other": {"x": "y"}})
    assert (found.options, found.hosts) == ({"mirror": "m", "folder": "f"}, ("a.example",))


def test_what_a_vendor_withdraws_halts_at_once_though_what_comes_in_its_place_is_still_on_its_way(
    source: Scripted,
) -> None:
    source.offers("1")
    source.offers("1", "2", slow=["2"], withdrawn=["1"])
    with source.gate.opened.store.read() as tx:
        assert [one.state.value for one in tx.rollouts(source="scripted")] == ["halted"]


def test_what_is_offered_and_withdrawn_at_once_never_comes_in(source: Scripted) -> None:
    source.offers("1")
    source.offers("1", "2", withdrawn=["2"])
    assert source.known() == ["1"]
    source.offers("1", "2")
    assert source.known() == ["1", "2"]


def test_what_is_listed_twice_and_cannot_be_brought_is_trouble_like_any_other(
    source: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    source.offers("1")
    source.offers("1", "2", "2", "3", gone=["2"])
    assert source.known() == ["1", "3"]
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("odd", ["\ud800", "a\0b"])
def test_text_that_no_database_takes_is_no_answer(source: Scripted, odd: str) -> None:
    source.unordered()
    source.offers("1")
    source.offers("1", odd=[[odd, [], "x"]])
    assert source.known() == ["1"]
    assert source.said("source_failed")


@pytest.mark.parametrize("odd", ["\ud800", "a\0b"])
def test_a_failure_is_told_whatever_characters_it_has(source: Scripted, odd: str) -> None:
    source.offers("1")
    source.offers("1", "2", gone=["2"], problem=f"not found: {odd}")
    assert source.said("source_failed")


def test_bytes_that_are_not_what_was_announced_are_refused_whatever_the_plugin_says(source: Scripted) -> None:
    source.offers("1")
    source.offers("1", "2", brings="what nobody has announced", trust="vendor_signed")
    assert source.known() == ["1"]
    (alarm,) = source.said("candidate_refused")
    assert alarm["detail"] == "2: a is not what was announced"
