"""The comparison of the gate with people in sentences, German and English: for the page and for ``gate shadow``."""

from __future__ import annotations

from collections.abc import Mapping

from gate.core import said_texts, words
from gate.core.boot_times import NEEDED
from gate.core.correlation import LEAST_FAILURES, counts_as
from gate.flows.shadow import Halted, Learned, Match, Outcome, Shadow

ENGLISH: Mapping[str, str] = {
    "rings": "1 ring|{count} rings",
    "on": "People open the rings (`decides: people`); the gate says what it would do, and halts.",
    "off": "The gate opens the rings itself; the policy says nowhere `decides: people`.",
    "nothing": "No ring has been compared yet.",
    "waits": "{rings}: the gate would open, and waits for a person.",
    "agreed.good": "{rings}: the gate would have opened, people did, and it went well.",
    "agreed.bad": "{rings}: the gate would have opened, people did, and machines failed.",
    "agreed.open": "{rings}: the gate would have opened, people did, and it still runs.",
    "earlier.good": "{rings}: people opened before the gate would have, and it went well.",
    "earlier.bad": "{rings}: people opened before the gate would have, and machines failed.",
    "earlier.open": "{rings}: people opened before the gate would have, and it still runs.",
    "kept_shut.good": "{rings}: the gate would have opened, people did not, and nothing failed.",
    "kept_shut.bad": "{rings}: the gate would have opened, people did not, and it was halted.",
    "kept_shut.open": "{rings}: the gate would have opened, people have not, and it is held.",
    "halts": "The gate has halted {count} times; people let it go on {resumed} times.",
    "halted": "The gate halted {release}: {because}.",
    "resumed": "The gate halted {release}: {because}. People let it go on.",
    "background": "{share} of {tried} boots of earlier releases failed anyway: the background is known.",
    "background.unknown": "{tried} of {needed} boots are known that the background is measured by.",
    "report_times": "{known} of {makes} makes have the {needed} healthy boots by which a deadline is learned.",
    "sites.unknown": "Whether machines of one site fail together is not known: {failed} failures, {needed} are needed.",
    "sites": "Machines of one site fail together by {rho}: 100 at sites of 5 say as much as {like} on their own.",
    "wanting": "Too little is known to ask for trust.",
    "enough": "Background, report times and sites are known.",
}
GERMAN: Mapping[str, str] = {
    "rings": "1 Ring|{count} Ringe",
    "on": "Menschen öffnen die Ringe (`decides: people`); gate sagt, was es tun würde, und hält an.",
    "off": "gate öffnet die Ringe selbst; die Richtlinie sagt nirgends `decides: people`.",
    "nothing": "Noch ist kein Ring verglichen.",
    "waits": "{rings}: gate würde öffnen und wartet auf einen Menschen.",
    "agreed.good": "{rings}: gate hätte geöffnet, Menschen taten es, und es ging gut.",
    "agreed.bad": "{rings}: gate hätte geöffnet, Menschen taten es, und Rechner fielen aus.",
    "agreed.open": "{rings}: gate hätte geöffnet, Menschen taten es, und es läuft noch.",
    "earlier.good": "{rings}: Menschen öffneten, bevor gate es getan hätte, und es ging gut.",
    "earlier.bad": "{rings}: Menschen öffneten, bevor gate es getan hätte, und Rechner fielen aus.",
    "earlier.open": "{rings}: Menschen öffneten, bevor gate es getan hätte, und es läuft noch.",
    "kept_shut.good": "{rings}: gate hätte geöffnet, Menschen taten es nicht, und nichts fiel aus.",
    "kept_shut.bad": "{rings}: gate hätte geöffnet, Menschen taten es nicht, und es wurde angehalten.",
    "kept_shut.open": "{rings}: gate hätte geöffnet, Menschen bisher nicht, und es ruht.",
    "halts": "gate hat {count} Mal angehalten; Menschen ließen es {resumed} Mal weiterlaufen.",
    "halted": "gate hielt {release} an: {because}.",
    "resumed": "gate hielt {release} an: {because}. Menschen ließen es weiterlaufen.",
    "background": "{share} von {tried} Starts früherer Freigaben schlugen ohnehin fehl: der Grundwert ist bekannt.",
    "background.unknown": "{tried} von {needed} Starts sind bekannt, nach denen der Grundwert gemessen wird.",
    "report_times": "{known} von {makes} Bauarten haben die {needed} gesunden Starts für eine gelernte Frist.",
    "sites.unknown": "Ob Rechner einer Apotheke zusammen ausfallen, ist offen: {failed} von {needed} Ausfällen.",
    "sites": "Rechner einer Apotheke fallen zu {rho} zusammen aus: 100 zu je 5 sagen so viel wie {like} einzelne.",
    "wanting": "Noch ist zu wenig bekannt, um Vertrauen zu verlangen.",
    "enough": "Grundwert, Meldezeiten und Apotheken sind bekannt.",
}
LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": ENGLISH, "de": GERMAN}


def summary(found: Shadow, language: str) -> list[str]:
    """What the table comes to: one sentence for each way in which rings went."""
    said = [_text("on" if found.on else "off", language)]
    for match in Match:
        for outcome in Outcome:
            count = found.cells[match, outcome]
            key = "waits" if match is Match.WAITS else f"{match}.{outcome}"
            if count:
                said.append(_text(key, language, rings=_rings(count, language)))
    if not found.rows:
        said.append(_text("nothing", language))
    if found.halts:
        resumed = sum(one.resumed_at is not None for one in found.halts)
        said.append(_text("halts", language, count=len(found.halts), resumed=resumed))
    return said


def learned_sentences(learned: Learned, language: str) -> list[str]:
    """What is known of background, report times and sites, and whether anything is wanting."""
    past, pairs = learned.past, learned.pairs
    if past.exposed >= NEEDED:
        share = words.share(past.failed / past.exposed, language)
        said = [_text("background", language, share=share, tried=past.exposed)]
    else:
        said = [_text("background.unknown", language, tried=past.exposed, needed=NEEDED)]
    known = {"known": learned.makes_known, "makes": len(learned.boots), "needed": NEEDED}
    said.append(_text("report_times", language, **known))
    if learned.rho is None:
        said.append(_text("sites.unknown", language, failed=pairs.failed, needed=LEAST_FAILURES))
    else:
        like = round(counts_as(100, 5, learned.rho))
        said.append(_text("sites", language, rho=words.share(learned.rho, language), like=like))
    return [*said, _text("wanting" if learned.lacks() else "enough", language)]


def halt_sentence(one: Halted, language: str) -> str:
    """One halt by the gate, and whether people let it go on."""
    key = "halted" if one.resumed_at is None else "resumed"
    return _text(key, language, release=f"{one.source} {one.version}", because=said_texts.said(one.because, language))


def _rings(count: int, language: str) -> str:
    one, many = LANGUAGES[language]["rings"].split("|")
    return one if count == 1 else many.format(count=count)


def _text(key: str, language: str, /, **arguments: object) -> str:
    return LANGUAGES[language][key].format(**arguments)
