"""The last boots of a machine, as its reports tell them: how each ended, and which releases it began with. Pure.

- A report tells the boots since its claim. One that is known is told again: an end that was unknown becomes known, and
  never unknown again; the last word of a machine's own log wins.
- The boot that a report was made in began with the release that the report names, where it says ``booted``, ``healthy``
  or ``unhealthy`` and is not the boot of the installation. Boots between that and the installation tried the claim's
  release. What was said first of a boot and a source stays: to go back does not change what it began with.
- Of the boot in which a release was put in place it is not known what it began with, and that is kept too.
- A boot that nobody asked for is noted with the claims that it speaks against (``flows.restarts``), and ends nothing.
- Times are the machine's own and decide nothing; the order is that of its reports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gate.core.model import Action, Claim, Step

KEPT = 12
"""Boots of one machine that the gate remembers."""
UNKNOWN = "unknown"
BEGUN = (Step.BOOTED, Step.HEALTHY, Step.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot. ``ended``: clean, unclean, unknown; ``releases``: source -> the release's id (``-``: none, empty: not
    known); ``against``: the watched claims that it speaks against, since nobody asked for it."""

    boot_id: str
    started_at: str
    ended: str = UNKNOWN
    releases: Mapping[str, str] = field(default_factory=dict)
    against: tuple[str, ...] = ()


def told(
    known: Sequence[Boot], claim: Claim, step: Step, boot_id: str, release: str, said: Sequence[Boot]
) -> list[Boot]:
    """The boots with what a report made in ``boot_id`` under ``claim`` tells; the newest last, at most ``KEPT``."""
    found = {one.boot_id: one for one in known}
    order = list(found)
    at = len(order)
    for one in said:
        old = found.get(one.boot_id, one)
        found[one.boot_id] = replace(old, ended=one.ended if one.ended != UNKNOWN else old.ended)
        if one.boot_id not in order:
            order.insert(at, one.boot_id)
        at = order.index(one.boot_id) + 1
    begun = _begun(claim, step, boot_id, release, [one.boot_id for one in said])
    for name, id_ in begun.items():
        if name in found and claim.source not in found[name].releases:
            found[name] = replace(found[name], releases={**found[name].releases, claim.source: id_})
    return [found[name] for name in order][-KEPT:]


def unasked(known: Sequence[Boot], boot: Boot, claims: Sequence[str]) -> list[Boot]:
    """The boots with one that nobody asked for, which speaks against these claims; at most ``KEPT``."""
    if all(one.boot_id != boot.boot_id for one in known):
        known = [*known, boot]
    marked = [
        replace(one, against=tuple(dict.fromkeys((*one.against, *claims)))) if one.boot_id == boot.boot_id else one
        for one in known
    ]
    return marked[-KEPT:]


def _begun(claim: Claim, step: Step, boot_id: str, release: str, said: Sequence[str]) -> dict[str, str]:
    """boot -> the release of the claim's source that it began with, as far as this report shows it."""
    if claim.action == Action.RECALL:
        return {}
    if step is Step.INSTALLED:
        return {boot_id: ""}
    tried = {one: claim.release for one in said if one not in (boot_id, claim.boot_id)}
    early = step is Step.ROLLED_BACK and bool(tried)  # it went back before this boot had begun
    if boot_id != claim.boot_id and (step in BEGUN or early):
        tried[boot_id] = release
    return tried
