"""The child process of one plugin call: limits first, then the plugin, then one JSON answer."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from gate import hookspecs
from gate.adapters.plugins import apply_limits
from gate.hookspecs import Announced, Candidate, Discovered, Fetched, Source, SourceInfo, Verification

ANSWERS: dict[str, type[Any]] = {
    "gate_describe": SourceInfo,
    "gate_discover": Discovered,
    "gate_fetch": list,
    "gate_verify": Verification,
}


def main() -> None:
    """Reads the call, answers it; an exception of the plugin is the answer ``problem``."""
    apply_limits(json.loads(sys.argv[1]))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the plugin prints is not its answer
    question = json.loads(sys.stdin.buffer.read())
    sys.path[:0] = question["folders"]
    try:
        found = _asked(question["plugin"], question["hook"], question["arguments"])
    except MemoryError:
        found = {"problem": "out of memory"}
    except Exception as problem:  # noqa: BLE001  (the plugin's edge: whatever it raises is its answer)
        found = {"problem": f"{type(problem).__name__}: {problem}"[:1000]}
    answer.write(json.dumps(found, default=str).encode())
    answer.flush()


def _asked(plugin: str, hook: str, arguments: dict[str, Any]) -> dict[str, Any]:
    hooks = hookspecs.load(plugin, "source")
    given: dict[str, Any] = dict(arguments)
    if "source" in given:
        given["source"] = Source(**given["source"])
    if "candidate" in given:
        artifacts = tuple(Announced(**one) for one in given["candidate"]["artifacts"])
        given["candidate"] = Candidate(**{**given["candidate"], "artifacts": artifacts})
    if "fetched" in given:
        given["fetched"] = [Fetched(**one) for one in given["fetched"]]
    if "into" in given:
        given["into"] = Path(given["into"])
    found = hookspecs.call(hooks, hook, ANSWERS[hook], **given)
    if isinstance(found, list):
        return {"answer": [dataclasses.asdict(one) for one in found]}
    return dataclasses.asdict(found)


if __name__ == "__main__":
    main()
