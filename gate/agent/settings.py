"""The agent's own settings: ``agent.toml`` in its state directory; plugin and target folder of each source.

- ``[facts]`` are texts that the machine says about itself; ``hostname`` and ``os`` are found by themselves.
- ``[sources.<name>]`` has ``plugin``, ``folder``, and options of the plugin, such as ``probe``. ``by = "mirror"``: its
  own software takes the content from the gate's mirror; the agent installs nothing and says what runs.
- ``[probes.<name>]`` says what a probe that the policy names means here: ``kind``, its options, ``limit_s``.
- ``proxy``: the only way out, where there is one; never taken from the environment.
- ``itself``: the source that the agent's own releases come from (``itself``).
- ``ca``: a PEM file of the authorities that may vouch for the gate, instead of those that the agent comes with.
"""

from __future__ import annotations

import platform
import socket
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.agent import boot
from gate.agent.errors import Misuse
from gate.agent.probes import LIMIT_S, ProbeSetting, problem_of
from gate.hookspecs import Target

FILE = "agent.toml"
RAN = "agent.toml.ran"
"""A copy of the settings that the agent ran with last."""
KNOWN = {"facts", "sources", "probes", "boot_id_path", "uptime_path", "reboot", "proxy", "ca", "itself"}


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What ``agent.toml`` may say. ``reboot``: the command for `reboot: after install`; empty: wait for a person."""

    facts: Mapping[str, str] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)
    boot_id_path: Path = boot.BOOT_ID
    uptime_path: Path = boot.UPTIME
    reboot: str = ""
    watched: frozenset[str] = frozenset()
    """The sources that come by the mirror."""
    probes: Mapping[str, ProbeSetting] = field(default_factory=dict)
    """By the name that the policy calls them by."""
    proxy: str = ""
    ca: str = ""
    itself: str = ""
    """The source of the agent's own releases."""

    @property
    def awake(self) -> Callable[[], float] | None:
        """This machine's own count of its seconds without sleep; beside a played uptime there is none."""
        return boot.awake_s if self.uptime_path == boot.UPTIME else None


def load(path: Path) -> AgentSettings:
    """The settings; a missing file is an agent without sources.

    Raises:
        Misuse: not TOML, an unknown key, or a value of the wrong form.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except RecursionError as problem:
        raise Misuse(f"{path}: nested too deeply") from problem
    except (OSError, ValueError) as problem:
        raise Misuse(f"{path}: {problem}") from problem
    unknown = set(found) - KNOWN
    if unknown:
        raise Misuse(f"{path}: unknown setting {', '.join(sorted(unknown))}")
    facts = _texts(path, "facts", found.get("facts", {}))
    plugins, targets, watched = {}, {}, set()
    for name, one in _table(path, "sources", found.get("sources", {})).items():
        options = _texts(path, f"sources.{name}", one)
        if not options.get("plugin") or not options.get("folder"):
            raise Misuse(f"{path}: sources.{name} needs plugin and folder")
        by = options.pop("by", "agent")
        if by not in ("agent", "mirror"):
            raise Misuse(f"{path}: sources.{name}.by is agent or mirror")
        if by == "mirror":
            watched.add(name)
        plugins[name] = options.pop("plugin")
        targets[name] = Target(name, Path(options.pop("folder")), options)
    more = _texts(path, "", {key: found[key] for key in found.keys() - {"facts", "sources", "probes"}})
    if more.get("itself") and (more["itself"] not in plugins or more["itself"] in watched):
        raise Misuse(f"{path}: itself = {more['itself']!r} is no source that the agent installs")
    return AgentSettings(
        facts={"hostname": socket.gethostname()[:128], "os": platform.system().lower()[:128], **facts},
        plugins=plugins,
        targets=targets,
        boot_id_path=Path(more.get("boot_id_path", boot.BOOT_ID)),
        uptime_path=Path(more.get("uptime_path", boot.UPTIME)),
        reboot=more.get("reboot", ""),
        watched=frozenset(watched),
        probes=_probes(path, found.get("probes", {})),
        proxy=more.get("proxy", ""),
        ca=more.get("ca", ""),
        itself=more.get("itself", ""),
    )


def loaded_or_ran(folder: Path) -> tuple[AgentSettings, str]:
    """``load`` of the agent's directory; where that is gone or has a mistake, what the agent ran with last, and the
    mistake (empty: none). A mistake that a person makes must keep no boot from being counted.

    Raises:
        Misuse: as ``load``, where the agent never ran.
    """
    ran = folder / RAN
    try:
        return load(folder / FILE if (folder / FILE).exists() else ran), ""
    except Misuse as problem:
        if not ran.exists():
            raise
        return load(ran), f"{problem}; by {RAN}, as it ran last: "


def render(facts: Mapping[str, str], sources: Mapping[str, Mapping[str, str]], more: Mapping[str, str]) -> str:
    """The settings as TOML text."""
    lines = [f"{key} = {_quoted(value)}" for key, value in more.items()]
    lines += ["", "[facts]", *(f"{key} = {_quoted(value)}" for key, value in facts.items())]
    for name, options in sources.items():
        lines += ["", f"[sources.{name}]", *(f"{key} = {_quoted(value)}" for key, value in options.items())]
    return "\n".join(lines).strip() + "\n"


def _probes(path: Path, found: Any) -> dict[str, ProbeSetting]:
    probes = {}
    for name, one in _table(path, "probes", found).items():
        options = _texts(path, f"probes.{name}", one)
        kind, limit = options.pop("kind", ""), options.pop("limit_s", f"{LIMIT_S:g}")
        try:
            probes[name] = ProbeSetting(kind, options, float(limit))
        except ValueError as problem:
            raise Misuse(f"{path}: probes.{name}.limit_s is no number of seconds") from problem
        wrong = problem_of(probes[name])
        if wrong:
            raise Misuse(f"{path}: probes.{name}: {wrong}")
    return probes


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(char if ord(char) >= 32 and ord(char) != 127 else f"\\u{ord(char):04x}" for char in escaped) + '"'
    )


def _table(path: Path, name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misuse(f"{path}: {name} is not a table")
    return value


def _texts(path: Path, name: str, value: Any) -> dict[str, str]:
    table = _table(path, name, value)
    for key, text in table.items():
        if not isinstance(text, str):
            raise Misuse(f"{path}: {name + '.' if name else ''}{key} is not a text in quotes")
    return dict(table)
