"""People define rings in a browser, with JavaScript and without: first rings, a longer soak, two at once, a limit that
is loosened and signed; axe looks at each of these pages, on a phone and on a desk, in light and in dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from click.testing import CliRunner
from playwright.sync_api import Browser, Page, expect

from gate.adapters import policy_edit
from gate.cli.main import main
from gate.core.model import Machine, MachineStatus, Site
from gate.flows.placing import place_all
from tests.browser.pictures import kept
from tests.browser.serving import serving
from tests.browser.test_browser import DESK, PASSWORD, PHONE, opened
from tests.real_gate import RealGate
from tests.web.test_rings import app_of

pytestmark = pytest.mark.browser


class Place:
    """A gate with the seed policy, and its address."""

    def __init__(self, gate: RealGate, address: str) -> None:
        self.gate, self.address = gate, address

    def text(self) -> str:
        return self.gate.opened.policies.read(self.gate.opened.policies.head())

    def machines(self) -> None:
        """Two pharmacies with a server and three tills each, a bench, and a workstation of a pilot."""
        said = [("lab", "till", "l"), ("lab", "server", "l")]
        said += [(site, role, "") for site in ("nord", "sued") for role in ("till", "till", "till", "server")]
        said += [("sued", "workstation", "pilot"), ("nord", "workstation", "")]
        with self.gate.opened.store.write() as tx:
            tx.save_site(Site("lab", "Labor", "NW", "", True))
            for number, (site, role, label) in enumerate(said):
                facts = {"role": role, "platform": "metal", "os_build": "19045"}
                one = Machine(
                    f"m{number}", site, MachineStatus.PENDING, f"{role} {number}", facts, public_key=f"{number}"
                )
                tx.add_machine(one, f"{number}")
                active = Machine(one.id, site, MachineStatus.ACTIVE, one.name, facts, frozenset({label} - {""}))
                assert tx.accept_machine(active, self.gate.clock.now())
            row = tx.active_policy()
            assert row is not None
            place_all(tx, self.gate.opened.gate.policy(row.commit))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    gate = RealGate(tmp_path / "gate", "", "policy")
    with serving(app_of(gate)) as address:
        yield Place(gate, address)
    gate.close()


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def person(browser: Browser, place: Place, login: str, **more: object) -> Page:
    page = opened(browser, **more).new_page()
    page.goto(f"{place.address}/login?lang=en")
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Rings", exact=True)).to_be_visible()
    return page


def form(page: Page, ring: str) -> None:
    page.get_by_role("link", name="Rings", exact=True).click()
    page.get_by_role("link", name=f"Edit: {ring}", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Ring: {ring}")


def looked(page: Page) -> None:
    page.get_by_role("button", name="Look before it is saved").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look before it is saved")


def because(page: Page, reason: str, button: str) -> None:
    page.get_by_label("Reason").fill(reason)
    page.get_by_role("button", name=button, exact=True).click()


def signed(page: Page, place: Place) -> None:
    page.goto(place.address)
    page.get_by_role("link", name="look and sign").click()
    page.get_by_role("button", name="Sign").click()
    expect(page.get_by_text("enacted")).to_be_visible()


def names(place: Place) -> list[str]:
    return [one["name"] for one in policy_edit.said(place.text())["rings"]]


@pytest.mark.slow
def test_the_first_rings_are_defined_from_an_empty_installation(browser: Browser, place: Place, script: bool) -> None:
    page = person(browser, place, "anna", java_script_enabled=script)
    page.get_by_role("link", name="Rings", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(page.get_by_text("no machine: it holds everything behind it").first).to_be_visible()
    page.get_by_role("link", name="Add a ring").click()
    page.get_by_label("Where in the order").select_option("before pilots")
    page.get_by_label("name", exact=True).fill("Our Shop")
    page.get_by_label("reason", exact=True).fill("we stand beside it")
    page.get_by_label("who belongs to it").fill("site=nord")
    page.get_by_label("soak", exact=True).fill("2h open")
    page.get_by_label("healthy machines needed of each make").fill("1")
    page.get_by_role("button", name="Look before it is saved").click()
    expect(page.get_by_role("alert")).to_contain_text("'Our Shop' is not a name")
    expect(page.get_by_label("name", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("reason", exact=True)).to_have_value("we stand beside it")
    page.get_by_label("name", exact=True).fill("our-shop")
    looked(page)
    expect(page.locator(".diff .removed")).to_have_count(0)
    because(page, "our own pharmacy first", "Propose")
    expect(page.get_by_text("waits for another person", exact=True)).to_be_visible()
    kept(page, "first-rings", "proposed")
    berta = person(browser, place, "berta", java_script_enabled=script)
    signed(berta, place)
    kept(berta, "first-rings", "signed")
    assert names(place) == ["lab", "our-shop", "pilots", "first-till", "rest", "servers"]
    form(page, "servers")
    page.get_by_role("button", name="Move before rest").click()
    expect(page.get_by_text("Rings come in another order").or_(page.locator(".changes .loosens")).first).to_be_visible()
    because(page, "servers earlier", "Propose")
    signed(berta, place)
    assert names(place)[-2:] == ["servers", "rest"]
    read_and_verified(berta, place)


def read_and_verified(page: Page, place: Place) -> None:
    """The audit of all that, by whoever did it; and the tree, computed anew, has the root that the page shows."""
    page.get_by_role("link", name="Audit").click()
    for login, kind, count in (("anna", "policy_proposed", 2), ("berta", "policy_signed", 2)):
        page.get_by_label("Who", exact=True).fill(login)
        page.get_by_label("What", exact=True).select_option(kind)
        page.get_by_role("button", name="Show").click()
        rows = page.locator("tbody tr")
        expect(rows).to_have_count(count)
        for number in range(count):
            expect(rows.nth(number)).to_contain_text(login)
    kept(page, "first-rings", "audit")
    page.goto(f"{place.address}/audit?actor=anna")
    for said in ("our own pharmacy first", "servers earlier"):
        expect(page.locator("tbody")).to_contain_text(said)
    root = page.locator("code.long").inner_text()
    verified = CliRunner().invoke(main, ["audit", "verify", "--settings", str(place.gate.made.settings)])
    assert verified.exit_code == 0, verified.output
    assert verified.output.endswith(f"root {root}\n")


def test_a_soak_is_lengthened_by_one_line_and_acts_at_once(browser: Browser, place: Place, script: bool) -> None:
    place.machines()
    before = place.text()
    page = person(browser, place, "anna", java_script_enabled=script)
    form(page, "pilots")
    page.get_by_label("soak", exact=True).fill("6h open")
    looked(page)
    expect(page.locator(".diff .added")).to_have_text("+     gate: {soak: 6h open, at_least: 3}")
    expect(page.locator(".diff .removed")).to_have_count(1)
    expect(page.get_by_text("No machine would change its ring.")).to_be_visible()
    kept(page, "soak", "preview")
    because(page, "longer after the trial", "Save")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rings")
    expect(page.get_by_role("row", name=re.compile("pilots"))).to_contain_text("anna")
    expect(page.get_by_role("row", name=re.compile("pilots"))).to_contain_text("longer after the trial")
    assert place.text() == before.replace("soak: 4h open", "soak: 6h open")


@pytest.mark.slow
def test_of_two_admins_at_one_ring_nobody_loses_anything(browser: Browser, place: Place, script: bool) -> None:
    anna = person(browser, place, "anna", java_script_enabled=script)
    berta = person(browser, place, "berta", java_script_enabled=script)
    form(anna, "pilots")
    form(berta, "pilots")
    berta.get_by_label("soak", exact=True).fill("6h open")
    looked(berta)
    anna.get_by_label("least age of content").fill("3h")
    looked(anna)
    because(berta, "berta was first", "Save")
    expect(berta.get_by_role("heading", level=1)).to_have_text("Rings")
    because(anna, "older for pilots", "Save")
    expect(anna.get_by_role("heading", level=1)).to_have_text("Somebody else was faster")
    expect(anna.get_by_text("berta was first")).to_be_visible()
    kept(anna, "two-at-once", "conflict")
    expect(anna.locator("section", has_text="Your change").locator(".added")).to_contain_text("floor: 3h")
    if anna.get_by_role("button", name="Carry mine onto theirs").count():
        anna.get_by_role("button", name="Carry mine onto theirs").click()
    else:
        text = anna.get_by_label("The policy's text")
        text.fill(text.input_value().replace("floor: 2h", "floor: 3h"))
        anna.get_by_role("button", name="Look before it is saved").click()
    expect(anna.get_by_label("Reason")).to_have_value("older for pilots")
    anna.get_by_role("button", name="Save", exact=True).click()
    expect(anna.get_by_role("heading", level=1)).to_have_text("Rings")
    assert "soak: 6h open" in place.text()
    assert "floor: 3h" in place.text()


@pytest.mark.slow
def test_a_limit_is_loosened_and_signed_by_another_person(browser: Browser, place: Place, script: bool) -> None:
    place.machines()
    page = person(browser, place, "anna", java_script_enabled=script)
    form(page, "pilots")
    page.get_by_label("most claims in flight in the ring").fill("80")
    looked(page)
    expect(page.get_by_text("It loosens: it acts when another person has signed it.")).to_be_visible()
    because(page, "we have more pilots now", "Propose")
    expect(page.get_by_role("button", name="Sign")).to_have_count(0)
    assert "cap: 50" in place.text()
    ada = person(browser, place, "ada", java_script_enabled=script)
    expect(ada.get_by_text("we have more pilots now").first).to_be_visible()
    signed(ada, place)
    kept(ada, "loosened", "signed")
    assert "cap: 80" in place.text()


def test_all_tills_in_one_ring_leave_no_button_to_press(browser: Browser, place: Place, script: bool) -> None:
    place.machines()
    with place.gate.opened.store.write() as tx:
        one = tx.machine("m3")
        assert one is not None
        tx.revoke_machine(one.id, place.gate.clock.now())
        facts = dict(one.facts)
        new = Machine("m99", "nord", MachineStatus.PENDING, "till 99", facts, public_key="99")
        tx.add_machine(new, "99")
        active = Machine("m99", "nord", MachineStatus.ACTIVE, "till 99", facts, frozenset({"pilot"}), ring="pilots")
        assert tx.accept_machine(active, place.gate.clock.now())
    page = person(browser, place, "anna", java_script_enabled=script)
    form(page, "pilots")
    page.get_by_label("who belongs to it").fill("label=pilot, role=workstation")
    looked(page)
    expect(page.get_by_role("alert")).to_contain_text("1 site would have all tills in one ring")
    expect(page.get_by_role("button", name="Propose", exact=True)).to_have_count(0)


@pytest.mark.slow
def test_what_is_being_written_is_not_fetched_anew(browser: Browser, place: Place) -> None:
    page = person(browser, place, "anna")
    live: list[str] = []
    page.on(
        "request", lambda one: live.append(one.url) if one.headers.get("x-live") and "/live" not in one.url else None
    )
    page.clock.install()
    page.get_by_role("link", name="Rings", exact=True).click()
    page.clock.run_for(10_000)
    with page.expect_request(lambda one: one.url.endswith("/live/stream")):
        page.clock.run_for(10_000)
    page.get_by_role("link", name="Edit: pilots", exact=True).click()
    page.get_by_label("soak", exact=True).fill("6h open")
    page.get_by_role("heading", level=1).click()
    live.clear()
    page.clock.run_for(60_000)
    expect(page.get_by_label("soak", exact=True)).to_have_value("6h open")
    looked(page)
    page.clock.run_for(60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Look before it is saved")
    assert live == []


def seen(page: Page, name: str, folder: Path) -> list[str]:
    """What axe finds, and what is wider than the screen; everything that folds is open."""
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    bad = []
    for scheme, options in (
        ("light", {}),
        ("dark", {"runOnly": ["color-contrast"]}),
    ):  # in the dark only colours differ
        page.emulate_media(color_scheme=scheme)
        for rule in Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]:
            bad += [f"{name}, {scheme}: {rule['id']}: {one['html'][:200]}" for one in rule["nodes"]]
        page.screenshot(path=str(folder / f"{name}-{scheme}.png"), full_page=True)
    page.emulate_media(color_scheme="light")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return bad + ([f"{name} is {wide} px too wide"] if wide > 0 else [])


@pytest.mark.slow
@pytest.mark.parametrize("size", ["phone", "desk"])
def test_axe_finds_nothing_on_the_pages_of_an_edit(browser: Browser, place: Place, size: str, tmp_path: Path) -> None:
    place.machines()
    look: dict[str, object] = {"viewport": PHONE if size == "phone" else DESK, "color_scheme": "light"}
    anna, berta = person(browser, place, "anna", **look), person(browser, place, "berta", **look)
    shots, bad = tmp_path / size, []
    shots.mkdir()
    form(anna, "pilots")
    bad += seen(anna, "form", shots)
    form(anna, "first-till")
    anna.get_by_label("soak", exact=True).fill("soon")
    anna.get_by_label("who belongs to it").fill("role=till, role=workstation")
    anna.get_by_role("button", name="Look before it is saved").click()
    expect(anna.get_by_role("alert")).to_be_visible()
    bad += seen(anna, "problems", shots)
    anna.get_by_label("soak", exact=True).fill("2d open")
    looked(anna)
    bad += seen(anna, "preview", shots)
    form(berta, "pilots")
    berta.get_by_label("soak", exact=True).fill("6h open")
    looked(berta)
    because(berta, "longer after the trial", "Save")
    expect(berta.get_by_role("heading", level=1)).to_have_text("Rings")
    bad += seen(berta, "rings", shots)
    because(anna, "more of them early", "Propose")
    expect(anna.get_by_role("heading", level=1)).to_have_text("Somebody else was faster")
    bad += seen(anna, "conflict", shots)
    anna.get_by_role("button", name="Carry mine onto theirs").click()
    anna.get_by_role("button", name="Propose", exact=True).click()
    expect(anna.get_by_text("waits for another person", exact=True)).to_be_visible()
    berta.goto(anna.url)
    bad += seen(berta, "proposal", shots)
    berta.goto(place.address)
    bad += seen(berta, "overview", shots)
    berta.goto(f"{place.address}/holds")
    bad += seen(berta, "holds", shots)
    assert bad == []
