"""Planned and unplanned: stops, standby, wrong clocks, no network, a proxy, pages that ask for a login."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from gate.agent import boot
from gate.agent.boots import Running
from gate.agent.http import Http
from gate.agent.loop import Agent
from gate.agent.settings import load
from gate.agent.state import StateFolder
from gate.core.model import ClaimState
from tests.agent.played import Machine
from tests.agent.test_agent import boot_policy, down_at, joined, states
from tests.real_gate import RealAgent, RealGate

LOGIN = b"<!doctype html><html><title>Welcome to our wifi</title>please log in</html>"


def cut_line(gate: RealGate) -> None:
    def down(_: requests.PreparedRequest) -> None:
        raise requests.ConnectionError("no line")

    gate.line.before = down


def whole_line(gate: RealGate) -> None:
    gate.line.before, gate.line.after = (lambda _: None), (lambda *_: None)


def said_kinds(gate: RealGate, agent: RealAgent) -> list[str]:
    with gate.opened.store.read() as tx:
        events = tx.events(subject=agent.identity.machine)
    return [one.detail["kind"] for one in events if one.kind == "machine_said"]


# stops


def test_a_stop_of_the_agent_alone_is_neither_said_nor_written_down(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    one.system.now = Running("running")
    agent.leave()
    assert down_at(sqlite_gate, one) is None
    assert one.state_folder.marked_down() == ""
    one.system.now = Running("stopping")
    agent.leave()
    assert down_at(sqlite_gate, one) is not None
    assert one.state_folder.marked_down() == "boot-1"


@pytest.mark.parametrize("system", ["", "running", "degraded", "starting", "initializing", "maintenance", "unknown"])
def test_only_a_system_that_says_so_goes_down(sqlite_gate: RealGate, tmp_path: Path, system: str) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    one.system.now = Running(system)
    agent.leave()
    assert (down_at(sqlite_gate, one), one.state_folder.marked_down()) == (None, "")


def test_an_agent_that_starts_again_in_the_same_boot_takes_its_word_back(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    one.system.now = Running("stopping")
    one.once().leave()
    assert one.state_folder.marked_down() == "boot-1"
    one.once()
    assert one.state_folder.marked_down() == ""


class Marks(StateFolder):
    """Says when the mark is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.marked = threading.Event()

    def mark_down(self, boot_id: str) -> None:
        super().mark_down(boot_id)
        self.marked.set()


