"""The policy's own pages: its text with who changed which line last, in words, as a plan, and its history.

- What is shown stands in the address: ``tab`` and ``version``. The text without a version is the active one.
- With the repository gone the texts of what rules and has ruled are shown all the same, without who changed which line.
- An edit is a form that posts the whole text to ``/policy/preview`` with the head that it was shown on; so is a revert.
- While somebody types, ``/policy/problems`` says what is wrong by line; nothing is stored by that.
- A plan takes long for a large fleet: it is made beside the request, once a version and hour, and looked up here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from flask import Response, g, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from gate.core import said_texts
from gate.core.errors import Malformed, NotFound, OperatorError
from gate.core.lists import VersionList
from gate.core.policy_diff import Direction, people_needed
from gate.core.policy_explain import explain
from gate.core.policy_schema import schema
from gate.core.policy_values import Problem
from gate.core.policy_words import sentence, verdict
from gate.flows import edits, placing, plan_words, policy_versions
from gate.flows.fleet_plan import DAYS, fleet_plan
from gate.flows.people import may
from gate.flows.policy_versions import Past
from gate.ports import ActivePolicy, Gate, Tx, Version
from gate.web import backtests, forms
from gate.web.listed import Here, Kind, Page, asked_of, moment, page_of

TABS = (
    ("text", "Text"),
    ("edit", "Edit"),
    ("words", "In words"),
    ("plan", "Plan for 14 days"),
    ("backtest", "Back-test"),
    ("history", "History"),
)
Row = tuple[int, str, Version | None, Sequence[Problem]]
SHOWN_PROBLEMS = 50
SIGNS = {Direction.LOOSENS: "loosens", Direction.TIGHTENS: "tightens", Direction.NEUTRAL: "neutral"}


def policy() -> str:
    """The policy, in one of its tabs."""
    tab = request.args.get("tab", "text")
    if tab not in dict(TABS) or (tab == "edit" and not edits_allowed()):
        tab = "text"
    with g.parts.store.read() as tx:
        active = tx.active_policy()
        if active is None:
            raise NotFound("no policy is active")
        waiting = [one for one in tx.proposals("open", now=g.now) if one.kind == edits.KIND]
    wanted = request.args.get("version", "")
    commit = forms.known_commit(wanted) if wanted else active.commit
    if tab == "edit" and not forms.branch_head():
        tab = "text"
    common = {
        "tab": tab,
        "tabs": [one for one in TABS if one[0] != "edit" or edits_allowed()],
        "active": active,
        "commit": commit,
        "head": forms.branch_head(),
        "chosen": wanted,
        "proposals": waiting,
    }
    return render_template("policy.html", **common, worded=worded, **_tab(tab, commit, active))


def _tab(tab: str, commit: str, active: ActivePolicy) -> Mapping[str, Any]:
    match tab:
        case "words":
            return {"said": explain(_rules(commit), g.language)}
        case "plan":
            return _plan(commit)
        case "backtest":
            command = f"gate policy backtest {'active' if commit == active.commit else commit[:12]}"
            return {"command": command, **backtests.tab(commit)}
        case "history":
            return _history()
        case "edit":
            text = _text(commit)
            return {"text": text, "found": _found(text)}
        case _:
            return _sheet(commit)


def _rules(commit: str) -> Any:
    """The parsed policy of a version; Malformed becomes a page that says where to look."""
    return g.parts.gate.policy(commit)


def _sheet(commit: str) -> Mapping[str, Any]:
    gate: Gate = g.parts.gate
    text = _text(commit)
    return {"rows": rows(gate, commit, text), "found": _found(text)}


def _text(commit: str) -> str:
    """The text of a version.

    Raises:
        NotFound: it has none that can be read, and the sentence says why.
    """
    try:
        return str(g.parts.gate.texts.read(commit))
    except OperatorError as problem:
        raise NotFound(problem.detail) from problem


def _found(text: str) -> Sequence[Problem]:
    return g.parts.gate.texts.problems(text)[:SHOWN_PROBLEMS]  # type: ignore[no-any-return]


def rows(gate: Gate, commit: str, text: str) -> list[Row]:
    """(number, text, who changed it last, what is wrong with it) of each line; who only where it differs from above."""
    wrong = policy_versions.problems(gate, text)
    changed = policy_versions.lines(gate, commit, text)
    found, before = list[Row](), ""
    for number, (line, who) in enumerate(zip(text.splitlines(), changed, strict=False), 1):
        shown = who if who is not None and who.commit != before else None
        before = who.commit if who else ""
        found.append((number, line, shown, wrong.get(number, ())))
    return found


def _plan(commit: str) -> Mapping[str, Any]:
    rules = _rules(commit)
    gate, now = Gate(policy=lambda _: rules, texts=g.parts.gate.texts, hours=g.parts.gate.hours), g.now
    made = g.parts.plans.get(commit, now, lambda tx: fleet_plan(tx, gate, rules, now))
    if made.found is None:
        return {"made": made, "lines": [], "days": DAYS}
    lines = [list(plan_words.lines(one, None, rules, DAYS, g.language)) for one in made.found.plans]
    return {"made": made, "lines": lines, "days": DAYS}


def _history() -> Mapping[str, Any]:
    asked = asked_of(HISTORY)
    if asked.after:
        asked = replace(asked, after=forms.known_commit(asked.after))
    with g.parts.store.read() as tx:
        found, shown = page_of(tx, HISTORY, asked)
    return {"past": found, **shown}


def policy_version(commit: str) -> str:
    """One version: its text, its time, who agreed, what it changed; revert and activate."""
    gate: Gate = g.parts.gate
    commit = forms.known_commit(commit)
    with g.parts.store.read() as tx:
        active = tx.active_policy()
        past = policy_versions.one_past(tx, gate, commit)
        events = tx.events(subject=commit, limit=20)
        day = edits.today(gate, tx, g.now)
        lapsed = active is not None and active.commit != commit and not edits.waits(tx, commit, g.now)
    since = past.before or next(iter(past.version.parents), "")
    text, head = _text(commit), forms.branch_head()
    instead = policy_versions.text_of(gate, head)
    changed = policy_versions.changed(gate, since, commit, day)
    changes = [(SIGNS[one.direction], sentence(one, g.language), one.line) for one in changed.changes or ()]
    return render_template(
        "policy_version.html",
        past=past,
        version=past.version,
        active=active,
        head=head,
        text=text,
        rows=rows(gate, commit, text),
        worded=worded,
        changes=None if changed.changes is None else changes,
        verdict=verdict(changed.changes, g.language) if changed.changes else "",
        people=people_needed(changed.changes or ()),
        lines=changed.lines,
        revertible=bool(head) and edits_allowed() and (lapsed if head == commit else text != instead),
        events=events,
    )


def policy_problems() -> Response:
    """What is wrong with a text, by line; nothing is stored."""
    found = [{"line": one.line, "column": one.column, "message": worded(one)} for one in _found(_posted("text"))]
    return jsonify(problems=found)


def worded(problem: Problem) -> str:
    """What is wrong, and what was meant, in the visitor's language."""
    meant = f" (did you mean {problem.suggestion!r}?)" if problem.suggestion else ""
    return said_texts.said(problem.message + meant, g.language)


