"""German of the rings' pages and of edits of the policy."""

from __future__ import annotations

GERMAN = {
    "Add a ring": "Einen Ring anlegen",
    "A change of the policy": "Eine Änderung der Richtlinie",
    "a change of this person waits for another person": "soll geändert werden; eine zweite Person muss zustimmen",
    "a change of this site waits for another person": "soll geändert werden; eine zweite Person muss zustimmen",
    "a machine waits for another person": "soll aufgenommen werden; eine zweite Person muss zustimmen",
    "a hold would be lifted: another person must agree": (
        "ein Zurückhalten soll enden; eine zweite Person muss zustimmen"
    ),
    "a recall waits for another person": "soll zurückgerufen werden; eine zweite Person muss zustimmen",
    "a fast lane waits for another person": "eine Überholspur wartet auf eine weitere Person",
    "a waiver waits for another person": "ein Ring soll trotzdem öffnen; eine zweite Person muss zustimmen",
    "a change of the policy waits for another person": "eine Änderung der Richtlinie wartet auf eine zweite Person",
    "A change of the policy waits for another person:": "Eine Änderung der Richtlinie wartet auf eine zweite Person:",
    "add": "anlegen",
    "a day, a clock time such as 12:00, or such as 30m after opening": (
        "ein Tag, eine Uhrzeit wie 12:00 oder etwa 30m after opening"
    ),
    "a day such as 2026-12-23, or such as 30m after opening": "ein Tag wie 2026-12-23 oder etwa 30m after opening",
    "After": "Nachher",
    "A hold keeps machines out of new releases until its end. What is granted goes on, and a recall is never held.": (
        "Was zurückgehalten ist, bekommt bis zum Ende keine neue Freigabe. Zugesagtes geht weiter, ein Rückruf immer."
    ),
    "all": "alle",
    "Agree to lift it": "Zustimmen, es aufzuheben",
    "always": "immer",
    "and": "und",
    "a new one": "neu",
    "an address": "eine Adresse",
    "A release goes through them in this order. A machine belongs to the first ring whose pick it meets.": (
        "So geht eine Freigabe hindurch. Ein Rechner gehört zum ersten Ring, dessen Auswahl er erfüllt."
    ),
    "A release that appeared now: earliest times and worst case": (
        "Eine Freigabe, die jetzt erschiene: früheste Zeiten und schlimmster Fall"
    ),
    "at the end": "am Ende",
    "a whole number": "eine ganze Zahl",
    "a whole number, or half": "eine ganze Zahl oder half",
    "a-z, 0-9 and -": "a-z, 0-9 und -",
    "Back, without saving": "Zurück, ohne zu sichern",
    "before": "vor",
    "Before": "Vorher",
    "Both changes go together": "Beide Änderungen passen zusammen",
    "Both changes touch the same lines": "Beide Änderungen betreffen dieselben Zeilen",
    "Brake": "Bremse",
    "Brakes": "Bremsen",
    "By": "Von",
    "Carry mine onto theirs": "Meine auf den neuen Stand bringen",
    "covered": "abgedeckt",
    "days of the month, with commas between them": "Tage des Monats, mit Kommas dazwischen",
    "Defaults": "Vorgaben",
    "did you mean": "meinten Sie",
    "Edit": "Ändern",
    "Elsewhere in the policy": "Anderswo in der Richtlinie",
    "enacted": "in Kraft",
    "expired": "abgelaufen",
    "Expires": "Gilt bis",
    "First of them": "Die ersten davon",
    "Freeze": "Sperre",
    "Freezes": "Sperren",
    "from": "von",
    "From ring": "Aus Ring",
    "Granted when": "Zugesagt wann",
    "Hold": "Zurückhalten",
    "Hold machines": "Rechner zurückhalten",
    "Holds": "Zurückgehalten",
    "if": "wenn",
    "in rings": "in den Ringen",
    "In words": "In Worten",
    "nothing of its own": "nichts Eigenes",
    "It acts at once.": "Sie gilt sofort.",
    "It loosens: it acts when another person has signed it.": (
        "Sie lockert: sie gilt, wenn eine zweite Person unterschrieben hat."
    ),
    "keeps policy": "behält Richtlinie",
    "Last changed": "Zuletzt geändert",
    "Last proof": "Zuletzt bewährt",
    "learned, or such as 2h open": "learned oder etwa 2h open",
    "Lift": "Aufheben",
    "Limits inside it": "Grenzen darin",
    "Limits of the whole fleet": "Grenzen der ganzen Flotte",
    "Line": "Zeile",
    "Lines": "Zeilen",
    "Look again": "Noch einmal ansehen",
    "look and sign": "ansehen und unterschreiben",
    "Look at both, and write what is to hold. Below stands the policy as it is now.": (
        "Sehen Sie beide an und schreiben Sie, was gelten soll. Unten steht die Richtlinie, wie sie jetzt ist."
    ),
    "Look before it is saved": "Ansehen, bevor gesichert wird",
    "looked at": "angesehen",
    "loosens": "lockert",
    "Lost at worst, before": "Schlimmstenfalls verloren, vorher",
    "machines are in no ring and take nothing.": "Rechner sind in keinem Ring und bekommen nichts.",
    "Machines of each ring": "Rechner jedes Rings",
    "machines would change their ring, at once.": "Rechnern wechselten den Ring, sofort.",
    "Makes that would lose their canaries: no machine of them is left in the first two rings.": (
        "Bauarten, die ihre Kanarienvögel verlören: kein Rechner von ihnen bliebe in den ersten zwei Ringen."
    ),
    "measured, or such as 0.75%": "measured oder etwa 0.75%",
    "Move before": "Vor diesen Ring:",
    "Move behind": "Hinter diesen Ring:",
    "names, with commas between them": "Namen, mit Kommas dazwischen",
    "neutral": "entscheidet nichts",
    "Nobody is held.": "Niemand wird zurückgehalten.",
    "No machine would change its ring.": "Kein Rechner wechselte den Ring.",
    "no machine: it holds everything behind it": "kein Rechner: er hält alles hinter sich auf",
    "None of their verdicts would change now.": "Keine ihrer Entscheidungen wäre jetzt anders.",
    "none yet": "noch nie",
    "not covered until here": "bis hier nicht abgedeckt",
    "Nothing is changed.": "Es ist nichts geändert.",
    "Not saved": "Nicht gesichert",
    "not said here": "hier nicht gesagt",
    "not within 14 days": "nicht binnen 14 Tagen",
    "Now": "Jetzt",
    "on days of the month": "an Tagen des Monats",
    "One person is enough. Lifting it before its end takes two.": (
        "Eine Person genügt. Vor dem Ende aufheben können es nur zwei."
    ),
    "one sentence that people read in Why?": "ein Satz, den Menschen unter Warum? lesen",
    "only during": "nur während",
    "Opens at the earliest, before": "Öffnet frühestens, vorher",
    "Order": "Platz",
    "Order and removal": "Platz und Entfernen",
    "owner": "wer sich kümmert",
    "Owner": "Wer sich kümmert",
    "page, morning_notice": "page, morning_notice",
    "Propose": "Vorschlagen",
    "Proposed by": "Vorgeschlagen von",
    "Propose it anew on the present state": "Auf dem jetzigen Stand neu vorschlagen",
    "Propose this change": "Diese Änderung vorschlagen",
    "Propose to lift it": "Vorschlagen, es aufzuheben",
    "Refuse": "Ablehnen",
    "Releases that are on their way keep the rules with which they began; those that are seen from now on take the new "
    "ones. Machines change their ring at once, for them too.": (
        "Freigaben, die unterwegs sind, behalten die Regeln, mit denen sie begannen; was ab jetzt gesehen wird, nimmt "
        "die neuen. Rechner wechseln den Ring sofort, auch für sie."
    ),
    "Remove": "Entfernen",
    "Roles": "Aufgaben",
    "Save this change": "Diese Änderung sichern",
    "Share that takes part first": "Anteil, der zuerst teilnimmt",
    "Sign": "Unterschreiben",
    "Signed by": "Unterschrieben von",
    "sites would have all tills in one ring: this cannot be committed": (
        "Apotheken hätten alle Kassen in einem Ring: das kann nicht gesichert werden"
    ),
    "site would have all tills in one ring: this cannot be committed": (
        "Apotheke hätte alle Kassen in einem Ring: das kann nicht gesichert werden"
    ),
    "Somebody else was faster": "Jemand war schneller",
    "somebody who pushed it into the branch": "jemand, der sie in den Zweig geschoben hat",
    "Sources": "Quellen",
    "Statistics and watching": "Statistik und Beobachtung",
    "such as 15m, 2h or 7d": "etwa 15m, 2h oder 7d",
    "such as 2%": "etwa 2%",
    "such as 30m after opening": "etwa 30m after opening",
    "such as 30m, or 20m after install": "etwa 30m oder 20m after install",
    "such as 4h open, 1d open or 90m": "etwa 4h open, 1d open oder 90m",
    "such as crashed >= 2, or missing >= 5%": "etwa crashed >= 2 oder missing >= 5%",
    "such as role=till, label=pilot; keys are site, label or a fact": (
        "etwa role=till, label=pilot; links steht site, label oder eine Angabe"
    ),
    "Take back": "Zurückziehen",
    "The branch holds changes that do not rule yet; they are judged with yours.": (
        "Im Zweig stehen Änderungen, die noch nicht gelten; sie werden mit Ihrer beurteilt."
    ),
    "The branch holds changes that do not rule yet; what stands here is what rules.": (
        "Im Zweig stehen Änderungen, die noch nicht gelten; hier steht, was gilt."
    ),
    "Earliest: every machine is healthy as soon as it can be, people agree at once, and nobody reboots by hand. At "
    "worst: machines of the ring that could have a bad release before its first silence counts.": (
        "Frühestens: jeder Rechner ist so bald gesund, wie er kann, Menschen stimmen sofort zu, und niemand startet "
        "von Hand neu. Schlimmstenfalls: Rechner des Rings, die eine schlechte Freigabe haben könnten, bevor das erste "
        "Schweigen zählt."
    ),
    "Their change": "Die andere Änderung",
    "then": "dann",
    "Then": "Dann",
    "the plugin's name": "der Name des Plugins",
    "The policy has changed since": "Die Richtlinie ist seither anders",
    "The policy has changed since your form was shown. Nothing is saved, and nothing of yours is lost.": (
        "Die Richtlinie hat sich geändert, seit Ihr Formular gezeigt wurde. Nichts ist gesichert, und von Ihrem geht "
        "nichts verloren."
    ),
    "The policy's text": "Der Text der Richtlinie",
    "there is such a window already": "ein solches Fenster gibt es schon",
    "The whole fleet": "Die ganze Flotte",
    "This cannot be written yet:": "So kann es noch nicht geschrieben werden:",
    "This is not a valid policy": "Das ist keine gültige Richtlinie",
    "This proposal cannot take effect any more: it was made on another state.": (
        "Dieser Vorschlag kann nicht mehr gelten: er wurde auf einem anderen Stand gemacht."
    ),
    "tightens": "verschärft",
    "tills in ring": "Kassen in Ring",
    "Times are planned for this many machines:": "So viele Rechner sind für die Zeiten verplant:",
    "to": "bis",
    "To ring": "In Ring",
    "Until": "Bis",
    "Verdicts that would change": "Entscheidungen, die anders wären",
    "waits for another person": "wartet auf eine zweite Person",
    "What changes": "Was sich ändert",
    "What else the policy says": "Was die Richtlinie sonst sagt",
    "What it must show": "Was er zeigen muss",
    "What it must show before the next one opens": "Was er zeigen muss, bevor der nächste öffnet",
    "What it waits for before it opens": "Worauf er wartet, bevor er öffnet",
    "What it would do to this fleet": "Was es mit dieser Flotte machte",
    "Where in the order": "An welchem Platz",
    "Where it differs from the rest of the fleet": "Worin es vom Rest der Flotte abweicht",
    "Who belongs to it": "Wer dazugehört",
    "who looks after it": "wer sich kümmert",
    "Who is held": "Wer zurückgehalten wird",
    "Who would move": "Wer wechselte",
    "Window": "Fenster",
    "Windows": "Fenster",
    "Windows of each kind of release": "Fenster jeder Art von Freigabe",
    "within": "innerhalb von",
    "With your name it acts at once.": "Mit Ihrem Namen gilt sie sofort.",
    "With your name it waits for one person more.": "Mit Ihrem Namen wartet sie noch auf eine weitere Person.",
    "withdrawn": "zurückgezogen",
    "Words, comments or layout only: no rule changes.": "Nur Worte, Kommentare oder Form: keine Regel ändert sich.",
    "You have spoken for it; another person must sign.": "Sie haben zugestimmt; unterschreiben muss jemand anderes.",
    "Your change": "Ihre Änderung",
    "Yours touches other lines than theirs.": "Ihre betrifft andere Zeilen als die andere.",
}
