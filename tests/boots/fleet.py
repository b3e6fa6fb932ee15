"""One gate in processes of its own, on SQLite, with its own short policy; and its guests."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from gate.bootstrap import Wishes, init, open_gate
from gate.core.model import Claim, Machine, MachineStatus, Rollout, Site
from gate.flows import edits, in_place, machines
from gate.ports import Event
from tests.boots.guests import Guest
from tests.boots.image import Image
from tests.load import Served, await_answer, free_port
from tests.real_gate import agreed

PATIENCE = int(os.environ.get("GATE_BOOTS_PATIENCE", "1"))  # 2 and more where others use the machine too


def policy(soak: str = "1s", deadline: str = f"{8 * PATIENCE}m open", tries: int = 2) -> str:
    """Two rings; what the lines of the proof differ in are arguments."""
    return f"""version: 1
fleet: boots
timezone: Europe/Berlin
makes: {{by: [model]}}
sources:
  - {{name: shop, plugin: directory, kind: content, boot_critical: true, lever: held}}
rings:
  - name: first
    why: one of each make, at sites of their own
    pick: {{label: first}}
    windows: [always]
    at_most: {{per_site: 1}}
    gate: {{soak: {soak}, at_least: 1, sites: 1}}
  - name: rest
    why: everybody else
    pick: {{role: till}}
    windows: [always]
    at_most: {{per_site: 1}}
    gate: {{soak: 1s, at_least: 1, sites: 1}}
first_batch: 3
defaults:
  evidence: boot
  reboot: after install
  tries: {tries}
  stay_up: 2s
  checkin: 3s
  lease: {30 * PATIENCE}m
  deadline: {deadline}
brakes:
  - {{if: crashed >= 1, within: 30m, in: [first], then: halt, why: one crash among so few is enough}}
  - {{if: silent >= 1, within: 30m, in: [first], then: halt, why: dead machines send no reports}}
