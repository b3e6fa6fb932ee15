"""The German of what surrounds recovery sheets; their own sentences are ``core.recovery_texts``'s."""

from __future__ import annotations

GERMAN = {
    "Recovery sheets": "Wiederherstellungsblätter",
    "Recovery sheet": "Wiederherstellungsblatt",
    "All sheets of this rollout, to be printed before the network is gone": (
        "Alle Blätter dieses Rollouts, zu drucken, bevor das Netz weg ist"
    ),
    "One sheet a make, with the steps that fit it. Print them: a machine that is dead shows none.": (
        "Ein Blatt je Bauart, mit den Schritten, die zu ihr passen. Drucken Sie sie: ein toter Rechner zeigt keins."
    ),
    "No make of this rollout has failed.": "Keine Bauart dieses Rollouts ist ausgefallen.",
    "This machine is out of reach": "Dieser Rechner ist nicht erreichbar",
    "It has, or may have, this release, and has not been heard of since:": (
        "Er hat diese Freigabe, oder kann sie haben, und wurde seither nicht gehört:"
    ),
    "Out of reach": "Nicht erreichbar",
    "Key place": "Ort des Schlüssels",
    "Key id": "Schlüsselkennung",
    "Where recovery keys are kept": "Wo Wiederherstellungsschlüssel liegen",
    "Say where a recovery key is kept": "Sagen, wo ein Wiederherstellungsschlüssel liegt",
    "all of this site": "alle dieser Apotheke",
    "Its place, such as: envelope 3 in the office safe. Never the key itself.": (
        "Sein Ort, etwa: Umschlag 3 im Bürotresor. Nie der Schlüssel selbst."
    ),
    "The first eight digits of the key's id, as the screen shows them; may be empty.": (
        "Die ersten acht Stellen der Schlüsselkennung, wie der Bildschirm sie zeigt; darf leer sein."
    ),
    "Forget this place": "Diesen Ort vergessen",
    "Import key places": "Orte von Schlüsseln einlesen",
    "All of it is taken or nothing; a place that is known is replaced.": (
        "Alles wird übernommen oder nichts; ein bekannter Ort wird ersetzt."
    ),
    "Done": "Erledigt",
    "This is a part of the sheets: print each of its pages.": "Das ist ein Teil der Blätter: bitte jede Seite drucken.",
    "Who is out of reach and who still has it is being counted, beside this page; load it again in a moment.": (
        "Wer nicht zu erreichen ist und wer sie noch hat, wird gerade neben dieser Seite gezählt; bitte gleich noch "
        "einmal laden."
    ),
    "Who is out of reach and who still has it could not be counted:": (
        "Wer nicht zu erreichen ist und wer sie noch hat, war nicht zu zählen:"
    ),
    "reasons more, of one make each: they are in the table.": (
        "weitere Gründe, je von einer Bauart: sie stehen in der Tabelle."
    ),
    "Its last boots": "Seine letzten Starts",
    "Boot id": "Kennung des Starts",
    "Began (its own clock)": "Begann (nach seiner Uhr)",
    "How it ended": "Wie er endete",
    "It began with": "Womit er begann",
    "it runs": "er läuft",
    "boot.clean": "wie vorgesehen",
    "boot.unclean": "nicht wie vorgesehen",
    "boot.unknown": "nicht bekannt",
    "boot.nothing": "nichts",
}
ENGLISH = {
    "boot.clean": "clean",
    "boot.unclean": "unclean",
    "boot.unknown": "not known",
    "boot.nothing": "nothing",
}
"""Words whose key is no English."""
