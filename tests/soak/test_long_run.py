"""A month of ten releases a day for two hundred machines that are off at night, in virtual time.

What the database, the memory and the published directory hold in its last week is what they held in its second; every
page costs what it cost; and each decision of the month, kept or shelved, is judged again from what was stored with it.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from sqlalchemy import event, inspect, text

from gate.adapters import keys, policy_edit
from gate.adapters.mirror_folder import MirrorFolder
from gate.adapters.publisher_tuf import KEPT_VERSIONS, TufPublisher
from gate.adapters.shelf import FileShelf
from gate.adapters.store.sql import SqlStore
from gate.core import opening
from gate.core.model import ClaimState
from gate.core.recovery import key_of
from gate.flows import facts_json, people
from gate.ports import Gate, User
from gate.sim.run import Simulation
from gate.sim.scenario import Scenario
from gate.web.app import PagesParts, create_app
from gate.worker import Worker, WorkerParts
from tests import long_run
from tests.web.every_page import every

pytestmark = pytest.mark.soak

SITES, RELEASES_A_DAY, KEEP_DAYS = 40, 10, 3
DAYS = int(os.environ.get("GATE_SOAK_DAYS", "28"))
WEEK = DAYS // 4
DAY = timedelta(days=1)
MARGIN = 1.05
"""The last week may hold so much more than the second: where a rollout stands at midnight differs from day to day."""
GROWS = {"releases": RELEASES_A_DAY}
"""Rows a day that stay for ever: what makes the same version with other bytes refusable."""
A_RELEASE = 2048
"""Bytes that a release's row, its indexes and its page's slack may cost."""
SHOWS = {"all": "pilot", "done": "all"}
"""The ring whose claims a decision about this one counts."""
OBJECTS = 3000
MEMORY_MB = 12
NOT_IN_A_MONTH = {"policy_proposal": "nobody proposes anything", "backtest": "nobody begins one"}
"""Pages of what this month has none of."""
STATEMENTS, STEPS_K, PAGE_BYTES = 60, 30, 150_000


@dataclass(frozen=True)
class Page:
    """What one page cost: SQL statements, thousands of SQLite's own steps, bytes, and the time for the reader."""

    status: int
    statements: int
    steps_k: int
    size: int
    seconds: float


@dataclass(frozen=True)
class Look:
    """What there was at the end of a day."""

    rows: Mapping[str, int]
    used: int
    objects: int
    memory_mb: float
    content: int
    metadata: Mapping[str, int]
    pages: Mapping[str, Page]


