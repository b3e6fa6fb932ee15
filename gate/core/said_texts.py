"""German for sentences that were made in English: refusals of a form, and reasons that carry no numbers.

The key is the English sentence with ``{}`` where something stands; the German has as many, in the same order. A test
finds every sentence that the flows and the pages can refuse with, and every such reason, in here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from gate.core import problem_texts
from gate.core.reason_texts import LANGUAGES

REFUSED = "commit {} is refused: {}"
GERMAN: Mapping[str, str] = {
    # what people asked for
    "a reason of at most 1000 characters is needed": "ein Grund von höchstens 1000 Zeichen ist nötig",
    "{} has proposed this; another person must agree": ("{} hat das vorgeschlagen; eine zweite Person muss zustimmen"),
    "{} has proposed this; another person must accept": ("{} hat das vorgeschlagen; eine zweite Person muss aufnehmen"),
    "The policy cannot be read: nothing opens and nothing is granted.": (
        "Die Richtlinie ist nicht zu lesen: nichts öffnet, nichts wird zugeteilt."
    ),
    "the branch's head is active, or waits for people": "der Kopf des Zweigs gilt oder wartet auf Menschen",
    "{} are readable": "{} sind lesbar",
    "head {}": "Kopf {}",
    "has room": "hat Platz",
    "no room in {}: {}": "kein Platz in {}: {}",
    "answers; policy {} is active": "antwortet; die Richtlinie {} gilt",
    "others have asked for as much as can be worked out at once; try again in a moment": (
        "andere haben schon um so viel gebeten, wie zugleich auszurechnen ist; gleich noch einmal versuchen"
    ),
    "somebody else changed it a moment ago": "jemand anders hat es eben geändert",
    "ticked {} s ago": "war vor {} s am Werk",
    "no worker has ever ticked": "noch nie war ein Arbeiter am Werk",
    "the last tick was {} s ago": "war zuletzt vor {} s am Werk",
    "could not be looked at: {}, see the log": "ließ sich nicht ansehen: {}, siehe das Log",
    "{} counts as no person until it is linked with one: gate user identity": (
        "{} zählt als niemand, bis es mit einer Person verknüpft ist: gate user identity"
    ),
    "{} has agreed already; another person must": "{} hat schon zugestimmt; eine zweite Person muss es",
    "the lever of {} is not broken": "der Hebel von {} ist nicht gebrochen",
    "the lever of {} has been cleared, or was found broken again, a moment ago": (
        "der Hebel von {} ist eben freigegeben worden, oder er war eben wieder gebrochen"
    ),
    "the vendor has stopped; it is asked once more, since a call that began before may end after that": (
        "der Hersteller hat gestoppt; er wird noch einmal gebeten, denn ein früherer Aufruf kann danach enden"
    ),
    "no probe of {} has held since: gate lever check {}": "seither hielt keine Probe von {}: gate lever check {}",
    "a probe has held since; an admin must clear it, on this page or by gate lever clear": (
        "seither hielt eine Probe; ein Admin muss ihn freigeben, auf dieser Seite oder mit gate lever clear"
    ),
    "the mirror gave {} addresses what they may have; the approvals of {} rings name what they may have": (
        "der Spiegel gab {} Adressen, was sie haben dürfen; die Zusagen von {} Ringen nennen, was sie haben dürfen"
    ),
    "{}: the stored bytes are not what they were": "{}: die gespeicherten Bytes sind nicht mehr, was sie waren",
    "{} needs {} MiB and there are {} MiB: nothing of it is stored": (
        "{} braucht {} MiB, und es gibt {} MiB: nichts davon wird gespeichert"
    ),
    "{}: no room: {} MiB are free, and {} MiB stay so": "{}: kein Platz: {} MiB sind frei, und {} MiB bleiben es",
    "{} is listed before what is here, so it is older: it is left alone": (
        "{} steht vor dem, was schon da ist, ist also älter: es bleibt liegen"
    ),
    "{} of {} bytes of {}": "{} von {} Bytes von {}",
    "the mirror cannot be written: {}": "der Spiegel kann nicht geschrieben werden: {}",
    "cannot be probed: there is no lever": "nicht zu proben: es gibt keinen Hebel",
    "cannot be probed: nobody was served what it may have": "nicht zu proben: niemand bekam, was er haben darf",
    "cannot be probed: nothing was withheld at that moment": (
        "nicht zu proben: in dem Augenblick war nichts zurückgehalten"
    ),
    "cannot be probed yet: no release has bytes here, or the vendor delivers them": (
        "noch nicht zu proben: keine Freigabe hat hier Bytes, oder der Hersteller liefert sie"
    ),
    "cannot be probed: {} does not answer: {}": "nicht zu proben: {} antwortet nicht: {}",
    "{}.json is no metadata": "{}.json ist keine Metadaten",
    "the mirror answered {}: neither a file nor that it has none": (
        "der Spiegel antwortete {}: weder eine Datei noch, dass er keine hat"
    ),
    "ring {} got {} of {}, which is withheld from it ({})": "Ring {} bekam {} von {}, das ihm vorenthalten ist ({})",
    "ring {} got bytes of {} that nobody has released ({})": "Ring {} bekam Bytes von {}, die niemand freigab ({})",
    "the policy says {}, and plugin {} can no more than {}": (
        "die Richtlinie sagt {}, und Plugin {} kann nicht mehr als {}"
    ),
    "addresses of the mirror that move a whole ring at once, without claims: {}": (
        "Adressen des Spiegels, die einen ganzen Ring auf einmal bewegen, ohne Zusagen: {}"
    ),
    # what the plugins say why their lever is what it is
    "an agent of ours installs": "ein Agent von uns installiert",
    "clients take it from the gate's mirror": "Clients holen es vom Spiegel dieses gate",
    "clients take it from the gate's mirror or our agent": (
        "Clients holen es vom Spiegel dieses gate oder unserem Agenten"
    ),
    "{} takes what its own address on the mirror serves": (
        "{} nimmt, was seine eigene Adresse auf dem Spiegel ausliefert"
    ),
    "it runs inside the engine: a source of its own": "es läuft in der Engine: eine Quelle für sich",
    "clients take it from their own address; where they may fall back to Microsoft it is no more than advised": (
        "Clients holen es von ihrer eigenen Adresse; wo sie auf Microsoft ausweichen dürfen, ist es nur empfohlen"
    ),
    "hosts take what the policy of their group is pinned to": (
        "Rechner nehmen, worauf die Richtlinie ihrer Gruppe festgelegt ist"
    ),
    "the vendor delivers system_critical content at once: nobody can pause or pin it": (
        "der Hersteller liefert system_critical sofort: niemand kann es anhalten oder festlegen"
    ),
    "its vendor updates it past the gate: nothing is held, boot-health is watched, and that is all": (
        "sein Hersteller aktualisiert es am gate vorbei: nichts wird gehalten, Starts werden beobachtet, mehr nicht"
    ),
    # what was found in content
    "{} is not installed here: nobody has tried {} files": (
        "{} ist hier nicht installiert: niemand hat {} Dateien geprüft"
    ),
    "clamscan is not installed here: nobody looked": "clamscan ist hier nicht installiert: niemand hat nachgesehen",
    "dpkg-deb is not installed here: nobody opened the packages": (
        "dpkg-deb ist hier nicht installiert: niemand hat die Pakete geöffnet"
    ),
    "suricata is not installed here: no engine has tried the rules": (
        "suricata ist hier nicht installiert: keine Engine hat die Regeln geprüft"
    ),
    "{} cannot be read to compare with": "{} ist nicht zu lesen, um damit zu vergleichen",
    "{} sids of {} are gone or off: {}": "{} sids von {} sind weg oder aus: {}",
    "{} rules are on, {} has {}": "{} Regeln sind an, {} hat {}",
    "{} goes back from {} to {}": "{} geht von {} auf {} zurück",
    "{}: engine {} becomes {}": "{}: Engine {} wird {}",
    "machine {} is decommissioned already": "Rechner {} ist schon ausgemustert",
    "machine {} is revoked already": "Rechner {} ist schon gesperrt",
    "machine {} has been decided a moment ago": "über Rechner {} ist eben entschieden worden",
    "machine {} is {}": "Rechner {}: {}",
    "a scope is one of {}": "ein Umfang ist einer von {}",
    "a token lives 1 to {} days": "ein Token gilt 1 bis {} Tage",
    "{} is {}: scope {} is more than that": "{} ist {}: Umfang {} ist mehr",
    "there is no token {} that could be revoked": "es gibt kein Token {}, das zu sperren wäre",
    "this needs a token with scope {} of a person who may": (
        "das braucht ein Token mit Umfang {} einer Person, die es darf"
    ),
    "this identity is {} already": "diese Identität ist schon {}",
    "your login provider gives you no role here": "Ihr Anmeldedienst gibt Ihnen hier keine Aufgabe",
    "nobody here is {} of {}: an admin must link it": "niemand hier ist {} bei {}: die Verwaltung muss das verknüpfen",
    "your login provider has confirmed somebody else": "Ihr Anmeldedienst hat jemand anderen bestätigt",
    "your login provider has not asked you anew": "Ihr Anmeldedienst hat Sie nicht neu gefragt",
    "what your login provider has said is not good; log in again": (
        "was Ihr Anmeldedienst gesagt hat, ist nicht gültig; bitte neu anmelden"
    ),
    "your login provider has not let you in": "Ihr Anmeldedienst hat Sie nicht eingelassen",
    "this login was begun elsewhere or too long ago; begin again": (
        "diese Anmeldung wurde anderswo oder vor zu langer Zeit begonnen; bitte neu beginnen"
    ),
    "there is no entry {}: the log has {}": "es gibt keinen Eintrag {}: das Protokoll hat {}",
    "the leaves do not give the stored root: gate audit verify": (
        "die Einträge ergeben nicht die gespeicherte Wurzel: gate audit verify"
    ),
    "{} is no time, such as 2026-03-02T09:00": "{} ist keine Zeit wie 2026-03-02T09:00",
    "what is asked for is too long, or has control characters": "die Suche ist zu lang oder hat Steuerzeichen",
    "act is add, role, disable or link": "die Handlung ist add, role, disable oder link",
    "{} is disabled, or has this role already": "{} ist gesperrt oder hat diese Aufgabe schon",
    "{} needs {} people, and there are {} who may": "{} braucht {} Personen, und es gibt {}, die es dürfen",
    "{} needs {} people, and {} would be left who may": "{} braucht {} Personen, und es blieben {}, die es dürfen",
    "there is no rollout {}": "es gibt keinen Rollout {}",
    "there is no rollout {} with a ring {}": "es gibt keinen Rollout {} mit einem Ring {}",
    "the policy has no source {}": "die Richtlinie hat keine Quelle {}",
    "the policy has no ring {}": "die Richtlinie hat keinen Ring {}",
    "a token is for one machine or for one ring": "ein Token ist für einen Rechner oder für einen Ring",
    "there is no active machine {}": "es gibt keinen aktiven Rechner {}",
    "there is no machine {}": "es gibt keinen Rechner {}",
    "there is no site {}": "es gibt keine Apotheke {}",
    "there is no source {}": "es gibt keine Quelle {}",
    "there is no hold {}": "es ist nichts zurückgehalten unter {}",
    "there is no user {}": "es gibt keine Person {}",
    "there is no claim {}": "es gibt keine Zusage {}",
    "there is no such claim in this rollout": "es gibt keine solche Zusage in diesem Rollout",
    "there is no such page": "es gibt keine solche Seite",
    "no policy is active": "es gilt keine Richtlinie",
    "there is no such list": "es gibt keine solche Liste",
    "a filter has a name of at most 60 characters": "ein Filter hat einen Namen von höchstens 60 Zeichen",
    "a person keeps at most {} filters of a list": "eine Person merkt sich höchstens {} Filter einer Liste",
    "choose a file": "wählen Sie eine Datei",
    "where is the key kept? a place is needed": "wo liegt der Schlüssel? ein Ort ist nötig",
    "a place has at most {} characters, in one line": "ein Ort hat höchstens {} Zeichen, in einer Zeile",
    "this looks like a recovery key: name the place where it is kept, never the key": (
        "das sieht aus wie ein Wiederherstellungsschlüssel: nennen Sie den Ort, an dem er liegt, nie den Schlüssel"
    ),
    "a key's id is its first eight digits, or all of it, such as 1A2B3C4D": (
        "eine Schlüsselkennung sind ihre ersten acht Stellen oder alle, etwa 1A2B3C4D"
    ),
    "no place is known for this key": "für diesen Schlüssel ist kein Ort bekannt",
    "{} machines of site {} are called {}": "{} Rechner der Apotheke {} heißen {}",
    "this rollout has no such make": "dieser Rollout hat keine solche Bauart",
    "a list of key places has at most {} bytes": "eine Liste von Schlüsselorten hat höchstens {} Bytes",
    "the columns are {}": "die Spalten sind {}",
    "a row has as many values as columns": "eine Zeile hat so viele Werte wie Spalten",
    "this key is there twice": "dieser Schlüssel steht zweimal da",
    "there is no place in it": "darin steht kein Ort",
    "there is no site in it": "darin steht keine Apotheke",
    "a list of sites has at most {} bytes": "eine Liste von Apotheken hat höchstens {} Bytes",
    "not UTF-8: byte {}": "kein UTF-8: Byte {}",
    "not CSV: line {}": "kein CSV: Zeile {}",
    "site {}: its labels would bring machines into the first rings; change it by itself, two people must agree": (
        "Apotheke {}: ihre Kennzeichen brächten Rechner in die ersten Ringe; einzeln ändern, zwei stimmen zu"
    ),
    "there is a site of this id already; nothing was changed": (
        "eine Apotheke mit dieser Kennung gibt es schon; nichts wurde geändert"
    ),
    "somebody has changed this site since it was shown; nothing was changed": (
        "jemand hat diese Apotheke geändert, seit sie gezeigt wurde; nichts wurde geändert"
    ),
    "the policy cannot be read now, and labels of a site say which ring its machines are in": (
        "die Richtlinie ist gerade nicht zu lesen; Kennzeichen einer Apotheke sagen, in welchem Ring ihre Rechner sind"
    ),
    "a reason has no control characters": "eine Begründung hat keine Steuerzeichen",
    "{} is longer than {} characters": "{} ist länger als {} Zeichen",
    "site {} is there twice": "die Apotheke {} steht zweimal da",
    "the column {} is there twice": "die Spalte {} steht zweimal da",
    "the column id is missing": "die Spalte id fehlt",
    "a value is longer than {} characters, or has control characters": (
        "ein Wert ist länger als {} Zeichen oder hat Steuerzeichen"
    ),
    "{} must be there": "{} muss da sein",
    "{} values in a row of {} columns": "{} Werte in einer Zeile mit {} Spalten",
    "always_on {} is not yes or no": "always_on {} ist weder ja noch nein",
    "unknown column {}; known: {}": "unbekannte Spalte {}; bekannt: {}",
    "a text has control characters": "ein Text hat Steuerzeichen",
    "id {} is not a-z, 0-9 and -": "die Kennung {} ist nicht aus a-z, 0-9 und -",
    "a freeze's name is a-z, 0-9 and -": "der Name einer Sperre besteht aus a-z, 0-9 und -",
    "a freeze ends after it begins": "eine Sperre endet nach ihrem Beginn",
    "a day is written 2026-12-23": "ein Tag wird geschrieben als 2026-12-23",
    "{} is missing, too long, or has control characters": "{} fehlt, ist zu lang oder hat Steuerzeichen",
    "the rollout is {}": "der Rollout: {}",
    "the rollout is {}; halt it first, then recall it": "der Rollout: {}; erst anhalten, dann zurückrufen",
    "the rollout has changed a moment ago; look again": "der Rollout hat sich eben geändert; bitte noch einmal ansehen",
    "the policy has no fast lane (expedite)": "die Richtlinie hat keine Überholspur (expedite)",
    "another release of this source is running; halt it first": (
        "eine andere Freigabe dieser Quelle läuft; sie zuerst anhalten"
    ),
    "no ring has opened: no machine has it": "kein Ring war offen: kein Rechner hat sie",
    "no alarm of a silent morning stands": "kein Alarm eines stillen Morgens steht an",
    "ring {} needs nobody's approval": "Ring {} braucht keine Zustimmung",
    "{} has approved ring {} already": "{} hat Ring {} schon freigegeben",
    "this claim is no unexplained failure": "diese Zusage ist kein unerklärter Fehler",
    "this needs the role {}": "das braucht die Rolle {}",
    "a hold needs an owner": "wer zurückhält, nennt, wer sich kümmert",
    "a hold ends in the future, within a year": "zurückgehalten wird bis zu einem Tag binnen eines Jahres",
    "this hold has been lifted already": "das ist schon nicht mehr zurückgehalten",
    "this hold has been lifted a moment ago": "das ist seit eben nicht mehr zurückgehalten",
    "a pick is role=till,os_build=19045: keys are site, label or a fact": (
        "eine Auswahl ist role=till,os_build=19045: links steht site, label oder eine Angabe"
    ),
    "a code has 1 to 1000 uses and holds for at most 72 hours": (
        "ein Code hat 1 bis 1000 Verwendungen und gilt höchstens 72 Stunden"
    ),
    "a role is one of {}": "eine Rolle ist eine von {}",
    "a role is a word of a-z, 0-9 and -, such as till": "eine Aufgabe ist ein Wort aus a-z, 0-9 und -, etwa till",
    "a login is 1 to 60 letters, digits, dots, dashes or @": (
        "ein Benutzername hat 1 bis 60 Buchstaben, Ziffern, Punkte, Striche oder @"
    ),
    "{} exists": "{} gibt es schon",
    "a password has at least {} characters": "ein Passwort hat mindestens {} Zeichen",
    "this link is used, expired or unknown": "dieser Link ist verbraucht, abgelaufen oder unbekannt",
    "name or password is wrong": "Benutzername oder Passwort ist falsch",
    "this page states no need, so nobody may see it": "diese Seite sagt nicht, wer sie sehen darf: also niemand",
    "closing days run from a day to a later one, at most {}": (
        "Schließtage gehen von einem Tag bis zu einem späteren, höchstens {}"
    ),
    "{} is over": "{} ist vorbei",
    "closing days of {} begin on {} already": "Schließtage von {} beginnen schon am {}",
    "no closing days of {} begin on {}": "keine Schließtage von {} beginnen am {}",
    "site {} is always on: it has neither duty nor closing days": (
        "Apotheke {} ist immer an: sie hat weder Notdienst noch Schließtage"
    ),
    "site {} would have {} duties and closing days; {} at most": (
        "Apotheke {} hätte {} Notdienste und Schließtage; höchstens {}"
    ),
    "somebody else has changed the policy in the meantime; nothing of yours is lost": (
        "jemand anderes hat die Richtlinie inzwischen geändert; von Ihrem geht nichts verloren"
    ),
    "somebody else has changed the policy in the meantime": "jemand anderes hat die Richtlinie inzwischen geändert",
    "the policy has no place {}": "die Richtlinie hat keine Stelle {}",
    "the policy has no item {} here": "die Richtlinie hat hier keinen Eintrag {}",
    "the policy is not a map": "die Richtlinie ist keine Zuordnung",
    "{} is not a map": "{} ist keine Zuordnung",
    "{} is not a list": "{} ist keine Liste",
    "the active policy has no source {}": "die aktive Richtlinie hat keine Quelle {}",
    "{} has no policy.yaml": "{} hat keine policy.yaml",
    "policy.yaml in {} is not a plain file": "policy.yaml in {} ist keine gewöhnliche Datei",
    "policy.yaml in {} is larger than a megabyte": "policy.yaml in {} ist größer als ein Megabyte",
    "policy.yaml in {} is not UTF-8": "policy.yaml in {} ist nicht UTF-8",
    "{} holds what cannot be read: {}": "{} enthält, was nicht gelesen werden kann: {}",
    "{} does not hold what its id says": "{} enthält nicht, was seine Kennung sagt",
    "{} is not a commit's id": "{} ist keine Kennung eines Commits",
    "{} is not a commit": "{} ist kein Commit",
    "{} is not a git repository": "{} ist kein Git-Repository",
    "{} is no name of a proposal": "{} ist kein Name eines Vorschlags",
    "{} has no line {}": "{} hat keine Zeile {}",
    "{} has no branch main": "{} hat keinen Zweig main",
    "{} sends more than {} bytes": "{} sendet mehr als {} Bytes",
    "there is no single commit {}": "es gibt keinen eindeutigen Commit {}",
    "this is what the policy says already": "das sagt die Richtlinie schon",
    "{} has signed already": "{} hat schon unterschrieben",
    "the proposal is not open any more": "der Vorschlag ist nicht mehr offen",
    "the branch has another head by now; this proposal is void": (
        "der Zweig steht inzwischen woanders; dieser Vorschlag ist nichtig"
    ),
    "there is no proposal {}": "es gibt keinen Vorschlag {}",
    "the proposal is {}": "der Vorschlag: {}",
    "the proposal has expired; propose it anew": "der Vorschlag ist abgelaufen; bitte neu vorschlagen",
    "the policy has changed since; propose it anew": "die Richtlinie ist seither anders; bitte neu vorschlagen",
    "all tills of a site would be in one ring; {} affected: {}": (
        "alle Kassen einer Apotheke wären in einem Ring; {} betroffen: {}"
    ),
    "there is no ring {} in rollout {}": "es gibt keinen Ring {} im Rollout {}",
    "ring {} waits for nothing that its rings before have to show": (
        "Ring {} wartet auf nichts, was die Ringe davor zeigen müssen"
    ),
    "the gate of ring {} has been set aside, or the ring is open": (
        "das Tor von Ring {} ist schon beiseite gesetzt, oder der Ring ist offen"
    ),
    "it does not descend from the active {}": "er stammt nicht vom gültigen Stand {} ab",
    "an id is a-z, 0-9 and -": "eine Kennung besteht aus a-z, 0-9 und -",
    "uses is a number": "die Verwendungen sind eine Zahl",
    "this form names no commit of the policy's branch": "dieses Formular nennt keinen Stand der Richtlinie",
    "text is missing, or longer than a policy may be": "der Text fehlt oder ist länger, als eine Richtlinie sein darf",
    "there is no such proposal": "es gibt keinen solchen Vorschlag",
    "there is no such place in the policy": "eine solche Stelle hat die Richtlinie nicht",
    "the branch's newest version of the policy no longer has this item, or has it otherwise": (
        "der neueste Stand des Zweigs hat diesen Eintrag der Richtlinie nicht mehr oder hat ihn anders"
    ),
    "an end is a day and a time such as 2026-12-23T18:00": "ein Ende ist Tag und Uhrzeit, etwa 2026-12-23T18:00",
    "there is such a window already": "ein solches Fenster gibt es schon",
    "this change cannot be written here by itself; edit the text": (
        "diese Änderung lässt sich hier nicht allein schreiben; bitte den Text ändern"
    ),
    # what is wrong with a value of a policy
    "{} is not a text": "{} ist kein Text",
    "{} is not a text of one line and at most 500 characters": (
        "{} ist kein Text von einer Zeile und höchstens 500 Zeichen"
    ),
    "{} is not a name of a-z, 0-9 and - with at most 41 characters": (
        "{} ist kein Name aus a-z, 0-9 und - mit höchstens 41 Zeichen"
    ),
    "{} is not a whole number from {} to {}": "{} ist keine ganze Zahl von {} bis {}",
    "{} is not a share such as 2%": "{} ist kein Anteil wie 2%",
    "{} is not more than 0% and less than 100%": "{} ist nicht mehr als 0% und weniger als 100%",
    "{} is not a duration such as 15m, 2h or 7d": "{} ist keine Dauer wie 15m, 2h oder 7d",
    "{} is not a duration such as 4h open, 1d open or 1h": "{} ist keine Dauer wie 4h open, 1d open oder 1h",
    "{} is not one of {}": "{} ist keines von {}",
    "{} is not a date such as 2026-12-23": "{} ist kein Tag wie 2026-12-23",
    "{} is not a clock time such as 12:00": "{} ist keine Uhrzeit wie 12:00",
    "{} is not an edge such as 30m after opening": "{} ist keine Grenze wie 30m after opening",
    "{} is not a condition such as 'crashed >= 2' with one of {}": (
        "{} ist keine Bedingung wie 'crashed >= 2' mit einem von {}"
    ),
    "there is no window {}": "es gibt kein Fenster {}",
    "there is no ring {}": "es gibt keinen Ring {}",
    "{} is there twice": "{} steht zweimal da",
    "needs {}": "braucht {}",
    "needs both 'from' and 'to', or neither": "braucht 'from' und 'to' oder keines davon",
    "needs 'from', 'days' or 'during'": "braucht 'from', 'days' oder 'during'",
    "needs 'from', 'days' or 'during', one of them": "braucht 'from', 'days' oder 'during', eines davon",
    "only 'missing' counts in per cent": "nur 'missing' zählt in Prozent",
    "{} is too long, or has control characters": "{} ist zu lang oder hat Steuerzeichen",
    "{} is missing": "{} fehlt",
    "This form is no longer valid; go back and try again.": "Dieses Formular gilt nicht mehr; bitte noch einmal.",
    # what a source brought
    "a version or an artifact's name is empty or has control characters": (
        "der Name einer Version oder Datei ist leer oder hat Steuerzeichen"
    ),
    "{} {} is known with other bytes": "{} {} ist mit anderen Bytes bekannt",
    "{} is known with other bytes": "{} ist mit anderen Bytes bekannt",
    # opening hours
    "no opening hours are given": "es sind keine Öffnungszeiten angegeben",
    "longer than {} characters": "länger als {} Zeichen",
    "half of a character stands there": "da steht ein halbes Zeichen",
    "SH (school holidays) is not known here; write the dates": (
        "SH (Schulferien) ist hier nicht bekannt; bitte die Tage hinschreiben"
    ),
    "times of the sun are not known here; write clock times": (
        "Sonnenzeiten sind hier nicht bekannt; bitte Uhrzeiten hinschreiben"
    ),
    "PH needs a rule of its own, such as 'PH off' or 'PH,Su 10:00-12:00', not {}": (
        "PH braucht eine eigene Regel, etwa 'PH off' oder 'PH,Su 10:00-12:00', nicht {}"
    ),
    "no Land {}; one of {}": "es gibt kein Land {}; eines von {}",
    # why a ring does not open
    "nobody listened until a moment ago; every machine gets the time to come back": (
        "bis eben hat niemand zugehört; jeder Rechner bekommt Zeit, sich wieder zu melden"
    ),
    "{} of {} machines that were not updated are silent themselves": (
        "{} von {} Rechnern ohne die Freigabe sind selbst stumm"
    ),
    "{} of earlier boots failed without this release, more than {}": (
        "{} der früheren Starts sind ohne diese Freigabe ausgefallen, mehr als {}"
    ),
    "silent morning of {}: {} of {} machines were missing, {} are far above the usual {}; it ends when no more than"
    " half of that is missing, or by a person": (
        "stiller Morgen am {}: von Rechnern fehlten {} von {}, {} sind weit mehr als die üblichen {}; er endet, wenn"
        " nur noch halb so viele fehlen oder durch einen Menschen"
    ),
    "{} machines at {} sites have failed: {} to 1 against chance": (
        "{} Rechner in {} Apotheken sind ausgefallen: {} zu 1 gegen Zufall"
    ),
    "{} machines at 1 site have failed: {} to 1 against chance": (
        "{} Rechner in 1 Apotheke sind ausgefallen: {} zu 1 gegen Zufall"
    ),
    "{} machines at 1 sites have failed: {} to 1 against chance": (  # as it was stored once
        "{} Rechner in 1 Apotheke sind ausgefallen: {} zu 1 gegen Zufall"
    ),
    "{} counted. {}": "{} gezählt. {}",
    "{} counted.": "{} gezählt.",
    # why a machine may not have it
    "no rollout of this release is running": "kein Rollout dieser Freigabe läuft",
    "halted a moment ago": "eben angehalten",
    "it crashed": "er ist abgestürzt",
    "it has booted twice without anybody having asked for it": "er ist zweimal ungefragt neu gestartet",
    "the ring has not opened": "der Ring ist noch nicht offen",
    "the rollout waits": "der Rollout wartet",
    "a newer release has taken over": "eine neuere Freigabe hat übernommen",
    "as many machines of the ring are in flight as its cap allows": (
        "es sind so viele Rechner des Rings unterwegs, wie seine Grenze erlaubt"
    ),
    "the make has not been proven for this ring": "die Bauart ist für diesen Ring noch nicht erprobt",
    "a failure of this make waits for a person": "ein Fehler dieser Bauart wartet auf einen Menschen",
    "more in flight would put more machines at risk than the policy allows": (
        "mehr zugleich würde mehr Rechner gefährden, als die Richtlinie erlaubt"
    ),
    "another machine of this site is in flight": "ein anderer Rechner dieser Apotheke ist unterwegs",
    "the site would have no working machine of this role": (
        "die Apotheke hätte keinen arbeitenden Rechner dieser Aufgabe mehr"
    ),
    "this machine has another claim in hand": "dieser Rechner hat gerade etwas anderes in Arbeit",
    "this machine does not have the recalled release": "dieser Rechner hat die zurückgerufene Freigabe nicht",
    "it is not recalled any more": "sie ist nicht mehr zurückgerufen",
    # what the policy states and nothing acts on yet
    "line {}: no plugin {} is here: nothing comes from {}": "Zeile {}: kein Plugin {} ist hier: von {} kommt nichts",
    "line {}: {}: not acted on yet": "Zeile {}: {}: wird noch nicht beachtet",
    "line {}: brake '{}' counts 15m before opening": "Zeile {}: Bremse '{}' zählt 15 Minuten vor dem Öffnen",
    "line {}: brake '{}': {} is noted as an event, and sent to nobody yet": (
        "Zeile {}: Bremse '{}': {} wird als Ereignis festgehalten und noch niemandem geschickt"
    ),
    "line {}: expedite: {} is never skipped": "Zeile {}: expedite: {} wird nie ausgelassen",
    "line {}: unreachable.remind_after: nobody is reminded": (
        "Zeile {}: unreachable.remind_after: niemand wird erinnert"
    ),
    "line {}: common_floor: agents enforce it; the gate itself holds each ring to its own floor": (
        "Zeile {}: common_floor: die Agenten setzen es durch; gate selbst hält jeden Ring an sein eigenes Alter"
    ),
    # why a policy that was pushed does not rule
    REFUSED: "Commit {} wird abgelehnt: {}",
    "commit {} loosens: two people must agree": "Commit {} lockert: zwei Personen müssen zustimmen",
    "{} is not signed": "{} ist nicht unterschrieben",
    "the signature of {} does not fit it": "die Unterschrift von {} passt nicht zu ihm",
    "the key {} that has signed {} is unknown": "der Schlüssel {}, mit dem {} unterschrieben ist, ist nicht bekannt",
    "the key {} that has signed {} has been revoked": "der Schlüssel {}, mit dem {} unterschrieben ist, ist gesperrt",
    "the key of {} that has signed {} is not for git": "der Schlüssel von {} unter {} ist nicht für git",
    "the key of {} that has signed {} is not valid now": "der Schlüssel von {} unter {} gilt jetzt nicht",
    "{}, who has signed {}, may not change the policy": (
        "{} hat {} unterschrieben und darf die Richtlinie nicht ändern"
    ),
    # back-tests
    "what is to be tested is one of those in the form": "durchgespielt wird eines von denen im Formular",
    "there is no back-test {}": "es gibt keine Rückprobe {}",
    "the back-test needs more memory than it may have": "die Rückprobe braucht mehr Speicher, als sie haben darf",
    "the back-test's process ended without an answer": "der Prozess der Rückprobe endete ohne Antwort",
    "the back-test took longer than {} minutes": "die Rückprobe dauerte länger als {} Minuten",
    "stopped by {}": "angehalten von {}",
    "it failed; the log says why": "es ist gescheitert; das Log sagt, warum",
    "no release began from {} to {}": "keine Freigabe begann vom {} bis zum {}",
    "the fleet, its rings' picks and its sites' hours are those of today; machines that joined later are left out": (
        "die Flotte, die Auswahl der Ringe und die Öffnungszeiten sind die von heute; Rechner, die später kamen, fehlen"
    ),
    "machines are on from 90 minutes before opening to 10 minutes after closing, "
    "and heard of but for gate's own gaps": (
        "Rechner sind von 90 Minuten vor dem Öffnen bis 10 Minuten nach dem Schließen an und außer in gates eigenen"
        " Lücken zu hören"
    ),
    "a machine that was silent and never reported is taken for dead until a later release found it alive": (
        "ein Rechner, der stumm war und nie gemeldet hat, gilt als ausgefallen, bis eine spätere Freigabe ihn am Leben"
        " fand"
    ),
    "people sign a ring when they signed it then, and halt nothing; a measured background is that of a new fleet": (
        "Menschen geben einen Ring frei, wann sie es damals taten, und halten nichts an; ein gemessener Hintergrund ist"
        " der einer neuen Flotte"
    ),
    "there is no policy version {}": "es gibt keine Richtlinienversion {}",
    **problem_texts.GERMAN,
}
RULES = ("brakes[", "defaults.")
"""How the rules begin that halt by themselves."""


def said(sentence: str, language: str) -> str:
    """The sentence in a language; one that is not known here stays as it is."""
    if language != "de":
        return sentence
    head, colon, why = sentence.partition(" is refused: ")
    if colon and re.fullmatch("commit [0-9a-f]+", head):
        return GERMAN[REFUSED].format(head.removeprefix("commit "), said(why, language))
    parts = problem_texts.parted(sentence, lambda part: said(part, language))
    if parts is not None:
        return parts
    for pattern, german in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            return german.format(*(_value(one) for one in found.groups()))
    return sentence


def halted(because: str, by: str, language: str) -> str:
    """Why a rollout was halted: what a rule has counted in the language, what a person wrote as it is."""
    return said(because, language) if by.startswith(RULES) else because


def _value(found: str) -> str:
    """A state in words, a share or a day as it is written in German, anything else as it is."""
    day = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)", found)
    if day is not None:
        return "{2}.{1}.{0}".format(*day.groups())
    if re.fullmatch(r"\d+(\.\d+)?%", found):
        return found.replace(".", ",").replace("%", " %")
    return LANGUAGES["de"].get(f"state.{found}", found)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """The most particular first."""
    found = sorted(GERMAN, key=lambda one: -len(one.replace("{}", "")))
    return tuple(
        (re.compile("(.+?)".join(re.escape(part) for part in one.split("{}")), re.DOTALL), GERMAN[one]) for one in found
    )