def test_a_stop_in_the_middle_of_a_long_round_is_written_down_at_once(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    folder = one.state_folder = Marks(one.state_folder.path)
    agent, stop, hangs, go_on = one.agent(), threading.Event(), threading.Event(), threading.Event()

    def long(_: requests.PreparedRequest) -> None:
        hangs.set()
        go_on.wait(60)

    sqlite_gate.line.before = long
    running = threading.Thread(target=agent.run, args=(stop,))
    running.start()
    try:
        assert hangs.wait(60)
        one.system.now = Running("stopping")
        stop.set()
        assert folder.marked.wait(30), "before the round has ended"
        assert folder.marked_down() == "boot-1"
    finally:
        go_on.set()
        running.join(60)
    assert folder.marked_down() == "boot-1", "the round that ends then does not take it back"
    assert down_at(sqlite_gate, one) is not None, "and it is said after the round"


def test_a_mark_that_is_written_while_it_begins_a_round_stays(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    one.state_folder.mark_down("boot-1")
    agent.once()
    assert one.state_folder.marked_down() == "boot-1"


def test_nothing_new_is_begun_once_the_agent_is_to_stop(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one, stop = joined(sqlite_gate, tmp_path), threading.Event()
    sqlite_gate.bring("1")

    def after_the_check_in(request: requests.PreparedRequest, _: requests.Response) -> None:
        if str(request.url).endswith("/v1/checkin"):
            stop.set()

    sqlite_gate.line.after = after_the_check_in
    one.agent().run(stop)
    assert "/v1/claims" not in [path for _, path in sqlite_gate.line.asked]


@pytest.mark.parametrize(
    ("system", "line", "told"),
    [("stopping", False, ["ended_clean"]), ("stopping", True, ["going_down"]), ("running", True, [])],
    ids=["nobody heard it", "heard", "not planned"],
)
def test_a_boot_that_ended_as_planned_is_told_once_however_little_was_heard_of_that(
    sqlite_gate: RealGate, tmp_path: Path, system: str, line: bool, told: list[str]
) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    if not line:
        cut_line(sqlite_gate)
    one.system.now = Running(system)
    agent.leave()
    whole_line(sqlite_gate)
    one.system.now = Running("running")
    one.boot(2)
    one.once()
    one.once()
    assert [kind for kind in said_kinds(sqlite_gate, one) if kind in ("going_down", "ended_clean")] == told


def test_a_planned_stop_is_written_down_where_nobody_hears_it(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    cut_line(sqlite_gate)
    one.system.now = Running("stopping")
    agent.leave()
    whole_line(sqlite_gate)
    one.boot(2)
    one.once()
    assert [(each["boot_id"], each["ended"]) for each in one.state_folder.state().boots] == [
        ("boot-1", "clean"),
        ("boot-2", "unknown"),
    ]


# standby and hibernation


def test_time_asleep_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("b")
    (tmp_path / "up").write_text("10000.5 1")
    assert boot.read(tmp_path / "id", tmp_path / "up", lambda: 600.0).awake_s == 600.0
    assert boot.read(tmp_path / "id", tmp_path / "up", lambda: 20000.0).awake_s == 10000.5
    assert boot.read(tmp_path / "id", tmp_path / "up") == boot.Boot("b", 10000.5, 10000.5)


def test_a_machine_in_standby_over_night_has_not_stayed_up_and_is_the_same_boot(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    boot_policy(sqlite_gate)
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    agent.boot(2, uptime=1)
    agent.once()
    asleep = agent.agent()
    asleep._diary.boot = lambda: boot.Boot("boot-2", 40000.0, 2.0)  # type: ignore[method-assign]
    sqlite_gate.clock.forward(minutes=2)
    asleep.once()
    assert states(sqlite_gate) == [ClaimState.BOOTED]
    asleep._diary.boot = lambda: boot.Boot("boot-2", 41000.0, 900.0)  # type: ignore[method-assign]
    asleep.once()
    assert states(sqlite_gate) == [ClaimState.HEALTHY]


# clocks


@pytest.mark.parametrize("off", [timedelta(days=-3650), timedelta(days=3650)], ids=["behind", "ahead"])
def test_a_clock_years_off_installs_nothing_until_it_is_right(
    sqlite_gate: RealGate, tmp_path: Path, off: timedelta
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    sqlite_gate.bring("1")
    wrong = Agent(
        agent.state_folder,
        agent.settings,
        clock=lambda: sqlite_gate.clock.now() + off,
        session=sqlite_gate.session(),
        system=agent.system,
    )
    wrong.once()
    assert agent.content() is None
    agent.once()
    assert agent.content() is not None


@pytest.mark.parametrize("off", [timedelta(days=-3650), timedelta(days=3650)], ids=["behind", "ahead"])
def test_ntp_that_puts_the_clock_right_neither_ages_a_machine_nor_its_reports(
    sqlite_gate: RealGate, tmp_path: Path, off: timedelta
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    assert states(sqlite_gate) == [ClaimState.INSTALLED]
    wrong = Agent(
        agent.state_folder,
        agent.settings,
        clock=lambda: sqlite_gate.clock.now() + off,
        session=sqlite_gate.session(),
        system=agent.system,
    )
    wrong.once()
    assert states(sqlite_gate) == [ClaimState.INSTALLED], "years by the wall clock are no stay_up"
    cut_line(sqlite_gate)
    sqlite_gate.clock.forward(seconds=4)
    agent.stay_up()
    wrong.once()
    assert [one["step"] for one in agent.state_folder.state().reports] == ["healthy"]
    whole_line(sqlite_gate)
    agent.once()
    assert states(sqlite_gate) == [ClaimState.HEALTHY], "written under a wrong clock, and not too old"


# no network


def test_reports_wait_for_the_network_and_come_in_order(sqlite_gate: RealGate, tmp_path: Path) -> None:
    boot_policy(sqlite_gate)
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")

    def after_the_fetch(request: requests.PreparedRequest, _: requests.Response) -> None:
        if "timestamp" in str(request.url) and agent.state_folder.state().claim is not None:
            cut_line(sqlite_gate)

    sqlite_gate.line.after = after_the_fetch
    agent.once()
    assert agent.content() is not None
    agent.boot(2, uptime=1)
    agent.once()
    agent.boot(2, uptime=900)
    agent.once()
    waiting = [one["step"] for one in agent.state_folder.state().reports]
    assert waiting == ["installed", "booted", "healthy"]
    whole_line(sqlite_gate)
    agent.once()
    assert states(sqlite_gate) == [ClaimState.HEALTHY]
    assert agent.state_folder.state().reports == []


@pytest.mark.parametrize(("days", "kept"), [(29, True), (30, True), (31, False)])
def test_reports_are_kept_for_thirty_days_by_the_gates_clock(
    sqlite_gate: RealGate, tmp_path: Path, days: int, kept: bool
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    diary = agent.once()._diary
    now = sqlite_gate.clock.now()
    diary.state.reports = [{"claim": "c", "step": "healthy", "kept_at": (now - timedelta(days=days)).isoformat()}]
    diary.prune(now)
    assert bool(diary.state.reports) is kept
    assert ("reports_dropped" in [one["kind"] for one in diary.state.events]) is not kept


@pytest.mark.parametrize("at", ["", "2099-01-01T00:00:00+00:00"])
def test_a_report_whose_age_is_not_known_counts_from_when_it_can_be_sent(
    sqlite_gate: RealGate, tmp_path: Path, at: str
) -> None:
    diary = joined(sqlite_gate, tmp_path).once()._diary
    now = datetime(2026, 3, 2, tzinfo=UTC)
    diary.state.reports = [{"claim": "c", "step": "healthy", "kept_at": at}]
    diary.prune(now)
    assert diary.state.reports[0]["kept_at"] == now.isoformat()
    diary.prune(now + timedelta(days=31))
    assert diary.state.reports == []


# proxies and pages that ask for a login


def test_a_proxy_is_taken_from_the_settings_and_never_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://evil:1")
    (tmp_path / "agent.toml").write_text('proxy = "http://proxy.example:3128"\n')
    session = requests.Session()
    Http("https://gate.example", session, load(tmp_path / "agent.toml").proxy)
    assert session.proxies == {"http": "http://proxy.example:3128", "https": "http://proxy.example:3128"}
    plain = requests.Session()
    Http("https://gate.example", plain)
    assert (dict(plain.proxies), plain.trust_env) == ({}, False)


def portal(status: int, body: bytes, only: str = "") -> Callable[..., None]:
    def after(request: requests.PreparedRequest, answer: requests.Response) -> None:
        if only in str(request.url):
            answer.status_code, answer.raw = status, io.BytesIO(body)
            answer.headers.clear()
            if status in (301, 302, 307):
                answer.headers["Location"] = "http://portal.example/login"

    return after


@pytest.mark.parametrize("only", ["timestamp", "/v1/checkin", "/v1/claims", "/content/", "/v1/reports", ""])
@pytest.mark.parametrize(
    ("status", "body"), [(200, LOGIN), (200, b"{}"), (200, b""), (302, LOGIN), (511, LOGIN), (409, LOGIN)]
)
def test_whatever_asks_for_a_login_is_never_taken_for_the_gate(
    sqlite_gate: RealGate, tmp_path: Path, only: str, status: int, body: bytes
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    sqlite_gate.line.after = portal(status, body, only)
    agent.once()
    assert agent.content() is None or only == "/v1/reports", "nothing but a whole release is put in place"
    waits = agent.state_folder.state()
    if only == "/v1/reports":
        assert [one["step"] for one in waits.reports] == ["installed"], "a page takes no report"
    whole_line(sqlite_gate)
    for _ in range(3):
        agent.once()
    assert agent.content() == '{"aspirin": 499}'
    assert states(sqlite_gate) == [ClaimState.INSTALLED]


def test_a_proxy_that_says_not_modified_to_who_has_nothing_is_not_the_gate(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.line.after = portal(304, b"", "timestamp")
    assert agent.once().state.events[-1]["detail"] == "the timestamp answered 304"
    whole_line(sqlite_gate)
    assert agent.once().state.status == "active"


def test_a_gate_that_asks_for_time_is_given_it(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()

    def busy(request: requests.PreparedRequest, answer: requests.Response) -> None:
        if "/v1/checkin" in str(request.url):
            said = b'{"kind": "slow_down", "detail": "too many", "retry_after_s": 90}'
            answer.status_code, answer.raw = 429, io.BytesIO(said)

    sqlite_gate.line.after = busy
    assert agent.agent().once() == 90.0
    whole_line(sqlite_gate)
    assert agent.agent().once() != 90.0


def test_a_line_that_fails_now_so_now_so_pushes_no_other_event_out(tmp_path: Path) -> None:
    diary = Machine(tmp_path).diary()
    diary.happened("crashed", "Kernel panic")
    for _ in range(600):
        diary.happened("metadata", "https://gate.example does not answer")
        diary.happened("metadata", "an answer broke off")
        diary.save()
    assert [one["kind"] for one in diary.state.events] == ["crashed", "metadata", "metadata"]


def test_a_probe_that_the_policy_names_and_nobody_set_up_stops_it_before_anything_is_touched(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent, text = joined(sqlite_gate, tmp_path), _policy(sqlite_gate)
    sqlite_gate.policy_says(text.replace("defaults:\n", "defaults:\n  probes: [till-software]\n", 1), "a probe")
    sqlite_gate.bring("1")
    last = agent.once()
    assert agent.content() is None
    assert "probes that are not set up here: till-software" in last.state.said
    assert states(sqlite_gate) == [ClaimState.GRANTED]
    sqlite_gate.clock.forward(seconds=5)
    last.once()
    assert states(sqlite_gate) == [ClaimState.EXPIRED], "long before its lease has ended: another may have its slot"
    asked = len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"])
    sqlite_gate.worker.tick()
    sqlite_gate.clock.forward(minutes=30)
    sqlite_gate.worker.tick()
    last.once()
    assert len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"]) == asked, "whatever is signed"
    sqlite_gate.clock.forward(hours=1)
    _settings(agent, "[probes.till-software]\nkind = 'command'\ncommand = 'true'\n")
    for _ in range(3):
        agent.once()
    assert agent.content() is not None


def test_what_was_said_of_another_claim_gives_none_up(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    running = agent.agent()

    def cut_after_the_claim(request: requests.PreparedRequest, _: requests.Response) -> None:
        if str(request.url).endswith("/v1/claims"):
            cut_line(sqlite_gate)

    sqlite_gate.line.after = cut_after_the_claim
    running.once()
    hand = running.state.claim
    assert hand is not None
    whole_line(sqlite_gate)
    for detail in ("c-other shop-content: x", f"shop-content: {hand.claim}", f"{hand.claim}x shop-content: x", ""):
        running.state.events = [{"kind": "claim_not_used", "at": "2026-03-02T06:00:00Z", "detail": detail}]
        running._talk.check_in(running._diary.boot(), None)
        assert states(sqlite_gate) == [ClaimState.GRANTED], detail


@pytest.mark.parametrize(("command", "state"), [("true", ClaimState.HEALTHY), ("false", ClaimState.ROLLED_BACK)])
def test_a_probe_that_the_policy_names_decides(
    sqlite_gate: RealGate, tmp_path: Path, command: str, state: ClaimState
) -> None:
    agent, text = joined(sqlite_gate, tmp_path), _policy(sqlite_gate)
    sqlite_gate.policy_says(
        text.replace("defaults:\n", "defaults:\n  probes: [till-software if role=till, else if role=server]\n", 1), "x"
    )
    _settings(agent, f"[probes.till-software]\nkind = 'command'\ncommand = '{command}'\n")
    sqlite_gate.bring("1")
    agent.once()
    sqlite_gate.clock.forward(seconds=4)
    agent.once()
    assert states(sqlite_gate) == [state]


def _policy(gate: RealGate) -> str:
    return str(gate.opened.policies.read(gate.opened.policies.head()))


def _settings(agent: RealAgent, more: str) -> Any:
    path = agent.state_folder.path / "agent.toml"
    path.write_text(path.read_text() + more)
    agent.settings = load(path)
