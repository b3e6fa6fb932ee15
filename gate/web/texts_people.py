"""The words of the pages about people, in German; see ``texts``."""

from __future__ import annotations

GERMAN = {
    "Who may do what, and with whom": "Wer darf was, und mit wem",
    "Persons are counted, not names: a login of a provider, or an account of the server's shell, is the person that it"
    " is linked with; a shell that is linked with nobody counts as nobody.": (
        "Gezählt werden Personen, nicht Namen: Wer über einen Anmeldedienst oder an der Konsole des Servers handelt,"
        " ist die Person, mit der das verknüpft ist; eine Konsole ohne Verknüpfung zählt als niemand."
    ),
    "This link is used, has expired, or was never made.": (
        "Dieser Link ist benutzt, abgelaufen oder nie erzeugt worden."
    ),
    "Whoever has chosen a password with it logs in with that. Else an admin makes a new link under People, or at the"
    " server's shell:": (
        "Wer damit schon ein Passwort gewählt hat, meldet sich damit an. Sonst erzeugt die Verwaltung unter Personen"
        " einen neuen, oder an der Konsole des Servers:"
    ),
    "A role may do all that the roles before it may. Two people: one proposes, another does the same within 24 hours."
    " Confirmed: not longer than ten minutes ago.": (
        "Eine Aufgabe darf alles, was die vor ihr dürfen. Zwei Personen: eine schlägt vor, eine andere tut binnen 24"
        " Stunden dasselbe. Bestätigt: vor höchstens zehn Minuten."
    ),
    "Acts": "Handlungen",
    "How many people": "Wie viele Personen",
    "Confirmed": "Bestätigt",
    "Where": "Wo",
    "two people": "zwei Personen",
    "one person": "eine Person",
    "into the first rings": "in die ersten Ringe",
    "or more, as the policy says": "oder mehr, wie die Richtlinie es sagt",
    "open the fast lane, which skips soak and windows for a time": (
        "die Überholspur öffnen, die eine Zeit lang Bewährungszeit und Fenster überspringt"
    ),
    "say where recovery keys are kept, never the keys": (
        "sagen, wo Wiederherstellungsschlüssel liegen, nie die Schlüssel selbst"
    ),
    "everybody": "alle",
    "without a login: logging in, a one-time link, how this server is, styles and scripts": (
        "ohne Anmeldung: sich anmelden, ein Einmal-Link, wie es diesem Server geht, Gestaltung und Skripte"
    ),
    "reader": "Lesen",
    "technician": "Technik",
    "approver": "Freigabe",
    "admin": "Verwaltung",
    "look at everything": "alles ansehen",
    "pull the brake: everything that moves, or one rollout": (
        "die Bremse ziehen: für alles, was läuft, oder einen Rollout"
    ),
    "until": "bis",
    "give a ring the word that it needs; end the alarm of a silent morning": (
        "einem Ring das Wort geben, das er braucht; den Alarm eines stummen Morgens beenden"
    ),
    "edit the policy: what tightens acts at once, what loosens is a proposal": (
        "die Richtlinie bearbeiten: was verschärft, gilt sofort, was lockert, ist ein Vorschlag"
    ),
    "agree to a change of the policy that loosens, or refuse it": (
        "einer Lockerung der Richtlinie zustimmen oder sie ablehnen"
    ),
    "keep machines out that meet a pick, for a time": "Rechner nach einer Auswahl eine Zeit lang zurückhalten",
    "look what a source would bring now": "nachsehen, was eine Quelle jetzt brächte",
    "let rings open again whose source's lever was broken and has held since": (
        "Ringe wieder öffnen lassen, deren Quelle einen gebrochenen Hebel hatte, der seither hielt"
    ),
    "lift a hold before its end": "ein Zurückhalten vor seinem Ende aufheben",
    "It brings machines into the first rings.": "Es bringt Rechner in die ersten Ringe.",
    "lift a halt": "eine Anhaltung aufheben",
    "ask machines to go back": "Rechner bitten zurückzugehen",
    "set aside what a ring still waits to be shown": "beiseite setzen, was ein Ring noch gezeigt haben will",
    "say that a failure has another cause": "sagen, dass ein Ausfall eine andere Ursache hat",
    "make enrolment codes": "Anmeldecodes erzeugen",
    "accept, revoke and decommission machines": "Rechner aufnehmen, sperren und ausmustern",
    "add and change sites": "Apotheken anlegen und ändern",
    "add, disable and change people": "Personen anlegen, sperren und ändern",
    "One-time link": "Einmal-Link",
    "Hand it over yourself; it is shown once, works once and ends in 24 hours.": (
        "Bitte selbst übergeben; er wird einmal gezeigt, gilt einmal und endet in 24 Stunden."
    ),
    "Waits for another person": "Wartet auf eine zweite Person",
    "Agree": "Zustimmen",
    "Login provider": "Anmeldedienst",
    "There is one admin only, and a change of people takes two. Add the second at the server's shell:": (
        "Es gibt nur eine Person in der Verwaltung, und Änderungen an Personen brauchen zwei. Die zweite kommt an der"
        " Konsole des Servers dazu:"
    ),
    "Add a person": "Eine Person anlegen",
    "Change a person": "Eine Person ändern",
    "add a person": "eine Person anlegen",
    "give another role": "eine andere Aufgabe geben",
    "make a new one-time link": "einen neuen Einmal-Link erzeugen",
    "disable": "sperren",
    "New role, where it is another": "Neue Aufgabe, wo es eine andere ist",
    "Propose": "Vorschlagen",
    "Confirm that it is you": "Bitte bestätigen Sie, dass Sie es sind",
    "What you asked for needs a confirmation that is not older than ten minutes. Your file is not kept meanwhile:"
    " choose it again here.": (
        "Was Sie verlangen, braucht eine Bestätigung, die nicht älter als zehn Minuten ist. Ihre Datei wird nicht so"
        " lange behalten: Wählen Sie sie hier noch einmal."
    ),
    "Nothing was moving, so nothing is halted. That you have pulled the brake is in the audit log.": (
        "Nichts bewegte sich, also ist nichts angehalten. Dass Sie die Bremse gezogen haben, steht im Protokoll."
    ),
    "You log in as": "Sie melden sich an als",
    "The file again": "Die Datei noch einmal",
    "What you asked for needs a confirmation that is not older than ten minutes. Nothing of your form is lost: it goes"
    " on from here.": (
        "Was Sie verlangen, braucht eine Bestätigung, die nicht älter als zehn Minuten ist. Von Ihrem Formular geht"
        " nichts verloren: Hier geht es weiter."
    ),
    "Confirm and go on": "Bestätigen und weiter",
    "Confirm at your login provider (opens another tab)": "Beim Anmeldedienst bestätigen (öffnet ein neues Fenster)",
    "I have confirmed: go on": "Ich habe bestätigt: weiter",
    "Log in with": "Anmelden mit",
    "Close this tab and go on in the other one.": "Schließen Sie dieses Fenster, und machen Sie im anderen weiter.",
    "everything": "alles",
    "Show": "Zeigen",
    "Proof": "Beweis",
    "This password is wrong.": "Dieses Passwort ist falsch.",
}
