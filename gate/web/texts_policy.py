"""German words of the policy's own pages."""

from __future__ import annotations

GERMAN = {
    "Policy": "Richtlinie",
    "Policy version": "Richtlinienversion",
    "Refused": "Abgelehnt",
    "refused": "abgelehnt",
    "The policy's repository cannot be read, so nobody can edit the policy. What rules goes on: it is read from the "
    "database, and halts and decisions need no repository.": (
        "Das Repository der Richtlinie ist nicht zu lesen, also kann niemand die Richtlinie bearbeiten. Was gilt, gilt "
        "weiter: es wird aus der Datenbank gelesen, und Halte und Entscheidungen brauchen kein Repository."
    ),
    "It is the folder policy.git in the server's data folder. Bring it back from a backup, or put a clone of it there "
    "(git clone --bare): gate goes on by itself. System and gate doctor name the place.": (
        "Es ist der Ordner policy.git im Datenordner des Servers. Holen Sie ihn aus einer Sicherung zurück, oder legen "
        "Sie einen Klon dorthin (git clone --bare): gate macht von selbst weiter. System und gate doctor "
        "nennen den Ort."
    ),
    "Nothing of yours is lost: below stands your text. Keep it, and send it again when the repository is back.": (
        "Von Ihnen geht nichts verloren: unten steht Ihr Text. Heben Sie ihn auf, und senden Sie ihn noch einmal, wenn "
        "das Repository wieder da ist."
    ),
    "The policy has changed since your form was shown, and its newest version holds no policy.yaml that can be read.": (
        "Die Richtlinie hat sich geändert, seit Ihr Formular gezeigt wurde, und ihre neueste Version hat keine "
        "policy.yaml, die sich lesen lässt."
    ),
    "Nothing of yours is lost: look at your text again; saved, it takes the place of that version.": (
        "Von Ihnen geht nichts verloren: sehen Sie Ihren Text noch einmal an; gespeichert tritt er an die Stelle jener "
        "Version."
    ),
    "What it would do could not be worked out:": "Was es bewirken würde, war nicht zu berechnen:",
    "What it would do to this fleet is being worked out, beside this page; look again in a moment.": (
        "Was es in dieser Flotte bewirken würde, wird gerade neben dieser Seite berechnet; bitte gleich noch einmal "
        "ansehen."
    ),
    "As the fleet was at": "Stand der Flotte um",
    "Text": "Text",
    "Edit": "Bearbeiten",
    "In words": "In Worten",
    "Plan for 14 days": "Plan für 14 Tage",
    "Back-test": "Rückprobe",
    "History": "Verlauf",
    "The active version": "Die geltende Version",
    "The head of the branch; it is not active": "Die Spitze des Zweigs; sie gilt nicht",
    "Another version; it is not active": "Eine andere Version; sie gilt nicht",
    "since": "seit",
    "until": "bis",
    "The branch has a head that is not active": "Der Zweig hat eine Spitze, die nicht gilt",
    "An edit is held against the active version and takes the head's place.": (
        "Eine Bearbeitung wird an der geltenden Version gemessen und tritt an die Stelle der Spitze."
    ),
    "Look at the head again now": "Die Spitze jetzt noch einmal ansehen",
    "A proposal waits for another person": "Ein Vorschlag wartet auf eine zweite Person",
    "This is the active text.": "Das ist der geltende Text.",
    "Begin with the head's text": "Mit dem Text der Spitze beginnen",
    "Line": "Zeile",
    "No problem.": "Kein Fehler.",
    "Can stand here (Ctrl+Space):": "Hier kann stehen (Strg+Leertaste):",
    "The whole text": "Der ganze Text",
    "Preview": "Vorschau",
    "Nothing is changed yet: the preview shows what it would do, and asks for a reason.": (
        "Noch wird nichts geändert: die Vorschau zeigt, was es bewirken würde, und fragt nach dem Grund."
    ),
    "The plan could not be made:": "Der Plan konnte nicht gemacht werden:",
    "The plan is being made, beside this page; load it again in a moment.": (
        "Der Plan entsteht gerade neben dieser Seite; bitte gleich noch einmal laden."
    ),
    "Begun": "Begonnen",
    "Load again": "Noch einmal laden",
    "A release that appears at": "Eine Freigabe, die erscheint am",
    "machines that were planned for": "eingeplante Rechner",
    "Drawn by whole sites; in the whole fleet the rings open a little later.": (
        "Nach ganzen Apotheken gezogen; in der ganzen Flotte öffnen die Ringe etwas später."
    ),
    "No machine is active: there is nothing to plan for.": "Kein Rechner ist aktiv: es gibt nichts zu planen.",
    "The first runs the shipped scenarios, with 19 July 2024 among them; the second the days that this gate has"
    " recorded. Exit code 1 means worse.": (
        "Das erste spielt die mitgelieferten Szenarien durch, darunter den 19. Juli 2024; das zweite die Tage, die"
        " dieses gate aufgezeichnet hat. Rückgabewert 1 heißt: schlechter."
    ),
    "Version": "Version",
    "Author, as the commit says": "Verfasst von, laut Commit",
    "Agreed": "Zugestimmt",
    "Active from": "Galt ab",
    "Active to": "Galt bis",
    "it is active": "sie gilt",
    "nobody: it was never active": "niemand: sie galt nie",
    "Made on": "Beruht auf",
    "nothing: it is the first": "nichts: sie ist die erste",
    "Propose this version again": "Diese Version noch einmal vorschlagen",
    "Back to this version": "Zurück zu dieser Version",
    "Proposes this text anew on the present head; the preview shows what that would do.": (
        "Schlägt diesen Text auf der jetzigen Spitze neu vor; die Vorschau zeigt, was das bewirken würde."
    ),
    "Preview going back": "Vorschau des Zurückgehens",
    "In lines": "In Zeilen",
    "What it changed": "Was sie geändert hat",
    "One of the two is no policy, or it is the first: there are no sentences.": (
        "Eine der beiden ist keine Richtlinie, oder sie ist die erste: dazu gibt es keine Sätze."
    ),
    "loosens": "lockert",
    "tightens": "verschärft",
    "neutral": "entscheidet nichts",
    "Held against what ruled before:": "Verglichen mit dem, was davor galt:",
    "Nothing that decides.": "Nichts, das entscheidet.",
    "The text, and who changed each line last": "Der Text, und wer jede Zeile zuletzt geändert hat",
    "Changed last": "Zuletzt geändert",
}
