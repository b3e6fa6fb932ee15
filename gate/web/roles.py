"""People: who may log in, who may do what and with whom, and changes of both by two people.

``/people/roles`` is made from the code: the routes and what each needs (``url_map``, and those of the API),
``people.NEEDS``, the acts that take two people, and the routes that ask for a fresh confirmation. What nobody logs in
for stands first. ``docs/people.md`` is the same table.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flask import Flask, current_app, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core import lists
from gate.core.errors import Malformed
from gate.core.lists import PersonList
from gate.flows import people, user_changes
from gate.flows.agreement import TWO_PEOPLE
from gate.flows.user_changes import Act, Change
from gate.ports import Tx, User
from gate.web import people_api, step_up
from gate.web.forms import me
from gate.web.forms import text as text_of
from gate.web.listed import Here, Kind, asked_of, by_key, moment, page_of

PUBLIC, EVERYBODY = "public", "everybody"
MEANINGS: Mapping[str, str] = {
    PUBLIC: "without a login: logging in, a one-time link, how this server is, styles and scripts",
    "view": "look at everything",
    "halt": "pull the brake: everything that moves, or one rollout",
    "approve": "give a ring the word that it needs; end the alarm of a silent morning",
    "resume": "lift a halt",
    "recall": "ask machines to go back",
    "waive": "set aside what a ring still waits to be shown",
    "expedite": "open the fast lane, which skips soak and windows for a time",
    "explain": "say that a failure has another cause",
    "enrol": "make enrolment codes",
    "accept": "accept, revoke and decommission machines",
    "sites": "add and change sites",
    "people": "add, disable and change people",
    "policy": "edit the policy: what tightens acts at once, what loosens is a proposal",
    "sign": "agree to a change of the policy that loosens, or refuse it",
    "keys": "say where recovery keys are kept, never the keys",
    "hold": "keep machines out that meet a pick, for a time",
    "try": "look what a source would bring now",
    "lift": "lift a hold before its end",
    "lever": "let rings open again whose source's lever was broken and has held since",
}
"""act -> what it is; an act that is not here is shown by its name."""
FOLLOWS = {"accept": "into the first rings", "sites": "into the first rings", "expedite": "or more, as the policy says"}
"""Where two people are needed in some cases only."""
ACTS = {
    "add": "add a person",
    "role": "give another role",
    "link": "make a new one-time link",
    "disable": "disable",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One act: who may, with whom, and where."""

    act: str
    meaning: str
    role: str
    people: int
    when: str
    asks: bool
    routes: Sequence[str]


def rows(app: Flask) -> list[Row]:
    """Every act, by role, with its pages and forms, and then its routes of the API."""
    needs: dict[str, str] = app.extensions["gate.needs"] | {"static": PUBLIC}
    found: dict[str, list[tuple[str, str, str]]] = {act: [] for act in (PUBLIC, *people.NEEDS)}
    for rule in app.url_map.iter_rules():
        need = needs.get(rule.endpoint, "")
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            if need in found:
                found[need].append((rule.endpoint, method, str(rule)))
    by_api: dict[str, list[str]] = {act: [] for act in found}
    by_api[PUBLIC].append(f"GET {people_api.ROOT}/openapi.json")
    for route in people_api.ROUTES:
        by_api[route.act].append(f"{route.method} {people_api.ROOT}{route.path}")
    made = [
        Row(
            act=act,
            meaning=MEANINGS.get(act, act),
            role=people.NEEDS.get(act, EVERYBODY),
            people=2 if act in TWO_PEOPLE else 1,
            when=FOLLOWS.get(act, ""),
            asks=any(step_up.asks(view, act, method) for view, method, _ in routes),
            routes=[*sorted(f"{method} {rule}" for _, method, rule in routes), *sorted(by_api[act])],
        )
        for act, routes in found.items()
    ]
    return sorted(made, key=lambda one: (EVERYBODY, *people.ROLES).index(one.role))


