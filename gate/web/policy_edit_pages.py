"""From an edited text to a commit: problems, or sentences, lines, preview and reason; then active, or a proposal.

- A form names the commit that it showed (``base``). Where the branch has moved, both changes are shown and nothing is
  lost: what can be brought together line by line is carried onto the new head.
- A person's text is never lost: where the repository or the head cannot be read, the refusal shows it.
- A fleet of up to ``AT_ONCE`` machines is walked in the request; of a larger one the preview is made beside it, and the
  page says so until it is there. What an edit may not do is looked at again when it is saved.
- Nothing here decides: ``edits`` judges and saves, ``preview`` says what would happen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from typing import Any

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core.errors import Busy, Conflict, GateError, Malformed, NotFound, OperatorError, Overtaken
from gate.core.policy import Policy
from gate.core.policy_diff import Change, diff, people_needed
from gate.core.policy_values import PolicyProblems as PolicyProblems
from gate.core.policy_words import sentence, verdict
from gate.core.three_way import merged
from gate.flows import edits, placing, policy_versions
from gate.flows.agreement import person
from gate.flows.preview import Preview, preview
from gate.ports import ActivePolicy, Proposal, Tx
from gate.web import forms
from gate.web.beside import Made

Page = str | Response | tuple[str, int]
AROUND = 2  # lines shown around a changed one
LONGEST = 256 * 1024  # as a policy may be
MOST_SENT = 1024 * 1024  # a browser sends up to three bytes for one
AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Edit:
    """What a form sent: the whole new text, the commit that it was made on, where to go back to."""

    text: str
    base: str
    back: str
    because: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A change of the policy in sentences and lines."""

    changes: Sequence[tuple[Change, str]]
    verdict: str
    people: int
    lines: Sequence[tuple[str, str]]  # (kind, text)


def preview_policy() -> Page:
    """What this text would change, before anybody commits it."""
    return shown(_edit())


def save_policy() -> Page:
    """Commits an edit, or proposes it where it loosens."""
    edit, gate, by, now = _edit(), g.parts.gate, forms.me(), g.now
    try:
        found = placing.written(
            g.parts.store,
            lambda: gate.texts.parse(edit.text),
            lambda tx, fleet: edits.save(tx, gate, edit.text, edit.base, by, edit.because, now, fleet),
        )
    except PolicyProblems as problem:
        return _problems(edit, problem)
    except (Conflict, Malformed, Overtaken) as problem:
        return shown(edit, problem)
    except OperatorError:
        return _refused(edit, "")
    if isinstance(found, ActivePolicy):
        return redirect(edit.back, 303)
    return redirect(url_for("policy_proposal", proposal_id=found.id), 303)


def policy_proposal(proposal_id: str) -> Page:
    """A proposal with all that it changes, for whoever signs it."""
    with g.parts.store.read() as tx:
        found = _found(tx.proposal(proposal_id))
        active = tx.active_policy()
        since = policy_versions.ruled_before(tx, found) if found.state == "enacted" else ""
        mine = forms.me() in {person(tx, one) for one in (found.proposed_by, *found.signatures)}
        enough = len(edits.behind(tx, found)) + 1 >= edits.PEOPLE
    assert active is not None
    open_ = found.state == "open" and found.expires_at > g.now
    common = {"proposal": found, "open": open_, "mine": mine, "enough": enough}
    try:
        return render_template("policy_proposal.html", **common, **_proposal(found, active, since, open_))
    except OperatorError:
        return render_template("policy_proposal.html", **common, gone=True)


def _proposal(found: Proposal, active: ActivePolicy, since: str, open_: bool) -> Mapping[str, Any]:
    """What a proposal changes, and whether it still can: of what rules or, ``since``, ruled before it; of what it was
    made on where it never came to that.

    Raises:
        OperatorError: the repository cannot be read.
    """
    gate = g.parts.gate
    head, parent = gate.texts.head(), (gate.texts.parents(found.subject) or [found.subject])[0]
    since = active.commit if open_ else since or parent
    before, after = text_at(since), gate.texts.read(found.subject)
    moved = open_ and head not in (parent, found.subject)
    would, said = None, Said((), "", 0, lines_of(before, after))
    try:
        old, new = gate.policy(since), gate.policy(found.subject)
        said = _said(old, new, before, after, g.now)
        would = _would(active, after, old, new) if open_ else None
    except Busy as busy:
        would = Made(problem=busy.detail)
    except Malformed:  # one of the two is no policy: its lines are shown
        pass
    return {
        "moved": moved,
        "carried": merged(text_at(parent), after, text_at(head)) if moved else None,
        "head": head,
        "said": said,
        "would": would,
    }


