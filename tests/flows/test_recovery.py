"""A recovery sheet: who is out of reach, what must go, what is good, where the key lies; said in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.adapters.store.tx_claim_reads import CLAIMS
from gate.core.errors import Malformed, NotFound
from gate.core.model import Artifact, ClaimState, Machine, MachineStatus, RolloutState, Site
from gate.core.recovery import Given, KeyPlace, key_of
from gate.flows import advance, key_places, people, recovery
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

NINE = at("2026-11-23 09:00")
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role, platform]}
sources: [{name: one, plugin: directory}]
rings: [{name: r0, why: w, pick: {role: [till]}, at_most: {per_site: 9}, gate: {soak: 1h open, at_least: 1}}]
at_risk: {per_make: 300, fleet: 300}
first_batch: 9
"""
GATE = gate_for(POLICY)
METAL, HYPERV = "role=till|platform=metal", "role=till|platform=hyperv"


def joins(tx: SqlTx, name: str, site: str, platform: str, **facts: str) -> Machine:
    said = {"role": "till", "platform": platform, **facts}
    one = Machine(name, site, MachineStatus.PENDING, name, said, public_key=name)
    tx.add_machine(one, name)
    make = f"role=till|platform={platform}"
    active = replace(one, status=MachineStatus.ACTIVE, ring="r0", make=make)
    assert tx.accept_machine(active, NINE - timedelta(days=9))
    tx.seen(name, NINE)
    return active


@pytest.fixture
def day(store: SqlStore) -> Iterator[tuple[SqlStore, str]]:
    """Two tills of metal and one on Hyper-V have taken release 2; 1 was done before. Nobody is heard of after nine."""
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
        for site in ("nord", "sued"):
            tx.save_site(Site(site, f"Apotheke {site}", "NW", "Mo-Fr 08:00-18:00"))
        joins(tx, "a", "nord", "metal", os="windows")
        joins(tx, "b", "sued", "metal", os="windows")
        joins(tx, "c", "sued", "hyperv", os="linux")
        for name, site in (("x", "nord"), ("y", "sued"), ("z", "sued")):
            joins(tx, name, site, "kvm", os="linux")  # those keep each site's role alive
        before = tx.rollout(appears(tx, GATE, NINE - HOUR, "1"))
        assert before is not None
        assert tx.save_rollout(replace(before, state=RolloutState.DONE, reached=0, done_at=NINE, version=2))
        rollout = appears(tx, GATE, NINE, "2")
        found = tx.rollout(rollout)
        assert found is not None
        advance.advance_rollout(tx, GATE, rollout, NINE)
        for name in "abc":
            takes(tx, GATE, rollout, name, NINE)
        people.halt(tx, rollout, "anna", "tills die", NINE + MINUTE)
    yield store, rollout


def sheet(tx: SqlTx, rollout_id: str, make: str, now: datetime, given: Given = recovery.NOTHING) -> recovery.Sheet:
    rollout = tx.rollout(rollout_id)
    assert rollout is not None
    return recovery.sheet(tx, GATE, rollout, make, given, now)


