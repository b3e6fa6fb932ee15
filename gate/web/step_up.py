"""Step-up: what an approver or an admin does needs a word from the person that is not older than ten minutes.

- Every unsafe route whose act needs an approver or an admin asks for it; a new one does so by itself. ``NOT_ASKED``
  names the exceptions, each with its reason.
- A login is such a word. Later a page asks for the password, carries all fields of the form, and goes on with what was
  asked when it is right. A file is not carried: the page names it and asks for it again. Who logs in at an OIDC
  provider confirms there, in another tab, and comes back to the form.
- A wrong password is slowed down as a login is. The API and the command line are not asked: they have no session.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import current_app, g, render_template, request

from gate.flows import people

FIELD = "confirm_password"
SAFE = ("GET", "HEAD", "OPTIONS")
ASKING = people.ROLES.index("approver")
NOT_ASKED: Mapping[str, str] = {
    "preview_policy": "it shows what an edit would do and changes nothing; saving it is asked for",
    "policy_problems": "it says what is wrong with a text while it is typed",
    "begin_backtest": "it lives through days in a process of its own and changes nothing",
    "stop_backtest": "it ends such a process",
    "add_freeze": "it makes a text of the policy to be previewed",
}
"""View -> why it is not asked for."""


def asks(view: str, need: str, method: str) -> bool:
    """Does this route need a fresh word?"""
    if method in SAFE or need not in people.NEEDS or view in NOT_ASKED:
        return False
    return people.ROLES.index(people.NEEDS[need]) >= ASKING


def confirmed(need: str) -> tuple[str, int] | None:
    """None where the request may go on; else the page that asks, with 401."""
    if g.parts.guest is not None or not asks(request.endpoint or "", need, request.method):
        return None
    at = g.visitor.stepped_up_at
    if at is not None and at <= g.now < at + people.STEP_UP_FOR:
        return None
    password = request.form.get(FIELD, "")[:1000]
    if not password:
        return _page("")
    user = g.visitor.user
    keys = (f"a:{request.remote_addr}", f"u:{user.id}")
    if max(g.parts.logins.wait_s(key, g.now) for key in keys):
        return _page("Too many tries; wait a minute.", 429)
    if not g.parts.verify_password(user.password_hash, password):
        current_app.logger.warning("a step-up of %s failed", user.id)
        return _page("This password is wrong.")
    with g.parts.store.write() as tx:
        people.step_up(tx, g.visitor.token, user.id, g.now)
    return None


def _page(problem: str, status: int = 401) -> tuple[str, int]:
    """The form again, every field of it hidden, with a place for the password."""
    kept = [(name, value) for name, value in request.form.items(multi=True) if name != FIELD]
    files = [(name, file.filename) for name, file in request.files.items(multi=True) if file.filename]
    has_password = bool(g.visitor.user.password_hash)
    page = render_template("step_up.html", problem=problem, kept=kept, files=files, has_password=has_password)
    return page, status
