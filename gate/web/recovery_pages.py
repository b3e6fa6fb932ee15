"""Recovery sheets and where keys are kept: pages that print, and the forms that say a place.

A sheet works without JavaScript and fits A4; the bundle of a rollout is all of its sheets, each on paper of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import current_app, g, redirect, render_template, request, url_for
from markupsafe import Markup, escape
from werkzeug.wrappers import Response

from gate.core import recovery_texts
from gate.core.errors import Malformed, NotFound
from gate.flows import key_places, recovery
from gate.flows.csv_rows import Trouble
from gate.flows.recovery import NOTHING, Sheet
from gate.ports import Tx
from gate.web import lists
from gate.web.forms import POST, me
from gate.web.forms import text as text_of

SHEETS = 40
"""Sheets of one page of a bundle at most; its machines are at most those of one sheet."""


def recovery_sheets(rollout_id: str) -> str:
    """Every sheet of a rollout, one make after another; a page of them at a time."""
    after = request.args.get("sheets", "")
    with g.parts.store.read() as tx:
        rollout = _rollout(tx, rollout_id)
        given = g.parts.recovery.get(rollout.source, NOTHING)
        found, following = list[Sheet](), ""
        for one in recovery.sheets(tx, g.parts.gate, rollout, given, g.now, after):
            if found and (len(found) == SHEETS or sum(len(each.lost) for each in (*found, one)) > recovery.MOST):
                following = found[-1].make
                break
            found.append(one)
        return _rendered(rollout, found, bundle=True, following=following)


def recovery_sheet(rollout_id: str, key: str) -> str:
    """The sheet of one make."""
    with g.parts.store.read() as tx:
        rollout = _rollout(tx, rollout_id)
        make = recovery.named(tx, g.parts.gate, rollout, key, g.now)
        if make is None:
            raise NotFound("this rollout has no such make")
        return _rendered(rollout, [_sheet(tx, rollout, make)], bundle=False)


def keep_key(site_id: str) -> Response:
    """Says where a recovery key is kept."""
    machine, key_id = text_of("machine", 100, needed=False), text_of("key_id", 60, needed=False)
    with g.parts.store.write() as tx:
        key_places.keep(tx, site_id, machine, text_of("place", 1000, needed=False), key_id, me(), g.now)
    return redirect(url_for("site", site_id=site_id) + "#keys", 303)


def drop_key(site_id: str) -> Response:
    """Forgets where a recovery key is kept."""
    with g.parts.store.write() as tx:
        key_places.drop(tx, site_id, text_of("machine", 100, needed=False), me(), g.now)
    return redirect(url_for("site", site_id=site_id) + "#keys", 303)


def import_keys() -> str | Response | tuple[str, int]:
    """Places of recovery keys from a CSV file: all of them or none."""
    if request.method == "GET":
        return _import_page(())
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Malformed("bad_field", "choose a file")
    found, troubles = key_places.read(file.stream.read(lists.MOST_UPLOADED + 1))
    if not troubles and not found:
        troubles = [Trouble(0, "there is no place in it")]
    if not troubles:
        with g.parts.store.write() as tx:
            troubles = key_places.take(tx, found, me(), g.now)
    return (_import_page(troubles), 400) if troubles else redirect(url_for("sites", sort="site"), 303)


def typed(sentence: str) -> Markup:
    """What stands between backquotes is typed as it is."""
    parts = (
        Markup("<code>{}</code>").format(one) if at % 2 else escape(one) for at, one in enumerate(sentence.split("`"))
    )
    return Markup("").join(parts)


def _import_page(troubles: Sequence[Trouble]) -> str:
    shown = troubles[: lists.MOST_TROUBLES]
    return render_template("import_keys.html", troubles=shown, more=len(troubles), columns=key_places.COLUMNS)


def _rollout(tx: Tx, rollout_id: str) -> Any:
    found = tx.rollout(rollout_id)
    if found is None:
        raise NotFound(f"there is no rollout {rollout_id}")
    return found


def _sheet(tx: Tx, rollout: Any, make: str) -> Sheet:
    given = g.parts.recovery.get(rollout.source, NOTHING)
    return recovery.sheet(tx, g.parts.gate, rollout, make, given, g.now)


def _rendered(rollout: Any, sheets: Sequence[Sheet], *, bundle: bool, following: str = "") -> str:
    local = current_app.jinja_env.filters["local"]

    def say(name: str, **given: object) -> str:
        return recovery_texts.word(name, g.language, **given)

    return render_template(
        "recovery.html",
        rollout=rollout,
        sheets=sheets,
        bundle=bundle,
        following=following,
        say=say,
        title=lambda path: recovery_texts.title(path, g.language),
        happened=lambda found: recovery.happened(found, g.language, lambda at: local(at, "%d.%m.%Y %H:%M")),
        ended=lambda found: recovery.ended(found, g.language),
    )


GET = ["GET"]
VIEWS = (
    ("/rollouts/<rollout_id>/recovery", recovery_sheets, "view", GET),
    ("/rollouts/<rollout_id>/recovery/<key>", recovery_sheet, "view", GET),
    ("/sites/<site_id>/keys", keep_key, "keys", POST),
    ("/sites/<site_id>/keys/drop", drop_key, "keys", POST),
    ("/sites/import-keys", import_keys, "keys", ["GET", "POST"]),
)
