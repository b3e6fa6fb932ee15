"""A machine's boots are kept with its report, in few statements, and shown on its page and by the command."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner
from flask import Flask

from gate.adapters.store.sql import SqlStore
from gate.cli.main import main
from gate.core.boots import Boot
from gate.core.errors import Overtaken
from gate.core.model import Site, Step
from gate.flows import advance, boots_told, claims
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, takes
from tests.flows.test_stateful import gate_for
from tests.flows.test_statements import NINE, counted
from tests.real_gate import PlayedMachine, RealGate
from tests.web import test_pages
from tests.web.test_pages import Person

app, anna = test_pages.app, test_pages.anna
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory}]
rings: [{name: r0, why: w, pick: {role: [till]}, at_most: {per_site: 9}, gate: {soak: 1h open, at_least: 1}}]
"""
GATE = gate_for(POLICY)
AT = "2026-11-23T07:00:00+00:00"


def told(store: SqlStore, boots: list[tuple[str, str, str]]) -> tuple[list[str], list[Boot]]:
    """The statements of a report that tells these boots, and what is known then."""
    with store.write() as tx:
        if tx.site("nord") is None:
            tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
            tx.save_site(Site("nord", "Nord"))
            for name in ("a", "b"):
                joins(tx, name, "nord", "r0", NINE - timedelta(days=9))
            rollout = appears(tx, GATE, NINE)
            advance.advance_rollout(tx, GATE, rollout, NINE)
            takes(tx, GATE, rollout, "a", NINE)
    with store.read() as tx:
        machine = tx.machine("a")
        assert machine is not None
        claim = tx.live_claim("a")
        assert claim is not None
    said = claims.Report(claim.id, Step.BOOTED, "b1", timedelta(minutes=2), claim.release, more={"boots": boots})
    with counted(store) as statements, store.write() as tx:
        claims.report(tx, GATE, machine, said, NINE)
    with store.read() as tx:
        return [one for one in statements if "machine_boots" in one], tx.boots_of("a")


def test_a_report_that_tells_boots_costs_a_statement_and_one_that_tells_news_costs_two(store: SqlStore) -> None:
    assert told(store, []) == ([], [])
    statements, found = told(store, [("b1", AT, "unknown")])
    assert ([one.split()[0] for one in statements], [one.boot_id for one in found]) == (["SELECT", "INSERT"], ["b1"])
    statements, _ = told(store, [("b1", AT, "unknown")])
    assert [one.split()[0] for one in statements] == ["SELECT"]
    statements, found = told(store, [("b1", AT, "unclean")])
    assert ([one.split()[0] for one in statements], found[0].ended) == (["SELECT", "UPDATE"], "unclean")


def test_what_another_has_told_meanwhile_is_not_written_over(store: SqlStore) -> None:
    _, found = told(store, [("b1", AT, "unknown")])
    with store.write() as tx:
        assert not tx.save_boots("a", [Boot("b9", AT)], [])
        assert not tx.save_boots("a", [Boot("b9", AT)], [Boot("b8", AT)])
        assert tx.boots_of("a") == found
        claim = tx.live_claim("a")
        assert claim is not None

        class Late:
            """It reads what was there before."""

            def boots_of(self, _: str) -> list[Boot]:
                return []

            def save_boots(self, *what: object) -> bool:
                return tx.save_boots(*what)  # type: ignore[arg-type]

        with pytest.raises(Overtaken):
            boots_told.keep(Late(), claim, Step.BOOTED, "b2", claim.release, [("b2", AT, "unknown")])  # type: ignore[arg-type]
        assert tx.boots_of("a") == found


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_machines_page_shows_its_real_boots_and_how_each_ended(
    sqlite_gate: RealGate, app: Flask, anna: Person, language: str
) -> None:
    machine = PlayedMachine(sqlite_gate)
    machine.enrol()
    sqlite_gate.accept(machine.machine, "till", "first")
    sqlite_gate.bring("2026.1")
    machine.checkin(boot_id="boot-zero")
    with sqlite_gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    claim = machine.claim(release, boot_id="boot-zero")[1]["claim"]
    begun = [{"boot_id": f"boot-{name}", "started_at": "2026-03-02T06:00:00Z", "ended": how}
             for name, how in (("one", "unclean"), ("two", "clean"), ("three", "unknown"))]  # fmt: skip
    machine.report(claim, "installed", release, boot_id="boot-zero")
    status, _ = machine.report(claim, "rolled_back", "-", boot_id="boot-three", boots=begun)
    assert status == 202
    machine.checkin(boot_id="boot-three")
    page = anna.client.get(f"/machines/{machine.machine}?lang={language}").text
    rows = page.partition("boot-three</code>")[2].split("<tr>")[:3]
    said = {
        "de": (("er läuft", "nichts"), ("wie vorgesehen", "2026.1"), ("nicht wie vorgesehen", "2026.1")),
        "en": (("it runs", "nothing"), ("clean", "2026.1"), ("unclean", "2026.1")),
    }[language]
    for row, (ended, began_with) in zip(rows, said, strict=True):
        assert f">{ended}<" in row
        assert f"shop-content: {began_with}" in row
    shown = CliRunner().invoke(main, ["machine", "show", machine.machine, "-o", "json",
                                      "--settings", str(sqlite_gate.made.settings)])  # fmt: skip
    assert [one.split()[0] for one in json.loads(shown.output)["boots"]] == ["boot-three", "boot-two", "boot-one"]
