"""``gate-agent``: enrol, run, once, early, recover, status.

- Exit codes: 0 ok, 1 a person must act, 3 the gate is unreachable or refuses. ``early`` always ends with 0.
- What talks to the gate is loaded by the commands that talk: ``early`` is in every boot's way.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gate.agent import settings
from gate.agent.errors import AgentError, Misuse, Refused, Unreachable
from gate.agent.state import StateFolder
from gate.agent.status import LANGUAGES, language_of, lines

if TYPE_CHECKING:
    from gate.agent.loop import Agent

DEFAULT = "/var/lib/gate-agent"


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    given = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of an answer that was cut, with a trace of its own
    folder = StateFolder(given.state)
    try:
        match given.command:
            case "enrol":
                _enrol(folder, given)
            case "run":
                _run(folder, given.on_trial)
            case "once":
                folder.prepare()
                folder.lock()
                print(f"next round in {_agent(folder).once():.0f} s")
            case "early":
                print(_early(folder))
            case "recover":
                from gate.agent.recover import recover

                print("\n".join(recover(given.root, given.state, given.source)))
            case "status":
                print("\n".join(lines(folder.path, folder.identity(), folder.state(), given.language)))
    except AgentError as problem:
        print(f"gate-agent: {problem}", file=sys.stderr)
        sys.exit(3 if isinstance(problem, Unreachable | Refused) else 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gate-agent", description="Asks the gate, installs what it approves, reports."
    )
    state = Path(os.environ.get("GATE_AGENT_STATE", DEFAULT))
    parser.add_argument("--state", type=Path, default=state, help=f"the agent's directory ({DEFAULT})")
    commands = parser.add_subparsers(dest="command", required=True)
    enrol = commands.add_parser("enrol", help="join a gate with a code")
    enrol.add_argument("url", help="address of the gate")
    enrol.add_argument("code", help="enrolment code, as the gate showed it; - reads it from standard input")
    enrol.add_argument("--fact", action="append", default=[], metavar="NAME=TEXT", help="such as role=till; repeatable")
    enrol.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=PLUGIN:FOLDER",
        help="where a source's content goes on this machine; repeatable",
    )
    enrol.add_argument(
        "--probe",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a command that good content satisfies",
    )
    enrol.add_argument("--proxy", default="", help="the only way out, such as http://proxy.example:3128")
    enrol.add_argument("--ca", default="", metavar="FILE", help="PEM file of the authorities that vouch for the gate")
    enrol.add_argument("--itself", default="", metavar="NAME", help="the source of the agent's own releases")
    run = commands.add_parser("run", help="rounds until it is stopped")
    run.add_argument("--on-trial", action="store_true", help=argparse.SUPPRESS)  # the agent before says it to this one
    commands.add_parser("once", help="one round")
    commands.add_parser("early", help="before a vendor's services start: counts this boot, goes back after too many")
    recover = commands.add_parser("recover", help="from a rescue system: the release before, on a machine's own disk")
    recover.add_argument("--root", type=Path, required=True, help="where the machine's disk is mounted, such as /mnt")
    recover.add_argument("--source", default="", help="what is to go, where nothing is on trial")
    status = commands.add_parser("status", help="what this agent has and waits for")
    status.add_argument("--language", choices=LANGUAGES, default=language_of(), help="as the terminal's, de or en")
    return parser


def _early(folder: StateFolder) -> str:
    from gate.agent import early
    from gate.agent.system import this_system
    from gate.agent.times import now_utc

    try:
        found, because = settings.loaded_or_ran(folder.path)
    except AgentError as problem:
        return f"nothing done: {problem}"
    return because + early.never_failing(folder, found, now_utc, this_system())


def _enrol(folder: StateFolder, given: argparse.Namespace) -> None:
    from gate.agent import calls
    from gate.agent.http import Http

    folder.prepare()
    folder.lock()
    facts = dict(_pair(text) for text in given.fact)
    sources: dict[str, dict[str, str]] = {}
    for name, rest in map(_pair, given.source):
        plugin, _, target = rest.partition(":")
        if not plugin or not target:
            raise Misuse(f"--source {name}={rest} is not NAME=PLUGIN:FOLDER")
        sources[name] = {"plugin": plugin, "folder": str(Path(target).resolve())}
    for name, command in map(_pair, given.probe):
        if name not in sources:
            raise Misuse(f"--probe {name}: there is no such --source")
        sources[name]["probe"] = command
    path = folder.path / settings.FILE
    ways = {"proxy": given.proxy, "ca": str(Path(given.ca).resolve()) if given.ca else "", "itself": given.itself}
    more = {key: value for key, value in ways.items() if value}
    if facts or sources or more or not path.exists():
        if path.exists():
            folder.write("agent.toml.before", path.read_bytes())
            print(f"{path} is written anew; what it said is in agent.toml.before", file=sys.stderr)
        folder.write("agent.toml", settings.render(facts, sources, more).encode())
    code = _piped() if given.code == "-" else given.code
    loaded = settings.load(path)
    identity, status = calls.enrol(Http(given.url, proxy=loaded.proxy, ca=loaded.ca), folder, code, loaded.facts)
    print(f"enrolled as {identity.machine}: {status}\nfingerprint {identity.fingerprint}")


def _piped() -> str:
    """A code that is typed, or that comes from a file."""
    from gate.agent import calls

    return sys.stdin.readline() if sys.stdin.isatty() else calls.code_in(sys.stdin.buffer.read(4096))


def _agent(folder: StateFolder, on_trial: bool = False) -> Agent:
    from gate.agent.loop import Agent

    path = folder.path / settings.FILE
    agent = Agent(folder, settings.load(path), on_trial=on_trial)
    folder.keep(path, settings.RAN)
    return agent


def _run(folder: StateFolder, on_trial: bool) -> None:
    folder.prepare()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    found = settings.load(folder.path / settings.FILE)
    if found.itself and not on_trial and _nursed(folder, found, stop):
        return
    folder.lock()
    _agent(folder, on_trial).run(stop)


def _nursed(folder: StateFolder, found: settings.AgentSettings, stop: threading.Event) -> bool:
    """Whether a release of the agent itself was on trial; then it was watched, to its end."""
    from gate.agent.itself import Nurse, on_trial
    from gate.agent.system import this_system
    from gate.agent.times import now_utc

    if on_trial(folder.state(), found.itself) is None:
        return False
    Nurse(folder, found, now_utc, this_system(), [sys.executable, *sys.orig_argv[1:], "--on-trial"]).run(stop)
    return True


def _pair(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise Misuse(f"{text!r} is not NAME=TEXT")
    return name, value
