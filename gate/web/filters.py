"""Tables whose filter and order stand in the address: where each is, what may be asked of it, and the filters that a
person keeps by name.

- What is no word of a table is left out of its address; so is a word that says nothing.
- A filter that is kept is the words of an address, without its page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from flask import g, redirect, request, url_for
from werkzeug.wrappers import Response

from gate.core.errors import Conflict, Malformed
from gate.core.lists import HoldList, MachineList, PersonList, RolloutList, SiteList, VersionList
from gate.ports import Tx
from gate.web.forms import me

MOST_KEPT = 50
LONGEST = 200
UNSAID = ("after", "look")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its view, the words of its address, and what its address says always."""

    view: str
    words: Sequence[str]
    always: Mapping[str, str] = field(default_factory=dict)

    def said(self, given: Any) -> dict[str, str]:
        """Those words of an address, or of a form, that say something."""
        return {name: value for name in self.words if (value := given.get(name, "").strip()[:LONGEST])}

    def address(self, asked: Mapping[str, Any], **more: Any) -> str:
        """Where it is asked this."""
        words: dict[str, Any] = {**self.always, **asked, **more}
        return url_for(self.view, **words)


def _words(asked: type[Any]) -> Sequence[str]:
    return [one.name for one in fields(asked) if one.name not in UNSAID]


TABLES: Mapping[str, Table] = {
    "machines": Table("machines", _words(MachineList)),
    "sites": Table("sites", _words(SiteList)),
    "rollouts": Table("rollouts", _words(RolloutList)),
    "people": Table("users", _words(PersonList)),
    "holds": Table("holds", _words(HoldList)),
    "history": Table("policy", _words(VersionList), {"tab": "history"}),
    "audit": Table("audit", ("actor", "kind", "subject", "since", "until", "sort")),
}


def shown(tx: Tx, name: str, asked: Mapping[str, str], following: str, *, later: bool) -> dict[str, Any]:
    """What ``_lists.html`` asks of every table; ``following``: the word for its next page, ``later``: it is not the
    first."""
    table, words = TABLES[name], dict[str, Any](asked)
    kept = tx.saved_filters(me(), name) if g.parts.guest is None else {}
    return {
        "table": name,
        "asked": asked,
        "kept": {one: table.address(said) for one, said in kept.items()},
        "first": table.address(asked) if later else "",
        "further": table.address(asked, after=following) if following else "",
        "exported": url_for("audit_csv", **words) if name == "audit" else url_for("as_csv", kind=name, **words),
        "now": g.now,
    }


def keep_filter() -> Response:
    """Keeps what a table is asked now, under a name of this person."""
    name, called = _of_form()
    table = TABLES[name]
    asked = table.said(request.form)
    with g.parts.store.write() as tx:
        kept = tx.saved_filters(me(), name)
        if called not in kept and len(kept) >= MOST_KEPT:
            raise Conflict("too_many", f"a person keeps at most {MOST_KEPT} filters of a list")
        tx.save_filter(me(), name, called, asked, g.now)
    return redirect(table.address(asked), 303)


def drop_filter() -> Response:
    """Forgets a kept filter."""
    name, called = _of_form()
    with g.parts.store.write() as tx:
        tx.drop_filter(me(), name, called)
    return redirect(TABLES[name].address({}), 303)


def _of_form() -> tuple[str, str]:
    """(table, what the filter is called)."""
    table, called = request.form.get("page", ""), request.form.get("name", "").strip()
    if table not in TABLES:
        raise Malformed("bad_field", "there is no such list")
    if not called or len(called) > 60 or any(ord(char) < 32 for char in called):
        raise Malformed("bad_field", "a filter has a name of at most 60 characters")
    return table, called


VIEWS = (
    ("/filters", keep_filter, "view", ["POST"]),
    ("/filters/drop", drop_filter, "view", ["POST"]),
)
