"""What people do: one function a form; each calls one flow in one transaction and answers with a redirect."""

from __future__ import annotations

import secrets
from datetime import timedelta

from flask import g, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core.errors import GateError, Malformed, NotFound, Unauthenticated
from gate.core.model import SLUG
from gate.flows import decommission as gone
from gate.flows import expedite as fast_lane
from gate.flows import machines as fleet
from gate.flows import mornings, people, recalls, shadow
from gate.ports import Proposal
from gate.web import auth, kept, places
from gate.web.forms import POST, me, ours
from gate.web.forms import text as text_of


def log_in() -> str | Response | tuple[str, int]:
    """Name and password."""
    wish = request.values.get("wish", "")
    if request.method == "GET":
        return render_template("login.html", problem="", wish=wish)
    name, password = text_of("login", 60), request.form.get("password", "")[:1000]
    keys = (f"a:{request.remote_addr}", f"u:{name}")
    if max(g.parts.logins.wait_s(key, g.now) for key in keys):
        page = render_template("login.html", problem="Too many tries; wait a minute.", wish=wish, **kept.carried())
        return page, 429
    with g.parts.store.read() as tx:
        user = tx.user(name)
    verified = g.parts.verify_password(user.password_hash if user else "", password)
    token = secrets.token_urlsafe(32)
    try:
        with g.parts.store.write() as tx:
            people.log_in(tx, name, verified, token, g.now)
    except Unauthenticated as problem:
        return render_template("login.html", problem=problem.detail, wish=wish, **kept.carried()), 401
    again = kept.carried()
    answer: Response
    if again["sent_to"]:
        answer = make_response(render_template("again.html", csrf=auth.csrf_of(token), **again))
    else:
        answer = redirect(wish if ours(wish) else url_for("overview"), 303)
    auth.set_cookie(answer, g.parts.public_url, token)
    return answer


def log_out() -> Response:
    """Ends the session."""
    if g.visitor is not None and g.parts.guest is None:
        with g.parts.store.write() as tx:
            people.log_out(tx, g.visitor.token, g.visitor.user.id, g.now)
    answer = redirect(url_for("log_in"), 303)
    auth.drop_cookie(answer, g.parts.public_url)
    return answer


def link(secret: str) -> str | Response | tuple[str, int]:
    """A one-time link: choose a password. Looking at it does not use it; one that holds no more shows no form."""
    with g.parts.store.read() as tx:
        user = people.link_of(tx, secret, g.now)
    if user is None:
        return render_template("link.html", over=True), 410
    if request.method == "GET":
        return render_template("link.html", login=user.id, problem="")
    password = request.form.get("password", "")
    if password != request.form.get("again", ""):
        return render_template("link.html", login=user.id, problem="The two passwords differ."), 400
    if g.parts.logins.wait_s(f"a:{request.remote_addr}", g.now):
        return render_template("link.html", login=user.id, problem="Too many tries; wait a minute."), 429
    hashed = g.parts.hash_password(password) if len(password) >= people.LEAST_PASSWORD else ""
    try:
        with g.parts.store.write() as tx:
            people.choose_password(tx, secret, password, lambda _: hashed, g.now)
    except GateError as problem:
        return render_template("link.html", login=user.id, problem=problem.detail), problem.status
    return redirect(url_for("log_in"), 303)


def halt() -> str | Response:
    """The brake: everything that moves, or one rollout; where nothing moves, a page says so."""
    scope, because = text_of("rollout", 60), text_of("because", 1000)
    with g.parts.store.write() as tx:
        if scope == "all":
            halted = people.halt_all(tx, me(), because, g.now)
        else:
            halted = [people.halt(tx, scope, me(), because, g.now)]
    if not halted:
        return render_template("brake.html", lines=(), chosen="", nothing=True)
    unread = g.parts.policy() is None  # then the rollout's own page cannot be shown, and it is halted all the same
    return redirect(url_for("overview") if scope == "all" or unread else url_for("rollout", rollout_id=scope), 303)


def resume(rollout_id: str) -> Response:
    """Propose to lift a halt, or agree."""
    with g.parts.store.write() as tx:
        people.resume(tx, rollout_id, me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id), 303)


def recall(rollout_id: str) -> Response:
    """Propose to recall what is halted, or agree."""
    with g.parts.store.write() as tx:
        recalls.recall(tx, rollout_id, me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id), 303)


def expedite(rollout_id: str) -> Response:
    """A person's word for the fast lane; the last one that is needed opens it."""
    with g.parts.store.write() as tx:
        fast_lane.expedite(tx, g.parts.gate, rollout_id, me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id), 303)


