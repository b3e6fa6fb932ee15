"""Ten releases a day for a year, of one source: what that costs the pages, the publication and a tick."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import update
from werkzeug.test import Client

from gate.adapters.store.tx_rollouts import RINGS, STRATA
from gate.bootstrap import Opened, pages
from gate.core.model import Artifact, RolloutState, Trust
from gate.flows import intake, publication
from gate.ports import Tx, WebSession
from gate.web.auth import cookie_name

RELEASES = 3650
HALTED_OF = 50
SOURCE = "s0"
TOKEN = "y" * 43
PATHS = ("/sources", "/", "/rollouts")


def year(name: str, opened: Opened, say: Callable[..., None], releases: int = RELEASES) -> None:
    """The lines. Every release but the newest is superseded, or halted, one of fifty; the newest runs."""
    began = time.perf_counter()
    now = datetime.now(UTC)
    for first in range(0, releases, 100):
        with opened.store.write() as tx:
            for number in range(first, min(first + 100, releases)):
                at = now - timedelta(minutes=144 * (releases - number))
                _released(tx, opened, number, number == releases - 1, at)
    with opened.store.connection() as connection, connection.begin():
        connection.execute(update(RINGS).values(opened_at=now))
        connection.execute(update(STRATA).values(open=True))
    print(f"       {releases} releases written in {time.perf_counter() - began:.0f} s", flush=True)
    of = f"after {releases:,} releases of a source, {name}"
    _pages(of, opened, say)
    kept, times = dict[str, set[str]](), list[float]()
    began = time.perf_counter()
    with opened.store.read() as tx:
        kept = {source: set(found) for source, found in publication.kept(tx, opened.gate).items()}
    walked = 1000 * (time.perf_counter() - began)
    for _ in range(5):
        began = time.perf_counter()
        with opened.store.read() as tx:
            publication.wanted(tx, opened.gate, "", "", kept)
        times.append(1000 * (time.perf_counter() - began))
    worst = max(times)
    measured = f"{worst:.0f} ms with each tick, {walked:.0f} ms each five minutes"
    say(f"what should be published, {of}", measured, "", "< 100 ms", max(worst, walked) < 100)
    worker = opened.worker()
    worker.tick()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        worker.tick()
        times.append(1000 * (time.perf_counter() - began))
    say(f"full tick, {of}", f"{max(times):.0f} ms", "", "< 500 ms", max(times) < 500)


def _released(tx: Tx, opened: Opened, number: int, newest: bool, now: datetime) -> None:
    active = tx.active_policy()
    assert active is not None
    version = f"{number}.0"
    content = (Artifact("a.bin", 1, hashlib.sha256(version.encode()).hexdigest()),)
    rollout = intake.candidate_seen(
        tx, opened.gate, source=SOURCE, version=version, kind="content", boot_critical=False, artifacts=content,
        trust=Trust.DIGEST_PINNED, now=now, policy_version=active.commit,
    )  # fmt: skip
    assert rollout is not None
    assert rollout.state is RolloutState.RUNNING
    if not newest:
        state = RolloutState.HALTED if number % HALTED_OF == 0 else RolloutState.DONE
        at = None if state is RolloutState.HALTED else now
        assert tx.save_rollout(replace(rollout, state=state, reached=0, done_at=at, version=rollout.version + 1))


def _pages(of: str, opened: Opened, say: Callable[..., None]) -> None:
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        tx.add_web_session(WebSession(hashlib.sha256(TOKEN.encode()).hexdigest(), "anna", now, now))
    client, worst = Client(pages(opened), use_cookies=False), (0.0, "")
    for path in PATHS:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            answer = client.get(path, headers={"Cookie": f"{cookie_name('')}={TOKEN}"})
            times.append(1000 * (time.perf_counter() - began))
            assert answer.status_code == 200, (path, answer.status_code)
        worst = max(worst, (sorted(times)[2], path))
    measured = f"slowest {worst[0]:.0f} ms ({worst[1]})"
    say(f"pages of sources and rollouts, {of}", measured, "", "< 200 ms", worst[0] < 200)
