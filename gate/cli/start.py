"""``gate init``, ``serve``, ``doctor``, ``config``: a gate is made, runs, and says what is wrong with it."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import platform
import resource
import signal
import socket
import sys
import tempfile
from dataclasses import fields, replace
from functools import partial
from importlib import metadata
from multiprocessing.util import Finalize
from pathlib import Path

import click
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from gate import bootstrap
from gate.adapters import logs, metrics
from gate.adapters.policy_hook import write_hook
from gate.adapters.store.backup import newest
from gate.bootstrap import Opened, Wishes, open_gate
from gate.cli.common import emit, gate_of, output_option, settings_option
from gate.config import SECRETS, Settings, load, unreachable
from gate.core.errors import OperatorError
from gate.web.plain_http import Wsgi

log = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
KILL_S, STOP_S = 20, 15
LINES = 50_000  # connections of one process, as far as it may open so many files
SPARE_FILES = 1000
HEADERS = HTTP1Settings(header_read_timeout=10_000, max_buffer_size=32 * 1024)
"""A line that does not bring whole headers in ten seconds is cut; so is one that says nothing."""


def _asked(text: str, default: str) -> str:
    return str(click.prompt(text, default=default)) if sys.stdin.isatty() else default


@click.command()
@output_option
def version(output: str) -> None:
    """The version of this program, of the schema that it wants, and of the Python that runs it."""
    found = {"gate": metadata.version("gate"), "schema": newest(), "python": platform.python_version()}
    if output != "table":
        emit(found, output)
        return
    for name, said in found.items():
        click.echo(f"{name} {said}")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--fleet", help="Name of the fleet: a-z, 0-9 and -.")
@click.option("--public-url", help="https address of this gate; empty: this machine only.")
@click.option("--database", help="SQLAlchemy URL; empty: SQLite in the folder.")
@click.option("--admin", help="Login of the first admin.")
@click.option("--land", help="Land of sites that name none, such as NW.")
@click.option("--port", type=click.IntRange(1, 65535), default=8400, show_default=True)
@click.option(
    "--example",
    type=click.Choice(["policy", "walk"]),
    default="policy",
    help="The first policy: the seed, or one for trying gate on one machine in minutes.",
)
@click.option(
    "--drop", type=click.Path(path_type=Path), help="With --example walk: the drop folder of source shop-content."
)
def init(
    folder: Path,
    fleet: str | None,
    public_url: str | None,
    database: str | None,
    admin: str | None,
    land: str | None,
    port: int,
    example: str,
    drop: Path | None,
) -> None:
    """Make a new gate in FOLDER: settings, keys, policy repository, database, a one-time admin link, a systemd unit."""
    if drop is not None and example != "walk":
        raise click.UsageError("--drop goes with --example walk")
    sources = {}
    if example == "walk":
        place = (drop or folder / "drop").resolve()
        place.mkdir(parents=True, exist_ok=True)
        sources = {"shop-content": {"folder": str(place)}}
    wishes = Wishes(
        fleet=fleet if fleet is not None else _asked("Name of the fleet", "my-pharmacies"),
        public_url=public_url if public_url is not None else _asked("Public https address (empty: this machine)", ""),
        database=database if database is not None else _asked("Database URL (empty: SQLite)", ""),
        admin=admin if admin is not None else _asked("Login of the first admin", "admin"),
        land=land if land is not None else _asked("Land of sites that name none", "NW"),
        example=example,
        port=port,
        source_s=1.0 if example == "walk" else 60.0,
        sources=sources,
        bare=example != "walk",
    )
    made = bootstrap.init(folder, wishes, bootstrap.SystemClock().now())
    click.echo(f"settings     {made.settings}")
    click.echo(f"policy       {folder / 'data' / 'policy.git'} (a bare git repository, branch main)")
    click.echo(f"systemd unit {made.unit}")
    if wishes.bare:
        click.echo("sources      none yet: the page Sources says how to add one; it takes two people")
    click.echo("keys         all keys are on this machine; every page says so until people hold them")
    for sentence in _later(made.settings):
        click.echo(f"not yet enforced: {sentence}")
    click.echo(f"\nstart it:     gate serve --settings {made.settings}")
    click.echo(f"first login, as {wishes.admin} (once, 24 hours):\n  {made.link}")


def _later(settings: Path) -> list[str]:
    with gate_of(settings) as opened:
        policy = opened.rules.policy()
        return opened.not_yet(policy) if policy else []


@click.command()
@settings_option
@click.option("--role", default="web,worker", show_default=True, help="web, worker, or both.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the web role.")
def serve(settings: Path, role: str, workers: int) -> None:
    """Serve pages, agents and the read plane, and do the work, until stopped."""
    roles = {part.strip() for part in role.split(",")}
    if not roles <= {"web", "worker"} or not roles:
        raise click.UsageError("--role is web, worker or web,worker")
    found = load(settings)
    _reachable(found)
    logs.configure(found.log)
    if found.metrics_token:
        metrics.prepare(found.metrics)
    _ready(settings)
    if "web" not in roles:
        _work(settings)
        return
    _alone(found.bind, found.port)
    log.info("gate serves %s on http://%s:%s", found.fleet, found.bind, found.port)
    server = Server(
        "gate",
        address=found.bind,
        port=found.port,
        interface=Interfaces.WSGI,
        workers=workers,
        http=HTTPModes.http1,
        http1_settings=HEADERS,
        blocking_threads=64,
        backlog=4096,
        backpressure=_most_lines(),
        log_level=LogLevels.error,
        respawn_failed_workers=True,
        workers_kill_timeout=KILL_S,
    )
    server.serve(target_loader=partial(_application, settings, "worker" in roles), wrap_loader=False)


def _alone(address: str, port: int) -> None:
    """The server's own listener would share the port with whoever has it, and each would get half of the calls."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as problem:
        raise OperatorError("cannot_listen", f"cannot listen on {address}:{port}: {problem.strerror}") from problem


