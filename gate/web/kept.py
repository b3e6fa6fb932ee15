"""A form of the policy whose session has ended: what it held is kept over the login, and the person sends it again.

- Nothing is stored: the login form carries the fields along. Only forms that hold a text which somebody has written.
- The login is one of our own forms as ever (``auth.check_form``), and what is sent again has the new session's token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import render_template, request, url_for

from gate.web import step_up

VIEWS = ("preview_policy", "save_policy", "edit", "add_freeze")
PREFIX = "kept."


def log_in_first() -> tuple[str, int] | None:
    """The login form with all that was sent; None where nothing is lost."""
    if request.method != "POST" or request.endpoint not in VIEWS:
        return None
    fields = [(name, value) for name, value in request.form.items(multi=True) if name not in ("csrf", step_up.FIELD)]
    problem = "Your session has ended. Log in: what you have sent is kept."
    return render_template("login.html", problem=problem, wish="", sent_to=request.path, kept=fields), 401


def carried() -> Mapping[str, Any]:
    """What a login form carries along, for its page."""
    sent_to = request.form.get("sent_to", "")
    if sent_to not in {url_for(view) for view in VIEWS}:
        return {"sent_to": "", "kept": ()}
    fields = [one for one in request.form.items(multi=True) if one[0].startswith(PREFIX)]
    return {"sent_to": sent_to, "kept": [(name.removeprefix(PREFIX), value) for name, value in fields]}
