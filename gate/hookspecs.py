"""The plugin contract: frozen values in, frozen values out, one plugin per call, an explicit answer.

- A plugin is an importable package ``gate_<name>`` that the policy names; being installed loads nothing. Its module
  ``source`` carries the gate's hooks, its module ``agent`` those of the agent; a plugin may have one or both.
- On the gate each call runs in a child process of its own: without keys and database, its spool as directory, with
  limits on time, memory, bytes and open files. Whatever it raises, prints, or leaves unanswered is *not ok*.
- On the agent a hook runs inside the agent, as the agent's user.
- ``None``, a wrong type and an exception are never a pass; ``None`` is an answer where a hook says so.
- ``gate_describe`` and ``gate_discover`` are needed. ``OPTIONAL`` says what the gate does where another is missing.
- A hook takes the arguments that it names: who needs no ``io`` leaves it out.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pluggy

from gate.hookvalues import (
    LEVERS,
    RECALLS,
    TRUSTS,
    WEIGHTS,
    Announced,
    Answer,
    Baseline,
    Candidate,
    Discovered,
    Fetched,
    Finding,
    Held,
    Http,
    Io,
    Observed,
    Option,
    Placed,
    Placing,
    Probed,
    ProbeResult,
    Published,
    RecallPlan,
    Receiver,
    Released,
    Served,
    ServedFile,
    Source,
    SourceInfo,
    Status,
    Stream,
    Target,
    Verification,
)

__all__ = [
    "LEVERS",
    "RECALLS",
    "TRUSTS",
    "WEIGHTS",
    "Announced",
    "Answer",
    "Baseline",
    "Candidate",
    "Discovered",
    "Fetched",
    "Finding",
    "Held",
    "Http",
    "Io",
    "Observed",
    "Option",
    "Placed",
    "Placing",
    "ProbeResult",
    "Probed",
    "Published",
    "RecallPlan",
    "Receiver",
    "Released",
    "Served",
    "ServedFile",
    "Source",
    "SourceInfo",
    "Status",
    "Stream",
    "Target",
    "Verification",
    "call",
    "hookimpl",
    "load",
]

PROJECT = "gate"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

OPTIONAL: Mapping[str, str] = {
    "gate_fetch": "only candidates without artifacts can be taken: the vendor delivers",
    "gate_verify": "the bytes count as digest_pinned where every digest was announced and is met, else as unverified",
    "gate_lint": "the content is not looked into",
    "gate_order": "the order is that of discovery: what is listed before what is here is older",
    "gate_publish": "machines get a release by our agent, or by what `gate_serve` lays out",
    "gate_hold": "a hold is that nobody is offered more: the last released version goes on being served",
    "gate_recall_plan": "none: the steps are for hands",
    "gate_serve": "each artifact is served under its own name",
    "gate_observed": "what a machine runs is the release that its agent says is in place",
    "gate_agent_install": "an installation by our agent fails, and says so",
    "gate_agent_rollback": "going back by our agent fails, and says so",
    "gate_agent_probe": "our agent knows of no release in place: a bad probe",
}


class SourceHooks:
    """What the gate asks of a source."""

    @hookspec
    def gate_describe(self) -> SourceInfo:
        """Says what this plugin is.

        When: with every other call, to check the source's options; by ``gate plugins``, ``gate doctor`` and the
        contract tests.
        Arguments: none.
        Returns: a ``SourceInfo``. An option that it does not name, or a required one that is missing, ends the call.
        Failure: the source is *failed* and brings nothing.
        Example: ``return SourceInfo("directory", "held", ("content",), {"folder": Option("where drops lie", True)})``
        """
        raise NotImplementedError

    @hookspec
    def gate_discover(self, source: Source, cursor: str, io: Io) -> Discovered:
        """Lists the candidates that are complete now.

        When: at every look at the source (setting ``source_s``).
        Arguments: ``source`` with its options; ``cursor`` as the last call returned it, empty at first: the place for
        an ETag; ``io`` for the network.
        Returns: a ``Discovered``; the same again when nothing has changed (idempotent), without half-written things.
        Failure: an event ``source_failed``; nothing else is harmed; asked again at the next look.
        Example: see ``gate_http_feed/source.py``.
        """
        raise NotImplementedError

    @hookspec
    def gate_fetch(self, source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
        """Brings a candidate's bytes into the spool.

        When: once for a version that the gate does not know yet.
        Arguments: ``into`` is an empty folder; write each file there under its artifact's name; execute nothing.
        Returns: a list with one ``Fetched`` a file, measured on the bytes that were written; ``io.http.download``
        answers it.
        Failure: an event ``source_failed`` that names the candidate; the spool is emptied; it is put off: tried again
        at the next look, then less and less often, and holds up no newer one.
        Example: ``return [io.http.download(candidate.where, into / "rules.tgz", most=source.max_bytes)]``
        """
        raise NotImplementedError

    @hookspec
    def gate_verify(self, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
        """Checks the vendor's signature, or the digests that were announced.

        When: after a fetch, before anything is stored.
        Arguments: as for ``gate_fetch``; ``fetched`` is its answer, checked by the gate against the bytes.
        Returns: a ``Verification``; ``ok=False`` is final for these bytes. ``vendor_signed`` only for a signature over
        the bytes by a key that did not come with them.
        Failure: an event ``source_failed`` that names the candidate; it is put off as after a failed ``gate_fetch``.
        Example: ``return Verification("digest_pinned", True)``
        """
        raise NotImplementedError

    @hookspec
    def gate_lint(
        self,
        source: Source,
        candidate: Candidate,
        fetched: Sequence[Fetched],
        into: Path,
        baseline: Baseline | None,
    ) -> Sequence[Finding]:
        """Looks into the content for what would hurt: bad syntax, half of the rules gone, a test file found no more.

        When: after a good verification, before anything is stored.
        Arguments: as for ``gate_verify``; ``baseline`` is the newest release that the gate has, None at first.
        Returns: a list of ``Finding``, empty where all is well. ``refuse`` keeps the candidate out; a tool that is
        missing is a ``note``.
        Failure: an event ``source_failed`` that names the candidate; it is put off as after a failed ``gate_fetch``.
        Example: ``return [Finding("refuse", "syntax", "rules.yar line 7 does not parse")]``
        """
        raise NotImplementedError

    @hookspec
    def gate_order(self, source: Source, a: str, b: str) -> int | None:
        """Says which of two versions of this source is newer.

        When: for every candidate that is new to the gate, against the newest release that it has, and among themselves.
        Arguments: two versions as ``Candidate.version`` says them.
        Returns: -1 where ``a`` is older than ``b``, 1 where it is newer, 0 where they are the same; None where this
        source has no order but that of discovery: what is listed before a version that the gate has is older then. Of a
        new source only the newest is taken. What is not newer than the gate's newest is never taken, and alarmed
        where it stands in its place: a replay or a downgrade.
        Failure: an event ``source_failed``; this look takes nothing; asked again at the next one.
        Example: ``return (int(a) > int(b)) - (int(a) < int(b))``
        """
        raise NotImplementedError

    @hookspec
    def gate_publish(
        self, source: Source, ring: str, release: Released | None, machines: Sequence[Receiver], io: Io
    ) -> Published:
        """Lets these machines, and no others, take the release: a share swap, a call of the vendor's API.

        When: after the worker has made claims for them, a hundred at most in one call, and again, later each time,
        until each of them is answered (idempotent). Also to go back: a recall, or a grant that was not used.
        Arguments: ``ring`` in which they are; ``release`` None: they are let go, and get nothing more of this source;
        ``machines`` of that ring.
        Returns: a ``Published`` that names those for which it is done, and why the others wait.
        Failure: counts as done for nobody: the vendor may have heard all the same; an event ``vendor_failed``, the
        source shows it, tried again.
        Example: see ``gate_falcon/source.py``: moves hosts between groups whose policies are pinned.
        """
        raise NotImplementedError

    @hookspec
    def gate_hold(self, source: Source, ring: str, reason: str, io: Io) -> Held:
        """Stops the spread at the vendor. Takes nothing back, and changes no byte that is served.

        When: a rollout of this source halts; once for each ring that is open, before anything else is asked of this
        plugin, and again until it is ok (idempotent). A resumed rollout begins again with ``gate_publish``.
        Arguments: ``ring``; ``reason`` is a sentence for the vendor's own log.
        Returns: a ``Held``.
        Failure: counts as ``ok=False``: an event ``vendor_failed``, the source shows it, and people are told.
        Example: ``return Held(False, "the vendor has no pause for this category")``
        """
        raise NotImplementedError

    @hookspec
    def gate_recall_plan(self, source: Source, ring: str, bad: str, good: str) -> RecallPlan:
        """Says honestly how machines get from ``bad`` to ``good``. Plans, and does nothing.

        When: a rollout has halted, for each ring that is open, and shown to the people who may recall it.
        Arguments: ``ring``; two versions; ``good`` is empty where there is none before: then ``agent_purge``,
        where our agent takes off what is there, or ``none``.
        Returns: a ``RecallPlan``; one for every kind that the plugin publishes.
        Failure: asked again, four times within a quarter of an hour; then it counts as ``RecallPlan("none", ...)``.
        Example: ``return RecallPlan("agent_purge", ("The agent deletes daily.c?d and runs freshclam.",), True)``
        """
        raise NotImplementedError

    @hookspec
    def gate_serve(self, source: Source, ring: str, release: Released, at: datetime, into: Path) -> Served | None:
        """Lays out what a stock client of this source sees of a release, as plain files.

        When: by the worker when a machine's or a ring's pointer moves to a release. Never on a client's request: the
        mirror plane is files, and any file server may serve them.
        Arguments: ``release`` with its bytes; ``at`` is the moment of the move, for metadata that must move forward;
        ``into`` is an empty folder for files that are made, such as a checksum beside a tarball.
        Returns: a ``Served``; None where this source serves nothing to clients.
        Failure: the pointer does not move: clients keep getting what they got; an event ``mirror_failed``.
        Example: ``return Served((ServedFile("r.tgz", artifact="r.tgz"), ServedFile("r.tgz.md5", made="md5")))``
        """
        raise NotImplementedError

    @hookspec
    def gate_observed(self, source: Source, machine: Receiver, report: str, io: Io) -> Observed | None:
        """Reads what a machine really runs: out of what its own software says of itself, or from the vendor.

        When: a machine's report about this source has changed; where the plugin has ``gate_publish``, for every machine
        each few minutes. Many machines are asked about in one process: what one answer of the vendor says of all of
        them may be kept in ``io.state``.
        Arguments: ``report`` as the agent's probe brought it, such as clamd's answer to VERSION, empty where there is
        none. Hostile text.
        Returns: an ``Observed``; None where nothing is said about it.
        Failure: counts as not known for this machine; where it fails for every machine that is asked about, an event
        ``observe_failed``; asked again.
        Example: ``"ClamAV 1.4.6/27800/Mon ..."`` -> ``Observed("27800")``
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

        When: a release turned out bad on this machine, or it is recalled.
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
    except (ImportError, SyntaxError, ValueError, pluggy.PluginValidationError) as problem:
        raise LookupError(f"plugin {plugin} cannot be loaded: {problem}") from problem
    return manager.hook


def has(hooks: Any, hook: str) -> bool:
    """Whether a loaded plugin has this hook."""
    return bool(getattr(hooks, hook).get_hookimpls())


def call(hooks: Any, hook: str, wanted: type[Any], *, nothing: bool = False, **arguments: Any) -> Any:
    """Calls one hook of one plugin and insists on its answer; ``nothing``: None is one, too.

    Raises:
        TypeError: no answer, or one of another type.
    """
    answers = getattr(hooks, hook)(**arguments)
    if nothing and not answers and has(hooks, hook):
        return None
    if len(answers) != 1 or not isinstance(answers[0], wanted) or isinstance(answers[0], bool):
        raise TypeError(f"{hook} did not answer with {wanted.__name__}")
    return answers[0]
