"""When is a new value of the policy at least as tight as an old one? One relation a kind of value.

- Each relation is reflexive and transitive: a loosening cannot be split into steps of which none loosens.
- What cannot be compared is not at least as tight, in either direction.
- ``None`` is a limit or a demand that is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

from gate.core.policy import Brake
from gate.core.times import Anchor, Edge, Freeze, OpenDuration, Window

Relation = Callable[[Any, Any], bool]
ANCHORS = (Anchor.BOOT, Anchor.OPENING, Anchor.CLOSING)  # in the order of a day
OPEN_DAY = OpenDuration(timedelta(), 1, True)


def anything(old: Any, new: Any) -> bool:
    """A text for people: no change of it matters."""
    return True


def same(old: Any, new: Any) -> bool:
    """Any change loosens, since nobody can say which way it goes."""
    return bool(old == new)


def least(old: Any, new: Any) -> bool:
    """A demand: higher is tighter, absent demands nothing."""
    return old is None or (new is not None and bool(new >= old))


def most(old: Any, new: Any) -> bool:
    """A limit: lower is tighter, absent limits nothing."""
    return old is None or (new is not None and bool(new <= old))


def longer(old: Any, new: Any) -> bool:
    """A wait: longer is tighter. Open hours take at least as long as hours; days and hours do not compare."""
    a, b = _wait(old), _wait(new)
    if a.days == 0 and a.amount <= timedelta():
        return True
    if a.days or b.days:
        return bool(a.days and b.days >= a.days)
    return (b.open or not a.open) and b.amount >= a.amount


def shorter(old: Any, new: Any) -> bool:
    """A patience: shorter is tighter; absent is for ever."""
    return old is None or (new is not None and longer(new, old))


def _wait(value: Any) -> OpenDuration:
    if value is None:
        return OpenDuration(timedelta())
    return value if isinstance(value, OpenDuration) else OpenDuration(value)


def deadline(old: Any, new: Any) -> bool:
    """What is learned may become shorter or longer than any number."""
    if "learned" in (old, new):
        return bool(old == new)
    return shorter(old, new)


def ranked(*words: Any) -> Relation:
    """Words from loose to tight."""

    def relation(old: Any, new: Any) -> bool:
        return old == new or (old in words and new in words and words.index(new) >= words.index(old))

    return relation


def superset(old: Any, new: Any) -> bool:
    """A list of demands: more is tighter."""
    return set(old or ()) <= set(new or ())


def subset(old: Any, new: Any) -> bool:
    """A list of allowances: fewer is tighter."""
    return set(new or ()) <= set(old or ())


def per_site(old: Any, new: Any) -> bool:
    """``half`` is at least one and has no upper bound."""
    if old == new or new == 1:
        return True
    return "half" not in (old, new) and bool(new <= old)


def background(old: Any, new: Any) -> bool:
    """What is measured may become anything; and only while it is measured, one above its cap holds every opening."""
    if "measured" in (old, new):
        return bool(old == new)
    return bool(new <= old)


def supersede(old: Any, new: Any) -> bool:
    """``inherit`` alone lets a newer release skip rings; ``queue`` and ``restart`` do not compare."""
    return bool(old in (new, "inherit"))


def same_pick(old: Any, new: Any) -> bool:
    """A pick decides who proves and who waits: it is the same, or it loosens, narrower or wider."""
    return {key: set(values) for key, values in old.items()} == {key: set(values) for key, values in new.items()}


def windows(old: Sequence[Window], new: Sequence[Window]) -> bool:
    """Each new window lies inside an old one; no window at all is always."""
    before, after = old or (Window("always"),), new or (Window("always"),)
    return all(any(_window_in(one, other) for other in before) for one in after)


def _window_in(one: Window, other: Window) -> bool:
    if other.start is None or other.end is None:
        return True
    if one.start is None or one.end is None:
        return False
    return later(other.start, one.start) and later(one.end, other.end)


def later(one: Edge, other: Edge) -> bool:
    """Is ``other`` surely not before ``one``, on every day of every site? Boot, opening, closing come in this order."""
    return ANCHORS.index(other.anchor) >= ANCHORS.index(one.anchor) and other.offset >= one.offset


def freezes(old: Sequence[Freeze], new: Sequence[Freeze]) -> bool:
    """Whatever was frozen stays frozen, whatever the freezes are called."""
    return all(frozen_by(one, new) for one in old)


def frozen_by(one: Freeze, others: Sequence[Freeze]) -> bool:
    """Is all of this freeze inside the others?"""
    if one.duty:
        return any(other.duty for other in others)
    if one.days:
        return all(any(_day_in(day, one, other) for other in others) for day in one.days)
    if one.start is not None and one.end is not None:
        return any(
            other.start is not None
            and other.end is not None
            and later(other.start, one.start)
            and later(one.end, other.end)
            for other in others
        )
    return any(_dates_in(one, other) for other in others)


def is_over(one: Freeze, today: date | None) -> bool:
    """Its last day has passed: dropping it loosens nothing."""
    return today is not None and one.last is not None and one.last < today


def _day_in(day: int, one: Freeze, other: Freeze) -> bool:
    return day in other.days and other.until_minute >= one.until_minute


def _dates_in(one: Freeze, other: Freeze) -> bool:
    if other.first is None and other.last is None:
        return False
    begins = other.first is None or (one.first is not None and other.first <= one.first)
    ends = other.last is None or (one.last is not None and other.last >= one.last)
    return begins and ends


def braked_by(one: Brake, others: Sequence[Brake]) -> bool:
    """Does some brake act whenever this one does, with all that it tells people?"""
    return any(_stronger(one, other) for other in others)


def _stronger(old: Brake, new: Brake) -> bool:
    if (old.what, old.share, old.after_install, old.at) != (new.what, new.share, new.after_install, new.at):
        return False
    if not superset(old.and_, new.and_) or new.number > old.number:
        return False
    if old.what == "missing":  # its rings are also what the share is of, and the sites that must be several
        if set(old.rings) != set(new.rings):
            return False
    elif new.rings and not (old.rings and superset(old.rings, new.rings)):
        return False
    if old.what == "silent" or old.within is None or new.within is None:
        return old.within == new.within  # silence for longer is both more and later
    return new.within >= old.within