def test_the_machines_of_a_make_that_are_not_heard_of_stand_on_its_sheet_by_site(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    late = NINE + HOUR
    with store.read() as tx:
        metal, hyperv = sheet(tx, rollout, METAL, late), sheet(tx, rollout, HYPERV, late)
        soon = sheet(tx, rollout, METAL, NINE + 19 * MINUTE)
        edge = sheet(tx, rollout, METAL, NINE + 20 * MINUTE)
    assert [(one.site, one.name) for one in metal.lost] == [("nord", "a"), ("sued", "b")]
    assert [(one.site_name, one.name) for one in hyperv.lost] == [("Apotheke sued", "c")]
    assert (soon.lost, len(edge.lost)) == ([], 2), "heard of within four check-ins"
    assert metal.paths == ["bitlocker", "metal-windows"]
    assert hyperv.paths == ["hyperv-linux"]
    assert not metal.unsure


class Counting:
    """A transaction in which no machines are listed."""

    def __init__(self, tx: SqlTx) -> None:
        self._tx = tx

    def __getattr__(self, name: str) -> Any:
        assert name != "out_of_reach", "of a large fleet only the first would be counted"
        return getattr(self._tx, name)


def test_the_store_counts_each_makes_machines_and_lists_none(day: tuple[SqlStore, str]) -> None:
    store, rollout_id = day
    with store.read() as tx:
        rollout = tx.rollout(rollout_id)
        assert rollout is not None
        counting: Any = Counting(tx)
        found = [recovery.makes_of(counting, GATE, rollout, now) for now in (NINE, NINE + 20 * MINUTE)]
    assert [list(one.items()) for one in found] == [[], [(METAL, 2), (HYPERV, 1)]]


OUT = {
    **dict.fromkeys((ClaimState.GRANTED, ClaimState.INSTALLED, ClaimState.BOOTED), True),
    **dict.fromkeys((ClaimState.SILENT, ClaimState.RELAPSED, ClaimState.FAILED, ClaimState.UNHEALTHY), True),
    **dict.fromkeys((ClaimState.HEALTHY, ClaimState.ROLLED_BACK, ClaimState.EXPIRED, ClaimState.GONE), False),
}


def test_who_is_out_of_reach(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    assert set(OUT) == set(ClaimState)
    for state in ClaimState:
        for recovered in (False, True):
            with store.connection() as connection:
                now_so = update(CLAIMS).values(state=state.value, recovered=recovered)
                connection.execute(now_so.where(CLAIMS.c.machine == "a"))
                connection.commit()
            with store.read() as tx:
                found = [one.machine for one in tx.out_of_reach(NINE, rollout=rollout, machine="a")]
                mine = recovery.of_machine(tx, GATE, "a", NINE + HOUR)
            out = OUT[state] and not recovered
            assert (bool(found), bool(mine)) == (out, out), (state, recovered)


def test_a_machine_in_flight_of_a_rollout_that_goes_on_may_just_be_switched_off(day: tuple[SqlStore, str]) -> None:
    store, rollout_id = day
    with store.write() as tx:
        rollout = tx.rollout(rollout_id)
        assert rollout is not None
        assert [one.id for _, one in recovery.of_machine(tx, GATE, "a", NINE + HOUR)] == [rollout_id]
        assert tx.save_rollout(replace(rollout, state=RolloutState.RUNNING, version=rollout.version + 1))
        assert recovery.of_machine(tx, GATE, "a", NINE + HOUR) == []
        claim = tx.live_claim("a")
        assert claim is not None
        assert tx.move(claim, replace(claim, state=ClaimState.SILENT, resolved_at=NINE, version=claim.version + 1))
        assert [one.state for one, _ in recovery.of_machine(tx, GATE, "a", NINE + HOUR)] == [ClaimState.SILENT]


def test_a_machine_that_is_revoked_or_heard_of_again_is_on_no_sheet(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    with store.write() as tx:
        tx.revoke_machine("a", NINE)
        tx.seen("b", NINE + HOUR)
    with store.read() as tx:
        assert sheet(tx, rollout, METAL, NINE + HOUR).lost == []
        assert recovery.makes_of(tx, GATE, tx.rollout(rollout), NINE + HOUR) == {HYPERV: 1}  # type: ignore[arg-type]


def test_the_good_release_is_the_one_before_and_none_is_said_too(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    with store.read() as tx:
        found, hyperv = sheet(tx, rollout, METAL, NINE + HOUR), sheet(tx, rollout, HYPERV, NINE + HOUR)
        first = next(one for one in tx.rollouts() if one.id != rollout)
        none = sheet(tx, first.id, METAL, NINE + HOUR)
    assert found.good is not None
    assert found.good.version == "1"
    assert any(found.good.id in step for step in hyperv.steps("hyperv-linux", "en"))
    assert recovery.good(found.good) == ["one 1", found.good.id, f"a  sha256 {'0' * 64}  (1 B)"]
    assert none.good is None
    said = " ".join(none.steps("metal-linux", "en") + none.steps("metal-windows", "en"))
    assert "In place now: nothing" in said
    assert "certutil" not in said, "there is nothing to compare"


def test_the_files_come_from_the_manifest_and_their_folder_from_the_settings(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    given = Given(windows="C:\\drivers", linux="/srv/{release}", files=("C-00000291*.sys",), call="0211 1234")
    with store.read() as tx:
        bare, full = sheet(tx, rollout, METAL, NINE + HOUR), sheet(tx, rollout, METAL, NINE + HOUR, given)
        linux = sheet(tx, rollout, HYPERV, NINE + HOUR, Given(linux="/srv/{release}"))
    assert (bare.remove, bare.placed) == (["a"], False)
    assert (full.remove, full.placed) == (["C:\\drivers\\C-00000291*.sys"], True)
    assert linux.remove == [f"/srv/{linux.release.hex}/a"]
    assert "0211 1234" in recovery.ended(full, "de")[0]
    assert isinstance(bare.release.artifacts[0], Artifact)


@pytest.mark.parametrize("language", ["de", "en"])
def test_the_text_has_everything_that_a_person_needs(day: tuple[SqlStore, str], language: str) -> None:
    store, rollout = day
    with store.write() as tx:
        key_places.keep(tx, "nord", "a", "Umschlag 3 im Tresor", "1a2b3c4d", "anna", NINE)
        key_places.keep(tx, "sued", "", "AD der Kette", "", "anna", NINE)
        found = sheet(tx, rollout, METAL, NINE + HOUR)
    said = "\n".join(recovery.lines(found, language, lambda moment: f"{moment:%H:%M}" if moment else "-"))
    for word in ("tills die", "Umschlag 3 im Tresor (id 1A2B3C4D)", "AD der Kette", "Apotheke nord: a", found.key):
        assert word in said
    assert ("die nicht erreichbar sind: 2; Apotheken: 2" in said) is (language == "de")
    assert ("out of reach: 2; sites: 2" in said) is (language == "en")
    assert "gate-agent recover" not in said, "that is for Linux"
    assert "certutil -hashfile FILE SHA256" in said


def test_what_nobody_knows_of_a_make_is_shown_as_both_and_said(day: tuple[SqlStore, str]) -> None:
    store, rollout = day
    with store.write() as tx:
        machine = tx.machine("c")
        assert machine is not None
        assert tx.save_facts(machine, {"role": "till", "platform": "hyperv"}, HYPERV)
    with store.read() as tx:
        found = sheet(tx, rollout, HYPERV, NINE + HOUR)
    assert found.unsure
    assert found.paths == ["bitlocker", "hyperv-windows", "hyperv-linux"]


def test_a_make_is_named_by_its_text_or_its_short_name(day: tuple[SqlStore, str]) -> None:
    store, rollout_id = day
    with store.read() as tx:
        rollout = tx.rollout(rollout_id)
        assert rollout is not None
        named = [recovery.named(tx, GATE, rollout, one, NINE) for one in (METAL, key_of(METAL), "role=till", "")]
    assert named == [METAL, METAL, None, None]


def test_a_long_list_is_cut_and_says_so(day: tuple[SqlStore, str], monkeypatch: pytest.MonkeyPatch) -> None:
    store, rollout = day
    with store.read() as tx:
        assert not sheet(tx, rollout, METAL, NINE + HOUR).more
        monkeypatch.setattr(recovery, "MOST", 1)
        found = sheet(tx, rollout, METAL, NINE + HOUR)
    assert (len(found.lost), found.more) == (1, True)
    assert "More than 1 are out of reach" in recovery.happened(found, "en", str)[-1]


# where keys are kept


def test_a_place_is_kept_replaced_and_forgotten_and_its_text_is_in_no_event(store: SqlStore) -> None:
    with store.write() as tx:
        tx.save_site(Site("nord", "Nord"))
        joins(tx, "m-1", "nord", "metal")
        key_places.keep(tx, "nord", "m-1", "Umschlag 3", "1a2b3c4d", "anna", NINE)
        key_places.keep(tx, "nord", "m-1", "Umschlag 4", "", "berta", NINE)
        key_places.keep(tx, "nord", "", "AD", "", "anna", NINE)
    with store.write() as tx:
        found = [(one.machine, one.place, one.key_id, one.by) for one in tx.key_places(["nord", "none"])]
        assert found == [("", "AD", "", "anna"), ("m-1", "Umschlag 4", "", "berta")]
        key_places.drop(tx, "nord", "m-1", "anna", NINE)
        with pytest.raises(NotFound):
            key_places.drop(tx, "nord", "m-1", "anna", NINE)
        events = tx.events(subject="nord")
    assert [one.kind for one in events] == ["key_place_dropped", *["key_place_changed"] * 3]
    assert "Umschlag" not in str([one.detail for one in events])


def test_the_place_of_a_machine_that_has_moved_is_forgotten_at_its_old_site(store: SqlStore) -> None:
    with store.write() as tx:
        for site in ("nord", "sued"):
            tx.save_site(Site(site, site))
            tx.save_key_place(KeyPlace(site, "m-1", "Umschlag 3", "", "anna", NINE))
        joins(tx, "m-1", "sued", "metal")
        key_places.drop(tx, "nord", "m-1", "anna", NINE)
        assert [one.site for one in tx.key_places(["nord", "sued"])] == ["sued"]


@pytest.mark.parametrize(
    ("site", "machine"), [("west", ""), ("nord", "nobody"), ("nord", "elsewhere"), ("nord", "twin")]
)
def test_a_place_is_of_a_machine_that_is_there(store: SqlStore, site: str, machine: str) -> None:
    with store.write() as tx:
        tx.save_site(Site("nord", "Nord"))
        tx.save_site(Site("sued", "Sued"))
        joins(tx, "elsewhere", "sued", "metal")
        for name in ("t-1", "t-2"):
            one = Machine(name, "nord", MachineStatus.PENDING, "twin", {}, public_key=name)
            tx.add_machine(one, name)
        with pytest.raises(NotFound):
            key_places.keep(tx, site, machine, "safe", "", "anna", NINE)


def test_a_key_is_never_kept(store: SqlStore) -> None:
    with store.write() as tx:
        tx.save_site(Site("nord", "Nord"))
        with pytest.raises(Malformed, match="never the key"):
            key_places.keep(tx, "nord", "", "-".join(["123456"] * 8), "", "anna", NINE)
        assert tx.key_places(["nord"]) == []


HEAD = "site,machine,place,key_id\n"


BAD_FILES = [
    ("site,place\nnord,safe\n", 1, "the columns are"),
    (HEAD + "nord,,safe\n", 2, "as many values"),
    (HEAD + "nord,,,\n", 2, "a place is needed"),
    (HEAD + "nord,,safe,\nwest,,safe,\n", 3, "there is no site west"),
    (HEAD + "nord,m-2,safe,\n", 2, "0 machines of site nord are called m-2"),
    (HEAD + "nord,,safe,\nnord,,desk,\n", 3, "twice"),
    (HEAD + f"nord,,safe,\nnord,m-1,{'-'.join(['123456'] * 8)},\n", 3, "never the key"),
    (HEAD + "nord,,safe,XYZ\n", 2, "first eight digits"),
]


def test_a_file_with_a_mistake_brings_nothing(store: SqlStore) -> None:
    with store.write() as tx:
        tx.save_site(Site("nord", "Nord"))
        joins(tx, "m-1", "nord", "metal")
        for text, line, word in BAD_FILES:
            rows, troubles = key_places.read(text.encode())
            troubles = troubles or key_places.take(tx, rows, "anna", NINE)
            assert [(one.row, word in one.said) for one in troubles] == [(line, True)], text
            assert tx.key_places(["nord"]) == []


def test_a_file_is_taken_as_one_act(store: SqlStore) -> None:
    with store.write() as tx:
        tx.save_site(Site("nord", "Nord"))
        joins(tx, "m-1", "nord", "metal")
        rows, troubles = key_places.read(
            "\ufeffplace,key_id,site,machine\n AD ,,nord,\nsafe,1a2b3c4d,nord,m-1\n".encode()
        )
        assert troubles == []
        assert key_places.take(tx, rows, "anna", NINE) == []
        assert [(one.machine, one.place, one.key_id) for one in tx.key_places(["nord"])] == [
            ("", "AD", ""),
            ("m-1", "safe", "1A2B3C4D"),
        ]
        [event] = tx.events(subject="sites")
    assert (event.kind, event.detail) == ("key_places_imported", {"count": 2})


def test_bytes_that_are_no_csv_are_said() -> None:
    assert key_places.read(b"\xff\xfe")[1][0].said.startswith("not UTF-8")
    assert key_places.read(HEAD.encode() + b'nord,,"safe,\n')[1][0].said.startswith("not CSV")
