"""A machine without a gate: real state, plugin and early unit; its boots, its panics and its power are played."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gate.agent import settings
from gate.agent.boots import Left
from gate.agent.diary import Diary
from gate.agent.early import early
from gate.agent.hands import Hands
from gate.agent.plugin import Plugin
from gate.agent.probes import Probes
from gate.agent.state import ClaimInHand, Installed, StateFolder
from gate.agent.talk import Talk
from gate.hookspecs import Announced, Placing
from tests.power import Disk, PowerCut
from tests.real_gate import PlayedBoots

SOURCE = "shop-content"
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


@dataclass
class Gate:
    """What the gate has taken, for ever."""

    said: list[dict[str, Any]] = field(default_factory=list)

    def report(self, _: Any, fields: dict[str, Any]) -> None:
        self.said.append(fields)

    @property
    def steps(self) -> list[str]:
        """Each step once, in order: a report may come twice where its answer was lost."""
        return list(dict.fromkeys(one["step"] for one in self.said))


class Machine:
    """One machine. ``bad``: content whose loading makes the kernel panic."""

    def __init__(self, home: Path, *, bad: bool = False, first: bool = False, alive: bool = False) -> None:
        self.home, self.disk_root = home, home / "disk"
        self.bad, self.number, self.panics = bad, 0, 0
        self.system, self.gate = PlayedBoots(), Gate()
        self.disk_root.mkdir(parents=True)
        self.target = self.disk_root / "content"
        self.folder = StateFolder(self.disk_root / "state")
        self.folder.prepare()
        self.old, self.new = ("", self._release("2"))
        if not first:
            self.target.mkdir()
            self.old = self._release("1")
        text = settings.render(
            {}, {SOURCE: {"plugin": "directory", "folder": str(self.target)}},
            {"boot_id_path": str(home / "boot_id"), "uptime_path": str(home / "uptime")},
        )  # fmt: skip
        (home / "agent.toml").write_text(text)
        self.settings = settings.load(home / "agent.toml")
        self.evidence = "alive" if alive else "boot"
        self.up(1, 100)
        self._begin()

    def up(self, number: int, uptime_s: float) -> None:
        """This boot, and how long it has lasted."""
        self.number = number
        (self.home / "boot_id").write_text(f"b{number}")
        (self.home / "uptime").write_text(f"{uptime_s} 0")

    def clock(self) -> datetime:
        """A minute later in each boot."""
        return NOW + timedelta(minutes=self.number)

    def diary(self) -> Diary:
        return Diary(self.folder, self.settings, self.clock, self.system)

    def early(self) -> str:
        return early(self.folder, self.settings, self.clock, self.system)

    def round(self) -> None:
        """A round of the agent, but for the network."""
        diary = self.diary()
        this = diary.boot()
        hands = Hands(diary, self.plugins(), Probes({}).ask)
        diary.begin(this)
        diary.settle(this)
        hands.count(this)
        hands.resume(this)
        claim = diary.state.claim
        if claim is not None and claim.step == "granted":
            hands.install(claim, self.placing("2"), this)
        hands.progress(this)
        diary.state.challenge = "c"
        talk = Talk(diary, None, self.gate, self.plugins())  # type: ignore[arg-type]
        talk.send()

    def plugins(self) -> dict[str, Plugin]:
        return {SOURCE: Plugin("directory", self.settings.targets[SOURCE])}

    def boot(self, number: int) -> None:
        """Early, then what loads the content, then the agent until it has stayed up."""
        self.up(number, 5)
        self.early()
        if self.bad and self.in_place() == self.new:
            self.panics += 1
            self.system.left.append(Left(f"panic {number}", PANIC, self.clock()))
            return
        for uptime_s in (20, 1000):
            self.up(number, uptime_s)
            self.round()

    def in_place(self) -> str:
        """The release in place, whole; fails where it is half of one."""
        probed = self.plugins()[SOURCE].probe()
        assert all(one.ok for one in probed.probes), probed
        return probed.release

    def live(self, disk: Disk, boots: int) -> None:
        """At most so many boots, until nothing is on trial; where the power fails, the next boot is the next."""
        for number in range(self.number, self.number + boots):
            try:
                with disk.watched():
                    self.boot(number + 1)
            except PowerCut:
                disk.left = 0
                return
            state = self.folder.state()
            if state.claim is None and not state.reports:
                return

    def placing(self, version: str) -> Placing:
        content = f"prices {version}".encode()
        path = self.home / f"blob-{version}"
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return Placing(self._release(version), version, (Announced("p", len(content), sha256),), {"p": path})

    def _release(self, version: str) -> str:
        return hashlib.sha256(f"release {version}".encode()).hexdigest()

    def _begin(self) -> None:
        diary = self.diary()
        if self.old:
            assert self.plugins()[SOURCE].install(self.placing("1")).ok
            diary.state.installed[SOURCE] = Installed(self.old, 1)
        diary.state.claim = ClaimInHand(
            claim="c-1", source=SOURCE, release=f"sha256:{self.new}", counter=2, version="2",
            lease_until="2100-01-01T00:00:00+00:00", granted_at=NOW.isoformat(), evidence=self.evidence,
            reboot="natural", stay_up_s=900, boots=1, boot_id="b1", previous=self.old,
        )  # fmt: skip
        diary.begin(diary.boot())
        diary.save()


def cut(make: Callable[[Path], Machine], home: Path, step: int, world: str, boots: int = 8) -> tuple[Machine, bool]:
    """A machine's life with one power cut at its n-th step; the bool: was there so many?"""
    machine = make(home)
    disk = Disk(machine.disk_root, step)
    try:
        machine.live(disk, boots)
        if disk.dead:
            disk.found_after(world)
    finally:
        disk.close()
    if disk.dead:
        whole = Disk(machine.disk_root)
        machine.live(whole, boots)
        whole.close()
    return machine, disk.dead