def sign_policy(proposal_id: str) -> Response:
    """One person's word; where that is enough, it is enacted at once."""
    edits.sign_and_finish(g.parts.store, g.parts.gate, proposal_id, forms.me(), g.now)
    return redirect(url_for("policy_proposal", proposal_id=proposal_id), 303)


def withdraw_policy(proposal_id: str) -> Response:
    """A proposal is taken back or refused."""
    with g.parts.store.write() as tx:
        edits.withdraw(tx, proposal_id, forms.me(), forms.text("because", 1000), g.now)
    return redirect(url_for("policy_proposal", proposal_id=proposal_id), 303)


def shown(edit: Edit, problem: GateError | None = None) -> Page:
    """The page before a commit: problems, a conflict, or the preview with its reason form.

    ``problem``: why it was not saved.
    """
    gate, head = g.parts.gate, forms.branch_head()
    if edit.base != head:
        return _conflict(edit, head)
    try:
        with g.parts.store.read() as tx:
            active = tx.active_policy()
            found = edits.judged(tx, gate, edit.text, edits.today(gate, tx, g.now))
            again = active is not None and active.commit != head and not edits.waits(tx, head, g.now)
    except PolicyProblems as problems:
        return _problems(edit, problems)
    assert active is not None
    old = gate.policy(active.commit)
    try:
        would = _would(active, edit.text, old, found.policy)
    except Busy as busy:
        would, problem = Made(problem=busy.detail), problem or busy
    before = text_at(head) or gate.texts.read(active.commit)
    said = _said(old, found.policy, before, edit.text, g.now)
    status = 200 if problem is None else problem.status
    detail = problem.detail if problem is not None and not isinstance(problem, Busy) else ""
    page = render_template(
        "policy_preview.html",
        edit=edit,
        said=said,
        would=would,
        problem=detail,
        ahead=active.commit != head,
        same=edit.text == before and not again,
    )
    return page, status


def _would(active: ActivePolicy, text: str, old: Policy, new: Policy) -> Made[Preview]:
    """What ``new`` would do to this fleet: at once, or beside the request."""
    gate, now = g.parts.gate, g.now

    def made(tx: Tx) -> Preview:
        return preview(tx, gate, old, new, now)

    with g.parts.store.read() as tx:
        if tx.overview()["machines_active"] <= AT_ONCE:
            return Made(at=now, found=made(tx))
    key = f"{active.commit}/{hashlib.sha256(text.encode()).hexdigest()}"
    return g.parts.previews.get(key, now, made)  # type: ignore[no-any-return]


def _refused(edit: Edit, head: str) -> tuple[str, int]:
    """Neither saved nor lost: the repository cannot be read, or what stands at its head."""
    return render_template("policy_refused.html", edit=edit, head=head), 409 if head else 503


def _conflict(edit: Edit, head: str) -> Page:
    """Somebody was faster: both changes, and mine carried onto theirs where that is possible line by line."""
    theirs = text_at(head)
    if not theirs:
        return _refused(edit, head)
    before = _base_text(edit.base, theirs)
    together = merged(before, edit.text, theirs)
    who, at, because = _newest(head, before, theirs)
    page = render_template(
        "policy_conflict.html",
        edit=edit,
        head=head,
        together=together,
        mine=_compared(before, edit.text),
        theirs=_compared(before, theirs),
        who=who,
        at=at,
        because=because,
        now=theirs,
    )
    return page, 409


def _newest(head: str, before: str, theirs: str) -> tuple[str, datetime | None, str]:
    """Who changed it meanwhile: the newest of those that wrote a line that is new."""
    known = set(before.splitlines())
    lines = zip(theirs.splitlines(), g.parts.gate.texts.authors(head), strict=False)
    found = [one for text, one in lines if text not in known]
    return max(found, key=lambda one: one[1], default=("", None, ""))


