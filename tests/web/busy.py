"""Pages over a fleet in which much happens at once, without a login; for what looks at every page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from flask import Flask
from sqlalchemy import text as sql

from gate.adapters import policy_edit
from gate.adapters.calendar import OpeningCalendar
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText, read_scenario, seed_policy, simulation
from gate.core.model import Machine, MachineStatus, RolloutState, SiteTime, TimeKind
from gate.core.mornings import Alarm, Morning, Party, Point
from gate.core.policy import not_enforced
from gate.core.recovery import key_of
from gate.flows import backtests, decommission, holds, intake, key_places, mornings, people, recalls, recovery
from gate.ports import Gate, Tx, User
from gate.web.app import PagesParts, create_app

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
KEY = "ab" * 32
TROUBLES = (
    ("candidate_refused", "292: the signature does not fit"),
    ("mirror_failed", "no room in mirror: 12 MiB"),
    ("source_failed", "falcon.example: 503"),
)
FORMS = ("rings[1]", "rings[new]", "freeze[3]", "brakes[0]", "windows.new", "sources[0]", "defaults", "limits")


@dataclass(frozen=True)
class Busy:
    """The application and what to look at."""

    app: Flask
    rollout: str
    machines: tuple[str, ...]
    sites: tuple[str, ...]
    policy: str
    backtest: str
    sheets: tuple[str, ...] = ()

    def places(self) -> list[str]:
        """Every page, those of single things too."""
        found = ["/", "/morning", "/rollouts", "/machines", "/machines?status=pending", "/sites", "/audit", "/people"]
        found += ["/sources", "/shadow", f"/policy/backtests/{self.backtest}"]
        found += ["/rings", "/holds", *(f"/rings/edit?item={one}" for one in FORMS)]
        found += ["/holds?state=ever&sort=-made", "/people?state=active&sort=role", "/audit?sort=oldest"]
        found.append("/people/roles")
        found += [f"/rollouts/{self.rollout}/recovery", *self.sheets, "/sites/import-keys"]
        found += ["/brake", "/nothing", "/rollouts/none", f"/rollouts/{self.rollout}"]
        found += [f"/{kind}{one}" for one in self.machines for kind in ("machines/", "why?machine=")]
        found += ["/policy", *(f"/policy?tab={one}" for one in ("edit", "words", "plan", "backtest", "history"))]
        found += [f"/policy/versions/{self.policy}"]
        found += ["/system", "/sites/import", "/calendar?span=month", "/machines?claim=failure&dark=1&sort=site"]
        found += [f"/calendar?site={one}&source=falcon-content" for one in self.sites]
        return [*found, *(f"/sites/{one}" for one in self.sites)]


def busy(folder: Path, scenario: str, until: timedelta) -> Busy:
    """A scenario as it stands then, with what people and a bad morning add to it."""
    text = seed_policy()
    running = simulation(read_scenario(Path(scenario)), text, folder)
    running.start()
    running.advance_to(running.scenario.start + until)
    policy, now = running.policy, running.now
    gate = Gate(policy=lambda _: policy, texts=OneText(text), hours=OpeningCalendar(policy.timezone))
    store = SqlStore(f"sqlite:///{folder / 'simulation.db'}", durable=False)
    with store.read() as tx:
        rollout = tx.rollouts()[0]
        site = tx.sites(after="s")[0]
        failed = [one.machine for one in tx.claims(rollout.id, limit=200) if one.resolved_at is not None]
    _add(store, gate, site.id, rollout.id, now)
    with store.connection() as connection:
        flying = f"SELECT min(id) FROM claims WHERE rollout = '{rollout.id}'"
        connection.execute(sql(f"UPDATE claims SET state = 'granted', dark_at = 1 WHERE id = ({flying})"))
        connection.commit()
    parts = PagesParts(
        store=store,
        gate=gate,
        clock=SimpleNamespace(now=lambda: now),
        hash_password=str,
        verify_password=lambda _, __: False,
        check_hours=lambda _: "no opening hours are given",
        check_land=lambda _: None,
        policy=lambda: policy,
        editor=policy_edit,
        later=lambda: not_enforced(policy),
        guest=User("visitor", "Demo", "admin", "", False, now),
    )
    with store.read() as tx:
        found = tx.rollout(rollout.id)
        assert found is not None
        makes = list(recovery.makes_of(tx, gate, found, now))[:2]
    sheets = tuple(f"/rollouts/{rollout.id}/recovery/{key_of(make)}" for make in makes)
    with store.write() as tx:
        test, _ = backtests.begin(tx, gate.texts.head(), "scenarios", "anna", now)
        backtests.stop(tx, test.id, "anna", now)
        for kind, detail in TROUBLES:
            intake.failed(tx, policy.sources[0].name, kind, detail, now)
    machines = ("lab-001", "pending", "s00001-till-1", *failed[:1])
    return Busy(
        create_app(parts),
        rollout.id,
        tuple(dict.fromkeys(machines)),
        ("lab", site.id),
        gate.texts.head(),
        test.id,
        sheets,
    )


def _add(store: SqlStore, gate: Gate, site_id: str, rollout: str, now: datetime) -> None:
    """Duty, closing days, a hold, a gap, a machine that waits, one that is gone, a bad morning, proposals."""
    with store.write() as tx:
        site = tx.site(site_id)
        assert site is not None
        closed = SiteTime(now + 30 * HOUR, now + 54 * HOUR, TimeKind.CLOSED, "Inventur", "ada")
        tx.save_times(site_id, [SiteTime(now - HOUR, now + HOUR, TimeKind.DUTY), closed], site.times)
        holds.place(tx, gate, "role=till", "", "k.lehmann", now + HOUR, "sie stolpert", "anna", now)
        key_places.keep(tx, site_id, "", "Umschlag 3 im Bürotresor", "1A2B3C4D", "anna", now)
        tx.add_gap(now - 2 * HOUR, now - HOUR)
        people.add_user(tx, "anna", "Anna", "admin", "link", "visitor", now)
        waiting = Machine("pending", site_id, MachineStatus.PENDING, "Kasse neu", {"role": "till"}, public_key=KEY)
        tx.add_machine(waiting, KEY)
        gone = tx.machine("lab-002")
        assert gone is not None
        decommission.decommission(tx, gate, gone, "anna", "ins Museum verkauft", now)
        _morning(gate, tx, now)
        found = tx.rollout(rollout)
        assert found is not None
        if found.state is RolloutState.HALTED:
            people.resume(tx, rollout, "anna", "es war der Strom", now)
            recalls.recall(tx, rollout, "anna", "sie ist schlecht", now)


def _morning(gate: Gate, tx: Tx, now: datetime) -> None:
    day = mornings.today(gate.policy("v"), now)
    party = Party(now - 2 * HOUR, now, 40, 40, 20, 9, 9, now)
    risen = Alarm(now - 10 * MINUTE, 40, 20, 4)
    tx.save_morning(replace(Morning(day, now, now, 0.01, 40, 20, (party,)), alarm=risen))
    for minutes in range(0, 100, 5):
        tx.add_point(day, Point(now - minutes * MINUTE, 40, 30 - minutes // 5))
    tx.append("silent_morning", "gate", mornings.SUBJECT, now, {"day": day, "expected": 40, "missing": 20})
