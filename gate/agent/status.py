"""``gate-agent status``: what a machine has and what it waits for, in a person's words; German or English."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from gate.agent.state import ClaimInHand, Identity, State

LANGUAGES = ("de", "en")
WIDTH = 13
LABELS = {
    "machine": ("machine", "Rechner"),
    "gate": ("gate", "Gate"),
    "place": ("ring, make", "Ring, Bauart"),
    "installed": ("installed", "eingesetzt"),
    "hand": ("in hand", "in Arbeit"),
    "waits": ("waits for", "wartet auf"),
    "back": ("goes back", "geht zurück"),
    "bad": ("bad here", "hier schlecht"),
    "untold": ("not told", "ungemeldet"),
    "last": ("last", "zuletzt"),
}
STATUS = {
    "pending": ("not accepted yet", "noch nicht angenommen"),
    "active": ("active", "aktiv"),
    "revoked": ("revoked", "gesperrt"),
    "": ("not heard from the gate yet", "noch nichts vom Gate gehört"),
}
STEPS = {
    "granted": ("the content, to be put in place before {lease}", "den Inhalt, einzusetzen vor {lease}"),
    "installing": ("its being put in place", "das Einsetzen"),
    "installed": ("a restart, and then {stay} of staying up", "einen Neustart, und danach {stay} ohne Ausfall"),
    "installed_alive": ("{stay} of staying up", "{stay} ohne Ausfall"),
    "booted": (
        "{stay} of staying up after a boot; good boots: {good} of {boots}",
        "{stay} ohne Ausfall nach einem Start; gute Starts: {good} von {boots}",
    ),
    "rolling_back": ("the release before, which is put back", "das Release davor, das zurückgeholt wird"),
    "recalling": ("the recall, which is carried out", "den Rückruf, der ausgeführt wird"),
}
"""By a claim's step; one that has ended waits only to be told."""
SAID = (
    (r"up to date", "auf dem neuesten freigegebenen Stand"),
    (r"this release was bad on this machine", "dieses Release war auf diesem Rechner schlecht"),
    (r"nothing new before what was bad has gone back", "nichts Neues, bevor zurück ist, was schlecht war"),
    (r"a recalled release is not in place here", "ein zurückgerufenes Release ist hier nicht eingesetzt"),
    (
        r"the release to go back to was bad on this machine",
        "das Release, zu dem es zurück soll, war auf diesem Rechner schlecht",
    ),
    (r"ring (\S+) has no approval for (\S+)", r"für Ring \1 ist von \2 nichts freigegeben"),
    (r"the approved release is not in the catalogue", "das freigegebene Release steht nicht im Katalog"),
    (
        r"ring and catalogue disagree about length or hash",
        "Ring und Katalog nennen verschiedene Längen oder Prüfsummen",
    ),
    (r"the release's id is not its hash", "die Kennung des Release ist nicht seine Prüfsumme"),
    (r"ring (\S+) is not in the signed floor table", r"Ring \1 fehlt in der signierten Tabelle der Mindestalter"),
    (
        r"younger than the floor of (\d+) s; old enough at (\S+)",
        r"jünger als das Mindestalter von \1 s; alt genug um \2",
    ),
    (
        r"the catalogue's counter is not the manifest's",
        "der Zähler im Katalog ist ein anderer als der in der Dateiliste",
    ),
    (r"older than the signed minimum", "älter als das signierte Minimum"),
    (r"older than what is installed", "älter als das, was eingesetzt ist"),
    (r"the ring is held", "der Ring ist angehalten"),
    (r"the recall does not say which release is to go", "der Rückruf nennt kein Release, das weg soll"),
    (r"make (.+) is not among the approved", r"die Bauart \1 ist nicht freigegeben"),
    (
        r"the metadata has not been refreshed within five minutes",
        "die Metadaten sind seit mehr als fünf Minuten nicht erneuert",
    ),
    (
        r"my clock is more than a minute behind the newest timestamp that I saw",
        "die Uhr hier geht mehr als eine Minute nach gegenüber dem neuesten Zeitstempel",
    ),
    (
        r"the timestamp is older than one that I saw",
        "der Zeitstempel ist älter als einer, der hier schon gesehen wurde",
    ),
    (r"the lease has ended", "die Frist der Zusage ist um"),
    (r"the policy has no such source any more", "die Richtlinie hat diese Quelle nicht mehr"),
    (
        r"there is no room for it: (\d+) MB more, and (\d+) MB are free",
        r"dafür ist kein Platz: \1 MB mehr, und \2 MB sind frei",
    ),
    (r"the machine refuses: (.*)", r"der Rechner weigert sich: \1"),
    (r"another release is approved now", "freigegeben ist jetzt ein anderes Release"),
    (r"no recall any more", "der Rückruf gilt nicht mehr"),
    (r"recalled", "zurückgerufen"),
    (
        r"the policy wants probes that are not set up here: (.+)",
        r"die Richtlinie will Proben, die hier nicht eingerichtet sind: \1",
    ),
    (r"what is in place is not known", "was eingesetzt ist, ist nicht bekannt"),
    (r"it goes back still: (.*)", r"es geht noch zurück: \1"),
    (r"it has not booted since", "es gab seitdem keinen Neustart"),
    (
        r"it was woken and not booted: fast start-up or hibernation",
        "der Rechner wurde geweckt und nicht neu gestartet: Schnellstart oder Ruhezustand",
    ),
    (
        r"what was in place as this boot began is not known",
        "was zu Beginn dieses Starts eingesetzt war, ist nicht bekannt",
    ),
    (r"Safe Mode leaves out what is to be proven", "der abgesicherte Modus lässt weg, was sich bewähren soll"),
    (r"awake for (\d+) of (\d+) s", r"wach seit \1 von \2 s"),
    (r"the system is (?:in )?(\S+)", r"das System meldet \1"),
    (r"((?:\S+: )?)no answer", r"\1keine Antwort"),
    (r"((?:\S+: )?)no answer within (\S+) s", r"\1keine Antwort in \2 s"),
    (r"it crashed under this release: ([^;]+)", r"der Rechner ist mit diesem Release abgestürzt: \1"),
    (r"(\d+) boots left no trace", r"\1 Starts haben keine Spur hinterlassen"),
    (r"another release is in place", "ein anderes Release ist eingesetzt"),
    (
        r"another release was in place as this boot began",
        "zu Beginn dieses Starts war ein anderes Release eingesetzt",
    ),
    (r"(\d+) boots did not stay up: (.+)", r"\1 Starts haben nicht gehalten: \2"),
    (r"(\d+) starts of the agent did not last: ([^;]+)", r"\1 Starts des Agenten haben nicht gehalten: \2"),
    (r"not put in place", "nicht eingesetzt"),
    (r"a person recovered it from a rescue system", "ein Mensch hat den Rechner von einem Rettungssystem aus gerettet"),
    (r"the gate has not answered it yet", "das Gate hat ihm noch nicht geantwortet"),
    (r"(\S+) does not answer", r"\1 antwortet nicht"),
    (r"(\S+) answers too slowly", r"\1 antwortet zu langsam"),
    (r"an answer was too long or too slow", "eine Antwort war zu lang oder kam zu langsam"),
    (r"an answer broke off", "eine Antwort brach ab"),
    (r"an answer (\d+) that is not the gate's", r"eine Antwort \1, die nicht vom Gate ist"),
    (r"the read plane does not answer: (.*)", r"die Metadaten sind nicht zu holen: \1"),
    (r"the read plane is not trusted: (.*)", r"den Metadaten ist nicht zu trauen: \1"),
)
"""What the agent says of itself, and its German; what is not listed stays as it was written."""


