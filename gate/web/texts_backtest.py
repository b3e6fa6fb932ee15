"""German words of back-tests; English is the key."""

from __future__ import annotations

GERMAN = {
    "A back-test lives through whole days of a fleet under this version and under the active one, with the rules that "
    "decide. It changes nothing.": (
        "Eine Rückprobe spielt ganze Tage einer Flotte unter dieser Version und unter der geltenden durch, mit den "
        "Regeln, die entscheiden. Sie ändert nichts."
    ),
    "A back-test is running; one runs at a time.": "Eine Rückprobe läuft; es läuft immer nur eine.",
    "Look at it": "Ansehen",
    "What is lived through": "Was durchgespielt wird",
    "Run the back-test": "Rückprobe starten",
    "A scenario takes from seconds to some minutes.": "Ein Szenario dauert von Sekunden bis zu einigen Minuten.",
    "all of these scenarios": "alle diese Szenarien",
    "the days that this gate has recorded, 14 of them at most": "die von gate verzeichneten Tage, höchstens 14",
    "all shipped scenarios": "alle mitgelieferten Szenarien",
    "recorded days": "verzeichnete Tage",
    "Back-tests of this version": "Rückproben dieser Version",
    "Against": "Gegen",
    "nothing else": "nichts anderes",
    "worse": "schlechter",
    "not worse": "nicht schlechter",
    "backtest.running": "läuft",
    "backtest.failed": "gescheitert",
    "backtest.stopped": "angehalten",
    "The command line does the same, also for a file that is in no repository:": (
        "Dasselbe tut die Befehlszeile, auch für eine Datei, die in keinem Repository ist:"
    ),
    "this version": "diese Version",
    "the version that was active": "die Version, die damals galt",
    "as recorded": "wie verzeichnet",
    "Asked for by": "Gestartet von",
    "Ended": "Beendet",
    "Nothing has been heard of it for minutes: the process that ran it is gone. Begin it again.": (
        "Seit Minuten kam nichts mehr von ihr: der Prozess, in dem sie lief, ist weg. Bitte noch einmal starten."
    ),
    "It runs.": "Sie läuft.",
    "The share of it that is done": "Wie viel davon durchgespielt ist",
    "Stop the back-test": "Rückprobe anhalten",
    "It has no result:": "Sie hat kein Ergebnis:",
    "Worse than the active version in:": "Schlechter als die geltende Version in:",
    "Not worse than the active version in any of them.": "In keinem schlechter als die geltende Version.",
    "Worse is: more machines exposed where something died, more of them dead, more sites without a till, or more "
    "healthy releases halted. Slower is not worse.": (
        "Schlechter heißt: mehr Rechner betroffen, wo etwas ausfiel, mehr davon ausgefallen, mehr Apotheken ohne Kasse "
        "oder mehr gesunde Freigaben angehalten. Langsamer ist nicht schlechter."
    ),
    "What it came to": "Was herauskam",
    "Scenario": "Szenario",
    "Machines exposed": "Betroffene Rechner",
    "Machines dead": "Ausgefallene Rechner",
    "Sites without a till": "Apotheken ohne Kasse",
    "Hours to full protection": "Stunden bis zum vollen Schutz",
    "False halts": "Falsche Halte",
    "not within the run": "nicht in dieser Zeit",
    "As a picture": "Als Bild",
    "the same numbers stand in the table": "dieselben Zahlen stehen in der Tabelle",
    "The recorded releases": "Die verzeichneten Freigaben",
    "Began": "Beginn",
    "Harm": "Schaden",
    "harmful": "schädlich",
    "not harmful": "unschädlich",
    "Machines known": "Rechner bekannt",
    "Drawn from their make": "Aus ihrer Bauart gezogen",
    "Drawn from all": "Aus allen gezogen",
    "Taken to do nothing": "Als wirkungslos angenommen",
    "Scenarios are drawn by a seed and are the same each time; they are not your fleet.": (
        "Szenarien sind gezogen und jedes Mal gleich; sie sind nicht Ihre Flotte."
    ),
}
ENGLISH = {
    "backtest.running": "is running",
    "backtest.failed": "failed",
    "backtest.stopped": "stopped",
}
