"""``gate sources``, ``gate source try``, ``gate lever``, ``gate plugins``: what comes in, how it is held."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import resources
from pathlib import Path

import click

from gate.adapters.plugin_checks import check as checks_of
from gate.bootstrap import Opened
from gate.cli.common import because_option, gate_of, me, output_option, settings_option, show
from gate.core.errors import GateError, Malformed, NotFound
from gate.core.policy import SourceRule
from gate.flows import levers, look
from gate.flows import sources as known
from gate.hookspecs import Source
from gate.worker import Transactions

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
FILES = {"source.py": "plugin_source.txt", "test_source.py": "plugin_test.txt"}


def _rules(opened: Opened) -> Sequence[SourceRule]:
    policy = opened.rules.policy()
    return policy.sources if policy else ()


def _rule(opened: Opened, name: str) -> SourceRule:
    found = next((rule for rule in _rules(opened) if rule.name == name), None)
    if found is None:
        raise NotFound(f"the active policy has no source {name}")
    return found


@click.command()
@settings_option
@output_option
def sources(settings: Path, output: str) -> None:
    """Every source: its lever, how the last look went, what it brought last, what it takes up, and what its vendor does
    not do now."""
    with gate_of(settings) as opened:
        policy = opened.rules.policy()
        with opened.store.read() as tx:
            every = timedelta(seconds=opened.settings.source_s)
            found = known.states(tx, policy, every) if policy else []
        rows = [
            {
                "source": one.rule.name,
                "plugin": one.rule.plugin,
                "lever": one.lever.lever,
                "lever_why": "; ".join(said for said in (one.lever.why, one.lever.own) if said),
                "probed_at": one.lever.probed_at.strftime("%Y-%m-%d %H:%M") if one.lever.probed_at else "",
                "probe": one.lever.shown.name.lower().replace("_", " ") if one.lever.shown else "",
                "probe_detail": one.lever.detail,
                "state": one.state,
                "looked_at": one.looked_at.strftime("%Y-%m-%d %H:%M") if one.looked_at else "",
                "next_at": _next(one.next_at, opened.clock.now()),
                "newest": one.newest.version if one.newest else "",
                "trust": one.newest.trust.value if one.newest else "",
                "findings": len(one.findings),
                "stored": one.stored,
                "loading": "; ".join(opened.plugins.loading(one.rule.name)),
                "detail": one.detail,
                "troubles": "; ".join(one.troubles()),
            }
            for one in found
        ]
    columns = ("source", "plugin", "lever", "probe", "probed_at", "state", "looked_at", "next_at", "newest")
    show(rows, (*columns, "trust", "findings", "stored", "loading", "detail", "troubles", "lever_why"), output)


def _next(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    return at.strftime("%Y-%m-%d %H:%M") if at > now else "soon"


@click.group("source")
def source_group() -> None:
    """One source: try."""


@source_group.command("try")
@click.argument("name")
@settings_option
@output_option
def source_try(name: str, settings: Path, output: str) -> None:
    """What would source NAME bring now? It is looked at, and nothing is fetched, stored or remembered."""
    with gate_of(settings) as opened:
        rule = _rule(opened, name)
        found = opened.try_source(rule)
        with opened.store.read() as tx:
            rows = [
                {"version": one.version, "bytes": one.length, "files": one.files, "known": one.known}
                for one in known.would_bring(tx, name, found)
            ]
    rows += [{"version": "", "bytes": 0, "files": 0, "known": False, "skipped": sentence} for sentence in found.skipped]
    show(rows, ("version", "files", "bytes", "known", "skipped"), output)


@click.group("lever")
def lever_group() -> None:
    """Levers: check, clear."""


@lever_group.command("check")
@click.argument("name", required=False)
@settings_option
@output_option
@click.pass_context
def lever_check(context: click.Context, name: str | None, settings: Path, output: str) -> None:
    """Does what is withheld stay withheld? Asked as a stock client would, of source NAME or of all; exit code 1: no.

    A lever that is broken opens no further ring until a person has cleared it."""
    rows = []
    with gate_of(settings) as opened:
        for rule in [_rule(opened, name)] if name else _rules(opened):
            within = Transactions(opened.store)
            probe = levers.prove(within, opened.mirror, opened.line, rule, me(), opened.clock.now())
            shown = probe.shown.name.lower().replace("_", " ")
            rows.append({"source": rule.name, "probe": shown, "said": probe.detail})
    show(rows, ("source", "probe", "said"), output)
    if any(row["probe"] == "broken" for row in rows):
        context.exit(1)


@lever_group.command("clear")
@click.argument("name")
@because_option
@settings_option
def lever_clear(name: str, because: str, settings: Path) -> None:
    """Let rings of source NAME open again; a probe must have held since."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        levers.clear(tx, name, me(), because, opened.clock.now())
    click.echo(f"{name} is cleared")


@click.group()
def plugins() -> None:
    """Source plugins: list, check, new."""


@plugins.command("list")
@settings_option
@output_option
def plugins_list(settings: Path, output: str) -> None:
    """The plugins that are here, with their lever; only those that the policy names are ever asked for content."""
    rows = []
    with gate_of(settings) as opened:
        used: dict[str, list[str]] = {}
        for rule in _rules(opened):
            used.setdefault(rule.plugin, []).append(rule.name)
        for name in sorted({*opened.plugin_names, *used}):
            row = {"plugin": name, "sources": ", ".join(used.get(name, ()))}
            try:
                info = opened.plugins.describe(name)
            except GateError as problem:
                rows.append({**row, "lever": "-", "kinds": "", "options": "", "why": problem.detail})
                continue
            options = ", ".join(sorted(info.options))
            rows.append(
                {**row, "lever": info.lever, "kinds": ", ".join(info.kinds), "options": options, "why": info.why}
            )
    show(rows, ("plugin", "lever", "kinds", "options", "sources", "why"), output)


@plugins.command("check")
@click.argument("name")
@click.option("--source", "named", help="A source of the active policy: with its options and hosts, a whole look.")
@settings_option
@output_option
@click.pass_context
def plugins_check(context: click.Context, name: str, named: str | None, settings: Path, output: str) -> None:
    """Does plugin NAME keep the contract? The checks of the contract tests; exit code 1 where it does not."""
    with gate_of(settings) as opened:
        source: Source | None = None
        if named is not None:
            source = look.configured(_rule(opened, named), opened.settings.sources)
        found = checks_of(opened.plugins, name, source)
    rows = [{"check": one.name, "ok": "yes" if one.ok else "NO", "detail": one.detail} for one in found]
    show(rows, ("check", "ok", "detail"), output)
    if not all(one.ok for one in found):
        context.exit(1)


@plugins.command("new")
@click.argument("name")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default=Path("."), show_default=True)
def plugins_new(name: str, folder: Path) -> None:
    """Write a working plugin NAME with its tests into FOLDER; plugins/README.md goes on from there."""
    if not NAME.match(name) or len(name) > 41:
        raise Malformed("bad_field", "a plugin's name is a-z, 0-9 and -, such as acme-rules")
    package = folder / f"gate_{name.replace('-', '_')}"
    if package.exists():
        raise Malformed("bad_field", f"{package} is there already")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f'"""The {name} plugin."""\n', encoding="utf-8")
    for file, template in FILES.items():
        (package / file).write_text(written(template, name), encoding="utf-8")
        click.echo(package / file)


def written(template: str, name: str) -> str:
    """A template for a plugin of this name."""
    text = (resources.files("gate") / "seed" / template).read_text(encoding="utf-8")
    return text.replace("NAME", name.replace("-", "_"))
