"""Whoever looks at every page looks at every page: the places of a busy fleet are held to the routes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from flask import Flask, template_rendered
from jinja2 import Template

from tests.conftest import REPOSITORY
from tests.web.busy import busy
from tests.web.every_page import ANSWERED, NO_PAGES, endpoints

WITHOUT = {"policy_proposal": "the policy of a simulation is not edited; the walks of the policy look at it"}
"""endpoint -> why a busy fleet has no such page."""


def test_every_page_and_every_template_is_among_the_places_that_are_looked_at(tmp_path: Path) -> None:
    found = busy(tmp_path, "july-19", timedelta(hours=12))
    routes, client = found.app.url_map.bind("localhost"), found.app.test_client()
    drawn: set[str] = set()

    def rendered(_: Flask, template: Template, **__: object) -> None:
        drawn.add(str(template.name))

    asked = set()
    with template_rendered.connected_to(rendered, found.app):  # type: ignore[no-untyped-call]
        for place in found.places():
            if not place.startswith("/nothing"):
                endpoint, _ = routes.match(place.partition("?")[0], method="GET")
                asked.add(endpoint)
            assert client.get(place).status_code in (200, 404), place
    assert endpoints(found.app) - asked - set(WITHOUT) == set()
    templates = {path.name for path in (REPOSITORY / "gate/web/templates").glob("[!_]*.html")} - {"base.html"}
    assert templates - drawn - set(ANSWERED) == set()
    assert set(ANSWERED) <= templates


def test_every_route_that_is_no_page_exists_and_has_its_reason(tmp_path: Path) -> None:
    app = busy(tmp_path, "july-19", timedelta(hours=1)).app
    assert set(NO_PAGES) <= {rule.endpoint for rule in app.url_map.iter_rules()}
    assert all(NO_PAGES.values())
    for template, file in ANSWERED.items():
        assert (REPOSITORY / file).is_file(), template
