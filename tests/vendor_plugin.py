"""A plugin of a vendor that delivers by itself, scripted by a file beside it, which also keeps what it was asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.real_gate import RealGate

SOURCE = """
import json, os, time
from pathlib import Path
from gate.hookspecs import *

def said(source):
    return json.loads(Path(source.options["script"]).read_text())

def note(source, **what):
    with open(Path(source.options["script"]).with_suffix(".log"), "a") as file:
        file.write(json.dumps(what) + "\\n")

@hookimpl
def gate_describe():
    options = {"script": Option("what to say", True), "secret": Option("s", secret=True)}
    return SourceInfo("vendor", "held", ("content",), options, why="the vendor's console holds it")

@hookimpl
def gate_discover(source, cursor):
    return Discovered(tuple(Candidate(one, (), one) for one in said(source)["offers"]))

@hookimpl
def gate_publish(source, ring, release, machines, io):
    ids = [one.machine for one in machines]
    note(source, hook="publish", ring=ring, version=release.version if release else None, machines=ids)
    if said(source).get("dies"):
        os._exit(1)
    while said(source).get("stuck"):
        time.sleep(0.02)
    if "names" in said(source):
        return Published(tuple(said(source)["names"]))
    refused = said(source).get("refuses", [])
    return Published(tuple(one for one in ids if one not in refused and not said(source).get("down")), "not now")

@hookimpl
def gate_hold(source, ring, reason, io):
    note(source, hook="hold", ring=ring, reason=reason)
    if said(source).get("hold_down"):
        raise OSError("the vendor does not answer")
    return Held(True, "paused")

@hookimpl
def gate_recall_plan(source, ring, bad, good):
    if said(source).get("planless"):
        raise OSError("the vendor does not answer")
    return RecallPlan("vendor_pin", ("pin " + good + " instead of " + bad,), False)

@hookimpl
def gate_observed(source, machine, report, io):
    if said(source).get("blind"):
        raise OSError("the vendor does not answer")
    found = said(source).get("runs", {}).get(machine.machine)
    return Observed(found, "the vendor says so") if found else None
"""


class Vendor:
    """A gate with such a source beside its own."""

    def __init__(self, gate: RealGate, folder: Path) -> None:
        self.gate, self.script = gate, folder / "script.json"
        self.now: dict[str, Any] = {"offers": []}
        self.says()
        options = gate.worker._looking.options
        options["vendor"] = {"script": str(self.script)}  # type: ignore[index]
        policies = gate.opened.policies
        extra = "  - {name: vendor, plugin: vendor, kind: content, evidence: alive}\n"
        text = policies.read(policies.head())
        gate.policy_says(text.replace("sources:\n", "sources:\n" + extra), "one more")

    def says(self, **more: Any) -> None:
        """What it answers from now on."""
        self.now |= more
        part = self.script.with_suffix(".part")
        part.write_text(json.dumps(self.now))
        part.replace(self.script)

    def asked(self, hook: str = "") -> list[dict[str, Any]]:
        """Each call of a lever so far, oldest first."""
        log = self.script.with_suffix(".log")
        found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [one for one in found if hook in ("", one["hook"])]

    def rounds(self, count: int = 1, seconds: float = 6) -> None:
        """What all loops of a worker do, some time apart."""
        for _ in range(count):
            self.gate.clock.forward(seconds=seconds)
            self.gate.worker.tick()
            self.gate.worker.held()
            self.gate.worker.tell()


def install(folder: Path) -> Path:
    """Where the plugin lies, for ``plugin_folders``."""
    assert REPOSITORY.exists()
    package = folder / "plugins" / "gate_vendor"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "source.py").write_text(SOURCE)
    return package.parent
