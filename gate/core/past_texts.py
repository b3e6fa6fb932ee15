"""The sentences about the past (``--at``), in both languages: what was known then, and what nobody can know now."""

from __future__ import annotations

from collections.abc import Mapping

TEXTS: Mapping[str, tuple[str, str]] = {
    "is": ("At {at}: {release} was {state}.", "Am {at}: {release}: {state}."),
    "not_started": ("At {at} it had not begun: it began {began}.", "Am {at} hatte es nicht begonnen: Beginn {began}."),
    "nothing": ("At {at} {source} had brought nothing.", "Am {at} hatte {source} nichts gebracht."),
    "halted_by": ("{by} had halted it: {because}", "Angehalten von {by}: {because}"),
    "open": ("Ring {ring} was open since {since}.", "Ring {ring} war offen seit {since}."),
    "shut": ("Ring {ring} was not open.", "Ring {ring} war nicht offen."),
    "decided": (
        "Ring {ring}: the last decision before was {verdict} at {since}: {said}",
        "Ring {ring}: die letzte Entscheidung davor war {verdict} am {since}: {said}",
    ),
    "undecided": ("Ring {ring}: nothing had been decided.", "Ring {ring}: noch nichts war entschieden."),
    "claimed": (
        "{machine} had been granted it {since} in ring {ring}.",
        "{machine} hatte die Zusage dafür seit {since} in Ring {ring}.",
    ),
    "installed": ("It had installed it {since}.", "Installiert war es seit {since}."),
    "resolved": ("How it ended was known {since}: {state}.", "Wie es ausging, war bekannt am {since}: {state}."),
    "pending": ("How it would end was not known.", "Wie es ausgehen würde, war nicht bekannt."),
    "unclaimed": ("{machine} had no claim on it.", "{machine} hatte keine Zusage dafür."),
    "unknown.refusal": (
        "Cannot be known: what a claim would have been answered at that moment; refusals are not stored.",
        "Nicht zu wissen: was einer Anfrage da geantwortet worden wäre; Absagen werden nicht gespeichert.",
    ),
    "unknown.place": (
        "Cannot be known: ring and make of a machine without a claim; its ring here is today's.",
        "Nicht zu wissen: Ring und Bauart eines Rechners ohne Zusage; sein Ring hier ist der heutige.",
    ),
    "unknown.counts": (
        "Cannot be known: how many were healthy at that moment, beyond what the decisions say of it.",
        "Nicht zu wissen: wie viele in diesem Augenblick gesund waren, außer was die Entscheidungen davon sagen.",
    ),
    "unknown.shelf": (
        "Cannot be known here: what is older than {since}; those entries have left the database for the shelf.",
        "Hier nicht zu wissen: was älter ist als {since}; diese Einträge liegen im Archiv, nicht in der Datenbank.",
    ),
}


def past(key: str, language: str, **said: str) -> str:
    """The sentence, filled in."""
    return TEXTS[key][language == "de"].format(**said)
