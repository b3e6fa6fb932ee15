"""Forms for a ring, a source, a freeze, a brake, a window, the defaults and the limits, without JavaScript.

- Form -> surgical edit of the text -> every problem at its field, or the preview. The commit comes after that.
- A form edits the text of the commit that it showed; ``policy_edit_pages`` sees whether somebody was faster.
- A link says of which version its place is: the form opens what stood there, wherever it stands now.
- A ring that gets another name gets it in the brakes that name it, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import g, render_template, request, url_for

from gate.core.errors import Malformed, NotFound
from gate.core.model import SLUG
from gate.core.policy_values import Problem
from gate.core.policy_words import label
from gate.web import policy_edit_pages as edits
from gate.web import ring_fields as fields
from gate.web.forms import POST, branch_head, known_commit
from gate.web.ring_fields import NEW, SECTIONS, TOP, Field, one_line
from gate.web.texts import translate

LISTED = ("rings", "sources", "freeze", "brakes")
LONGEST = 50_000  # a pick may name every site of a fleet


@dataclass(frozen=True, slots=True)
class At:
    """A place of the policy that a form is about."""

    section: str
    key: str  # an index, a name, NEW, or empty where there is one only

    @property
    def path(self) -> str:
        """As the policy calls it."""
        if self.section == "windows":
            return f"windows.{self.key}"
        return f"{self.section}[{self.key}]" if self.key else self.section

    @property
    def index(self) -> int:
        """Its place in the list."""
        return int(self.key)


@dataclass(frozen=True, slots=True)
class Shown:
    """A field as the page has it."""

    field: Field
    label: str
    value: str
    problems: Sequence[str]


def edit_form() -> str:
    """What stands there, to be changed."""
    base = branch_head()
    said = g.parts.editor.said(edits.begun_with(edits.text_at(base)))
    at = _found_in(said, _place(request.args.get("item", "rings[0]")), request.args.get("of", ""))
    item = _item(said, at)
    values = {one.name: fields.shown(one, item) for one in fields.fields_of(at.section)}
    if at.key == NEW and at.section == "brakes":
        values["then"] = "halt"
    return _page(at, base, said, values, {}, [])


def edit() -> edits.Page:
    """Writes the change into the text and shows what it would do; or every problem at its field."""
    at = _place(request.form.get("item", ""))
    base, before = edits.based()
    said = g.parts.editor.said(before)
    act = request.form.get("act", "")
    if act in ("remove", "up", "down"):
        return edits.shown(edits.Edit(_moved(before, at, act), base, url_for("rings")))
    sent = {one.name: _sent(one.name) for one in fields.fields_of(at.section)}
    try:
        after, problems = _written(before, said, at, sent)
        if not problems:
            at_fields, general = _found(at, said, after)
            if not at_fields and not general:
                return edits.shown(edits.Edit(after, base, url_for("rings")))
            return _page(at, base, said, sent, at_fields, general), 400
    except Malformed as problem:
        return _page(at, base, said, sent, {}, [problem.detail]), 400
    return _page(at, base, said, sent, {name: [one] for name, one in problems.items()}, []), 400


def _place(text: str) -> At:
    found = fields.PLACE.match(text)
    if found is None:
        raise NotFound("there is no such place in the policy")
    list_section, index, map_section, name, single = found.groups()
    return At(list_section or map_section or single, index or name or "")


def _found_in(said: Any, at: At, version: str) -> At:
    """Where that stands now which a version has at a place: by its name, else as a whole."""
    if not version or at.key == NEW or at.section not in LISTED:
        return at
    text = edits.text_at(known_commit(version))
    meant = _item(g.parts.editor.said(text) if text else {}, at)
    places = [number for number, one in enumerate(said.get(at.section) or ()) if _same(one, meant)]
    if not places:
        raise NotFound("the branch's newest version of the policy no longer has this item, or has it otherwise")
    return at if at.index in places else At(at.section, str(places[0]))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict) and other.get("name"):
        return bool(one.get("name") == other["name"])
    return bool(one == other)


def _item(said: Any, at: At) -> Any:
    """What stands at a place; nothing where it is new."""
    if at.key == NEW:
        return {}
    if at.section == TOP:
        return said
    found = said.get(at.section) or {}
    if at.section == "defaults":
        return found
    known = at.key in found if isinstance(found, dict) else at.index < len(found)
    if not known:
        raise NotFound("there is no such place in the policy")
    return found[at.key] if isinstance(found, dict) else found[at.index]


def _sent(name: str) -> str:
    """A field as it was sent, in one line; nothing is cut, since what is cut would be a change.

    Raises:
        Malformed: longer than any value may be.
    """
    found = one_line(request.form.get(name, ""))
    if len(found) > LONGEST:
        raise Malformed("bad_field", f"{name} is longer than {LONGEST} characters")
    return found


def _moved(before: str, at: At, act: str) -> str:
    editor = g.parts.editor
    if act != "remove":
        return str(editor.moved_item(before, at.path, max(at.index + (1 if act == "down" else -1), 0)))
    if at.section == "windows":
        return str(editor.edited(before, [(at.path, None)]))
    return str(editor.without_item(before, at.path))


def _written(before: str, said: Any, at: At, sent: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    editor = g.parts.editor
    if at.key == NEW:
        item, problems = fields.new_item(at.section, sent)
        if at.section == "windows":
            name = _sent("new_name")
            if name in (said.get("windows") or {}):
                return before, {"new_name": "there is such a window already"}
            if not SLUG.match(name):
                return before, {"new_name": f"{name!r} is not a name of a-z, 0-9 and - with at most 41 characters"}
            return editor.edited(before, [(f"windows.{name}", item)]), problems
        place = request.form.get("place", "")
        count = len(said.get(at.section) or ())
        index = min(int(place), count) if place.isascii() and place.isdigit() else count
        return (before if problems else editor.with_item(before, at.section, item, index)), problems
    found, problems = fields.changes(at.section, at.path, _item(said, at), sent)
    if at.section == "rings":
        found += _renamed(said, str(_item(said, at).get("name")), sent["name"])
    return (before if problems else editor.edited(before, found)), problems


def _renamed(said: Any, old: str, new: str) -> fields.Changes:
    """The brakes that name this ring."""
    if not new or old == new:
        return []
    found: fields.Changes = []
    for number, brake in enumerate(said.get("brakes") or ()):
        rings = brake.get("in") if isinstance(brake, dict) else None
        if rings == old:
            found.append((f"brakes[{number}].in", new))
        elif isinstance(rings, list):
            found += [(f"brakes[{number}].in[{index}]", new) for index, ring in enumerate(rings) if ring == old]
    return found


def _found(at: At, said: Any, after: str) -> tuple[dict[str, list[str]], list[str]]:
    """The problems of the whole text: at the fields of this form, and elsewhere."""
    try:
        g.parts.gate.texts.parse(after)
    except edits.PolicyProblems as problem:
        found: dict[str, list[str]] = {}
        general = []
        path = _path(at, said)
        for one in problem.problems:
            name = _field(at.section, path, one.path)
            if name:
                found.setdefault(name, []).append(_without_path(one))
            else:
                general.append(f"{one.line}: {one.message}")
        return found, general
    return {}, []


def _path(at: At, said: Any) -> str:
    """Where the item stands after the edit."""
    if at.key != NEW or at.section == "windows":
        return at.path
    place, count = request.form.get("place", ""), len(said.get(at.section) or ())
    return f"{at.section}[{min(int(place), count) if place.isascii() and place.isdigit() else count}]"


def _field(section: str, path: str, problem: str) -> str:
    """The field that a problem is about; empty where it is about none of this form."""
    below = problem if section == TOP else problem.removeprefix(f"{path}.") if problem.startswith(f"{path}.") else ""
    if problem == path:
        return fields.fields_of(section)[0].name
    names = [one.name for one in fields.fields_of(section)]
    near = [one for one in names if below == one or below.startswith((f"{one}.", f"{one}["))]
    if below == "gate.rule_out":
        return "gate.rule_out.make"
    return max(near, key=len, default="")


def _without_path(problem: Problem) -> str:
    """The message without the place, which the form shows itself."""
    first, _, rest = problem.message.partition(" ")
    bare = first.rstrip(":")
    return rest if rest and problem.path.startswith(bare) else problem.message


def _page(
    at: At,
    base: str,
    said: Any,
    values: Mapping[str, str],
    problems: Mapping[str, Sequence[str]],
    general: Sequence[str],
) -> str:
    groups = [
        (title, [Shown(one, _label(one), values.get(one.name, ""), problems.get(one.name, ())) for one in group])
        for title, group in SECTIONS[at.section].items()
    ]
    listed = said.get(at.section) or ()
    names = [one.get("name", one.get("if", "")) if isinstance(one, dict) else one for one in listed]
    return render_template(
        "ring_form.html",
        at=at,
        base=base,
        groups=groups,
        problems=problems,
        general=general,
        names=names,
        new=at.key == NEW,
        new_name=_sent("new_name"),
        place=request.form.get("place", ""),
        heading=values.get("name") or values.get("if") or (at.key if at.section == "windows" else ""),
        listed=at.section in LISTED,
        last=len(names) - 1,
    )


def _label(field: Field) -> str:
    """The field in words."""
    if field.row == "default_windows.<kind>":
        return field.name.partition(".")[2]
    known = fields.LABELS.get(field.name)
    return translate(known, g.language) if known else label(field.row, g.language)


VIEWS = (
    ("/rings/edit", edit_form, "policy", ["GET"]),
    ("/rings/edit", edit, "policy", POST),
)
