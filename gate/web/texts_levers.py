"""The German of what vendors are told and of what machines really run; English is the key."""

from __future__ import annotations

GERMAN = {
    "How": "Wie",
    "Somebody went past the gate": "Jemand ist am Tor vorbeigegangen",
    "These machines run what was never granted to them. Find out who brought it, and whether its vendor still holds.": (
        "Diese Rechner haben, was ihnen nie zugesagt war. Klären Sie, wer es brachte und ob der Hersteller noch hält."
    ),
    "It runs": "Es läuft",
    "It may have": "Zugesagt ist",
    "Known since": "Bekannt seit",
    "Clear it": "Freigeben",
    "Its lever was broken and has held since. Cleared, its rings open again.": (
        "Der Hebel war gebrochen und hielt seither. Freigegeben öffnen die Ringe wieder."
    ),
    "What vendors have not done": "Was Hersteller nicht getan haben",
    "the spread is not stopped": "die Verteilung ist nicht gestoppt",
    "machines wait for it": "Rechner warten darauf",
    "What machines run cannot be read:": "Was Rechner haben, ist nicht lesbar:",
    "machines run a version that the gate does not know": "Rechner haben eine Version, die gate nicht kennt",
    "machines run what was never granted to them": "Rechner haben, was ihnen nie zugesagt war",
    "What it really runs": "Was es wirklich hat",
    "How machines would go back": "Wie Rechner zurückgingen",
    "Steps": "Schritte",
    "By themselves": "Von selbst",
    "By our agent": "Durch unseren Agenten",
    "By hand": "Von Hand",
    "weight.note": "Hinweis",
    "weight.warning": "Warnung",
    "weight.refuse": "abgelehnt",
    "plan.serve_old": "die ältere Freigabe wird wieder geliefert",
    "plan.republish": "die ältere Freigabe wird neu veröffentlicht",
    "plan.agent_purge": "unser Agent räumt ab, dann wird neu geholt",
    "plan.vendor_pin": "beim Hersteller festgelegt",
    "plan.none": "von Hand",
    "standing.granted": "zugesagt",
    "standing.bypassed": "nie zugesagt",
    "standing.first": "die erste Freigabe der Quelle: vielleicht älter als gate",
    "standing.unknown": "nicht bekannt, ob zugesagt",
    "standing.unheld": "niemand hält sie",
    "standing.silent": "nichts gemeldet",
}
ENGLISH = {
    "weight.note": "note",
    "weight.warning": "warning",
    "weight.refuse": "refused",
    "plan.serve_old": "the older release is served again",
    "plan.republish": "the older release is published anew",
    "plan.agent_purge": "our agent purges it, then it is fetched anew",
    "plan.vendor_pin": "pinned at the vendor",
    "plan.none": "by hand",
    "standing.granted": "granted",
    "standing.bypassed": "never granted",
    "standing.first": "the first release of its source: it may be older than the gate",
    "standing.unknown": "not known whether it is granted",
    "standing.unheld": "nobody holds it",
    "standing.silent": "nothing said",
}
"""Words whose key is no English."""
