"""``gate-agent recover --root /mnt``: from a rescue system, on a machine that dies before anything of ours runs.

- What is on trial (or, with ``--source``, what is in place) gives way to the release before, or is removed where there
  is none, and is never taken again by this machine.
- It writes the same steps as the agent does: ``rolling_back`` and the quarantine first, then the plugin goes back. The
  report is made by the machine's own agent in its next boot, which finds the step and ends it.
- A recall that was begun is gone on with: what is recalled gives way, and nothing else. The machine's agent ends it.
- The rescue system's own boots and logs have no part in it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gate.agent import settings
from gate.agent.errors import Misuse
from gate.agent.going_back import digest
from gate.agent.plugin import Plugin
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, Installed, State, StateFolder
from gate.agent.times import now_utc, wire

BECAUSE = "a person recovered it from a rescue system"


def recover(root: Path, state: Path, source: str = "") -> list[str]:
    """What was done, as sentences. ``state``: the agent's directory as the machine itself names it.

    Raises:
        Misuse: there is no agent below ``root``, or nothing to go back from. OSError: its disk refuses.
    """
    folder = StateFolder(_below(root, state))
    if not (folder.path / "state.json").is_file():
        raise Misuse(f"{folder.path} holds no agent's state: is the machine's disk mounted at {root}?")
    folder.prepare()
    folder.lock()
    try:
        found, _ = settings.loaded_or_ran(folder.path)
        return _recovered(folder, found, root, source)
    finally:
        folder.unlock()


def _recovered(folder: StateFolder, found: AgentSettings, root: Path, source: str) -> list[str]:
    now = folder.state()
    claim = _going(now, source)
    if claim is not None:
        bad, good, source = *_ways(claim), claim.source
    elif source in now.installed:
        bad, good = now.installed[source].release, now.installed[source].previous
    else:
        raise Misuse(f"nothing is on trial; name what is to go: --source {' | '.join(sorted(now.installed)) or 'NAME'}")
    if source not in found.plugins:
        raise Misuse(f"{source} is not among the sources in agent.toml")
    now.quarantined[bad] = BECAUSE
    folder.save(now)
    target = found.targets[source]
    placed = Plugin(found.plugins[source], replace(target, folder=_below(root, target.folder))).rollback(bad, good)
    if not placed.ok:
        raise Misuse(
            f"{source}: {placed.detail or 'it did not go back'}; what is in place: {placed.release or 'nothing'}"
        )
    if claim is None:
        _remember(now, source)
        folder.save(now)
    return [
        f"{source}: sha256:{bad[:16]} is gone and will not be taken again.",
        f"In place now: {f'sha256:{good}' if good else 'nothing'}.",
        f"Unmount {root} and start the machine; its agent tells the gate.",
    ]


def _going(now: State, source: str) -> ClaimInHand | None:
    """The claim under which something is on trial, is recalled, or goes back still."""
    held = [now.claim] if now.claim is not None and now.claim.step != "granted" else []
    return next((one for one in (*held, *now.going_back) if source in ("", one.source)), None)


def _ways(claim: ClaimInHand) -> tuple[str, str]:
    """(bad, good) of a claim, which goes back from now on."""
    if claim.step == "recalling":
        return claim.recalls, claim.back_to
    claim.step, claim.because = "rolling_back", BECAUSE
    return digest(claim.release), claim.previous


def _remember(now: State, source: str) -> None:
    """What was healthy once has no claim: the agent says it as an event."""
    have = now.installed.pop(source)
    if have.previous:
        now.installed[source] = Installed(have.previous, have.previous_counter)
    now.events.append({"kind": "recovered", "at": wire(now_utc()), "detail": f"{source}: {BECAUSE}"})


def _below(root: Path, path: Path) -> Path:
    return root / Path(*path.parts[1:]) if path.is_absolute() else root / path