def policy_schema() -> Response:
    """The language as a JSON Schema, for completion."""
    return jsonify(schema())


def activate() -> WerkzeugResponse:
    """Takes the head up now rather than with the next tick."""
    gate: Gate = g.parts.gate
    by, now = g.visitor.user.id, g.now
    placing.written(
        g.parts.store,
        lambda: gate.policy(gate.texts.head()),
        lambda tx, fleet: edits.activate_head(tx, gate, by, now, fleet),
    )
    return redirect(url_for("policy"), 303)


def edits_allowed() -> bool:
    """May the visitor propose a change?"""
    return may(g.visitor.user, "policy")


def _posted(name: str) -> str:
    text = request.form.get(name)
    if text is None:
        raise Malformed("bad_field", f"{name} is missing")
    return text.replace("\r\n", "\n")


def _versions(tx: Tx, asked: VersionList, limit: int, here: Here) -> Page:
    rules = here.parts.policy()
    return policy_versions.listed(tx, here.parts.gate, asked, rules.zone if rules else UTC, limit)


def _cells(_: Tx, found: Sequence[Past], __: Here) -> Iterator[Sequence[str]]:
    for one in found:
        times = moment(one.version.at), moment(one.active_from), moment(one.active_to)
        said = ", ".join(one.people), one.refused, one.version.subject
        yield one.version.commit, one.version.author, *times, *said


HISTORY = Kind(
    "history",
    VersionList,
    (),
    ("commit", "author", "at", "active_from", "active_to", "agreed", "refused", "subject"),
    _versions,
    _cells,
    begin=lambda word, _: word or None,
    size=25,
)
VIEWS = (
    ("/policy", policy, "view", ["GET"]),
    ("/policy/versions/<commit>", policy_version, "view", ["GET"]),
    ("/policy/schema.json", policy_schema, "view", ["GET"]),
    ("/policy/problems", policy_problems, "policy", ["POST"]),
    ("/policy/activate", activate, "policy", ["POST"]),
)