def _base_text(base: str, instead: str | None = None) -> str:
    """The text that a form began with, also where the branch was rewound since; ``instead`` where nobody has it now.

    Raises:
        Malformed: nobody has it, and there is nothing instead.
    """
    try:
        return str(g.parts.gate.texts.read(base))
    except GateError as problem:
        if instead is None and forms.branch_head():
            raise Malformed("bad_field", "this form names no commit of the policy's branch") from problem
        return instead or ""


def text_at(commit: str) -> str:
    """The text of a version; empty where it has none that can be read."""
    return policy_versions.text_of(g.parts.gate, commit)


def _problems(edit: Edit, problems: PolicyProblems) -> Page:
    lines = edit.text.splitlines()
    marked = [(one, lines[one.line - 1] if 0 < one.line <= len(lines) else "") for one in problems.problems]
    return render_template("policy_problems.html", edit=edit, problems=marked), 400


def _compared(old: str, new: str) -> Said:
    """Of two texts of which one may not parse."""
    texts = g.parts.gate.texts
    try:
        return _said(texts.parse(old), texts.parse(new), old, new, g.now)
    except GateError:
        return Said((), "", 0, lines_of(old, new))


def _said(old: Policy, new: Policy, before: str, after: str, now: datetime) -> Said:
    changes = diff(old, new, now.astimezone(old.zone).date())
    told = [(one, sentence(one, g.language)) for one in changes]
    return Said(told, verdict(changes, g.language), people_needed(changes), lines_of(before, after))


def lines_of(before: str, after: str) -> list[tuple[str, str]]:
    """The changed lines with those around them: (added, removed, place or same; text)."""
    kinds = {"+": "added", "-": "removed", "@": "place", " ": "same"}
    found = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=AROUND)
    return [(kinds[line[0]], line if line[0] == "@" else line[1:]) for line in list(found)[2:]]


def based() -> tuple[str, str]:
    """(the commit that a form showed, the text that it begins with).

    Raises:
        Malformed: it names no commit of the branch.
    """
    base = _named()
    return base, begun_with(_base_text(base))


def begun_with(text: str) -> str:
    """``text``, or that of the active version where it is no policy: then a form is the way back."""
    if not g.parts.gate.texts.problems(text):
        return text
    with g.parts.store.read() as tx:
        active = tx.active_policy()
    return str(g.parts.gate.texts.read(active.commit)) if active is not None else text


def _named() -> str:
    base = request.form.get("base", "")
    if not re.fullmatch(r"[0-9a-f]{40}", base):
        raise Malformed("bad_field", "this form names no commit of the policy's branch")
    return base


def _edit() -> Edit:
    """What the form sent. A browser sends a text with its own ends of lines; the policy keeps those that it has."""
    base = _named()
    before = _base_text(base, "")
    text = request.form.get("text", "").replace("\r\n", "\n")
    if not text or len(text) > LONGEST:
        raise Malformed("bad_field", "text is missing, or longer than a policy may be")
    if "\r\n" in before:
        text = text.replace("\n", "\r\n")
    back = request.form.get("back", "")
    here = back if forms.ours(back) else url_for("rings")
    return Edit(text, base, here, request.form.get("because", "")[:1001])


def _found(proposal: Proposal | None) -> Proposal:
    if proposal is None or proposal.kind != edits.KIND:
        raise NotFound("there is no such proposal")
    return proposal


def waiting(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The policy's proposals among those that wait for a person."""
    return [one for one in proposals if one.kind == edits.KIND]


VIEWS = (
    ("/policy/preview", preview_policy, "policy", forms.POST),
    ("/policy/save", save_policy, "policy", forms.POST),
    ("/policy/proposals/<proposal_id>", policy_proposal, "view", ["GET"]),
    ("/policy/proposals/<proposal_id>/sign", sign_policy, "sign", forms.POST),
    ("/policy/proposals/<proposal_id>/withdraw", withdraw_policy, "sign", forms.POST),
)
