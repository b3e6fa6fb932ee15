"""Sources whose content the machine's own software takes from the gate's mirror: looked at, never installed.

- What runs is a version, as that software says it. It is a release where my ring's approval, what it recalls, or what
  ran before has that version in the signed catalogue; else it is none that the gate has released to this machine.
- ``probe.<source>`` says ``good`` or what is wrong; ``runs.<source>`` what the software itself said.
"""

from __future__ import annotations

from collections.abc import Mapping

from gate.agent.metadata import View
from gate.agent.state import Installed
from gate.hookspecs import Probed

SHORT = 128


def facts(source: str, probed: Probed) -> dict[str, str]:
    """What a check-in says of it."""
    bad = next((f"{one.name}: {one.detail}" for one in probed.probes if not one.ok), "")
    said = next((one.detail for one in probed.probes if one.ok and one.detail), "")
    found = {f"probe.{source}": _short(bad) or "good", f"runs.{source}": _short(said)}
    return {name: text for name, text in found.items() if text}


def installed(view: View, ring: str, source: str, version: str, before: Mapping[str, Installed]) -> Installed | None:
    """The release that runs; None: none that is known here.

    Raises:
        Unreachable, Untrusted: the catalogue cannot be read.
    """
    have, approved = before.get(source), view.approved(ring, source)
    known = [have.release, have.previous] if have else []
    known += [approved.release, approved.recalls] if approved else []
    for release in dict.fromkeys(one.removeprefix("sha256:") for one in known if one):
        listed = view.catalogued(source, release)
        if listed is None or not version or listed[1].version != version:
            continue
        if have is not None and have.release == release:
            return have
        return Installed(release, listed[1].counter, *((have.release, have.counter) if have else ("", 0)))
    return None


def recall(view: View, ring: str, source: str, before: Mapping[str, Installed]) -> tuple[str, str] | None:
    """(bad, good) as hex digests where my ring recalls what runs; ``good`` empty: there is none before."""
    have, approved = before.get(source), view.approved(ring, source)
    if have is None or approved is None or approved.action != "recall":
        return None
    bad = approved.recalls.removeprefix("sha256:")
    if have.release != bad:
        return None
    return bad, "" if approved.recalls == approved.release else approved.release.removeprefix("sha256:")


def _short(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:SHORT]
