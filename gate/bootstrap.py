"""The composition root: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.core.errors import Malformed, NotFound
from gate.core.policy import Policy
from gate.ports import Gate
from gate.sim import run, scenario

SHIPPED = "gate.sim"


class SystemClock:
    """The real clock."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


class OneText:
    """A policy that is a text, not a repository: simulations and drills use it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.commit = hashlib.sha256(text.encode()).hexdigest()[:40]

    def head(self) -> str:
        """Its version: a hash of the text."""
        return self.commit

    def read(self, commit: str) -> str:
        """The text."""
        assert commit == self.commit
        return self._text

    def blame(self, commit: str, line: int) -> tuple[str, datetime, str]:
        """Nobody in particular."""
        return "the scenario's policy", datetime.fromtimestamp(0, UTC), ""


def policy_reader(read: Callable[[str], str]) -> Callable[[str], Policy]:
    """commit -> parsed policy, kept: a commit never changes."""

    @lru_cache(maxsize=256)
    def parsed(commit: str) -> Policy:
        return parse_text(read(commit), "policy.yaml")

    return parsed


def seed_policy(name: str = "policy.yaml") -> str:
    """The seed policy, or another shipped one."""
    return (resources.files("gate") / "seed" / name).read_text(encoding="utf-8")


def read_scenario(file: Path, seed: int | None = None) -> scenario.Scenario:
    """A scenario from a file, or a shipped one by its name.

    Raises:
        NotFound, Malformed: no such file; not YAML, or not a scenario.
    """
    shipped = resources.files(SHIPPED) / "scenarios" / f"{file.name.removesuffix('.yaml')}.yaml"
    if file.is_file():
        text = file.read_text(encoding="utf-8")
    elif len(file.parts) == 1 and shipped.is_file():
        text = shipped.read_text(encoding="utf-8")
    else:
        raise NotFound(f"there is no scenario {file}")
    try:
        node: Any = YAML(typ="safe", pure=True).load(text)
    except YAMLError as problem:
        raise Malformed("bad_field", f"{file} is not YAML: {str(problem).splitlines()[0]}") from problem
    if isinstance(node, dict) and seed is not None:
        node["seed"] = seed
    return scenario.parse(node)


def simulation(plan: scenario.Scenario, policy_text: str, folder: Path) -> run.Simulation:
    """A simulation on a fresh SQLite database in ``folder``."""
    texts = OneText(policy_text)
    policy = run.prepare(plan, parse_text(policy_text))
    store = SqlStore(f"sqlite:///{folder / 'simulation.db'}", durable=False)
    store.upgrade()
    gate = Gate(policy=lambda _: policy, texts=texts, hours=OpeningCalendar(policy.timezone))
    return run.Simulation(plan, store, gate, texts.commit)
