"""What is wrong with a policy, in German: the sentences of the language's readers and of the YAML itself.

Values and paths stand in them as they are written; so does what the YAML library says that has no German here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

GERMAN: Mapping[str, str] = {
    "the policy needs {}": "die Richtlinie braucht {}",
    "the policy must be a map of keys": "die Richtlinie muss eine Zuordnung von Schlüsseln sein",
    "unknown key {}": "unbekannter Schlüssel {}",
    "{} needs {}": "{} braucht {}",
    "{} needs both 'from' and 'to', or neither": "{} braucht 'from' und 'to' oder keines davon",
    "{} needs 'from', 'days' or 'during'": "{} braucht 'from', 'days' oder 'during'",
    "{} needs 'from', 'days' or 'during', one of them": "{} braucht 'from', 'days' oder 'during', eines davon",
    "{} must be a map of keys": "{} muss eine Zuordnung von Schlüsseln sein",
    "must be a map of keys": "muss eine Zuordnung von Schlüsseln sein",
    "{} must be a list": "{} muss eine Liste sein",
    "must be a list": "muss eine Liste sein",
    "{}.to: {} is before {}": "{}.to: {} liegt vor {}",
    "{} is before {}": "{} liegt vor {}",
    "{} names no day": "{} nennt keinen Tag",
    "names no day": "nennt keinen Tag",
    "{}: only 'missing' counts in per cent": "{}: nur 'missing' zählt in Prozent",
    "rings: a policy needs at least one ring": "rings: eine Richtlinie braucht mindestens einen Ring",
    "evidence 'alive' is refused: {} is boot_critical": "evidence 'alive' wird abgelehnt: {} ist boot_critical",
    "{}: evidence 'alive' is refused for a source that is boot_critical": (
        "{}: evidence 'alive' wird für eine Quelle abgelehnt, die boot_critical ist"
    ),
    "{}: there is no window {}": "{}: es gibt kein Fenster {}",
    "{}: there is no ring {}": "{}: es gibt keinen Ring {}",
    "{}: {} is there twice": "{}: {} steht zweimal da",
    "ring {} has no 'why'": "Ring {} hat kein 'why'",
    "freeze {} has no end or no owner": "die Sperre {} hat kein Ende oder niemanden, der sich kümmert",
    "{} is not a name": "{} ist kein Name",
    "{} is not a condition": "{} ist keine Bedingung",
    "{} is not a time zone": "{} ist keine Zeitzone",
    "{} is not a time zone such as Europe/Berlin": "{} ist keine Zeitzone wie Europe/Berlin",
    "{} is not a map such as {role: till}": "{} ist keine Zuordnung wie {{role: till}}",
    "{} is not a probe's name, such as till-software, or `till-software if role=till`": (
        "{} ist kein Name einer Probe, wie till-software oder `till-software if role=till`"
    ),
    "{} is not a map of windows": "{} ist keine Zuordnung von Fenstern",
    "{} is not a duration": "{} ist keine Dauer",
    "{} is not a duration such as 15m": "{} ist keine Dauer wie 15m",
    "{} is not a duration such as 4h open": "{} ist keine Dauer wie 4h open",
    "{} is not a whole number": "{} ist keine ganze Zahl",
    "{} is not a host": "{} ist kein Rechnername",
    "{} is not a host such as database.example or database.example:8443, in lower case": (
        "{} ist kein Rechnername wie database.example oder database.example:8443, in Kleinbuchstaben"
    ),
    "{} is not a clock time": "{} ist keine Uhrzeit",
    "{} is not a date": "{} ist kein Tag",
    "a policy has at most {} bytes": "eine Richtlinie hat höchstens {} Bytes",
    "the policy is empty": "die Richtlinie ist leer",
    "nested too deeply": "zu tief verschachtelt",
    "a comment stands behind a key whose value is on the next line: put it above the key, or the value beside it": (
        "ein Kommentar steht hinter einem Schlüssel, dessen Wert in der nächsten Zeile steht: er gehört über den "
        "Schlüssel, oder der Wert daneben"
    ),
    "U+{} ends a line that nobody sees end": "U+{} beendet eine Zeile, deren Ende niemand sieht",
    "this is not YAML: {}": "das ist kein YAML: {}",
    "this is not YAML: unacceptable character #x{}: special characters are not allowed": (
        "das ist kein YAML: das Zeichen U+{} ist nicht erlaubt"
    ),
    # what the YAML library says
    "mapping values are not allowed here": "hier darf kein Doppelpunkt mit einem Wert stehen",
    "mapping keys are not allowed here": "hier darf kein Schlüssel stehen",
    "sequence entries are not allowed here": "hier darf kein Eintrag einer Liste stehen",
    "could not find expected ':'": "hier fehlt ein ':'",
    "expected <block end>, but found {}": "das steht anders eingerückt als das davor, oder dort fehlt etwas: {}",
    "expected ',' or ']', but got {}": "hier fehlt ',' oder ']'; da steht {}",
    "expected ',' or '}', but got {}": "hier fehlt ',' oder '}}'; da steht {}",
    "expected the node content, but found {}": "hier fehlt ein Wert; da steht {}",
    "found character {} that cannot start any token": "mit dem Zeichen {} kann hier nichts anfangen",
    "found unexpected end of stream": "der Text ist zu Ende, bevor das Angefangene zu Ende ist",
    "found unexpected document separator": "hier darf kein neues Dokument anfangen",
    "but found another document": "hier fängt ein zweites Dokument an",
    "found unknown escape character {}": "das Zeichen {} darf nicht hinter einem '\\' stehen",
    "expected escape sequence of {} hexdecimal numbers, but found {}": (
        "hier fehlt eine Hexadezimalzahl mit {} Stellen; da steht {}"
    ),
    "expected ' ', but found {}": "hier fehlt ein Leerzeichen; da steht {}",
    "expected a digit or '.', but found {}": "hier fehlt eine Ziffer oder '.'; da steht {}",
    "expected a digit, but found {}": "hier fehlt eine Ziffer; da steht {}",
    "expected a comment or a line break, but found {}": "hier fehlt ein Kommentar oder das Ende der Zeile; da steht {}",
    "expected alphabetic or numeric character, but found {}": "hier fehlt ein Buchstabe oder eine Ziffer; da steht {}",
    "expected chomping or indentation indicators, but found {}": "hier fehlt '+', '-' oder eine Ziffer; da steht {}",
    "expected indentation indicator in the range 1-9, but found 0": "hier fehlt eine Ziffer von 1 bis 9; da steht 0",
    "expected '<document start>', but found {}": "hier fehlt der Anfang eines Dokuments; da steht {}",
    "anchors and aliases are not allowed": "Anker und Verweise sind nicht erlaubt",
    "tag {} is not allowed": "die Markierung {} ist nicht erlaubt",
    "a key must be a word": "ein Schlüssel muss ein Wort sein",
    "key {} is there twice": "der Schlüssel {} steht zweimal da",
}
NEXT = re.compile(r"; (?=policy\.yaml:\d+:\d+: )")
PLACED = re.compile(r"((?:policy\.yaml:\d+:)?\d+: )(.+)", re.DOTALL)
MEANT = re.compile(r"(.+) \(did you mean (.+)\?\)", re.DOTALL)


def parted(sentence: str, said: Callable[[str], str]) -> str | None:
    """Several problems, one with its place or with what was meant, each part by ``said``; None: it is one sentence."""
    several = NEXT.split(sentence)
    if len(several) > 1:
        return "; ".join(said(one) for one in several)
    placed = PLACED.fullmatch(sentence)
    if placed is not None:
        return placed[1] + said(placed[2])
    meant = MEANT.fullmatch(sentence)
    return f"{said(meant[1])} (meinten Sie {meant[2]}?)" if meant is not None else None