def language_of(environ: Mapping[str, str] = os.environ) -> str:
    """The language that the terminal asks for; English where it asks for neither."""
    found = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or ""
    return "de" if found.startswith("de") else "en"


def lines(path: Path, identity: Identity | None, state: State, language: str) -> list[str]:
    """The lines of the answer; ``path``: the agent's directory."""
    here = LANGUAGES.index(language) == 0
    if identity is None:
        return [f"{path}: {'nicht angemeldet' if here else 'not enrolled'}"]
    found = [
        _line("machine", f"{identity.machine} ({_one(STATUS, state.status, here)})", here),
        _line("gate", f"{identity.url} ({identity.gate})", here),
        _line("place", f"{state.ring or '-'}, {state.make or '-'}", here),
    ]
    if state.status == "pending":
        who = "einen Menschen, der diesen Rechner am Gate annimmt" if here else "a person who accepts it at the gate"
        found.append(_line("waits", f"{who}; fingerprint {identity.fingerprint}", here))
    for source, have in sorted(state.installed.items()):
        before = have.previous[:16] or ("nichts" if here else "nothing")
        said = "davor" if here else "before it"
        found.append(_line("installed", f"{source}: sha256:{have.release[:16]}, {said} {before}", here))
    if state.claim is not None:
        found.append(_line("hand", f"{state.claim.source} {state.claim.version}: {state.claim.step}", here))
        found += [_line("waits", one, here) for one in _waits(state.claim, here)]
    for one in state.going_back:
        tried = f"{one.attempts}-mal versucht, das Schlechte ist noch eingesetzt"
        said = tried if here else f"tried {one.attempts} times, what is bad is still in place"
        found.append(_line("back", f"{one.source} {one.version}: {said}", here))
    for digest, because in state.quarantined.items():
        found.append(_line("bad", f"sha256:{digest[:16]}: {german(because) if here else because}", here))
    if state.reports:
        count = len(state.reports)
        said = "Meldungen, die das Gate noch nicht hat" if here else "reports that the gate has not taken yet"
        found.append(_line("untold", f"{count} {said}", here))
    if state.said:
        found.append(_line("last", german(state.said) if here else state.said, here))
    return found


def german(sentence: str) -> str:
    """A sentence of the agent in German, with the source before it where it names one; reasons stand side by side."""
    source, found, rest = sentence.partition(": ")
    before, rest = (f"{source}: ", rest) if found and " " not in source else ("", sentence)
    whole = _german(rest)
    return before + (whole if whole != rest else "; ".join(map(_german, rest.split("; "))))


def _german(words: str) -> str:
    for pattern, text in SAID:
        match = re.fullmatch(pattern, words)
        if match:
            return match.expand(text)
    return words


def _waits(claim: ClaimInHand, here: bool) -> list[str]:
    step = "installed_alive" if claim.step == "installed" and claim.evidence != "boot" else claim.step
    if step not in STEPS:
        return []
    text = _one(STEPS, step, here)
    minutes = f"{claim.stay_up_s / 60:g} min"
    return [text.format(lease=claim.lease_until, stay=minutes, good=claim.boots_good, boots=claim.boots)]


def _one(texts: Mapping[str, tuple[str, str]], key: str, here: bool) -> str:
    return texts[key][here] if key in texts else key


def _line(label: str, text: str, here: bool) -> str:
    return f"{_one(LABELS, label, here):<{WIDTH}} {text}"
