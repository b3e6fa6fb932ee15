"""Recovery sheets and key places in the pages: who may, what is linked from where, and that no key is ever taken."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from gate.core import said_texts
from gate.core.model import Machine, MachineStatus, RingState, RolloutState, Stratum
from gate.core.recovery import problem_of
from gate.flows import key_places
from tests.real_gate import PlayedMachine, RealGate
from tests.web import test_pages
from tests.web.busy import Busy, busy
from tests.web.test_pages import OURS, Person, filled, person

app, anna = test_pages.app, test_pages.anna
KEY = "-".join(["123456"] * 8)


@pytest.fixture(scope="module")
def halted(tmp_path_factory: pytest.TempPathFactory) -> Busy:
    """The 19th of July, after its halt."""
    return busy(tmp_path_factory.mktemp("halted"), "july-19", timedelta(hours=12))


def test_the_halted_rollout_leads_to_a_sheet_for_each_make_and_to_all_of_them(halted: Busy) -> None:
    client = halted.app.test_client()
    page = client.get(f"/rollouts/{halted.rollout}").text
    assert halted.sheets
    for place in halted.sheets:
        assert f'href="{place}"' in page
        sheet = client.get(place, headers={"Accept-Language": "de"}).text
        assert "Wiederherstellungsblatt" in sheet
        assert "Dateien, die weg müssen" in sheet
        assert "Nach zwei Versuchen oder 30 Minuten" in sheet
    bundle = client.get(f"/rollouts/{halted.rollout}/recovery", headers={"Accept-Language": "en"}).text
    assert bundle.count('<article class="recovery"') >= len(halted.sheets)
    assert len(set(re.findall(r' id="([^"]+)"', bundle))) == len(re.findall(r' id="([^"]+)"', bundle))


def test_the_bundle_has_a_sheet_for_every_make(sqlite_gate: RealGate, anna: Person) -> None:
    filled(sqlite_gate)
    with sqlite_gate.opened.store.write() as tx:
        rollout = replace(tx.rollouts()[0], id="r-many", release="many", state=RolloutState.HALTED, version=1)
        release = tx.release(tx.rollouts()[0].release)
        assert release is not None
        assert tx.add_release(replace(release, id="many", version="9", counter=9), b"")
        makes = [f"role=till|pos=k{number:02}" for number in range(60)]
        failed = [Stratum("r-many", "first", one, True, 1, 1, 1.0, 0, failed=1) for one in makes]
        ring = RingState("r-many", "first", 0, None, 0, 0, 60)
        tx.add_rollout(rollout, [ring], ())
        tx.open_ring(replace(ring, opened_at=rollout.started_at), failed, first_batch=1)
    first = anna.client.get("/rollouts/r-many/recovery?lang=en").text
    following = re.search(r'rel="next" href="([^"#]+)#sheets"', first)
    assert following is not None
    last = anna.client.get("/rollouts/r-many/recovery" + html.unescape(following[1])).text
    assert 'rel="next"' not in last
    assert [one.count('<article class="recovery"') for one in (first, last)] == [40, 20]
    assert "print each of its pages" in first
    assert all(f" · {one} · " in first + last for one in makes)


def test_each_sheet_has_the_steps_of_its_own_make_only(halted: Busy) -> None:
    client = halted.app.test_client()
    bundle = client.get(f"/rollouts/{halted.rollout}/recovery", headers={"Accept-Language": "en"}).text
    for sheet in bundle.split('<article class="recovery"')[1:]:
        make = re.search(r"platform=(\w+)", sheet)
        virtual = "Virtual machine" in sheet
        if make is not None and make[1] == "metal":
            assert "A machine of metal" in sheet
            assert not virtual
        if make is not None and make[1] in ("hyperv", "proxmox"):
            assert virtual
            assert "A machine of metal" not in sheet
            assert ("Hyper-V" in sheet) is (make[1] == "hyperv")


def test_a_machine_that_is_out_of_reach_leads_to_its_sheet(halted: Busy) -> None:
    client = halted.app.test_client()
    sheet = client.get(halted.sheets[0], headers={"Accept-Language": "en"}).text
    machines = re.findall(r'href="(/machines/[^"]+)"', sheet)
    assert machines, "somebody is out of reach"
    assert f'href="{halted.sheets[0]}"' in client.get(machines[0]).text
    assert client.get(f"/rollouts/{halted.rollout}/recovery/000000000000").status_code == 404
    assert client.get("/rollouts/none/recovery").status_code == 404


def test_a_technician_says_where_a_key_is_and_a_reader_may_not(sqlite_gate: RealGate, app: Flask) -> None:
    tech, reader = person(app, "tom"), person(app, "rita")
    form = {"machine": "", "place": "Umschlag 3 <b>", "key_id": "1a2b3c4d"}
    assert reader.post("/sites/nord/keys", **form).status_code == 403
    assert tech.post("/sites/nord/keys", **form).status_code == 303
    page = reader.client.get("/sites/nord?lang=en").text
    assert "Umschlag 3 &lt;b&gt;" in page
    assert "1A2B3C4D" in page
    assert "Forget this place" not in page
    assert "Forget this place" in tech.client.get("/sites/nord?lang=en").text
    assert reader.post("/sites/nord/keys/drop", machine="").status_code == 403
    assert tech.post("/sites/nord/keys/drop", machine="").status_code == 303
    assert "Umschlag 3" not in reader.client.get("/sites/nord").text


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_key_itself_is_refused_and_said_nowhere(sqlite_gate: RealGate, anna: Person, language: str) -> None:
    answer = anna.post(f"/sites/nord/keys?lang={language}", machine="", place=f"the key is {KEY}", key_id="")
    assert answer.status_code == 400
    said = {"de": "sieht aus wie ein Wiederherstellungsschlüssel", "en": "looks like a recovery key"}[language]
    assert said in answer.text
    assert KEY not in answer.text
    with sqlite_gate.opened.store.read() as tx:
        assert tx.key_places(["nord"]) == []
        assert KEY not in str(tx.events(subject="nord"))
    database = Path(sqlite_gate.opened.settings.database.removeprefix("sqlite:///"))
    for file in (database, database.with_name(database.name + "-wal")):
        assert not file.exists() or KEY.encode() not in file.read_bytes()


def test_a_file_brings_all_places_or_none(sqlite_gate: RealGate, anna: Person) -> None:
    played = PlayedMachine(sqlite_gate)
    played.enrol()
    sqlite_gate.accept(played.machine, "till")

    def sent(text: str) -> tuple[int, str]:
        data = {"csrf": anna.csrf, "file": (io.BytesIO(text.encode()), "keys.csv")}
        answer = anna.client.post("/sites/import-keys", data=data, headers=OURS)
        return answer.status_code, answer.text

    head = "site,machine,place,key_id\n"
    status, page = sent(f"{head}nord,,AD,\nnord,played,{KEY},\n")
    assert status == 400
    assert KEY not in page
    assert "Nothing was imported." in page
    assert sent(head)[0] == 400
    assert sent(f"{head}nord,,AD,\nnord,played,safe,1A2B3C4D\n")[0] == 303
    with sqlite_gate.opened.store.read() as tx:
        assert [(one.machine, one.place) for one in tx.key_places(["nord"])] == [("", "AD"), (played.machine, "safe")]
    assert "/sites/import-keys" in anna.client.get("/sites").text


def test_a_place_of_a_machine_stands_under_its_name(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        tx.add_machine(Machine("m-9", "nord", MachineStatus.PENDING, "Kasse 9", {}, public_key="k"), "k")
    assert anna.post("/sites/nord/keys", machine="m-9", place="safe", key_id="").status_code == 303
    page = anna.client.get("/sites/nord?lang=en").text
    assert '<th scope="row">Kasse 9</th>' in page


def test_everything_that_can_be_wrong_with_a_place_has_its_german() -> None:
    for place, key_id in (("", ""), ("x" * 201, ""), (KEY, ""), ("safe", "x")):
        said = problem_of(place, key_id)
        assert said_texts.said(said, "de") != said, said
    head = "site,machine,place,key_id\n"
    for text in ("site\n", head + "a\n"):
        [trouble] = key_places.read(text.encode())[1]
        assert said_texts.said(trouble.said, "de") != trouble.said, trouble.said
