"""The child process of one plugin call: limits first, then the plugin, then one JSON answer.

- The source's options are held against what the plugin says of itself: an unknown one, or a required one that is
  missing, ends the call. Those that it calls secret come in ``io.secrets`` alone.
- Its network is ``gate.adapters.egress``, loaded when it is first used.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate import hookspecs
from gate.adapters.plugin_process import apply_limits
from gate.hookspecs import (
    Announced,
    Answer,
    Baseline,
    Candidate,
    Discovered,
    Fetched,
    Held,
    Io,
    Observed,
    Published,
    RecallPlan,
    Receiver,
    Released,
    Served,
    Source,
    SourceInfo,
    Verification,
)

if TYPE_CHECKING:
    from gate.adapters.egress import Egress

ANSWERS: dict[str, type[Any]] = {
    "gate_describe": SourceInfo,
    "gate_discover": Discovered,
    "gate_fetch": list,
    "gate_verify": Verification,
    "gate_lint": list,
    "gate_order": int,
    "gate_publish": Published,
    "gate_hold": Held,
    "gate_recall_plan": RecallPlan,
    "gate_serve": Served,
    "gate_observed": Observed,
}
NOTHING = ("gate_serve",)
"""Hooks of one answer for which None is an answer."""
OUTWARD = ("gate_discover", "gate_fetch", "gate_publish", "gate_hold", "gate_observed")
"""Hooks that may reach out."""


class LateHttp:
    """The network of one call; nothing of it is loaded before somebody asks for it."""

    def __init__(self, source: Source, given: Mapping[str, Any]) -> None:
        self._source = source
        self._given = given

    @cached_property
    def _http(self) -> Egress:
        from gate.adapters.egress import Caps, Egress

        given = self._given
        numbers = {name: given[name] for name in ("seconds", "per_second", "spare")}
        caps = Caps(bytes=self._source.max_bytes, **numbers)
        return Egress(self._source.hosts, caps, parts=Path(given["parts"]), loopback=given["loopback"])

    def get(self, url: str, *, most: int = 4 * 1024**2, headers: Mapping[str, str] | None = None) -> Answer:
        """As the contract says."""
        return self._http.get(url, most=most, headers=headers)

    def send(self, method: str, url: str, *, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """As the contract says."""
        return self._http.send(method, url, body=body, headers=headers)

    def download(self, url: str, to: Path, *, most: int, headers: Mapping[str, str] | None = None) -> Fetched:
        """As the contract says."""
        return self._http.download(url, to, most=most, headers=headers)


def main(numbers: Mapping[str, int]) -> None:
    """Reads the call, answers it; an exception of the plugin is the answer ``problem``. ``numbers``: the limits."""
    apply_limits(numbers)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the nursery's 2 is nowhere; whatever the plugin prints is not its answer
    with os.fdopen(0, "rb", closefd=False) as file:
        question = json.loads(file.read())
    sys.path[:0] = question["folders"]
    try:
        found = _asked(question["plugin"], question["hook"], question["arguments"], question["io"])
    except MemoryError:
        found = {"problem": "out of memory"}
    except Exception as problem:  # noqa: BLE001  (the plugin's edge: whatever it raises is its answer)
        found = {_kind(problem): f"{type(problem).__name__}: {problem}"[:1000]}
    answer.write(json.dumps(found, default=str).encode())
    answer.flush()


def _kind(problem: BaseException) -> str:
    ours = type(problem).__module__ == "gate.adapters.egress"
    return {"Unfinished": "unfinished", "NoRoom": "no_room"}.get(type(problem).__name__ if ours else "", "problem")


def _asked(plugin: str, hook: str, arguments: dict[str, Any], io: Mapping[str, Any]) -> dict[str, Any]:
    hooks = hookspecs.load(plugin, "source")
    info = hookspecs.call(hooks, "gate_describe", SourceInfo)
    if hook == "gate_describe":
        return {**dataclasses.asdict(info), "hooks": [one for one in ANSWERS if hookspecs.has(hooks, one)]}
    if not hookspecs.has(hooks, hook):
        return {"missing": True}
    given = {name: GIVEN[name](value) if name in GIVEN else value for name, value in arguments.items()}
    source, secrets = _checked(given["source"], info)
    given["source"] = source
    if hook == "gate_order":
        pairs = given.pop("pairs")
        return {"answer": [hookspecs.call(hooks, hook, int, nothing=True, a=a, b=b, **given) for a, b in pairs]}
    if hook in OUTWARD:
        given["io"] = Io(LateHttp(source, io), secrets, lambda: datetime.now(UTC), Path(io["state"]))
    if hook == "gate_observed":
        return _read(hooks, given)
    found = hookspecs.call(hooks, hook, ANSWERS[hook], nothing=hook in NOTHING, **given)
    if found is None:
        return {"nothing": True}
    if isinstance(found, list):
        return {"answer": [dataclasses.asdict(one) for one in found]}
    return dataclasses.asdict(found)


def _read(hooks: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What each machine runs; a report that cannot be read is that machine's alone, unless it is so with every one."""
    answers: list[dict[str, Any] | None] = []
    problems: list[Exception] = []
    for machine, report in given.pop("reports"):
        try:
            found = hookspecs.call(
                hooks, "gate_observed", Observed, nothing=True, machine=machine, report=report, **given
            )
            answers.append(found and dataclasses.asdict(found))
        except MemoryError:
            raise
        except Exception as problem:  # noqa: BLE001  (the plugin's edge: the other machines have their answers)
            problems.append(problem)
            answers.append({"version": "", "detail": f"{type(problem).__name__}: {problem}"[:400]})
    if problems and len(problems) == len(answers):
        raise problems[0]
    return {"answer": answers}


def _checked(source: Source, info: SourceInfo) -> tuple[Source, dict[str, str]]:
    for name in source.options:
        if name not in info.options:
            near = difflib.get_close_matches(name, info.options, 1)
            raise ValueError(f"there is no option {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
    for name, option in info.options.items():
        if option.required and not source.options.get(name):
            raise ValueError(f"option {name} is missing: {option.sentence}")
        if option.choices and source.options.get(name, option.choices[0]) not in option.choices:
            raise ValueError(f"option {name} is one of {', '.join(option.choices)}")
    secret = {name for name, option in info.options.items() if option.secret}
    open_options = {name: value for name, value in source.options.items() if name not in secret}
    kept = {name: value for name, value in source.options.items() if name in secret}
    return dataclasses.replace(source, options=open_options), kept


def _candidate(found: Mapping[str, Any]) -> Candidate:
    return Candidate(**{**found, "artifacts": _announced(found)})


def _announced(found: Mapping[str, Any]) -> tuple[Announced, ...]:
    return tuple(Announced(**one) for one in found["artifacts"])


def _files(found: Mapping[str, Any]) -> dict[str, Path]:
    return {name: Path(path) for name, path in found["files"].items()}


GIVEN: dict[str, Callable[[Any], Any]] = {
    "source": lambda one: Source(**{**one, "hosts": tuple(one["hosts"])}),
    "candidate": _candidate,
    "fetched": lambda many: [Fetched(**one) for one in many],
    "into": Path,
    "baseline": lambda one: one and Baseline(**{**one, "files": _files(one)}),
    "release": lambda one: one and Released(**{**one, "artifacts": _announced(one), "files": _files(one)}),
    "machines": lambda many: [Receiver(**one) for one in many],
    "reports": lambda many: [(Receiver(**one), report) for one, report in many],
    "at": datetime.fromisoformat,
}
"""How each argument comes out of the call's JSON."""
