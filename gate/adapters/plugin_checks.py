"""What every plugin keeps, tried on one: ``gate plugins check`` and the contract tests ask the same.

- Without a source: what it says of itself, and which kinds of versions its order can read. With one: a whole look,
  twice, and a byte that is flipped.
- Each check stands alone: what raises is a check that failed, with its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from gate.adapters.plugin_answers import measure
from gate.adapters.plugins import ChildPlugins
from gate.core.errors import GateError, SourceError
from gate.hookspecs import OPTIONAL, Candidate, Discovered, Fetched, Source

NEEDED = ("gate_describe", "gate_discover")
VERSIONS = ("12", "1.2", "v1.2-rc1", "2026-03-01", "https://vendor.example/?p=12")
"""A version of each kind that vendors have."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a plugin keeps, or not."""

    name: str
    ok: bool
    detail: str = ""


def check(plugins: ChildPlugins, plugin: str, source: Source | None = None) -> list[Check]:
    """Every check that can be made, in order."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("has the hooks that are needed", lambda: _hooks(plugins, plugin)),
        ("says honestly what it is", lambda: _honest(plugins, plugin)),
    ]
    found = [_tried(name, act) for name, act in checks]
    if source is None and all(one.ok for one in found):
        found.append(_tried("says which versions it can compare", lambda: _compared(plugins, plugin)))
    elif source is not None and all(one.ok for one in found):
        found += _with_source(plugins, plugin, source)
        plugins.clean(source.name)
    return found


def _with_source(plugins: ChildPlugins, plugin: str, source: Source) -> list[Check]:
    looked: list[Discovered] = []

    def idempotent() -> str:
        looked.append(plugins.discover(plugin, source, ""))
        again = plugins.discover(plugin, source, "")
        if again != looked[0]:
            raise GateError("check", "two looks with the same cursor answer differently")
        since = plugins.discover(plugin, source, looked[0].cursor)
        if not since.unchanged and since.candidates != looked[0].candidates:
            raise GateError("check", "a look with the cursor of the one before finds something else")
        return f"{len(looked[0].candidates)} candidates"

    found = [_tried("discovers the same when nothing has changed", idempotent)]
    if not found[0].ok or not looked[0].candidates:
        return found
    candidates = looked[0].candidates
    newest = candidates[-1]
    found.append(_tried("orders versions as an order does", lambda: _order(plugins, plugin, source, candidates)))
    if newest.artifacts:
        found.append(
            _tried("brings what it announces, and verifies it", lambda: _good(plugins, plugin, source, newest))
        )
        found.append(_tried("refuses a flipped byte", lambda: _flipped(plugins, plugin, source, newest)))
    found.append(_tried("plans a recall", lambda: _recall(plugins, plugin, source, newest.version)))
    return found


def _tried(name: str, act: Callable[[], str]) -> Check:
    try:
        return Check(name, True, act())
    except GateError as problem:
        return Check(name, False, problem.detail)


def _hooks(plugins: ChildPlugins, plugin: str) -> str:
    has = plugins.hooks(plugin)
    missing = [one for one in NEEDED if one not in has]
    if missing:
        raise GateError("check", f"it has no {' and no '.join(missing)}")
    without = [one for one in OPTIONAL if one not in has and not one.startswith("gate_agent_")]
    return f"without {', '.join(without)}" if without else "with every hook"


def _honest(plugins: ChildPlugins, plugin: str) -> str:
    info = plugins.describe(plugin)
    if info.name != plugin.replace("-", "_") or not info.kinds:
        raise GateError("check", f"it calls itself {info.name!r}, or names no kind")
    if not info.why or not all(stream.why or stream.lever == info.lever for stream in info.streams):
        raise GateError("check", f"the lever is {info.lever!r}, and it does not say why")
    if not all(option.sentence for option in info.options.values()):
        raise GateError("check", "an option has no sentence")
    return f"lever {info.lever}: {info.why}"


def _compared(plugins: ChildPlugins, plugin: str) -> str:
    options = plugins.describe(plugin).options
    needed = {name: next(iter(one.choices), "x") for name, one in options.items() if one.required}
    unread = []
    for version in VERSIONS:
        try:
            if plugins.order(plugin, Source("describe", needed), [(version, version)]) is None:
                return "it knows no order: that of discovery holds"
        except SourceError:
            unread.append(version)
    return f"gate_order fails at {', '.join(unread)}" if unread else "of every kind"


def _order(plugins: ChildPlugins, plugin: str, source: Source, candidates: Sequence[Candidate]) -> str:
    versions = [one.version for one in candidates[-10:]]
    pairs = list(product(versions, versions))
    said = plugins.order(plugin, source, pairs)
    if said is None:
        return "it knows none: that of discovery holds"
    order = dict(zip(pairs, said, strict=True))
    for a, b in pairs:
        if (a == b and order[a, b] != 0) or (a != b and order[a, b] == 0):
            raise GateError("check", f"{a} and {b}: the same is not the same, or others are")
    if any(order[a, b] != -order[b, a] for a, b in pairs):
        raise GateError("check", "a is newer than b, and b is not older than a")
    return f"{len(versions)} versions"


def _good(plugins: ChildPlugins, plugin: str, source: Source, candidate: Candidate) -> str:
    into, fetched = plugins.fetch(plugin, source, candidate)
    verified = plugins.verify(plugin, source, candidate, fetched, into)
    if not verified.ok:
        raise GateError("check", f"{candidate.version} is refused: {verified.detail}")
    findings = plugins.lint(plugin, source, candidate, fetched, into, None)
    return f"{verified.trust}, {sum(one.length for one in fetched)} bytes, {len(findings)} findings"


def _flipped(plugins: ChildPlugins, plugin: str, source: Source, candidate: Candidate) -> str:
    into, fetched = plugins.fetch(plugin, source, candidate)
    trust = plugins.verify(plugin, source, candidate, fetched, into).trust
    if trust == "unverified":
        return "it verifies nothing, and says so"
    file = next((one for one in fetched if one.length), None)
    if file is None:
        return "there are no bytes"
    wrong = [_flip(into, one) if one is file else one for one in fetched]
    try:
        verified = plugins.verify(plugin, source, candidate, wrong, into)
    except GateError:
        return "by an error"
    if verified.ok:
        raise GateError("check", f"{file.name} with a flipped byte is {verified.trust}")
    return verified.detail


def _flip(into: Path, one: Fetched) -> Fetched:
    path = into / one.name
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    return measure(into, one.name)


def _recall(plugins: ChildPlugins, plugin: str, source: Source, version: str) -> str:
    without = plugins.recall_plan(plugin, source, "ring", version, "")
    if without.how not in ("agent_purge", "none"):
        raise GateError("check", f"it goes back by {without.how} where there is no release before")
    plan = plugins.recall_plan(plugin, source, "ring", version, "0")
    return plan.how + (", with our agent" if plan.needs_agent else "")
