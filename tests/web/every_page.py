"""Where every page is, made from the application's own routes: whoever looks at every page forgets none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import Flask

NO_PAGES: Mapping[str, str] = {
    "static": "files",
    "live": "what an open page asks for",
    "live_stream": "what an open page is told; it never ends",
    "log_in": "before there is a person",
    "link": "before there is a person",
    "oidc_login": "leads to the login provider",
    "oidc_confirm": "leads to the login provider",
    "oidc_back": "leads back from it",
    "healthz": "for a supervisor",
    "readyz": "for a supervisor",
    "metrics": "for a supervisor",
    "audit_csv": "a table, as long as it is",
    "audit_json": "a table, as long as it is",
    "as_csv": "a table, as long as it is",
    "audit_proof": "reads every leaf once",
    "policy_schema": "a file for editors",
}
"""endpoint -> why it is no page."""
ASKED: Mapping[str, Sequence[str]] = {
    "policy": ("", "?tab=edit", "?tab=words", "?tab=plan", "?tab=backtest", "?tab=history"),
    "holds": ("", "?state=ever&sort=-made"),
    "edit_form": ("?item=rings[0]", "?item=rings[new]", "?item=defaults", "?item=limits"),
    "calendars": ("", "?span=month", "?site={site_id}&source={source}"),
    "why": ("?machine={machine_id}",),
}
"""endpoint -> what is asked of it, where that makes another page."""


def endpoints(app: Flask) -> set[str]:
    """Every endpoint that shows a page."""
    return {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())} - set(NO_PAGES)


def every(app: Flask, known: Mapping[str, str], without: Mapping[str, str] | None = None) -> list[str]:
    """The address of every page; ``known``: what stands in addresses, ``without``: endpoint -> why it is left out."""
    addresses, found = app.url_map.bind("localhost"), list[str]()
    for endpoint in sorted(endpoints(app) - set(without or {})):
        names = {
            name
            for rule in app.url_map.iter_rules(endpoint)
            if "GET" in (rule.methods or ())
            for name in rule.arguments
        }
        path = addresses.build(endpoint, {name: known[name] for name in names}, method="GET")
        found += [path + one.format(**known) for one in ASKED.get(endpoint, ("",))]
    return found


ANSWERED: Mapping[str, str] = {
    "policy_problems.html": "tests/browser/test_sent.py",
    "policy_preview.html": "tests/browser/test_sent.py",
    "policy_conflict.html": "tests/browser/test_sent.py",
    "policy_refused.html": "tests/browser/test_sent.py",
    "policy_proposal.html": "tests/browser/test_walk_rings.py",
    "freeze.html": "tests/browser/test_sent.py",
    "site_other.html": "tests/browser/test_sent.py",
    "login.html": "tests/browser/test_sent.py",
    "again.html": "tests/browser/test_sent.py",
    "confirmed.html": "tests/browser/test_sent.py",
    "link.html": "tests/browser/test_browser.py",
    "step_up.html": "tests/browser/test_walk_people.py",
}
"""template -> which walk looks at it; all others are those of pages with an address."""