"""


# name, make, site, labels
GUESTS = (
    ("till-a1", "a", "nord", ("first",)),
    ("till-b1", "b", "sued", ("first",)),
    ("till-a2", "a", "nord", ()),
    ("till-b2", "b", "sued", ()),
    ("till-a3", "a", "west", ()),
    ("till-b3", "b", "ost", ()),
)
GOOD = "shop content\n"


class Fleet:
    """The gate and every guest; ``opened`` reads and writes the same database beside the running processes."""

    def __init__(self, folder: Path, image: Image) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "drop").mkdir()
        sources = {"shop": {"folder": str(folder / "drop")}}
        database = f"sqlite:///{folder / 'gate.sqlite'}"
        wishes = Wishes("boots", "", database, "anna", "NW", "walk", port=self.port, source_s=0.5, sources=sources)
        now = datetime.now(UTC)
        settings = init(folder / "gate", wishes, now).settings
        self.opened = open_gate(settings)
        self.opened.policies.write(policy(), self.opened.policies.head(), "anna", "machines that die", now)
        with self.opened.store.write() as tx:
            for site in sorted({site for _, _, site, _ in GUESTS}):
                tx.save_site(Site(site, f"Apotheke {site}", "NW", "Mo-Su 00:00-24:00", True))
        agreed(self.opened, now)
        self.served = Served(settings, folder, ("web", "worker"))
        await_answer(self.port)
        self.guests = {name: Guest(image, folder, name, make, site, more) for name, make, site, more in GUESTS}
        self.machines: dict[str, str] = {}

    def end(self) -> None:
        for guest in self.guests.values():
            if guest.process is not None:
                guest.cut_power()
        self.served.end()
        self.opened.commit.close()
        self.opened.close()

    def code(self, site: str) -> str:
        secret, now = hashlib.sha256(f"{site}{time.monotonic_ns()}".encode()).hexdigest()[:32], datetime.now(UTC)
        root = self.opened.publisher.root_sha256
        with self.opened.store.write() as tx:
            return machines.create_code(tx, secret, root, site, 1, timedelta(hours=1), "anna", now)

    def accept_who_asks(self) -> bool:
        """Lets in each guest that has enrolled; whether all have."""
        with self.opened.store.write() as tx:
            active = tx.active_policy()
            assert active is not None
            policy = self.opened.gate.policy(active.commit)
            for machine in tx.machines(status=MachineStatus.PENDING.value):
                guest = self.guests[machine.name]
                now = datetime.now(UTC)
                gate, site = self.opened.gate, guest.site
                machines.accept(tx, gate, machine, site, "till", guest.labels, "anna", now, policy, people=1)
                self.machines[guest.name] = machine.id
        return len(self.machines) == len(self.guests)

    def rules(self, why: str, **said: str | int) -> None:
        """Another policy: pushed, agreed to by two people where it loosens, active."""
        text, head, now = policy(**said), self.opened.policies.head(), datetime.now(UTC)  # type: ignore[arg-type]
        if self.opened.policies.read(head) != text:
            head = self.opened.policies.write(text, head, "anna", why, now)

        def ruling() -> bool:
            with self.opened.store.write() as tx:
                active = tx.active_policy()
                for one in tx.proposals("open") if active and active.commit != head else ():
                    for who in {"anna", "berta"} - set(one.signatures) if one.subject == head else ():
                        edits.sign(tx, self.opened.gate, one.id, who, datetime.now(UTC))
            return active is not None and active.commit == head

        self.until(ruling, 60, f"a policy rules: {why}")

    def release(self, version: str, content: str) -> str:
        """Drops a release of the source; its id."""
        drop = self.folder / "drop" / version
        drop.mkdir()
        (drop / "driver.conf").write_text(content)
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        listed = {"name": "driver.conf", "length": len(content), "sha256": sha256}
        (drop / "manifest.json").write_text(json.dumps({"version": version, "files": [listed]}))
        (drop / "READY").touch()
        rollout: list[Rollout] = []

        def seen() -> bool:
            with self.opened.store.read() as tx:
                rollout[:] = [one for one in tx.rollouts(limit=10) if self._version(one.release) == version]
            return bool(rollout)

        self.until(seen, 60, f"the gate sees {version}")
        return rollout[0].release

    def open_site(self, name: str) -> None:
        """Open day and night again."""
        with self.opened.store.write() as tx:
            tx.save_site(Site(name, f"Apotheke {name}", "NW", "Mo-Su 00:00-24:00", True))

    def close_site(self, name: str) -> None:
        """Its opening hours begin in twelve hours; until then nobody expects its machines to be on."""
        opens = datetime.now(ZoneInfo("Europe/Berlin")) + timedelta(hours=12)
        closes = opens + timedelta(hours=1)
        with self.opened.store.write() as tx:
            tx.save_site(Site(name, f"Apotheke {name}", "NW", f"Mo-Su {opens:%H:%M}-{closes:%H:%M}", False))

    def _version(self, release: str) -> str:
        with self.opened.store.read() as tx:
            found = tx.release(release)
        return found.version if found else ""

    def rollout(self, release: str) -> Rollout:
        with self.opened.store.read() as tx:
            return next(one for one in tx.rollouts(limit=20) if one.release == release)

    def claims(self, release: str) -> dict[str, Claim]:
        """By name of the guest."""
        with self.opened.store.read() as tx:
            names = {machine: name for name, machine in self.machines.items()}
            return {names[one.machine]: one for one in tx.claims(self.rollout(release).id)}

    def runs(self, name: str) -> str:
        """The version that it says it has in place; empty: none."""
        with self.opened.store.read() as tx:
            machine = self.machines[name]
            found = tx.release(in_place.of(tx, tx.session(machine), machine, "shop"))
        return found.version if found else ""

    def machine(self, name: str) -> Machine:
        with self.opened.store.read() as tx:
            found = tx.machine(self.machines[name])
        assert found is not None
        return found

    def events(self, subject: str) -> list[Event]:
        """Oldest first."""
        with self.opened.store.read() as tx:
            return list(reversed(tx.events(subject=subject, limit=1000)))

    def until(self, met: Callable[[], bool], seconds: float, what: str) -> float:
        """Waits for what machines do in their own time; how long it took. ``seconds``: on two free cores."""
        began, seconds = time.monotonic(), seconds * PATIENCE
        while not met():
            dead = [one.name for one in self.guests.values() if one.process is not None and not one.on]
            if time.monotonic() - began > seconds:
                raise AssertionError(f"{what}: not within {seconds:.0f} s; off: {dead}\n{self.whereabouts()}")
            time.sleep(0.5)
        return time.monotonic() - began

    def whereabouts(self) -> str:
        """What everybody knows, for a person who reads why a test failed."""
        texts = [guest.said() for guest in self.guests.values()]
        with self.opened.store.read() as tx:
            for one in tx.rollouts(limit=5):
                texts.append(f"{one.id} {one.state.value} reached {one.reached} {one.halted_because}")
                texts += [f"  {claim}" for claim in tx.claims(one.id)]
                texts += [f"  {found.ring} {found.verdict} {found.reasons}" for found in tx.decisions(one.id, 4)]
        return "\n".join([*texts, self.served.logs()[-3000:]])