def _most_lines() -> int:
    """As many as files may be open, after asking for as many as allowed: else slow callers keep all others out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return LINES if most == resource.RLIM_INFINITY else max(min(LINES, most - SPARE_FILES), 128)


def _reachable(found: Settings) -> None:
    problem = unreachable(found.public_url, found.bind)
    if problem:
        raise OperatorError("bad_settings", problem)


def _ready(settings: Path) -> None:
    """Everything that must be good before a port is opened; says what the policy states and nobody enforces yet."""
    with gate_of(settings) as opened:
        opened.upgrade()
        _greet(opened, settings)
        bad = [f"{what}: {sentence}" for what, good, sentence in bootstrap.check(opened) if not good]
        fatal = [line for line in bad if line.startswith(("database", "keys", "read plane"))]
        for line in bad:
            log.warning("not well: %s", line)
        if fatal:
            raise OperatorError("not_ready", "; ".join(fatal))
        policy = opened.rules.policy()
        for sentence in opened.not_yet(policy) if policy else []:
            log.info("not yet enforced: %s", sentence)


def _greet(opened: Opened, settings: Path) -> None:
    """Whoever pushes a policy hears what becomes of it."""
    program = Path(sys.executable).with_name("gate")
    where = f"received; gate judges it within {opened.settings.tick_s:g} s: {opened.address}/policy"
    if not write_hook(opened.settings.policy, program, settings.resolve(), where):
        log.info("the policy repository has no post-receive hook of gate's: who pushes is told nothing")


def _application(settings: Path, works: bool) -> Wsgi:
    """In the server's process: the application, and the worker beside it. It ends when its parent does."""
    _die_with_parent()
    opened = open_gate(settings)
    logs.configure(opened.settings.log)
    if works:
        worker = opened.worker()
        worker.start()
        # the server's process leaves without atexit: only multiprocessing's own list is run there
        Finalize(None, worker.stop, args=(STOP_S,), exitpriority=1)
    application = opened.wsgi(bootstrap.pages(opened))
    gc.freeze()  # what is here now stays: not worth looking through again and again
    gc.set_threshold(20_000, 50, 50)
    return application


def _work(settings: Path) -> None:
    opened = open_gate(settings)
    worker = opened.worker()
    worker.start()
    log.info("gate works")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    worker.stop()
    opened.close()


@click.command()
@click.option("--scenario", default="july-19", show_default=True, help="A shipped scenario, or a file.")
@click.option("--speed", default=90.0, show_default=True, type=click.FloatRange(1, 100000), help="Times faster.")
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0: any free port.")
def demo(scenario: str, speed: float, port: int) -> None:
    """Show 19 July 2024 in 41 simulated pharmacies, on the real pages; Ctrl-C leaves nothing behind."""
    chosen = _free_port(port)
    with tempfile.TemporaryDirectory(prefix="gate-demo-") as folder:
        click.echo("gate demo: the day is made ready (seconds; half a minute on a slow machine)", err=True)
        server = Server(
            "gate",
            address="127.0.0.1",
            port=chosen,
            interface=Interfaces.WSGI,
            blocking_threads=4,
            log_level=LogLevels.error,
            workers_kill_timeout=3,
        )
        server.serve(target_loader=partial(_show, Path(folder), scenario, speed, chosen), wrap_loader=False)


def _free_port(wanted: int) -> int:
    """The wanted port where it is free, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OperatorError("no_port", "no port is free")


def _show(folder: Path, scenario: str, speed: float, port: int) -> Wsgi:
    _die_with_parent()
    shown = bootstrap.demo(folder, scenario, speed, lambda sentence: click.echo(sentence, err=True))
    click.echo(f"gate demo: open http://127.0.0.1:{port}/  (Ctrl-C ends it)", err=True)
    return shown


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@click.command()
@settings_option
@output_option
def doctor(settings: Path, output: str) -> None:
    """Say what is wrong; exit code 1 when something is."""
    with gate_of(settings) as opened:
        found = bootstrap.check(opened)
    if output != "table":
        emit([{"what": what, "good": good, "detail": text} for what, good, text in found], output)
    else:
        for what, good, text in found:
            click.echo(f"{'good' if good else 'BAD '}  {what}: {text}")
    if not all(good for _, good, _ in found):
        raise SystemExit(1)


@click.group()
def config() -> None:
    """Settings: show."""


@config.command("show")
@settings_option
@output_option
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
def config_show(settings: Path, output: str, origin: bool) -> None:
    """Every setting as it is in force; options of sources and secrets by name only."""
    found, rows = load(settings), []
    text = settings.read_text(encoding="utf-8")
    for one in fields(Settings):
        value = getattr(found, one.name)
        if one.name == "sources":
            value = {name: sorted(options) for name, options in value.items()}
        if one.name == "oidc" and value is not None:
            value = replace(value, client_secret="(set)" if value.client_secret else "")
        if one.name in SECRETS and value:
            value = "(set)"
        if one.name == "database" and "@" in str(value):
            value = "(with a password)@" + str(value).rpartition("@")[2]
        override = f"GATE_{one.name.upper()}"
        stands = any(line.split("=")[0].strip() == one.name for line in text.splitlines())
        where = "environment" if override in os.environ else "file" if stands else "default"
        rows.append({"setting": one.name, "value": str(value)} | ({"origin": where} if origin else {}))
    if output != "table":
        emit(rows, output)
        return
    for row in rows:
        click.echo(f"{row['setting']} = {row['value']}" + (f"  ({row['origin']})" if origin else ""))
