"""Sources are looked at beside one another: one that hangs delays no other, and what they fetch at once fits."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.adapters.plugins import LEFT_S, ChildPlugins
from gate.flows import intake
from gate.flows import sources as known
from gate.flows.look import Looking
from gate.flows.look_rounds import AT_WORK, WEIGH_EVERY, LookRounds
from gate.hookspecs import Candidate, Discovered, Fetched, Source, Verification
from gate.ports import SPARE, Publisher, Sources
from tests.real_gate import RealGate

SOURCE = "shop-content"
LONG_S = 60
"""Nobody waits so long, unless what is asked for never comes."""


class Waiting:
    """Source plugins of which some calls wait until they may go on."""

    def __init__(self, inner: Sources, call: str, *names: str) -> None:
        self.inner, self.call, self.names = inner, call, names
        self.entered, self.go = threading.Semaphore(0), threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _wait(self, call: str, source: Source) -> None:
        if call == self.call and source.name in self.names:
            self.entered.release()
            assert self.go.wait(LONG_S)

    def discover(self, plugin: str, source: Source, cursor: str) -> Discovered:
        self._wait("discover", source)
        return self.inner.discover(plugin, source, cursor)

    def fetch(self, plugin: str, source: Source, candidate: Candidate) -> tuple[Path, tuple[Fetched, ...]]:
        self._wait("fetch", source)
        return self.inner.fetch(plugin, source, candidate)


class Small:
    """A publisher whose disk has so much room."""

    def __init__(self, inner: Publisher, room: int) -> None:
        self.inner, self.free = inner, room

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def room(self) -> int:
        return self.free


def several(gate: RealGate, *names: str) -> list[str]:
    """More drop folders, each with one drop of its own."""
    policies, more = gate.opened.policies, ""
    for name in names:
        folder = gate.folder / name
        folder.mkdir()
        gate.worker._looking.options[name] = {"folder": str(folder)}  # type: ignore[index]
        more += f"  - {{name: {name}, plugin: directory, kind: content, evidence: alive}}\n"
    text = policies.read(policies.head())
    gate.policy_says(text.replace("sources:\n", "sources:\n" + more), "more")
    before = gate.drop_folder
    for name in names:
        gate.drop_folder = gate.folder / name
        gate.drop("1", f"of {name}")
    gate.drop_folder = before
    return list(names)


def rounds(gate: RealGate, **parts: Any) -> tuple[LookRounds, Looking]:
    looking = replace(gate.worker._looking, **parts)
    return LookRounds(looking, gate.opened.mirror, gate.worker._alone, gate.worker._stop.is_set), looking


def versions(gate: RealGate, source: str) -> list[str]:
    with gate.opened.store.read() as tx:
        return [one.version for one in tx.releases(source, 10)]


def test_a_source_that_hangs_delays_no_other_and_is_not_begun_again(real_gate: RealGate) -> None:
    several(real_gate, "slow", "quick")
    waiting = Waiting(real_gate.opened.plugins, "discover", "slow")
    looks, _ = rounds(real_gate, sources=waiting)
    begun = looks.once()
    assert waiting.entered.acquire(timeout=LONG_S)
    for one in begun:
        if one.name != "look slow":
            one.join(LONG_S)
    assert (versions(real_gate, "quick"), versions(real_gate, "slow")) == (["1"], [])
    again = looks.once()
    for one in again:
        one.join(LONG_S)
    assert sorted(one.name for one in again) == ["look quick", f"look {SOURCE}"]
    assert [one.name for one in looks.at_work()] == ["look slow"]
    waiting.go.set()
    for one in begun:
        one.join(LONG_S)
    assert versions(real_gate, "slow") == ["1"]
    assert looks.at_work() == []


def test_a_few_looks_are_at_work_at_once_and_the_others_have_their_turn(sqlite_gate: RealGate) -> None:
    names = several(sqlite_gate, *(f"s{number}" for number in range(AT_WORK + 2)))
    waiting = Waiting(sqlite_gate.opened.plugins, "discover", *names, SOURCE)
    looks, _ = rounds(sqlite_gate, sources=waiting)
    begun = looks.once()
    for _ in range(AT_WORK):
        assert waiting.entered.acquire(timeout=LONG_S)
    assert not waiting.entered.acquire(timeout=0.2)
    waiting.go.set()
    for one in begun:
        one.join(LONG_S)
    assert [versions(sqlite_gate, name) for name in names] == [["1"]] * len(names)


def test_a_worker_that_ends_waits_for_the_looks_at_work_and_begins_no_other(sqlite_gate: RealGate) -> None:
    names = several(sqlite_gate, *(f"s{number}" for number in range(AT_WORK)))
    waiting = Waiting(sqlite_gate.opened.plugins, "discover", *names, SOURCE)
    gate, worker = sqlite_gate, sqlite_gate.worker
    worker._looks, _ = rounds(gate, sources=waiting)
    worker.look_out()
    for _ in range(AT_WORK):
        assert waiting.entered.acquire(timeout=LONG_S)
    ending = threading.Thread(target=worker.stop, daemon=True)
    ending.start()
    assert worker._stop.wait(LONG_S)
    assert ending.is_alive()
    waiting.go.set()
    ending.join(LONG_S)
    assert worker._looks.at_work() == []
    assert not waiting.entered.acquire(blocking=False), "the last one's turn came after the end"


def test_two_that_are_fetched_at_once_do_not_count_on_the_same_room(sqlite_gate: RealGate) -> None:
    several(sqlite_gate, "a", "b")
    gate, waiting = sqlite_gate, Waiting(sqlite_gate.opened.plugins, "fetch", "a", "b")
    small = Small(gate.opened.publisher, SPARE + 3 * len("of a"))
    looks, looking = rounds(gate, sources=waiting, publisher=small)
    begun = looks.once()
    assert waiting.entered.acquire(timeout=LONG_S)
    first = next(iter(name for name, length in looking.taking.items() if length))
    other = {"a": "b", "b": "a"}[first]
    for one in begun:
        if one.name != f"look {first}":
            one.join(LONG_S)
    with gate.opened.store.read() as tx:
        assert intake.troubles(tx, other) == {
            "source_failed": "1: 1 needs 256 MiB and there are 256 MiB: nothing of it is stored"
        }
    waiting.go.set()
    for one in begun:
        one.join(LONG_S)
    assert (versions(gate, first), versions(gate, other)) == (["1"], [])
    for one in looks.once():
        one.join(LONG_S)
    assert versions(gate, other) == ["1"], "there is room again, and nothing is put off"
    with gate.opened.store.read() as tx:
        assert intake.troubles(tx, other) == {}


def test_bytes_that_were_not_announced_are_not_stored_without_room_for_them(sqlite_gate: RealGate) -> None:
    several(sqlite_gate, "a")
    silent = Silent(sqlite_gate.opened.plugins)
    small = Small(sqlite_gate.opened.publisher, SPARE + len("of a") - 1)
    looks, _ = rounds(sqlite_gate, sources=silent, publisher=small)
    for room, found in ((small.free, []), (small.free + 1, ["1"])):
        small.free = room
        for one in looks.once():
            one.join(LONG_S)
        assert versions(sqlite_gate, "a") == found
    assert not list((sqlite_gate.opened.settings.data / "spool").glob("*/a/fetched/*"))


class Silent(Waiting):
    """Plugins that announce no length."""

    def __init__(self, inner: Sources) -> None:
        super().__init__(inner, "")

    def discover(self, plugin: str, source: Source, cursor: str) -> Discovered:
        found = self.inner.discover(plugin, source, cursor)
        said = [replace(one, artifacts=tuple(replace(a, length=0) for a in one.artifacts)) for one in found.candidates]
        return replace(found, candidates=tuple(said))

    def fetch(self, plugin: str, source: Source, candidate: Candidate) -> tuple[Path, tuple[Fetched, ...]]:
        return self.inner.fetch(plugin, source, self._true(plugin, source, candidate))

    def verify(
        self, plugin: str, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path
    ) -> Verification:
        return self.inner.verify(plugin, source, self._true(plugin, source, candidate), fetched, into)

    def _true(self, plugin: str, source: Source, said: Candidate) -> Candidate:
        found = self.inner.discover(plugin, source, "").candidates
        return next(one for one in found if one.version == said.version)


# what a source takes up


def taken(gate: RealGate) -> int:
    policy = gate.opened.rules.policy()
    assert policy is not None
    with gate.opened.store.read() as tx:
        return known.states(tx, policy, WEIGH_EVERY)[0].stored


def test_what_a_source_takes_up_counts_old_releases_the_mirror_and_downloads(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    gate.bring("1", "x" * 1000)
    assert taken(gate) == 1000
    gate.bring("2", "y" * 100)
    assert taken(gate) == 1100, "what has come in is counted at once"
    view = gate.opened.settings.mirror / "views" / SOURCE / "00.0" / "sub"
    view.mkdir(parents=True)
    (view / "file").write_bytes(b"z" * 10_000)
    part = gate.opened.settings.spool / "kept" / SOURCE / "parts" / "0"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(b"p" * 100_000)
    gate.worker.look()
    assert taken(gate) == 1100, "the rest once an hour"
    gate.clock.forward(minutes=61)
    gate.worker.look()
    assert taken(gate) == 111_100


# downloads that stay behind


def kept(folder: Path, source: str = "s") -> Path:
    parts = folder / "kept" / source / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    return parts


def half(parts: Path, name: str, length: int, age_s: float) -> None:
    for path, content in ((parts / name, b"x" * length), (parts / f"{name}.json", b"{}")):
        path.write_bytes(content)
        os.utime(path, (time.time() - age_s,) * 2)


@pytest.mark.parametrize(("most", "left"), [(299, ["b"]), (300, ["a", "b"]), (99, [])])
def test_downloads_that_nobody_goes_on_with_are_no_more_than_the_largest_release(
    tmp_path: Path, most: int, left: list[str]
) -> None:
    drops, parts = tmp_path / "drops", kept(tmp_path)
    drops.mkdir()
    half(parts, "a", 200, age_s=100)
    half(parts, "b", 100, age_s=50)
    ChildPlugins(tmp_path / "host-1").discover("directory", Source("s", {"folder": str(drops)}, most), "")
    assert sorted(one.name for one in parts.iterdir()) == sorted([*left, *(f"{one}.json" for one in left)])


def test_each_hour_a_worker_throws_away_the_downloads_that_nobody_has_gone_on_with_for_a_week(
    sqlite_gate: RealGate,
) -> None:
    gate, parts = sqlite_gate, kept(sqlite_gate.opened.settings.spool)
    half(parts, "new", 1, age_s=0)
    gate.worker.retain()
    half(parts, "old", 1, age_s=LEFT_S + 60)
    gate.worker.retain()
    assert (parts / "old").exists()
    gate.clock.forward(minutes=61)
    gate.worker.retain()
    assert sorted(one.name for one in parts.iterdir()) == ["new", "new.json"]
