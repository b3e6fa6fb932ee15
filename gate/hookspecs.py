"""The plugin contract: frozen values in, frozen values out, one plugin per call, an explicit answer.

- A plugin is an importable package ``gate_<name>`` that the policy names; being installed loads nothing. Its module
  ``source`` carries the gate's hooks, its module ``agent`` those of the agent; a plugin may have one or both.
- On the gate each call runs in a child process of its own: without keys and database, its spool as directory, with
  limits on time, memory, bytes and open files. Whatever it raises, prints, or leaves unanswered is *not ok*.
- On the agent a hook runs inside the agent, as the agent's user.
- ``None``, a wrong type and an exception are never a pass.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pluggy

PROJECT = "gate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a plugin is: its name, its honest lever (held, advised, no lever), the kinds it can bring."""

    name: str
    lever: str
    kinds: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)  # option -> one sentence


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source: its name in the policy, and its options from the server's settings."""

    name: str
    options: Mapping[str, str]
    max_bytes: int = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Announced:
    """One file that a candidate says it has; ``length`` in bytes, ``sha256`` 64 hex digits."""

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a source says exists. ``where`` is the plugin's own pointer to it, such as a folder's name."""

    version: str
    artifacts: tuple[Announced, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """Every candidate that is complete, oldest first; ``cursor`` comes back with the next call; ``skipped`` are
    sentences about what was there and could not be taken; ``withdrawn`` are versions that the vendor has taken back:
    their rollout halts at once."""

    candidates: tuple[Candidate, ...]
    cursor: str = ""
    skipped: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was brought into the spool, as it really is."""

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Verification:
    """How far the bytes could be verified. ``trust``: vendor_signed, digest_pinned or unverified. Not ok is final."""

    trust: str
    ok: bool
    signer: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a machine keeps the content of a source, from the agent's own settings."""

    source: str
    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placing:
    """A verified release to put in place: ``release`` is the hex digest of its manifest, ``files`` name -> verified
    bytes on disk, with ``artifacts`` as the manifest lists them."""

    release: str
    version: str
    artifacts: tuple[Announced, ...]
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of it; ``release`` is what is in place now (hex digest, empty: nothing)."""

    ok: bool
    release: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe's answer."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the machine really runs now, and whether it works. ``release`` is the hex digest of what is in place."""

    release: str
    probes: tuple[ProbeResult, ...]


class SourceHooks:
    """What the gate asks of a source."""

    @hookspec
    def gate_describe(self) -> SourceInfo:
        """Says what this plugin is.

        When: at start, by ``gate doctor`` and by the contract tests.
        Arguments: none.
        Returns: a ``SourceInfo``.
        Failure: the source is *failed* and brings nothing.
        Example: ``return SourceInfo("directory", "held", ("content",))``
        """
        raise NotImplementedError

    @hookspec
    def gate_discover(self, source: Source, cursor: str) -> Discovered:
        """Lists the candidates that are complete now.

        When: at every look at the source (setting ``source_s``).
        Arguments: ``source`` with its options; ``cursor`` as the last call returned it, empty at first.
        Returns: a ``Discovered``; the same again when nothing has changed (idempotent), without half-written things.
        Failure: an event ``source_failed``; nothing else is harmed; asked again at the next look.
        Example: see ``gate_directory/source.py``.
        """
        raise NotImplementedError

    @hookspec
    def gate_fetch(self, source: Source, candidate: Candidate, into: Path) -> Sequence[Fetched]:
        """Brings a candidate's bytes into the spool.

        When: once for a version that the gate does not know yet.
        Arguments: ``into`` is an empty folder; write each file there under its artifact's name; execute nothing.
        Returns: one ``Fetched`` a file, measured on the bytes that were written.
        Failure: an event ``source_failed``; the spool is emptied; tried again at the next look.
        Example: see ``gate_directory/source.py``.
        """
        raise NotImplementedError

    @hookspec
    def gate_verify(self, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
        """Checks the vendor's signature, or the digests that were announced.

        When: after a fetch, before anything is stored.
        Arguments: as for ``gate_fetch``; ``fetched`` is its answer, checked by the gate against the bytes.
        Returns: a ``Verification``; ``ok=False`` is final for these bytes.
        Failure: counts as not ok: the candidate is refused and an event says so.
        Example: ``return Verification("digest_pinned", True)``
        """
        raise NotImplementedError


class AgentHooks:
    """What the agent asks of a plugin on its machine."""

    @hookspec
    def gate_agent_install(self, target: Target, placing: Placing) -> Placed:
        """Puts a release in place, atomically, and keeps the one before it.

        When: after the claim was granted and everything was checked again.
        Arguments: ``target`` from the agent's settings; ``placing`` with verified files.
        Returns: a ``Placed``. Called again after a crash: what is in place already stays (idempotent).
        Failure: an exception counts as ``failed``; the plugin leaves the old release in place.
        Example: see ``gate_directory/agent.py``.
        """
        raise NotImplementedError

    @hookspec
    def gate_agent_rollback(self, target: Target, release: str, good: str) -> Placed:
        """Goes back from ``release`` to ``good`` (hex digests; ``good`` empty: remove).

        When: a release turned out bad on this machine.
        Arguments: as above.
        Returns: a ``Placed`` that names what is in place now. Idempotent.
        Failure: an exception is reported as ``failed``; the machine stays as it is.
        Example: see ``gate_directory/agent.py``.
        """
        raise NotImplementedError

    @hookspec
    def gate_agent_probe(self, target: Target) -> Probed:
        """Says what is in place and whether it works.

        When: after ``stay_up``, and after a crash, to learn what is in place.
        Arguments: ``target``; its options may name a command to run.
        Returns: a ``Probed``. Each probe has its own time limit; a hanging probe is bad, not a hang.
        Failure: an exception is one bad probe with its text.
        Example: see ``gate_directory/agent.py``.
        """
        raise NotImplementedError


SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,40}\Z")


def load(plugin: str, part: str) -> Any:
    """The hooks of one plugin (``part``: source or agent), to be called by name with keyword arguments.

    Raises:
        LookupError: no such plugin, it cannot be imported, or its hooks do not fit the contract.
    """
    if not SLUG.match(plugin):
        raise LookupError(f"{plugin!r} is not a plugin's name")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(SourceHooks if part == "source" else AgentHooks)
    try:
        manager.register(importlib.import_module(f"gate_{plugin.replace('-', '_')}.{part}"))
        manager.check_pending()
    except (ImportError, ValueError, pluggy.PluginValidationError) as problem:
        raise LookupError(f"plugin {plugin} cannot be loaded: {problem}") from problem
    return manager.hook


def call(hooks: Any, hook: str, wanted: type[Any], **arguments: Any) -> Any:
    """Calls one hook of one plugin and insists on its answer.

    Raises:
        TypeError: no answer, or one of another type.
    """
    answers = getattr(hooks, hook)(**arguments)
    if len(answers) != 1 or not isinstance(answers[0], wanted):
        raise TypeError(f"{hook} did not answer with {wanted.__name__}")
    return answers[0]
