"""Every page of a real gate in German, whatever its route: nothing of the English catalogues, nothing that only code
writes; also with a policy that was refused, and without what the address should name."""

from __future__ import annotations

import re

import pytest
from flask import Flask

from gate.adapters.policy_git import GitPolicies
from gate.bootstrap import ready
from gate.core import policy_texts, said_texts
from gate.web.ring_fields import SECTIONS
from gate.web.texts import GERMAN
from tests.real_gate import RealGate
from tests.web import test_pages
from tests.web.test_pages import Person, address, filled
from tests.web.test_words import AS_WRITTEN, english, raw, seen

anna, app = test_pages.anna, test_pages.app
NO_PAGES = (
    "static",
    "audit_csv",
    "audit_json",
    "audit_proof",
    "as_csv",
    "policy_schema",
    "live",
    "live_stream",
    "metrics",
)
NO_PAGES += ("healthz", "readyz", "log_out")


def places(app: Flask, rollout: str, machine: str) -> list[str]:
    """Every page that can be looked at, with what it needs in its address, and without."""
    found = []
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or set()) and rule.endpoint not in NO_PAGES and not rule.endpoint.startswith("oidc"):
            found.append(address(str(rule), rollout, machine))
    tabs = [f"/policy?tab={tab}" for tab in ("edit", "words", "plan", "backtest", "history")]
    items = [f"/rings/edit?item={one}" for one in ("rings[0]", "sources[0]", "sources[new]", "freeze[new]", "defaults")]
    return [*found, f"/why?machine={machine}", "/why?machine=none", "/why", "/calendar?site=nord", *tabs, *items]


def test_every_page_of_a_gate_is_german(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    rollout, machine = filled(sqlite_gate)
    words, bad, found = english(), [], places(app, rollout, machine)
    assert len(found) > 35
    for place in found:
        answer = anna.client.get(place, headers={"Accept-Language": "de"})
        if answer.mimetype != "text/html" or answer.status_code == 302:
            continue
        page = seen(answer.text)
        own = {"Windows"} if "/recovery" in place else set()  # there it is the system's name
        bad += [(place, one) for one in set(words) - own if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", page)]
        bad += [(place, one) for one in raw(answer.text) if not place.startswith(AS_WRITTEN)]
    assert bad == []


def test_what_a_supervisor_is_told_has_its_german(sqlite_gate: RealGate) -> None:
    for ticks in (0, 1):
        if ticks:
            sqlite_gate.worker.tick()
        for _, _, sentence in ready(sqlite_gate.opened):
            assert said_texts.said(sentence, "de") != sentence, sentence


@pytest.mark.parametrize("language", ["de", "en"])
def test_a_refused_policy_is_a_problem_on_the_first_page_and_on_the_systems(
    sqlite_gate: RealGate, app: Flask, anna: Person, language: str
) -> None:
    said = {"de": ("Etwas stimmt nicht.", "gate geht es nicht gut", "wird abgelehnt")}
    title, system, why = said.get(language, ("Something is wrong.", "gate is not well", "is refused"))
    filled(sqlite_gate)
    sqlite_gate.worker.tick()
    before = anna.client.get(f"/system?lang={language}").text
    assert system not in before
    policies: GitPolicies = sqlite_gate.opened.policies
    text = policies.read(policies.head()).replace("version: 1", "version: 1\nversion: 1", 1)
    policies.write(text, policies.head(), "eve", "twice", sqlite_gate.clock.now())
    sqlite_gate.worker.tick()
    first, page = (anna.client.get(f"{path}?lang={language}").text for path in ("/", "/system"))
    assert title in first.partition("</h1>")[0]
    troubles = first.partition('class="troubles"')[2].partition("</section>")[0]
    assert why in troubles
    assert system in page.partition("</h1>")[0]
    row = page.partition("HALT")[2].partition("</tr>")[0]
    assert why in row


def test_every_help_of_a_form_has_its_german() -> None:
    fields = [one for groups in SECTIONS.values() for group in groups.values() for one in group]
    titles = [title for groups in SECTIONS.values() for title in groups]
    assert len(fields) > 60
    assert {one for one in [*titles, *(field.help for field in fields)] if one and one not in GERMAN} == set()
    choices = {choice for field in fields for choice in field.choices}
    assert {one for one in choices if f"choice.{one}" not in policy_texts.GERMAN} == set()
