"""Sources: what comes in, how it is held, how the last look went; and what a source would bring now."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g, redirect, render_template, url_for
from werkzeug.wrappers import Response

from gate.core.errors import NotFound, SourceError
from gate.core.policy import SourceRule
from gate.flows import levers, observed, orders
from gate.flows import sources as known
from gate.flows.sources import SourceState
from gate.web import forms

WHY = {
    "held": "Nothing reaches a machine before its ring opens.",
    "advised": "Machines are asked to wait; their vendor does not wait.",
    "no lever": "Nobody can hold it; boots are watched.",
}
WORST_FIRST = ("broken", "failed", "mirror", "refused", "new", "ok")


@dataclass(frozen=True, slots=True)
class Tried:
    """What a look at one source came to, just now; nothing of it was fetched, stored or remembered."""

    source: str
    brings: list[known.Brings]
    skipped: tuple[str, ...]
    problem: str


def sources() -> str:
    """Every source, what is broken first."""
    return _page(None)


def try_source(name: str) -> str:
    """What would it bring now?

    Raises:
        NotFound: the active policy has no such source.
    """
    rule = next((one for one in _rules() if one.name == name), None)
    if rule is None or g.parts.try_source is None:
        raise NotFound(f"the active policy has no source {name}")
    try:
        found = g.parts.try_source(rule)
    except SourceError as problem:
        return _page(Tried(name, [], (), problem.detail))
    with g.parts.store.read() as tx:
        brings = known.would_bring(tx, name, found)
    return _page(Tried(name, brings, tuple(found.skipped), ""))


def clear_lever(name: str) -> Response:
    """Lets rings of a source open again whose lever was broken and has held since; what broke it after the page was
    shown is not cleared unseen."""
    because, broken_at = forms.text("because", 1000), forms.text("broken_at", 40)
    with g.parts.store.write() as tx:
        levers.clear(tx, name, forms.me(), because, g.now, broken_at)
    return redirect(url_for("sources"), 303)


def _rules() -> tuple[SourceRule, ...]:
    policy = g.parts.policy()
    return tuple(policy.sources) if policy else ()


def _page(tried: Tried | None) -> str:
    policy = g.parts.policy()
    with g.parts.store.read() as tx:
        found = known.states(tx, policy, g.parts.look_every) if policy else []
        unknown = {one.rule.name: observed.unknown(tx, one.rule.name) for one in found}
        bypasses, undone = observed.bypasses(tx), orders.troubles(tx)
    return render_template(
        "sources.html",
        found=sorted(found, key=_rank),
        why=WHY,
        tried=tried,
        tries=g.parts.try_source is not None,
        bypasses=bypasses,
        undone=undone,
        unknown=unknown,
        loading={one.rule.name: g.parts.loading(one.rule.name) for one in found},
        editable=g.parts.guest is None,
    )


def _rank(one: SourceState) -> int:
    return WORST_FIRST.index(one.state)


VIEWS = (
    ("/sources", sources, "view", ["GET"]),
    ("/sources/<name>/try", try_source, "try", ["POST"]),
    ("/sources/<name>/clear", clear_lever, "lever", ["POST"]),
)
