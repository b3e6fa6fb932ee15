"""Software that its vendor updates by itself, past the gate: no lever, and it says so wherever it is asked.

- It lists no candidates: there are no releases, no rollouts, and nothing that the gate could hold, halt or recall.
- What a machine runs is read from what its own software says (``gate_observed``), so that people see which version was
  there when boot-health turned bad. Boot-health of the machines is watched as ever; it opens and closes nothing here.
- A hold answers *not ok*, a recall plan *none*: whoever presses the brake must learn that it moves nothing here.

Options: ``after``, the words before the version in a machine's report; without it, the report is the version alone.
"""

from __future__ import annotations

import re

from gate.hookspecs import (
    Discovered,
    Held,
    Io,
    Observed,
    Option,
    RecallPlan,
    Receiver,
    Source,
    SourceInfo,
    hookimpl,
)

VERSION = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._+:~-]{0,127})(?=[\s,;/)]|\Z)", re.ASCII)
WHY = "its vendor updates it past the gate: nothing is held, boot-health is watched, and that is all"
KINDS = ("content", "sensor", "engine", "os", "rules", "binary", "price", "any")


@hookimpl
def gate_describe() -> SourceInfo:
    """No lever, whatever the kind."""
    options = {"after": Option("the words before the version in a machine's report; none: the report is the version")}
    return SourceInfo("observe", "no lever", KINDS, options, why=WHY)


@hookimpl
def gate_discover(source: Source, cursor: str) -> Discovered:
    """Nothing: what exists is the vendor's to know."""
    return Discovered(())


@hookimpl
def gate_hold(source: Source, ring: str, reason: str, io: Io) -> Held:
    """Cannot, and says so."""
    return Held(False, WHY)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """By hand, at the vendor."""
    steps = (
        "The gate has no lever here: it delivers nothing and can take nothing back.",
        "Ask the vendor to stop or to take back the update, and follow the recovery sheet of the make.",
    )
    return RecallPlan("none", steps, False)


@hookimpl
def gate_observed(source: Source, machine: Receiver, report: str) -> Observed | None:
    """The version that stands in the report, once and after the words that were named."""
    after = source.options.get("after", "")
    if after and report.count(after) != 1:
        return None
    match = VERSION.match(report.partition(after)[2] if after else report)
    if match is None or (not after and report.strip() != match[1]):
        return None
    return Observed(match[1], report.strip()[:200])
