"""What does a change of the policy loosen? Two parsed policies -> every change with its direction.

- ``ROWS`` has one row for each field of the language: the relation that says when it is not looser, and what that
  means for people. What has no row, and what the relation cannot compare, loosens.
- Compared is what rules: each ring's settings after ring, source and defaults, for every source and for one to come;
  and beside it the sources' and the defaults' own words, whether a ring overrides them today or not.
- No step that loosens nothing can be part of a loosening: the relations are transitive, and what a later step could
  lean on (a new ring, a new source, another pick) loosens itself.
- Some fields lean on each other: a larger ``at_least`` widens a share, and a smaller share lets ``rule_out`` rest on
  fewer machines. Both are changes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from typing import Any

from gate.core import policy_order as order
from gate.core.policy import Brake, Policy
from gate.core.policy_cells import UNSAID, Cell, Cells, ring_cells, source_cells, top_cells
from gate.core.policy_order import Relation
from gate.core.policy_rows import ROWS, UNKNOWN, Row
from gate.core.policy_written import written
from gate.core.times import Freeze, Window


class Direction(IntEnum):
    """Which way a change goes; the worst of several wins."""

    NEUTRAL = 0  # it decides nothing
    TIGHTENS = 1  # acts at once, with one person
    LOOSENS = 2  # needs two people


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a rule.

    ``path``: where it stands in the new policy, or in the old one where only that has it (``line`` is then 0).
    ``before``, ``after``: as a policy says it; empty where it says nothing. ``key``: the sentence; ``row``: the field.
    ``arguments``: what the sentence needs, as values.
    """

    path: str
    before: str
    after: str
    direction: Direction
    key: str
    row: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    line: int = 0
    old_line: int = 0


def diff(old: Policy, new: Policy, today: date | None = None) -> tuple[Change, ...]:
    """Every change, those that loosen first, then in the order of the lines.

    ``today``: a freeze whose last day is before it may be dropped by one person.
    """
    found: dict[tuple[str, str, str, str], Change] = {}
    for change in _changes(old, new, today):
        key = (change.row, change.path, change.before, change.after)
        if key not in found or found[key].direction < change.direction:
            found[key] = change
    placed = [_placed(change, old, new) for change in found.values()]
    return tuple(sorted(placed, key=lambda one: (-one.direction, one.line or one.old_line, one.path, one.row)))


def people_needed(changes: Sequence[Change]) -> int:
    """Two different people where anything loosens, else one."""
    return 2 if any(change.direction is Direction.LOOSENS for change in changes) else 1


def _changes(old: Policy, new: Policy, today: date | None) -> Iterator[Change]:
    yield from _compared(top_cells(old), top_cells(new))
    yield from _members(old, new, "sources")
    yield from _members(old, new, "rings")
    names = [name for name in (s.name for s in old.sources) if new.source(name)]
    for source in names:
        yield from _compared(source_cells(old, source), source_cells(new, source))
    rings = {ring.name for ring in old.rings} & {ring.name for ring in new.rings}
    for ring in sorted(rings):
        for source in ("", *names):
            yield from _compared(ring_cells(old, ring, source), ring_cells(new, ring, source))
            yield from _ring_windows(old, new, ring, source)
    yield from _windows(old, new)
    yield from _freezes(old, new, today)
    yield from _brakes(old, new)


def _placed(change: Change, old: Policy, new: Policy) -> Change:
    arguments = dict(change.arguments)
    there, here = arguments.pop("old_path", change.path), arguments.pop("new_path", change.path)
    line = 0 if change.key == "removed" else new.line_of(here)
    old_line = 0 if change.key == "added" else old.line_of(there)
    return replace(change, arguments=arguments, line=line, old_line=old_line)


def direction_of(relation: Relation, old: Any, new: Any) -> Direction:
    """Loosens unless the new value is surely at least as tight; neutral where both are."""
    if not relation(old, new):
        return Direction.LOOSENS
    return Direction.NEUTRAL if relation(new, old) else Direction.TIGHTENS


def row_of(name: str) -> Row:
    """The row of a field; what has none loosens."""
    return ROWS.get(name, UNKNOWN)