def document(app: Flask) -> str:
    """``docs/people.md``."""
    lines = [
        "# Who may do what, and with whom",
        "",
        "Made from the code (`python -m tests.docs.people`) and held to it by a test; `/people/roles` shows the",
        "same. A role may do all that the roles before it may: reader, technician, approver, admin. *Everybody* does",
        "not even log in. What stands under `/api/v1` takes a token of a person (`gate token create`) instead of a",
        "login, and is not confirmed. Machines have no role: they ask under `/v1`, signed, and read `/metadata` and",
        "`/content`, which are signed; a mirror has an address of its own for each machine or ring. *Two people*:",
        "one proposes, another does the same within 24 hours; who proposed does not count as the second.",
        "*Confirmed*: the person has logged in, or has confirmed that it is them, in the last ten minutes. At the",
        "server's own shell one person is enough to change people and to accept machines.",
        "",
        "Persons are counted, not names. Whoever logs in through a provider is the person that this identity is linked",
        "with (`gate user identity LOGIN ISSUER SUBJECT`). An account of the server's shell (`shell:root` in the audit",
        "log) counts as nobody where two people are asked for, be it first or second, until it is linked with a person",
        "(`gate user identity LOGIN shell ACCOUNT`); then its word is that person's and agrees with none of theirs.",
        "A disabled person's shell counts as nobody. Under `sudo` everybody is `root`: link accounts of one's own.",
        "Two accounts that nobody has linked stay two: where a provider makes people at their first login, link those",
        "who have an account here before that. Whoever may write the database needs no second person for anything.",
        "",
        "| act | what it is | role | people | confirmed |",
        "|---|---|---|---|---|",
    ]
    for one in rows(app):
        count = "one" if one.people == 1 else f"two {one.when}".strip()
        lines.append(f"| {one.act} | {one.meaning} | {one.role} | {count} | {'yes' if one.asks else 'no'} |")
    lines += ["", "## Routes", "", "| route | act |", "|---|---|"]
    lines += [f"| `{route}` | {one.act} |" for one in rows(app) for route in one.routes]
    return "\n".join(lines) + "\n"


def users() -> str:
    """Everybody who may log in, and the changes that wait for another person."""
    return _users("")


def _users(link: str) -> str:
    with g.parts.store.read() as tx:
        everybody = tx.users()
        found, shown = page_of(tx, PEOPLE, asked_of(PEOPLE))
        waiting = user_changes.waiting(tx, g.now)
        named = {one.id: tx.identities(one.id) for one in found}
    admins = sum(people.may(one, "people") for one in everybody)
    return render_template(
        "people.html",
        users=found,
        logins=[one.id for one in everybody if not one.disabled],
        roles=people.ROLES,
        states=lists.PERSON_STATES,
        acts=ACTS,
        waiting=waiting,
        identities=named,
        alone=admins < 2,
        link=link,
        **shown,
    )


def who_may() -> str:
    """Who may do what, and with whom."""
    return render_template("roles.html", rows=rows(current_app))


def change_user() -> str | Response:
    """Propose a change of a person, or agree to it; a new one-time link is shown once and stands in no address."""
    try:
        act = Act(text_of("act", 20))
    except ValueError as problem:
        raise Malformed("bad_field", "act is add, role, disable or link") from problem
    role, name = text_of("role", 20, needed=False), text_of("name", 100, needed=False)
    role, name = role if act in (Act.ADD, Act.ROLE) else "", name if act is Act.ADD else ""
    wanted = Change(act, text_of("login", 60), role, name)
    link = secrets.token_urlsafe(32)
    with g.parts.store.write() as tx:
        done = user_changes.change(tx, wanted, link, g.parts.policy(), me(), text_of("because", 1000), g.now)
    if done is not None or act not in (Act.ADD, Act.LINK):
        return redirect(url_for("users"), 303)
    return _users(f"{g.parts.public_url.rstrip('/') or request.host_url.rstrip('/')}/link/{link}")


def _key(_: Tx, one: User, sort: str) -> str:
    return lists.key({"name": one.name, "role": one.role}.get(sort, one.id), one.id)


def _cells(_: Tx, found: Sequence[User], __: Here) -> Iterator[Sequence[str]]:
    for one in found:
        yield one.id, one.name, one.role, "disabled" if one.disabled else "active", moment(one.created_at)


PEOPLE = Kind(
    "people",
    PersonList,
    lists.PERSON_SORTS,
    ("login", "name", "role", "state", "created"),
    by_key(lambda tx, asked, limit: tx.list_people(asked, limit), _key),
    _cells,
)
GET, POST = ["GET"], ["POST"]
VIEWS = (
    ("/people", users, "view", GET),
    ("/people/roles", who_may, "view", GET),
    ("/people", change_user, "people", POST),
)
