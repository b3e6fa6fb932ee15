"""The agent against a real gate: what it installs, what it refuses, and what a crash at any write leaves."""

from __future__ import annotations

import json
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from gate.agent import install
from gate.agent.boots import Running
from gate.agent.errors import Misuse, Untrusted
from gate.agent.loop import Agent
from gate.agent.settings import AgentSettings, load
from gate.agent.state import ClaimInHand, Identity, State, StateFolder
from gate.agent.status import german
from gate.core.model import ClaimState
from tests.real_gate import RealAgent, RealGate, WsgiAdapter

PROBE = "python3 -m json.tool {current}/prices.json"


def joined(gate: RealGate, folder: Path, name: str = "one", *labels: str, probe: str = PROBE) -> RealAgent:
    agent = RealAgent(gate, folder, name, probe=probe)
    gate.accept(agent.identity.machine, "till", *(labels or ("first",)))
    return agent


def states(gate: RealGate) -> list[ClaimState]:
    with gate.opened.store.read() as tx:
        return [claim.state for one in tx.rollouts() for claim in tx.claims(one.id)]


def until_done(gate: RealGate, *agents: RealAgent) -> None:
    for _ in range(12):
        for agent in agents:
            agent.once()
        gate.clock.forward(seconds=6)
        gate.worker.tick()
        with gate.opened.store.read() as tx:
            if tx.rollouts()[0].state.value == "done":
                return
    raise AssertionError("the rollout never ended")