def _compared(old: Cells, new: Cells) -> Iterator[Change]:
    lane = [("expedite",) in cells and cells["expedite",].value for cells in (old, new)]
    for key in sorted(old.keys() | new.keys()):
        if key[0].startswith("expedite.") and not all(lane):
            continue  # a lane that is new or gone is one change
        a, b = old.get(key), new.get(key)
        one = b or a
        assert one is not None
        before, after = (a.value if a else None), (b.value if b else None)
        if before == after:
            continue
        if a and b and a.path == b.path == UNSAID:
            continue
        told = b if b and (not a or _rank(b) <= _rank(a)) else a
        assert told is not None
        told = a if told.path == UNSAID and a else told
        if a and b and a.subject != b.subject and told.own_path:  # another ring says it now: it is this one's change
            told = replace(told, path=told.own_path, subject=told.own_subject)
        row = row_of(one.row)
        way = direction_of(row.tighter, before, after)
        if row.leans and way is not Direction.LOOSENS:
            continue  # the field that it leans on says it
        arguments = {"subject": told.subject, "before": before, "after": after, "where": _section(told.path)}
        arguments |= {"old_path": a.path if a else told.path, "new_path": b.path if b else told.path}
        yield Change(told.path, written(before), written(after), way, "changed", one.row, arguments)


def _section(path: str) -> str:
    return path.partition("[")[0].partition(".")[0]


def _rank(cell: Cell) -> int:
    """The nearer to a ring, the better a path tells what changed."""
    return next((n for n, start in enumerate(("rings", "sources")) if cell.path.startswith(start)), 2)


def _members(old: Policy, new: Policy, section: str) -> Iterator[Change]:
    """Rings and sources that are new, gone, or (rings) in another order."""
    before = [one.name for one in getattr(old, section)]
    after = [one.name for one in getattr(new, section)]
    row = f"{section}[].name"
    for name in after:
        if name not in before:
            path = f"{section}[{after.index(name)}]"
            yield Change(path, "", name, Direction.LOOSENS, "added", row, {"subject": name, "where": section})
    for name in before:
        if name not in after:
            path, gone = f"{section}[{before.index(name)}]", row if section == "rings" else f"{row} (gone)"
            yield Change(path, name, "", Direction.LOOSENS, "removed", gone, {"subject": name, "where": section})
    kept = [name for name in before if name in after]
    moved = [name for name in after if name in before]
    if section == "rings" and kept != moved:
        arguments = {"before": tuple(kept), "after": tuple(moved), "where": section, "subject": ""}
        yield Change("rings", written(kept), written(moved), Direction.LOOSENS, "reordered", row, arguments)


def _named(policy: Policy, ring: str, source: str) -> tuple[str, tuple[str, ...], tuple[Window, ...]]:
    """(path, names, windows) that hold in a ring for a source; no names is always."""
    index = policy.index(ring)
    origin = policy.source(source)
    own = policy.rings[index].windows
    names = policy.settings_for(ring, source).windows
    path = f"rings[{index}].windows" if own else f"default_windows.{origin.kind if origin else 'content'}"
    return path, names, tuple(policy.windows[name] for name in names)


def _ring_windows(old: Policy, new: Policy, ring: str, source: str) -> Iterator[Change]:
    path_a, names_a, a = _named(old, ring, source)
    path_b, names_b, b = _named(new, ring, source)
    way = direction_of(order.windows, a, b)
    if names_a != names_b:
        path = path_b if not path_a.startswith("rings") else path_a if not path_b.startswith("rings") else path_b
        row = "rings[].windows" if path.startswith("rings") else "default_windows.<kind>"
        kind = path.rpartition(".")[2]
        arguments = {"before": a, "after": b, "old_path": path_a, "new_path": path_b, "where": "rings", "subject": ring}
        arguments |= {} if row == "rings[].windows" else {"where": "default_windows", "subject": kind}
        yield Change(path, written(names_a), written(names_b), way, "changed", row, arguments)
        return
    for before, after in zip(a, b, strict=True):
        if before != after:
            yield _window_change(before, after, way)