def approve(rollout_id: str) -> Response:
    """A person's word for a ring."""
    with g.parts.store.write() as tx:
        people.approve_ring(tx, g.parts.gate, rollout_id, text_of("ring", 60), me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id), 303)


def waive(rollout_id: str) -> Response:
    """Propose to set aside what a ring still waits to be shown, or agree."""
    with g.parts.store.write() as tx:
        shadow.waive(tx, g.parts.gate, rollout_id, text_of("ring", 60), me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id), 303)


def end_alarm() -> Response:
    """A silent morning has a cause that is not a release: openings go on."""
    with g.parts.store.write() as tx:
        mornings.end(tx, me(), text_of("because", 1000), g.now)
    return redirect(url_for("morning"), 303)


def explain(rollout_id: str) -> Response:
    """A failure has another cause than the release."""
    with g.parts.store.write() as tx:
        claim = tx.claim(text_of("claim", 100))
        if claim is None or claim.rollout != rollout_id:
            raise NotFound("there is no such claim in this rollout")
        people.explain_failure(tx, g.parts.gate, claim.id, me(), text_of("because", 1000), g.now)
    return redirect(url_for("rollout", rollout_id=rollout_id) + "#failures", 303)


def accept(machine_id: str) -> Response:
    """Let a pending machine in; into the first rings another person must do the same."""
    with g.parts.store.write() as tx:
        found = tx.machine(machine_id)
        active = tx.active_policy()
        if found is None or active is None:
            raise NotFound(f"there is no machine {machine_id}")
        role = text_of("role", 60)
        if not SLUG.match(role):
            raise Malformed("bad_field", "a role is a word of a-z, 0-9 and -, such as till")
        labels = text_of("labels", 500, needed=False).split()
        site = text_of("site", 60)
        policy = g.parts.gate.policy(active.commit)
        answer = fleet.accept(tx, g.parts.gate, found, site, role, labels, me(), g.now, policy)
    waits = isinstance(answer, Proposal)
    return redirect(url_for("machine", machine_id=machine_id) + ("#proposed" if waits else ""), 303)


def revoke(machine_id: str) -> Response:
    """Refuse a machine's key from now on."""
    with g.parts.store.write() as tx:
        found = tx.machine(machine_id)
        if found is None:
            raise NotFound(f"there is no machine {machine_id}")
        fleet.revoke(tx, found, me(), text_of("because", 1000), g.now)
    return redirect(url_for("machine", machine_id=machine_id), 303)


def decommission(machine_id: str) -> Response:
    """A machine is gone: it is revoked and leaves what running rollouts count."""
    with g.parts.store.write() as tx:
        found = tx.machine(machine_id)
        if found is None:
            raise NotFound(f"there is no machine {machine_id}")
        gone.decommission(tx, g.parts.gate, found, me(), text_of("because", 1000), g.now)
    return redirect(url_for("machine", machine_id=machine_id), 303)


def new_code(site_id: str) -> Response:
    """An enrolment code, shown once: it is in no address, no redirect and no log."""
    uses = text_of("uses", 4)
    if not (uses.isascii() and uses.isdigit()):
        raise Malformed("bad_field", "uses is a number")
    root = g.parts.root_sha256()
    secret = secrets.token_hex(16)
    with g.parts.store.write() as tx:
        code = fleet.create_code(tx, secret, root, site_id, int(uses), timedelta(hours=24), me(), g.now)
        site = tx.site(site_id)
        assert site is not None, "a code is made for a site that is there"
        shown = places.of_site(tx, site)
    address = g.parts.public_url or request.host_url.rstrip("/")
    return make_response(render_template("site.html", code=code, address=address, **shown))


VIEWS = (
    ("/login", log_in, "public", ["GET", "POST"]),
    ("/link/<secret>", link, "public", ["GET", "POST"]),
    ("/logout", log_out, "view", POST),
    ("/halt", halt, "halt", POST),
    ("/morning/end", end_alarm, "approve", POST),
    ("/rollouts/<rollout_id>/resume", resume, "resume", POST),
    ("/rollouts/<rollout_id>/recall", recall, "recall", POST),
    ("/rollouts/<rollout_id>/expedite", expedite, "expedite", POST),
    ("/rollouts/<rollout_id>/approve", approve, "approve", POST),
    ("/rollouts/<rollout_id>/waive", waive, "waive", POST),
    ("/rollouts/<rollout_id>/explain", explain, "explain", POST),
    ("/machines/<machine_id>/accept", accept, "accept", POST),
    ("/machines/<machine_id>/revoke", revoke, "accept", POST),
    ("/machines/<machine_id>/decommission", decommission, "accept", POST),
    ("/sites/<site_id>/code", new_code, "enrol", POST),
)
