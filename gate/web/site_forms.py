"""A site is added or changed: a form that says all of it, and on which site, as it was shown, it stands.

- On the page of all sites a new one is added; where its id is known already, nothing is changed.
- On a site's own page the form has its values, so what is empty in it is meant.
- A site whose hours are ``24/7`` is always on, whether that is ticked or not.
"""

from __future__ import annotations

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core import calendar
from gate.core.errors import Conflict, Malformed
from gate.core.model import SLUG, Site
from gate.flows import site_changes
from gate.web.forms import POST, me
from gate.web.forms import text as text_of


def save_site() -> Response | tuple[str, int]:
    """Add or change a site; into the first rings by its labels another person must do the same."""
    made, stands_on = _said(), text_of("stands_on", 64, needed=False)
    try:
        with g.parts.store.write() as tx:
            waits = site_changes.change(tx, g.parts.policy(), made, me(), g.now, stands_on=stands_on)
    except Conflict as problem:
        if problem.kind != "site_is_other":
            raise
        return _other(made, problem), problem.status
    return redirect(url_for("site", site_id=made.id) + ("#proposed" if waits else ""), 303)


def _said() -> Site:
    """The site that a form says.

    Raises:
        Malformed: an id, hours or a Land that is none.
    """
    site_id, hours, land = text_of("id", 41), text_of("hours", 500, needed=False), text_of("land", 2, needed=False)
    if not SLUG.match(site_id):
        raise Malformed("bad_field", "an id is a-z, 0-9 and -")
    land = (land or g.parts.land).upper()
    problem = (hours and g.parts.check_hours(hours)) or (land and g.parts.check_land(land))
    if problem:
        raise Malformed("bad_field", problem)
    return Site(
        id=site_id,
        name=text_of("name", 200, needed=False) or site_id,
        land=land,
        hours=hours,
        always_on="always_on" in request.form or hours == calendar.NEVER_CLOSED,
        labels=frozenset(text_of("labels", 500, needed=False).split()),
    )


def _other(sent: Site, problem: Conflict) -> str:
    with g.parts.store.read() as tx:
        site = tx.site(sent.id)
    assert site is not None, "a site stays"
    return render_template("site_other.html", site=site, sent=sent, problem=problem.detail, mark=site_changes.mark)


VIEWS = (("/sites", save_site, "sites", POST),)