def _window_change(before: Window, after: Window, way: Direction) -> Change:
    arguments = {"before": (before,), "after": (after,), "where": "windows", "subject": after.name}
    path = f"windows.{after.name}"
    return Change(path, written(before), written(after), way, "changed", "windows.<name>", arguments)


def _windows(old: Policy, new: Policy) -> Iterator[Change]:
    """Words about windows: what they change for a ring has been said; the rest decides nothing today."""
    for name in sorted(old.windows.keys() & new.windows.keys()):
        if old.windows[name] != new.windows[name]:
            yield _window_change(old.windows[name], new.windows[name], Direction.NEUTRAL)
    for name in sorted(old.windows.keys() ^ new.windows.keys()):
        here, gone = new.windows.get(name), old.windows.get(name)
        arguments = {"subject": name, "where": "windows"}
        texts = written(gone) if gone else "", written(here) if here else ""
        key = "added" if here else "removed"
        yield Change(f"windows.{name}", *texts, Direction.NEUTRAL, key, "windows.<name>", arguments)
    for kind in sorted(old.default_windows.keys() | new.default_windows.keys()):
        a, b = old.default_windows.get(kind, ()), new.default_windows.get(kind, ())
        if a != b:
            before = tuple(old.windows[name] for name in a)
            after = tuple(new.windows[name] for name in b)
            words = {"before": before, "after": after, "where": "default_windows", "subject": kind}
            path, row = f"default_windows.{kind}", "default_windows.<kind>"
            yield Change(path, written(a), written(b), Direction.NEUTRAL, "changed", row, words)


def _freezes(old: Policy, new: Policy, today: date | None) -> Iterator[Change]:
    lasting = [one for one in old.freezes if not order.is_over(one, today)]
    for a, b in _paired(old.freezes, new.freezes, lambda one: one.name):
        before, after = (old.freezes[a] if a is not None else None), (new.freezes[b] if b is not None else None)
        if before == after:
            continue
        path = f"freeze[{b if b is not None else a}]"
        way = Direction.NEUTRAL
        if after is not None and not order.frozen_by(after, old.freezes):
            way = Direction.TIGHTENS
        if before is not None and before in lasting and not order.frozen_by(before, new.freezes):
            way = Direction.LOOSENS
        yield _act_of(path, before, after, way, "freeze[]", f"freeze[{a}]")


def _brakes(old: Policy, new: Policy) -> Iterator[Change]:
    for a, b in _paired(old.brakes, new.brakes, lambda one: one.what):
        before, after = (old.brakes[a] if a is not None else None), (new.brakes[b] if b is not None else None)
        if before == after:
            continue
        path = f"brakes[{b if b is not None else a}]"
        way = Direction.NEUTRAL
        if after is not None and not order.braked_by(after, old.brakes):
            way = Direction.TIGHTENS
        if before is not None and not order.braked_by(before, new.brakes):
            way = Direction.LOOSENS
        yield _act_of(path, before, after, way, "brakes[]", f"brakes[{a}]")


def _act_of(
    path: str, before: Freeze | Brake | None, after: Freeze | Brake | None, way: Direction, row: str, old_path: str
) -> Change:
    key = "changed" if before and after else "added" if after else "removed"
    one = after or before
    assert one is not None
    subject = one.name if isinstance(one, Freeze) else one.text
    arguments = {"subject": subject, "before": before, "after": after, "where": row[:-2], "old_path": old_path}
    return Change(path, written(before), written(after), way, key, row, arguments)


def _paired(old: Sequence[Any], new: Sequence[Any], key: Any) -> Iterator[tuple[int | None, int | None]]:
    """(index in old, index in new): those that are alike first, then by key in their order, then what is left."""
    rest = list(range(len(new)))
    alone = []
    for a, one in enumerate(old):
        match = next((b for b in rest if new[b] == one), None)
        if match is None:
            alone.append(a)
        else:
            rest.remove(match)
    for a in alone:
        match = next((b for b in rest if key(new[b]) == key(old[a])), None)
        if match is not None:
            rest.remove(match)
        yield a, match
    yield from ((None, b) for b in rest)