class Month:
    """The fleet, a worker's retention and publication, and the pages, all on one store."""

    def __init__(self, folder: Path, url: str, plan: Scenario) -> None:
        self.folder = folder
        self.plan = plan
        self.store = SqlStore(url, durable=False)
        self.store.upgrade()
        self.sim, self.gate = long_run.simulation(self.store, plan)
        self.shelf = FileShelf(folder / "shelf")
        keys.create(folder / "keys")
        publisher = TufPublisher(folder / "public", keys.load_signers(folder / "keys"))
        publisher.create_root(plan.start.astimezone(UTC))
        parts = WorkerParts(
            store=self.store,
            gate=self.gate,
            clock=cast(Any, Clock(self.sim)),
            publisher=publisher,
            sources=cast(Any, None),
            options={},
            response_key=keys.load_response_key(folder / "keys").public_key,
            shelf=self.shelf,
            mirror=MirrorFolder(folder / "mirror", folder / "public" / "content" / "blobs"),
            blobs=folder / "public" / "content" / "blobs",
            line=cast(Any, None),
            keep=KEEP_DAYS * DAY,
        )
        self.worker = Worker(parts)
        self.counting = SqlStore(url, durable=False)
        self.pages = Counted(self.counting, self.gate, Clock(self.sim))
        self.sim.start()
        with self.store.write() as tx:
            people.add_user(tx, "anna", "Anna", "admin", "first-link", "test", plan.start)

    def live(self, day: int) -> None:
        """A day with its night; the read plane is written six times, as if the worker had been slow."""
        for part in range(6):
            self.sim.advance_to(self.plan.start + (day + (part + 1) / 6) * DAY)
            self.worker.publish(self.sim.now.astimezone(UTC))
            self._date_files()
        with self.store.write() as tx:
            for number in range(50):
                tx.add_nonce(f"n-{day}-{number}", self.sim.now + timedelta(minutes=10))
            people.new_link(tx, "anna", f"link-{day}", "test", self.sim.now)
        self.worker.retain()
        self._forget()

    def _date_files(self) -> None:
        """Files are as old as virtual time says."""
        for path in (self.folder / "public" / "content").rglob("*"):
            if path.stat().st_mtime > self.sim.now.timestamp():
                os.utime(path, (self.sim.now.timestamp(),) * 2)

    def _forget(self) -> None:
        """The simulation's own record is no part of the gate."""
        del self.sim.records[: -5 * RELEASES_A_DAY]
        known = {record.release_id for record in self.sim.records}
        for body in self.sim._bodies.values():
            body.had &= known

    def look(self) -> Look:
        """Everything that must not grow."""
        pages_now = self.pages.look()
        gc.collect()
        with self.store.connection() as connection:
            names = inspect(connection).get_table_names()
            rows = {name: _number(connection, f'SELECT count(*) FROM "{name}"') for name in names}
            used = 0
            if connection.dialect.name == "sqlite":
                found = [
                    _number(connection, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
                ]
                used = (found[0] - found[1]) * found[2]
        metadata = [path.name.split(".")[-2] for path in (self.folder / "public" / "metadata").glob("*.json")]
        content = sum(1 for path in (self.folder / "public" / "content").rglob("*") if path.is_file())
        return Look(rows, used, len(gc.get_objects()), _memory_mb(), content, Counter(metadata), pages_now)

    def close(self) -> None:
        self.counting.close()
        self.store.close()


class Clock:
    """Virtual time."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim

    def now(self) -> datetime:
        return self._sim.now.astimezone(UTC)


class Counted:
    """The pages, for an admin, over a store that counts what SQLite does for them."""

    def __init__(self, store: SqlStore, gate: Gate, clock: Clock) -> None:
        self._store, self._clock, self._head = store, clock, gate.texts.head()
        self.statements = self.steps_k = 0
        with store.connection() as connection:
            engine = connection.engine
        engine.dispose()
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", self._count)
        self.app: Flask = create_app(
            PagesParts(
                store=store,
                gate=gate,
                clock=clock,
                hash_password=lambda _: "",
                verify_password=lambda *_: False,
                check_hours=lambda _: None,
                check_land=lambda _: None,
                policy=lambda: gate.policy(long_run.POLICY),
                editor=policy_edit,
                guest=User("anna", "Anna", "admin", "", False, clock.now()),
            )
        )

    def _count(self, connection: Any, _record: Any) -> None:
        def said(_: str) -> None:
            self.statements += 1

        def stepped() -> int:
            self.steps_k += 1
            return 0

        connection.set_trace_callback(said)
        connection.set_progress_handler(stepped, 1000)

    def look(self) -> dict[str, Page]:
        """Each page once."""
        with self._store.read() as tx:
            machine = tx.machines(limit=1)[0]
            known = {
                "rollout_id": tx.rollouts(limit=1)[0].id,
                "machine_id": machine.id,
                "site_id": machine.site,
                "source": "shop",
                "key": key_of(machine.make),
                "commit": self._head,
            }
        found = {}
        client = self.app.test_client()
        for path in every(self.app, known, NOT_IN_A_MONTH):
            self.statements = self.steps_k = 0
            began = time.perf_counter()
            answer = client.get(path)
            seconds = time.perf_counter() - began
            rule = path
            for name, value in known.items():
                rule = rule.replace(value, f"<{name}>") if name != "source" else rule
            found[rule] = Page(answer.status_code, self.statements, self.steps_k, len(answer.data), seconds)
        return found


def test_a_month_of_ten_releases_a_day_is_as_its_second_week(tmp_path: Path) -> None:
    plan = long_run.plan(sites=SITES, days=DAYS, releases_a_day=RELEASES_A_DAY)
    month = Month(tmp_path, f"sqlite:///{tmp_path / 'gate.db'}", plan)
    looks: list[Look] = []
    began = time.process_time()
    try:
        for day in range(DAYS):
            month.live(day)
            if day // WEEK in (1, 3):
                looks.append(month.look())
        check(month, looks)
    finally:
        month.close()
    second, last = looks[WEEK - 1], looks[-1]
    files = last.content + sum(last.metadata.values())
    print(f"{len(plan.machines)} machines, {DAYS} days, {time.process_time() - began:.0f} s of CPU")
    files = last.content + sum(last.metadata.values())
    print(
        f"database {second.used / 1e6:.2f} -> {last.used / 1e6:.2f} MB, memory {second.memory_mb:.0f} ->"
        f" {last.memory_mb:.0f} MB, objects {second.objects} -> {last.objects}, files {files}"
    )
    print("rows", {name: (second.rows[name], last.rows[name]) for name in last.rows if last.rows[name]})
    for rule, page in last.pages.items():
        print(
            f"{rule:24} {page.statements:4} statements {page.steps_k:4} thousand steps"
            f" {page.size / 1000:6.1f} kB {page.seconds * 1000:6.1f} ms"
        )


def check(month: Month, looks: list[Look]) -> None:
    """Everything that a month must not change, and everything that it must not lose."""
    second, last = looks[:WEEK], looks[WEEK:]
    for name in last[0].rows:
        most, now = (max(look.rows[name] for look in part) for part in (second, last))
        assert now <= most * MARGIN + GROWS.get(name, 0) * 2 * WEEK, f"{name} grows: {most} -> {now} rows"
    most, now = (max(look.used for look in part) for part in (second, last))
    assert now <= most * MARGIN + A_RELEASE * RELEASES_A_DAY * 2 * WEEK, f"the file grows: {most} -> {now}"
    assert max(last[-1].metadata.values()) <= KEPT_VERSIONS, last[-1].metadata
    for of, more in (("content", 5), ("objects", OBJECTS), ("memory_mb", MEMORY_MB)):
        most, now = (max(getattr(look, of) for look in part) for part in (second, last))
        assert now <= most + more, f"{of} grows: {most} -> {now}"
    for rule, page in last[-1].pages.items():
        assert page.status == 200, rule
        assert page.statements <= STATEMENTS, f"{rule}: {page.statements} statements"
        assert page.steps_k <= STEPS_K, f"{rule}: {page.steps_k} thousand steps"
        assert page.size <= PAGE_BYTES, f"{rule}: {page.size} bytes"
        before = max(look.pages[rule].steps_k for look in second)
        assert page.steps_k <= before * 1.2 + 5, f"{rule} costs more from week to week: {before} -> {page.steps_k}"
    replay(month)


def replay(month: Month) -> None:
    """Every decision of the month is judged again, and the claims that it counted are there, whole."""
    with month.store.read() as tx:
        rollouts = tx.rollouts(limit=100_000)
        kept = [json.loads(json.dumps(asdict(one), default=str)) for r in rollouts for one in tx.decisions(r.id, 1000)]
        claims = [asdict(one) for r in rollouts for one in tx.claims(r.id, limit=100_000)]
    shelved = [json.loads(line) for line in month.shelf.lines("decisions")]
    claims += [_times(json.loads(line)) for line in month.shelf.lines("claims")]
    assert len({one["id"] for one in claims}) == len(claims), "on the shelf or in the database, never both"
    whole = {one["id"] for one in rollouts_of(month)}
    assert len(whole) == len(month.plan.releases), "every rollout is somewhere"
    healthy: dict[tuple[str, str, str], list[datetime]] = defaultdict(list)
    for one in claims:
        if one["state"] == ClaimState.HEALTHY:
            healthy[one["rollout"], one["ring"], one["make"]].append(one["resolved_at"])
    verdicts: Counter[str] = Counter()
    assert {one["rollout"] for one in kept + shelved} == {one["rollout"] for one in claims}
    for one in kept + shelved:
        facts = facts_json.load(one["facts"])
        again = opening.judge(facts)
        said = [facts_json.reason(reason) for reason in again.reasons]
        assert (again.verdict.name, list(again.makes), said) == (one["verdict"], one["makes"], one["reasons"])
        assert month.gate.texts.read(one["policy_version"]) == long_run.POLICY
        verdicts[one["verdict"]] += 1
        for make in facts.makes if facts.gate else ():
            counted = sum(at <= facts.now for at in healthy[one["rollout"], SHOWS[facts.ring], make.make])
            assert counted == make.healthy, "the claims that this decision counted are not what there is"
    assert verdicts["OPEN"] >= 3 * (len(month.plan.releases) - RELEASES_A_DAY), verdicts
    assert len(shelved) > len(kept) or DAYS <= 2 * KEEP_DAYS
    print(f"{len(kept)} decisions kept and {len(shelved)} shelved were judged again: {dict(verdicts)}")


def rollouts_of(month: Month) -> Iterator[Mapping[str, Any]]:
    """From the shelf and from the database."""
    for line in month.shelf.lines("rollouts"):
        yield json.loads(line)
    with month.store.read() as tx:
        for rollout in tx.rollouts(limit=100_000):
            yield asdict(rollout)


def _times(claim: dict[str, Any]) -> dict[str, Any]:
    at = claim["resolved_at"]
    return {**claim, "resolved_at": datetime.fromisoformat(at) if at else None}


def _number(connection: Any, sql: str) -> int:
    return int(connection.execute(text(sql)).scalar())


def _memory_mb() -> float:
    pages_in = int(Path("/proc/self/statm").read_text().split()[1])
    return pages_in * os.sysconf("SC_PAGE_SIZE") / 1e6
