"""The mirror's rounds, as the worker makes them: ask for those whose time has come, move links, note who came.

- What has been committed rules, and the folder follows: a crash between the two is repaired within ``REPAIR``. A token
  that the database does not know, or knows as revoked, is shut out then; a holder without a pointer is served nothing.
- One pointer is one transaction: one that fails, or that another worker was faster with, stops no other.
- A pointer that cannot be moved on disk stays where it is: an event, and tried again.
- A plugin that cannot lay a release out is not asked for it again for each machine that should have it, but after
  ``REPAIR``, then less and less often, after ``OFF`` at the longest.
- Nothing is asked while nothing has changed: a rollout's version, or a pointer's own time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from gate.core.errors import GateError, Overtaken, SourceError
from gate.flows import intake, mirror
from gate.flows.rounds import Transactions
from gate.hookspecs import Announced, Released, Served
from gate.ports import Gate, Laid, Mirror, Pointer, Tx

log = logging.getLogger(__name__)
REPAIR = timedelta(minutes=1)
OFF = timedelta(minutes=30)
AT_ONCE = 200
FAILED = "mirror_failed"
Serve = Callable[[str, str, Released, datetime], tuple[Path, Served | None]]
"""(source, ring, release, moment) -> the folder of what was made, and what a client sees."""


class MirrorRounds:
    """Those of one worker; what it remembers only saves work."""

    def __init__(
        self,
        within: Transactions,
        gate: Gate,
        folder: Mirror,
        blobs: Path,
        serve: Serve,
        told: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """``told``: whether a source's vendor delivers; then its pointers are no links here (``orders``)."""
        self._within = within
        self._gate = gate
        self._folder = folder
        self._blobs = blobs
        self._serve = serve
        self._told = told
        self._seen: dict[str, tuple[tuple[str, int], ...]] = {}
        self._off: dict[tuple[str, str, str], tuple[int, datetime]] = {}
        self._repaired: datetime | None = None

    def once(self, now: datetime) -> None:
        """A round."""
        repair = self._repaired is None or abs(now - self._repaired) >= REPAIR
        if repair:
            sources = self._within.read(lambda tx: {one.source for one in tx.pointers()})
            self._seen = {source: self._seen.get(source, ()) for source in sources}
            if self._within.read(lambda tx: tx.mirror_tokens_left()):
                self._within.write(lambda tx: mirror.shut_out_left(tx, now))
        self._wake(now)
        moved = [after for one in self._due(now) if (after := self._ask(one, now)) is not None]
        wanted = self._within.read(lambda tx: tx.pointers()) if repair else moved
        failing = self._place(wanted, now)
        if repair:
            self._recover(failing, now)
            self._note_uses(now)
            self._shut_out(now)
            self._folder.tidy()
            self._repaired = now

    def _shut_out(self, now: datetime) -> None:
        """The folder is looked at first: what is let in or pointed to later was committed before, and is not in it."""
        admitted, holders = self._folder.admitted(), self._folder.holders()
        tokens, pointers = self._within.read(lambda tx: (tx.mirror_tokens(), tx.pointers()))
        if wrong := self._within.read(lambda tx: mirror.miscounted(tx, tokens)):
            self._within.write(lambda tx: mirror.count_rings(tx, wrong, now))
        for source, sha256 in set(admitted) - {(one.source, one.sha256) for one in tokens if one.revoked_at is None}:
            if self._folder.shut_out(source, sha256):
                log.warning("mirror %s: a token was let in that is revoked or not known", source)
        for source, holder in set(holders) - {(one.source, one.holder) for one in pointers}:
            self._folder.point(source, holder, "", (), now)

    def _wake(self, now: datetime) -> None:
        """Where a rollout of a source has changed, each of its pointers is asked for."""
        for source, before in self._seen.items():
            found = self._within.read(lambda tx, of=source: tx.rollouts(source=of, limit=8))  # type: ignore[misc]
            after = tuple((one.id, one.version) for one in found)
            if after != before:
                self._within.write(lambda tx, of=source: tx.wake_pointers(of, now))  # type: ignore[misc]
                self._seen[source] = after

    def _due(self, now: datetime) -> list[Pointer]:
        return self._within.read(lambda tx: tx.pointers_due(now, AT_ONCE))

    def _ask(self, pointer: Pointer, now: datetime) -> Pointer | None:
        self._seen.setdefault(pointer.source, ())
        try:
            return self._within.write(lambda tx: mirror.ask(tx, self._gate, pointer, now))
        except Overtaken:
            log.info("mirror %s %s: others were faster", pointer.source, pointer.holder)
        except GateError as problem:
            log.error("mirror %s %s: %s", pointer.source, pointer.holder, problem)
        return None

    def _recover(self, failing: Collection[str], now: datetime) -> None:
        """Every pointer stands where it should, but for those of sources that are ``failing``."""

        def over(tx: Tx) -> list[str]:
            active = tx.active_policy()
            names = [rule.name for rule in self._gate.policy(active.commit).sources] if active else []
            return [one for one in names if one not in failing and FAILED in intake.troubles(tx, one)]

        for source in self._within.read(over):
            self._within.write(lambda tx, of=source: intake.recovered(tx, of, FAILED, now))  # type: ignore[misc]

    def _place(self, pointers: Sequence[Pointer], now: datetime) -> set[str]:
        """Moves the links of these pointers; returns the sources of which one could not be moved."""
        failing = set[str]()
        key, laid = ("", "", ""), list[Laid]()
        elsewhere = {source for source in {one.source for one in pointers} if self._told(source)}
        astray = [
            ((one.source, self._ring(one), one.release), one)
            for one in pointers
            if one.source not in elsewhere
            and self._folder.stands(one.source, one.holder) != one.release.removeprefix("sha256:")
        ]
        for wanted, one in sorted(astray, key=lambda pair: pair[0]):  # the next call takes away what this one made
            try:
                if one.release and wanted != key:
                    if self._is_off(wanted, now):
                        failing.add(one.source)
                        continue
                    laid, key = self._laid(*wanted, now), wanted
                release = one.release.removeprefix("sha256:")
                self._folder.point(one.source, one.holder, release, laid if release else (), now)
            except GateError as problem:
                failing.add(one.source)
                self._failed(one, problem, now)
        return failing

    def _is_off(self, key: tuple[str, str, str], now: datetime) -> bool:
        tries, at = self._off.get(key, (0, now))
        return tries > 0 and abs(now - at) < min(OFF, REPAIR * 2 ** min(tries - 1, 10))

    def _ring(self, pointer: Pointer) -> str:
        machine = self._within.read(lambda tx: tx.machine(pointer.machine)) if pointer.machine else None
        return machine.ring if machine else pointer.ring

    def _laid(self, source: str, ring: str, release_id: str, now: datetime) -> list[Laid]:
        release = self._within.read(lambda tx: tx.release(release_id))
        assert release is not None, "a pointer names a stored release"
        digests = {one.name: one.sha256 for one in release.artifacts}
        announced = tuple(Announced(one.name, one.length, one.sha256) for one in release.artifacts)
        files = {name: self._blobs / sha256 for name, sha256 in digests.items()}
        key, told = (source, ring, release_id), Released(release.hex, release.version, announced, files)
        try:
            into, served = self._serve(source, ring, told, now)
        except SourceError:
            self._off[key] = self._off.get(key, (0, now))[0] + 1, now
            raise
        self._off.pop(key, None)
        if served is None:
            return [Laid(name, sha256) for name, sha256 in digests.items()]
        return [
            Laid(one.path, "", into / one.made) if one.made else Laid(one.path, digests[one.artifact])
            for one in served.files
        ]

    def _failed(self, pointer: Pointer, problem: GateError, now: datetime) -> None:
        log.error("mirror %s %s: %s", pointer.source, pointer.holder, problem)
        self._within.write(lambda tx: intake.failed(tx, pointer.source, FAILED, problem.detail, now))

    def _note_uses(self, now: datetime) -> None:
        for source in self._seen:
            found = self._folder.used(source)

            def note(tx: Tx, of: str = source) -> None:
                for token in tx.mirror_tokens(of):
                    at = found.get(token.sha256)  # noqa: B023  (called at once)
                    if at is not None and (token.used_at is None or at > token.used_at):
                        mirror.used(tx, token, at, now)

            if found:
                self._within.write(note)