def test_a_release_is_installed_stays_up_and_is_healthy(real_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(real_gate, tmp_path)
    real_gate.bring("1")
    agent.once()
    assert agent.content() == '{"aspirin": 499}'
    assert states(real_gate) == [ClaimState.INSTALLED]
    real_gate.clock.forward(seconds=4)
    last = agent.once()
    assert states(real_gate) == [ClaimState.HEALTHY]
    assert last.state.claim is None
    assert last.state.reports == []


def test_a_bad_probe_is_reported_rolled_back_and_never_taken_again(real_gate: RealGate, tmp_path: Path) -> None:
    agent, other = joined(real_gate, tmp_path), joined(real_gate, tmp_path, "two", "none")
    real_gate.bring("1")
    until_done(real_gate, agent, other)
    real_gate.bring("2", "oops")
    agent.once()
    assert agent.content() == "oops"
    real_gate.clock.forward(seconds=4)
    last = agent.once()
    assert agent.content() == '{"aspirin": 499}'
    assert ClaimState.ROLLED_BACK in states(real_gate)
    assert list(last.state.quarantined.values()) == ["command: Expecting value: line 1 column 1 (char 0)"]
    real_gate.worker.tick()
    with real_gate.opened.store.read() as tx:
        assert tx.rollouts(limit=1)[0].state.value == "halted"
    before = len(states(real_gate))
    agent.once()
    assert len(states(real_gate)) == before


def test_the_first_release_that_is_bad_is_removed(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1", "oops")
    agent.once()
    sqlite_gate.clock.forward(seconds=4)
    agent.once()
    assert agent.content() is None


def boot_policy(gate: RealGate) -> None:
    """The walk's policy, but machines must boot."""
    policies = gate.opened.policies
    text = policies.read(policies.head()).replace("boot_critical: false", "boot_critical: true")
    text = text.replace("evidence: alive", "evidence: boot")
    gate.policy_says(text, "boots count")


def test_a_release_that_needs_a_boot_is_healthy_only_after_one(real_gate: RealGate, tmp_path: Path) -> None:
    boot_policy(real_gate)
    agent = joined(real_gate, tmp_path)
    real_gate.bring("1")
    agent.once()
    real_gate.clock.forward(seconds=60)
    agent.once()
    assert states(real_gate) == [ClaimState.INSTALLED], "installed is what a broken machine says last"
    agent.boot(2, uptime=1)
    agent.once()
    assert states(real_gate) == [ClaimState.BOOTED]
    agent.boot(2, uptime=5)
    agent.once()
    assert states(real_gate) == [ClaimState.HEALTHY]


def test_a_pending_machine_gets_nothing(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = RealAgent(sqlite_gate, tmp_path, "one")
    assert agent.status == "pending"
    sqlite_gate.bring("1")
    assert agent.once().state.said.startswith("pending")
    assert agent.content() is None


def test_a_machine_of_a_later_ring_waits_for_its_ring(sqlite_gate: RealGate, tmp_path: Path) -> None:
    first = joined(sqlite_gate, tmp_path, "one")
    rest = joined(sqlite_gate, tmp_path, "two", "none")
    sqlite_gate.bring("1")
    assert rest.once().state.said == "shop-content: ring rest has no approval for shop-content"
    first.once()
    sqlite_gate.clock.forward(seconds=4)
    first.once()
    sqlite_gate.worker.tick()
    sqlite_gate.clock.forward(seconds=10)
    sqlite_gate.worker.tick()
    rest.once()
    assert rest.content() == '{"aspirin": 499}'


def test_a_refusal_is_not_asked_again_before_its_time(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one, other = joined(sqlite_gate, tmp_path, "one"), joined(sqlite_gate, tmp_path, "two")
    sqlite_gate.bring("1")
    one.once()
    waiting = other.agent()
    waiting.once()
    assert "site_limit" in waiting.state.said or "make_unproven" in waiting.state.said
    asked = len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"])
    waiting.once()
    assert len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"]) == asked


class PowerCut(Exception):
    """The power fails at this write."""


class CutFolder(StateFolder):
    """Dies before or after its n-th write."""

    left = 10**9
    after = False

    def write(self, name: str, content: bytes) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise PowerCut
        super().write(name, content)
        if self.left == 0:
            raise PowerCut


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_cut_at_every_write_it_goes_on_and_never_installs_twice(tmp_path: Path, after: bool, good: bool) -> None:
    step, cuts = 0, 0
    while True:
        step += 1
        home = tmp_path / f"{step}"
        gate = RealGate(home, "")
        agent = joined(gate, home)
        gate.bring("1", "{}" if good else "oops")
        folder = CutFolder(agent.state_folder.path)
        folder.left, folder.after = step, after
        cut = False
        for wait in (0, 4, 4):
            gate.clock.forward(seconds=wait)
            try:
                Agent(folder, agent.settings, clock=gate.clock.now, session=gate.session()).once()
            except PowerCut:
                cut = True
                break
        cuts += cut
        for _ in range(4):
            agent.once()
            gate.clock.forward(seconds=4)
        with gate.opened.store.read() as tx:
            rollout = tx.rollouts()[0]
            found = [claim.state for claim in tx.claims(rollout.id)]
            said = [event.detail["step"] for event in tx.events(subject=rollout.id) if event.kind == "report_step"]
        assert found == [ClaimState.HEALTHY if good else ClaimState.ROLLED_BACK], (step, found)
        assert said.count("installed") == 1, (step, said)
        assert agent.content() == ("{}" if good else None), step
        assert len(list((agent.target / "releases").iterdir())) <= 1
        gate.close()
        if not cut:
            break
    assert cuts >= 8


def test_two_agents_on_one_state_directory_the_second_is_refused(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.state_folder.lock()
    second = StateFolder(agent.state_folder.path)
    with pytest.raises(Misuse, match="another agent"):
        second.lock()
    agent.state_folder.unlock()
    second.lock()
    second.unlock()


@pytest.mark.parametrize("behind", [timedelta(seconds=90), timedelta(days=365)])
def test_a_clock_that_is_behind_installs_nothing(sqlite_gate: RealGate, tmp_path: Path, behind: timedelta) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    slow = Agent(
        agent.state_folder,
        agent.settings,
        clock=lambda: sqlite_gate.clock.now() - behind,
        session=sqlite_gate.session(),
    )
    slow.once()
    assert slow.state.said == "shop-content: my clock is more than a minute behind the newest timestamp that I saw"
    assert agent.content() is None


def test_the_gate_stopped_in_the_middle_of_a_download_the_rest_is_fetched_later(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path, probe="")
    sqlite_gate.bring("1", "x" * 200_000)
    got: list[str] = []

    def half(request: requests.PreparedRequest, answer: requests.Response) -> None:
        if "/content/blobs/" in str(request.url):
            got.append(request.headers.get("Range", ""))
            if len(got) == 1:
                answer.raw.seek(0, 2)
                answer.raw.truncate(70_000)
                answer.raw.seek(0)

    sqlite_gate.line.after = half
    agent.once()
    assert agent.content() is None

    def down(_: requests.PreparedRequest) -> None:
        raise requests.ConnectionError

    sqlite_gate.line.before = down
    agent.once()
    assert agent.content() is None
    sqlite_gate.line.before = lambda _: None
    agent.once()
    assert agent.content() == "x" * 200_000
    assert got == ["", "bytes=70000-"]
    assert states(sqlite_gate) == [ClaimState.INSTALLED]


def test_a_halt_that_comes_while_it_downloads_stops_the_installation(sqlite_gate: RealGate, tmp_path: Path) -> None:
    from gate.flows import people

    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")

    def brake(request: requests.PreparedRequest, _: requests.Response) -> None:
        if "/content/blobs/" in str(request.url):
            with sqlite_gate.opened.store.write() as tx:
                people.halt_all(tx, "anna", "stop", sqlite_gate.clock.now())
            sqlite_gate.worker.publish(sqlite_gate.clock.now())

    sqlite_gate.line.after = brake
    last = agent.once()
    assert agent.content() is None
    assert last.state.claim is None
    assert last.state.said == "shop-content: the ring is held"


def test_a_lease_that_ends_while_it_downloads_stops_the_installation(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")

    def slow(request: requests.PreparedRequest, _: requests.Response) -> None:
        if "/content/blobs/" in str(request.url):
            sqlite_gate.clock.forward(minutes=6)

    sqlite_gate.line.after = slow
    last = agent.once()
    assert agent.content() is None
    assert last.state.said == "shop-content: the lease has ended"


def no_bytes(gate: RealGate) -> None:
    """Whoever asks for content gets none."""

    def gone(request: requests.PreparedRequest) -> None:
        if "/content/blobs/" in str(request.url):
            raise requests.ConnectionError

    gate.line.before = gone


def test_a_claim_whose_bytes_cannot_be_had_is_let_go_when_its_lease_ends(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    no_bytes(sqlite_gate)
    before = agent.once().state.claim
    assert before is not None
    sqlite_gate.clock.forward(minutes=6)
    sqlite_gate.worker.tick()
    agent.once()
    after = agent.state_folder.state()
    assert after.claim is None or after.claim.claim != before.claim, "another source waits for it"
    agent.once()
    sqlite_gate.line.before = lambda _: None
    agent.once()
    assert agent.content() == '{"aspirin": 499}'


def test_a_claim_of_a_source_that_the_policy_has_no_more_is_let_go(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    no_bytes(sqlite_gate)
    running = agent.agent()
    running.once()
    view, answer = running._talk.poll(running._diary.boot())
    assert view is not None and answer is not None
    assert running.state.claim is not None
    running._asking.about("shop-content", running._diary.boot(), view, replace(answer, sources={}))
    assert running.state.claim is None
    assert running.state.said == "shop-content: the policy has no such source any more"


def test_a_claim_of_another_release_than_the_approved_one_is_let_go_and_told(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    sqlite_gate.clock.forward(seconds=4)
    assert agent.once().state.claim is None
    running = agent.agent()
    have = running.state.installed["shop-content"].release
    running.state.claim = ClaimInHand(
        claim="c-other", source="shop-content", release=f"sha256:{'0' * 64}", counter=9, version="9",
        lease_until="2100-01-01T00:00:00+00:00", granted_at="2026-03-02T06:00:00+00:00", evidence="alive",
        reboot="natural", stay_up_s=1, boots=1, boot_id="boot-1", previous=have,
    )  # fmt: skip
    running.once()
    assert running.state.claim is None
    assert running.state.events[-1]["detail"] == "c-other shop-content: another release is approved now"
    assert running.state.said == "shop-content: up to date"


def test_what_it_lets_go_for_a_newer_release_is_told_before_that_is_asked_for(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head())
    sqlite_gate.policy_says(text.replace("defaults:\n", "defaults:\n  supersede: restart\n", 1), "the newest")
    sqlite_gate.bring("1")
    no_bytes(sqlite_gate)
    running = agent.agent()
    running.once()
    assert running.state.claim is not None
    running.state.events = [{"kind": "x", "at": "2026-03-02T06:00:00Z", "detail": f"{n}"} for n in range(70)]
    sqlite_gate.line.before = lambda _: None
    sqlite_gate.clock.forward(seconds=5)
    sqlite_gate.bring("2", '{"aspirin": 599}')
    running.once()
    assert agent.content() == '{"aspirin": 599}', running.state.said


def test_a_disk_that_refuses_is_said_and_leaves_the_other_sources_alone(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    (agent.state_folder.path / "spool").write_text("no folder")
    last = agent.once()
    assert last.state.said.startswith("shop-content: the machine refuses: ")
    assert german(last.state.said).startswith("shop-content: der Rechner weigert sich: ")


@pytest.mark.parametrize("again", [False, True])
def test_no_content_is_fetched_that_would_fill_the_disk(
    sqlite_gate: RealGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    if again:
        no_bytes(sqlite_gate)
        agent.once()
        sqlite_gate.line.before = lambda _: None
    monkeypatch.setattr(install, "KEPT_FREE", 1 << 60, raising=False)
    last = agent.once()
    assert agent.content() is None
    assert last.state.claim is None, "its slot is for another machine"
    assert last.state.said.startswith("shop-content: there is no room for it: ")
    assert german(last.state.said).startswith("shop-content: dafür ist kein Platz: ")
    assert not (agent.state_folder.path / "spool").exists()
    asked = len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"])
    last.once()
    assert len([path for _, path in sqlite_gate.line.asked if path == "/v1/claims"]) == asked, "not every minute"


def test_an_unreachable_gate_changes_nothing_and_reports_wait(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()

    def down(_: requests.PreparedRequest) -> None:
        raise requests.ConnectionError

    sqlite_gate.line.before = down
    sqlite_gate.clock.forward(seconds=4)
    last = agent.once()
    assert [report["step"] for report in last.state.reports] == ["healthy"]
    sqlite_gate.line.before = lambda _: None
    last = agent.once()
    assert last.state.reports == []
    assert states(sqlite_gate) == [ClaimState.HEALTHY]
    with sqlite_gate.opened.store.read() as tx:
        said = [
            event.detail["kind"] for event in tx.events(subject=agent.identity.machine) if event.kind == "machine_said"
        ]
    assert "metadata" in said


def test_a_captive_portal_is_not_taken_for_the_gate(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")

    def portal(_: requests.PreparedRequest, answer: requests.Response) -> None:
        import io

        answer.status_code, answer.raw = 200, io.BytesIO(b"<html>please log in</html>")
        answer.headers.clear()

    sqlite_gate.line.after = portal
    agent.once()
    sqlite_gate.line.after = lambda *_: None
    assert agent.content() is None
    agent.once()
    assert agent.content() is not None


def test_a_file_server_that_shows_an_old_timestamp_is_a_freeze(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    metadata = sqlite_gate.opened.settings.public / "metadata" / "timestamp.json"
    old = metadata.read_bytes()
    sqlite_gate.bring("1")

    def stale(request: requests.PreparedRequest, answer: requests.Response) -> None:
        import io

        if str(request.url).endswith("timestamp.json"):
            answer.status_code, answer.raw = 200, io.BytesIO(old)

    sqlite_gate.line.after = stale
    last = agent.once()
    assert agent.content() is None
    assert last.state.events[-1]["kind"] == "freeze"


def test_an_answer_for_another_call_is_not_believed(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    kept: list[bytes] = []

    def replay(request: requests.PreparedRequest, answer: requests.Response) -> None:
        import io

        if str(request.url).endswith("/v1/checkin"):
            kept.append(answer.raw.read())
            answer.raw = io.BytesIO(kept[0])

    sqlite_gate.line.after = replay
    agent.once()
    sqlite_gate.bring("1")
    last = agent.once()
    assert last.state.said == "the answer is for another call"
    assert agent.content() is None


def test_another_gates_root_is_refused_at_enrolment(sqlite_gate: RealGate, tmp_path: Path) -> None:
    from gate.agent import calls
    from gate.agent.http import Http
    from tests.real_gate import ADDRESS

    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    code = sqlite_gate.code().partition(".")[0] + "." + "0" * 64
    with pytest.raises(Untrusted):
        calls.enrol(Http(ADDRESS, sqlite_gate.session()), folder, code, {})
    assert folder.identity() is None
    assert not (folder.path / "key").exists()


def test_the_steady_poll_is_one_conditional_get_and_a_check_in(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    sqlite_gate.line.asked.clear()
    agent.once()
    assert sqlite_gate.line.asked == [("GET", "/metadata/timestamp.json"), ("POST", "/v1/checkin")]


def test_what_it_keeps_is_private(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    folder = agent.state_folder.path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "state.json").stat().st_mode) == 0o600
    (folder / "key").chmod(0o644)
    with pytest.raises(Misuse, match="open to others"):
        agent.agent()


def test_a_state_that_cannot_be_read_stops_it_and_nothing_is_guessed(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    for text in ("{", "[]", '{"unknown": 1}'):
        (folder.path / "state.json").write_text(text)
        with pytest.raises(Misuse):
            folder.state()


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    folder.save_identity(Identity("http://127.0.0.1", "fleet", "m-1", "f", "r"))
    folder.save(State(seq=5, reports=[{"a": 1}]))
    assert folder.state() == State(seq=5, reports=[{"a": 1}])
    assert json.loads((folder.path / "identity.json").read_text())["machine"] == "m-1"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("facts = 3", "not a table"),
        ("[facts]\nrole = 3", "not a text"),
        ("colour = 'red'", "unknown setting"),
        ("[sources.shop]\nplugin = 'directory'", "needs plugin and folder"),
        ("= broken", "agent.toml"),
    ],
)
def test_settings_with_a_mistake_are_refused_with_a_sentence(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(Misuse, match=word):
        load(tmp_path / "agent.toml")


def test_settings_are_written_as_they_are_read(tmp_path: Path) -> None:
    from gate.agent.settings import render

    nasty = 'a"b\\c\nd\x7f ä'
    text = render(
        {"role": nasty}, {"shop": {"plugin": "directory", "folder": "/srv", "probe": nasty}}, {"reboot": nasty}
    )
    (tmp_path / "agent.toml").write_text(text)
    found: AgentSettings = load(tmp_path / "agent.toml")
    assert (found.facts["role"], found.reboot, found.targets["shop"].options["probe"]) == (nasty, nasty, nasty)


def down_at(gate: RealGate, agent: RealAgent) -> object:
    with gate.opened.store.read() as tx:
        machine = tx.machine(agent.identity.machine)
        assert machine is not None
        return machine.down_at


def test_an_agent_that_is_stopped_says_that_its_machine_goes_down_and_takes_it_back_by_speaking(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    one = joined(sqlite_gate, tmp_path)
    agent = one.once()
    one.system.now = Running("stopping")
    stopped = threading.Event()
    stopped.set()
    agent.run(stopped)
    assert down_at(sqlite_gate, one) is not None
    one.once()
    assert down_at(sqlite_gate, one) is None


def test_nobody_is_told_later_that_a_machine_went_down(sqlite_gate: RealGate, tmp_path: Path) -> None:
    one = joined(sqlite_gate, tmp_path)
    one.once()
    session = sqlite_gate.session()
    one.system.now = Running("stopping")
    agent = Agent(one.state_folder, one.settings, clock=sqlite_gate.clock.now, session=session, system=one.system)

    def cut(_: requests.PreparedRequest) -> None:
        raise requests.ConnectionError("no line")

    adapter = session.get_adapter("http://127.0.0.1:8400")
    assert isinstance(adapter, WsgiAdapter)
    adapter.before = cut
    agent.leave()
    assert agent.state.events == []
    adapter.before = lambda _: None
    one.once()
    assert down_at(sqlite_gate, one) is None
