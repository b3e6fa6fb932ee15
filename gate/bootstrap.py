"""The composition root: the only place that knows which adapter stands behind which port."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import platform
import pwd
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from gate.adapters import envelopes, keys, policy_edit, standing
from gate.adapters.backtest_process import BacktestProcess
from gate.adapters.calendar import OpeningCalendar, check_hours, check_land, holiday_names
from gate.adapters.envelopes import ResponseKey
from gate.adapters.metrics import Metrics, render
from gate.adapters.mirror_folder import MirrorFolder
from gate.adapters.passwords import hash_password, verify_password
from gate.adapters.plugin_process import Limits
from gate.adapters.plugins import ChildPlugins, Network
from gate.adapters.policy_git import GitPolicies
from gate.adapters.policy_remote import PolicyRemote
from gate.adapters.policy_yaml import load as load_yaml
from gate.adapters.policy_yaml import parse_text, problems_of
from gate.adapters.publisher_tuf import TufPublisher
from gate.adapters.shelf import FileShelf
from gate.adapters.ssh_signature import SignersFile
from gate.adapters.stock_line import StockLine
from gate.adapters.store.backup import newest
from gate.adapters.store.sql import SqlStore, check_url
from gate.adapters.store.writer import GroupCommit
from gate.config import Settings, load, unreachable
from gate.core import words
from gate.core.errors import GateError, Malformed, NotFound, OperatorError
from gate.core.model import Machine, MachineStatus, Site
from gate.core.policy import Policy, SourceRule, not_enforced
from gate.core.policy_values import Problem
from gate.flows import claims, edits, look, people, placing, policy_versions
from gate.flows.identities import Shown
from gate.hookspecs import Discovered
from gate.ports import Backtester, Clock, Gate, Tx, User, Version
from gate.sim import run, scenario
from gate.sim.live import LiveSimulation
from gate.web import people_openapi
from gate.web.agent_api import AgentApi, AgentApiParts
from gate.web.app import PagesParts, create_app
from gate.web.mirror_plane import MirrorPlane
from gate.web.oidc import LoginProvider
from gate.web.people_api import PeopleApi, PeopleApiParts
from gate.web.plain_http import Wsgi
from gate.web.proxied import Proxied
from gate.web.static_plane import StaticPlane
from gate.web.wire import SourceShape
from gate.worker import MARK, Worker, WorkerParts

log = logging.getLogger(__name__)
SHIPPED = "gate.sim"
LEAVES = 1000
ROOM = 1 << 20
TICK_LATE = timedelta(seconds=60)


class SystemClock:
    """The real clock."""

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC)


class OneText:
    """A policy that is a text, not a repository: simulations and drills use it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.commit = hashlib.sha256(text.encode()).hexdigest()[:40]

    def head(self) -> str:
        """Its version: a hash of the text."""
        return self.commit

    def read(self, commit: str) -> str:
        """The text."""
        assert commit == self.commit
        return self._text

    def blame(self, commit: str, line: int) -> tuple[str, datetime, str]:
        """Nobody in particular."""
        return "the scenario's policy", datetime.fromtimestamp(0, UTC), ""

    def lines(self, commit: str) -> list[Version]:
        """All of one version."""
        return [self.version(commit)] * len(self.read(commit).splitlines())

    def history(self, limit: int = 50, start: str = "") -> list[Version]:
        """There is one version only."""
        return [self.version(self.commit)]

    def version(self, commit: str) -> Version:
        """Nobody in particular."""
        self.read(commit)
        return Version(commit, *self.blame(commit, 1))

    def resolve(self, wanted: str) -> str:
        """There is one version only."""
        if not self.commit.startswith(wanted):
            raise NotFound(f"there is no single commit {wanted[:60]}")
        return self.commit

    def between(self, commit: str, ancestor: str) -> list[str]:
        """There is one version only."""
        return []

    def problems(self, text: str) -> list[Problem]:
        """Every problem of a text."""
        return problems_of(text)

    def authors(self, commit: str) -> Sequence[tuple[str, datetime, str]]:
        """Nobody in particular."""
        return [self.blame(commit, 1)] * (self._text.count("\n") + 1)

    def descends(self, commit: str, ancestor: str) -> bool:
        """There is one version only."""
        return commit == ancestor

    def parse(self, text: str) -> Policy:
        """The policy that a text says."""
        return parse_text(text)

    def parents(self, commit: str) -> list[str]:
        """There is one version only."""
        return []

    def propose(self, name: str, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """Nobody edits the policy of a simulation."""
        raise OperatorError("policy_repository", "the policy of a simulation is not edited")

    def write(self, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """Nobody edits the policy of a simulation."""
        raise OperatorError("policy_repository", "the policy of a simulation is not edited")


def policy_reader(read: Callable[[str], str]) -> Callable[[str], Policy]:
    """commit -> parsed policy, kept, and so is what is wrong with one that is none: a commit never changes."""

    @lru_cache(maxsize=256)
    def parsed(commit: str) -> Policy | Malformed:
        text = read(commit)
        try:
            return parse_text(text, "policy.yaml")
        except Malformed as problem:
            return problem

    def policy(commit: str) -> Policy:
        found = parsed(commit)
        if isinstance(found, Malformed):
            raise Malformed(found.kind, found.detail, **found.more)
        return found

    return policy


def seed_policy(name: str = "policy.yaml") -> str:
    """The seed policy, or another shipped one."""
    return (resources.files("gate") / "seed" / name).read_text(encoding="utf-8")


def without_sources(text: str) -> str:
    """The text of a policy whose sources are comments; whoever adds one writes it above them."""
    head, opening, rest = text.partition("\nsources: ")
    listed, _, after = rest.partition("\n\n")
    first, *items = listed.splitlines()
    kept = "\n".join([f"[]{first.removeprefix('  ')}", *(f"# {one.removeprefix('  ')}" for one in items)])
    return f"{head}{opening}{kept}\n\n{after}"


def read_scenario(file: Path, seed: int | None = None) -> scenario.Scenario:
    """A scenario from a file, or a shipped one by its name.

    Raises:
        NotFound, Malformed: no such file; not YAML, or not a scenario.
    """
    scenarios = resources.files(SHIPPED) / "scenarios"
    shipped = scenarios / f"{file.name.removesuffix('.yaml')}.yaml"
    if file.is_file():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise Malformed("bad_field", f"{file} cannot be read: {problem}") from problem
    elif len(file.parts) == 1 and shipped.is_file():
        text = shipped.read_text(encoding="utf-8")
    else:
        names = sorted(one.name.removesuffix(".yaml") for one in scenarios.iterdir())
        raise NotFound(f"there is no scenario {file}; these are here: {', '.join(names)}")
    return scenario_of(text, file.name, seed)


def shipped_scenarios() -> list[str]:
    """Their names."""
    found = (resources.files(SHIPPED) / "scenarios").iterdir()
    return sorted(one.name.removesuffix(".yaml") for one in found if one.name.endswith(".yaml"))


def scenario_of(text: str, name: str, seed: int | None = None) -> scenario.Scenario:
    """A scenario from YAML text.

    Raises:
        Malformed: not YAML as it is read here (no aliases, no tags, bounded), or not a scenario.
    """
    problems = load_yaml(text, name)
    if isinstance(problems, list):
        raise Malformed("bad_field", "; ".join(str(problem) for problem in problems[:20]))
    try:
        node: Any = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, OverflowError) as problem:
        raise Malformed("bad_field", f"{name} is not YAML: {str(problem).splitlines()[0]}") from problem
    if isinstance(node, dict) and seed is not None:
        node["seed"] = seed
    return scenario.parse(node)


def example_fleet(file: Path) -> tuple[list[Machine], dict[str, Site]]:
    """The machines and sites of a scenario, as a gate would know them."""
    found = read_scenario(file)
    machines = [
        Machine(one.id, one.site.id, MachineStatus.ACTIVE, one.id, one.facts, one.site.labels) for one in found.machines
    ]
    return machines, {site.id: site for site in found.sites}


def planning_gate(policy: Policy) -> Gate:
    """What a plan needs of a gate: a policy and a calendar, no store and no repository."""
    return Gate(policy=lambda _: policy, texts=OneText(""), hours=OpeningCalendar(policy.timezone))


def simulation(
    plan: scenario.Scenario, policy_text: str, folder: Path, kind: type[run.Simulation] = run.Simulation
) -> run.Simulation:
    """A simulation on a fresh SQLite database in ``folder``."""
    texts = OneText(policy_text)
    policy = run.prepare(plan, parse_text(policy_text))
    store = SqlStore(f"sqlite:///{folder / 'simulation.db'}", durable=False)
    store.upgrade()
    gate = Gate(policy=lambda _: policy, texts=texts, hours=OpeningCalendar(policy.timezone))
    return kind(plan, store, gate, texts.commit)


@dataclass(frozen=True, slots=True)
class Created:
    """What ``gate init`` made."""

    settings: Path
    link: str
    unit: Path


@dataclass(frozen=True, slots=True)
class Wishes:
    """What ``gate init`` asks."""

    fleet: str
    public_url: str
    database: str
    admin: str
    land: str
    example: str = "policy"
    bind: str = "127.0.0.1"
    port: int = 8400
    source_s: float = 60.0
    sources: Mapping[str, Mapping[str, str]] | None = None
    bare: bool = False
    """The sources of the example stand in the policy as comments: nobody has them, and each would be red at once."""


def init(folder: Path, wishes: Wishes, now: datetime) -> Created:
    """A new gate in ``folder``: settings, keys, policy repository, database, first publication, one-time admin link.

    Raises:
        OperatorError: there is one already, or something cannot be written.
        Malformed: a wish is no good.
    """
    _check(wishes)
    file, data = folder / "gate.toml", folder / "data"
    for there in (file, data):
        if there.exists():
            raise OperatorError("exists", f"{there} is there: this gate has been made already")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return _made(folder, wishes, now)
    except BaseException:  # what is half made would be in the way of the next try
        shutil.rmtree(data, ignore_errors=True)
        file.unlink(missing_ok=True)
        raise


def _check(wishes: Wishes) -> None:
    """Raises Malformed or OperatorError for the first wish that would be refused later."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", wishes.fleet):
        raise Malformed("bad_field", "a fleet's name is a-z, 0-9 and -, such as sonnen-verbund")
    people.check_login(wishes.admin)
    for problem in (check_land(wishes.land), unreachable(wishes.public_url, wishes.bind)):
        if problem:
            raise Malformed("bad_field", problem)
    if wishes.database:
        check_url(wishes.database)


def _made(folder: Path, wishes: Wishes, now: datetime) -> Created:
    file, data = folder / "gate.toml", folder / "data"
    text = re.sub(r"(?m)^fleet: .*$", f"fleet: {wishes.fleet}", seed_policy(f"{wishes.example}.yaml"))
    text = without_sources(text) if wishes.bare else text
    parse_text(text)
    data.mkdir(mode=0o700)
    keys.create(data / "keys")
    commit = GitPolicies.create(data / "policy.git").write(text, "", wishes.admin, "The first policy", now)
    file.touch(mode=0o600)  # the place for the passwords of databases and providers
    file.write_text(_settings_text(wishes), encoding="utf-8")
    opened = open_gate(file, SystemClock())
    opened.upgrade()
    link = secrets.token_urlsafe(32)
    with opened.store.write() as tx:
        people.add_user(tx, wishes.admin, wishes.admin, "admin", link, "gate init", now)
        active = edits.activate_head(tx, opened.gate, "gate init", now)
        assert active is not None
        assert active.commit == commit
    opened.publisher.create_root(now)
    opened.worker().publish(now)
    opened.close()
    unit = folder / "gate.service"
    unit.write_text(_unit(folder), encoding="utf-8")
    return Created(file, f"{opened.address}/link/{link}", unit)


def _settings_text(wishes: Wishes) -> str:
    lines = [
        "# How this server runs. What it decides stands in the policy. deploy/README.md explains each line.",
        f'fleet = "{wishes.fleet}"',
        'data = "data"',
        f'database = "{wishes.database or "sqlite:///data/gate.db"}"',
        f'public_url = "{wishes.public_url}"',
        f'bind = "{wishes.bind}"',
        f"port = {wishes.port}",
        f'land = "{wishes.land}"',
        f"source_s = {wishes.source_s:g}",
    ]
    for name, options in (wishes.sources or {}).items():
        lines += ["", f"[sources.{name}]", *(f'{key} = "{value}"' for key, value in options.items())]
    return "\n".join(lines) + "\n"


def _unit(folder: Path) -> str:
    program = Path(sys.executable).with_name("gate")
    template = (resources.files("gate") / "seed" / "gate.service").read_text(encoding="utf-8")
    user = pwd.getpwuid(os.getuid()).pw_name
    whose = f"User={user}" if os.getuid() else "# User=gate, the owner of this folder: not root"
    filled = template.replace("{program}", str(program)).replace("{folder}", str(folder.resolve()))
    return filled.replace("{whose}", whose)


class Opened:
    """A gate that exists: each part is made when it is first needed, so that a halt needs the store alone."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.store = SqlStore(settings.database)
        self._aside = SqlStore(settings.database)  # whoever reads a kept text may hold a connection of the store's own
        self.policies = GitPolicies(settings.policy, self._kept_text)
        self.gate = Gate(
            policy=policy_reader(self.policies.read),
            texts=self.policies,
            hours=OpeningCalendar("Europe/Berlin"),
            signers=_signers(settings, self.policies),
        )
        spool = settings.spool / f"{platform.node()}-{os.getpid()}"
        self.plugins = self._plugins(spool)

    def _kept_text(self, commit: str) -> str | None:
        with self._aside.read() as tx:
            return tx.policy_text(commit)

    def upgrade(self) -> None:
        """Brings the database up to this version: its schema, and the texts of what has ruled under an older one."""
        self.store.upgrade()
        with self.store.write() as tx:
            policy_versions.keep_texts(tx, self.gate)

    @property
    def address(self) -> str:
        """How people and agents reach this gate."""
        return self.settings.public_url.rstrip("/") or f"http://127.0.0.1:{self.settings.port}"

    @cached_property
    def publisher(self) -> TufPublisher:
        """The read plane; needs the keys."""
        return TufPublisher(self.settings.public, keys.load_signers(self.settings.keys))

    @cached_property
    def response_key(self) -> ResponseKey:
        """Signs check-in answers."""
        return keys.load_response_key(self.settings.keys)

    @cached_property
    def metrics(self) -> Metrics | None:
        """The counters of this process; none where nobody may read them."""
        return Metrics() if self.settings.metrics_token else None

    @cached_property
    def commit(self) -> GroupCommit:
        """The shared commit of this process."""
        return GroupCommit(self.store)

    @cached_property
    def rules(self) -> ActiveRules:
        """The active policy, for what no promise rests on."""
        return ActiveRules(self)

    @cached_property
    def plugin_names(self) -> frozenset[str]:
        """The source plugins that were here when this was first asked."""
        shipped = importlib.util.find_spec("gate_directory")
        folders = [Path(place).parent for place in (shipped.submodule_search_locations if shipped else None) or ()]
        folders += [Path(one) for one in (*self.settings.plugin_folders, *sys.path) if one]
        found = {path.parent.name for folder in folders for path in folder.glob("gate_*/source.py")}
        return frozenset(name.removeprefix("gate_").replace("_", "-") for name in found)

    def not_yet(self, policy: Policy) -> list[str]:
        """What this policy states and nobody acts on here, each as a sentence with its line."""
        return not_enforced(policy) + [
            f"line {policy.line_of(f'sources[{at}]')}: no plugin {rule.plugin} is here: nothing comes from {rule.name}"
            for at, rule in enumerate(policy.sources)
            if rule.plugin not in self.plugin_names
        ]

    def _plugins(self, spool: Path) -> ChildPlugins:
        network = Network(self.settings.loopback_sources, self.settings.source_bytes_per_s)
        folders = [Path(one) for one in self.settings.plugin_folders]
        return ChildPlugins(spool, limits_of(self.settings), folders, network)

    def try_source(self, rule: SourceRule) -> Discovered:
        """What a source has now; nothing is fetched, stored or remembered.

        Raises:
            SourceError
        """
        self.settings.spool.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="try-", dir=self.settings.spool) as folder:  # none of the worker's
            source = look.configured(rule, self.settings.sources)
            return self._plugins(Path(folder) / "spool").discover(rule.plugin, source, "")

    @cached_property
    def backtester(self) -> Backtester:
        """Runs back-tests for the pages."""
        return BacktestProcess(tuple(shipped_scenarios()), self.settings.database, self.settings.shelf)

    @property
    def mirror(self) -> MirrorFolder:
        """What stock clients are served."""
        return MirrorFolder(self.settings.mirror, self.settings.public / "content" / "blobs")

    @cached_property
    def line(self) -> StockLine:
        """As a stock client asks this gate."""
        return StockLine(self.address)

    def worker(self) -> Worker:
        """A worker on this gate."""
        return Worker(
            WorkerParts(
                store=self.store,
                gate=self.gate,
                clock=self.clock,
                publisher=self.publisher,
                sources=self.plugins,
                options=self.settings.sources,
                response_key=self.response_key.public_key,
                shelf=FileShelf(self.settings.shelf),
                mirror=self.mirror,
                blobs=self.settings.public / "content" / "blobs",
                line=self.line,
                measure=self.metrics.work if self.metrics else lambda *_: None,
                keep=timedelta(days=self.settings.keep_days),
                tick_s=self.settings.tick_s,
                source_s=self.settings.source_s,
                fetch=_fetch(self.settings, self.policies),
            )
        )

    def wsgi(self, inner: Wsgi) -> Wsgi:
        """Read plane, write plane, and ``inner`` for people."""
        parts = AgentApiParts(
            store=self.store,
            commit=self.commit,
            gate=self.gate,
            clock=self.clock,
            envelopes=envelopes,
            signer=self.response_key,
            gate_id=self.settings.fleet,
            root_sha256=self.publisher.root_sha256,
            poll_after_s=self.rules.poll_after_s,
            timestamp_version=recent(self.publisher.timestamp_version),
            sources=self.rules.sources,
            place=self._place,
            claim=claims.claim,
            probes=claims.probes,
            report=claims.report,
            measure=self.metrics.call if self.metrics else lambda *_: None,
        )
        for_people = PeopleApi(
            PeopleApiParts(self.store, self.gate, self.clock, envelopes.read_json), inner, people_openapi.document()
        )
        behind = AgentApi(parts, for_people)
        named = Proxied(behind, self.settings.proxies) if self.settings.proxies else behind
        return StaticPlane(self.settings.public, MirrorPlane(self.settings.mirror, named))

    def _place(self, tx: Tx, machine: Machine) -> tuple[str, str]:
        active = tx.active_policy()
        return placing.place(tx, self.gate.policy(active.commit), machine) if active else ("", "")

    def audit_leaves(self, size: int) -> Iterator[bytes]:
        """The first ``size`` leaves of the audit tree in their order: from the shelf, then from the database."""
        count = 0
        for line in FileShelf(self.settings.shelf).lines("events"):
            if json.loads(line)["index"] == count < size:
                yield line
                count += 1
        yield from stored_leaves(self.store, count, size)

    def close(self) -> None:
        """Gives the database back."""
        self.store.close()
        self._aside.close()


def limits_of(settings: Settings) -> Limits:
    """What one call of a plugin may take."""
    return Limits(wall_s=settings.source_call_s, memory=settings.source_call_mib << 20)


def stored_leaves(store: SqlStore, count: int, size: int) -> Iterator[bytes]:
    """The leaves from ``count`` on that the database holds, up to ``size``."""
    while count < size:
        with store.read() as tx:
            leaves = tx.audit_leaves(count, LEAVES)
        if not leaves:
            return
        yield from leaves[: size - count]
        count += len(leaves)


class ActiveRules:
    """The active policy as it was at most a second ago: for poll intervals and lists, never for a decision."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._read_at = -1.0
        self._policy: Policy | None = None
        self._sources: tuple[SourceShape, ...] = ()

    def policy(self) -> Policy | None:
        """The policy."""
        if time.monotonic() - self._read_at <= 1.0:
            return self._policy
        with self._lock:
            if time.monotonic() - self._read_at > 1.0:
                with self._opened.store.read() as tx:
                    active = tx.active_policy()
                policy = self._opened.gate.policy(active.commit) if active else None
                if policy is not self._policy:
                    rules = policy.sources if policy else ()
                    self._sources = tuple(SourceShape(one.name, one.kind, one.boot_critical) for one in rules)
                self._policy = policy
                self._read_at = time.monotonic()
            return self._policy

    def expire(self) -> None:
        """Whoever asks next reads anew: a page that is shown after a save shows what was saved."""
        self._read_at = -1.0

    def poll_after_s(self, machine: str) -> int:
        """``checkin`` of the defaults, jittered by a tenth with a hash of the machine."""
        policy = self.policy()
        seconds = policy.checkin.total_seconds() if policy else 300.0
        spread = zlib.crc32(machine.encode()) / 0xFFFFFFFF * 0.2 - 0.1
        return max(1, round(seconds * (1 + spread)))

    def sources(self) -> tuple[SourceShape, ...]:
        """All that agents may ask for."""
        self.policy()
        return self._sources


def _fetch(settings: Settings, policies: GitPolicies) -> Callable[[], str] | None:
    if not settings.policy_remote:
        return None
    return PolicyRemote(settings.policy, settings.policy_remote, settings.policy_remote_token, policies).fetch


def _signers(settings: Settings, policies: GitPolicies) -> SignersFile | None:
    if settings.policy_signers is None:
        return None
    return SignersFile(settings.policy_signers, settings.policy_revoked, policies.raw)


def recent(read: Callable[[], int], seconds: float = 0.05) -> Callable[[], int]:
    """``read``, at most once in so many seconds: for a number that every answer carries and a file holds."""
    kept = (-1.0, 0)

    def found() -> int:
        nonlocal kept
        now = time.monotonic()
        if now > kept[0]:
            kept = (now + seconds, read())
        return kept[1]

    return found


def open_gate(file: Path, clock: Clock | None = None) -> Opened:
    """The gate of a settings file.

    Raises:
        OperatorError: the settings are no good.
    """
    return Opened(load(file), clock or SystemClock())


def pages(opened: Opened) -> Wsgi:
    """The pages for people."""

    def policy() -> Policy | None:
        """None also where it cannot be read: a page is shown all the same, the brake among them."""
        try:
            return opened.rules.policy()
        except GateError:
            return None

    def later() -> list[str]:
        found = policy()
        return opened.not_yet(found) if found else []

    return create_app(
        PagesParts(
            store=opened.store,
            gate=opened.gate,
            clock=opened.clock,
            hash_password=hash_password,
            verify_password=verify_password,
            check_hours=check_hours,
            check_land=check_land,
            policy=policy,
            look_anew=opened.rules.expire,
            editor=policy_edit,
            public_url=opened.settings.public_url,
            root_sha256=lambda: opened.publisher.root_sha256,
            later=later,
            land=opened.settings.land,
            holidays=holiday_names,
            try_source=opened.try_source,
            backtester=opened.backtester,
            look_every=timedelta(seconds=opened.settings.source_s),
            loading=opened.plugins.loading,
            recovery=opened.settings.recovery,
            ready=lambda: ready(opened),
            roles=lambda: standing.roles(opened.settings.public),
            about=(
                ("Database", "SQLite" if opened.store.url.startswith("sqlite") else "PostgreSQL"),
                ("Schema", newest()),
                ("Fleet", opened.settings.fleet),
            ),
            metrics=(lambda: render(_figures(opened))) if opened.metrics else None,
            metrics_token=opened.settings.metrics_token,
            oidc=login_provider(opened),
            leaves=opened.audit_leaves,
        )
    )


def login_provider(opened: Opened) -> LoginProvider | None:
    """The settings' login provider, if there is one.

    Raises:
        OperatorError: what it needs is not installed.
    """
    wanted = opened.settings.oidc
    if wanted is None:
        return None
    try:
        from gate.adapters import oidc
    except ImportError as problem:
        raise OperatorError("not_installed", "[oidc] needs more: pip install 'gate[oidc]'") from problem

    def shown(claims: Mapping[str, Any]) -> Shown:
        said = str(claims.get("name") or claims.get("preferred_username") or "")
        name = "".join(char for char in said if char.isprintable())[:100]
        role = oidc.role_of(claims, wanted.role_claim, wanted.roles, people.ROLES) if wanted.role_claim else None
        return Shown(wanted.issuer, claims["sub"], name, role, oidc.confirmed_at(claims))

    return LoginProvider(wanted.name, oidc.OidcProvider(wanted.issuer, wanted.client_id, wanted.client_secret), shown)


def demo(folder: Path, name: str, speed: float, say: Callable[[str], None]) -> Wsgi:
    """The pages over a simulated day that runs as they are looked at; nothing outside ``folder`` is touched."""
    text = seed_policy()
    running = simulation(read_scenario(Path(name)), text, folder)
    live = LiveSimulation(running, speed, say)
    live.start()
    texts = OneText(text)
    policy = running.policy
    gate = Gate(policy=lambda _: policy, texts=texts, hours=OpeningCalendar(policy.timezone))
    store = SqlStore(f"sqlite:///{folder / 'simulation.db'}", durable=False)
    return create_app(
        PagesParts(
            store=store,
            gate=gate,
            clock=live,
            hash_password=hash_password,
            verify_password=verify_password,
            check_hours=check_hours,
            check_land=check_land,
            policy=lambda: policy,
            editor=policy_edit,
            leaves=lambda size: stored_leaves(store, 0, size),
            holidays=holiday_names,
            guest=User("visitor", "Demo", "admin", "", False, live.now()),
            story=live.story,
            room=threading.BoundedSemaphore(1),
        )
    )


Found = list[tuple[str, bool, str]]


def _look(found: Found, what: str, act: Callable[[], str]) -> None:
    try:
        found.append((what, True, act()))
    except GateError as problem:
        found.append((what, False, problem.detail))
    except Exception as problem:
        log.exception("%s could not be looked at", what)
        found.append((what, False, f"could not be looked at: {type(problem).__name__}, see the log"))


def ready(opened: Opened) -> Found:
    """What ``/readyz`` says: (what, is it good, a sentence). Cheap enough to be asked every few seconds."""
    found: Found = []
    _look(found, "database", lambda: _active_commit(opened))
    _look(found, "keys", lambda: f"{len(keys.load_signers(opened.settings.keys)) + 1} are readable")
    _look(found, "policy repository", lambda: f"head {opened.policies.head()[:12]}")
    _look(found, "disk", lambda: _room(opened))
    _look(found, "worker", lambda: _last_tick(opened))
    return found


def _room(opened: Opened) -> str:
    """Reserved, not reckoned: a quota does not show in what a file system says of itself."""
    try:
        with tempfile.TemporaryFile(dir=opened.settings.data) as file:
            os.posix_fallocate(file.fileno(), 0, ROOM)
    except OSError as problem:
        raise OperatorError("disk_full", f"no room in {opened.settings.data}: {problem.strerror}") from problem
    return "has room"


def _active_commit(opened: Opened) -> str:
    with opened.store.read() as tx:
        active = tx.active_policy()
    if active is None:
        raise OperatorError("no_policy", "no policy is active")
    return f"answers; policy {active.commit[:12]} is active"


def _tick_age(opened: Opened) -> timedelta | None:
    with opened.store.read() as tx:
        last = tx.mark(MARK).at
    return None if last is None else abs(opened.clock.now() - last)


def _last_tick(opened: Opened) -> str:
    age = _tick_age(opened)
    limit = max(TICK_LATE, 10 * timedelta(seconds=opened.settings.tick_s))
    if age is None or age > limit:
        said = "no worker has ever ticked" if age is None else f"the last tick was {age.total_seconds():.0f} s ago"
        raise OperatorError("no_worker", said)
    return f"ticked {age.total_seconds():.0f} s ago"


def _figures(opened: Opened) -> dict[str, float]:
    with opened.store.read() as tx:
        figures: dict[str, float] = dict(tx.overview())
    age = _tick_age(opened)
    return {**figures, "last_tick_age_seconds": age.total_seconds() if age is not None else float("inf")}


def check(opened: Opened) -> Found:
    """What ``gate doctor`` says: (what, is it good, a sentence)."""
    found: Found = []
    one = partial(_look, found)
    one("database", lambda: _database(opened))
    one("keys", lambda: f"all keys are here: {len(keys.load_signers(opened.settings.keys)) + 1}")
    one("policy repository", lambda: f"head {opened.policies.head()[:12]}")
    one("disk", lambda: _room(opened))
    one("active policy", lambda: _active(opened))
    one("read plane", lambda: f"timestamp {opened.publisher.timestamp_version()}")
    policy = opened.rules.policy() if all(good for _, good, _ in found) else None
    for rule in policy.sources if policy else ():
        one(f"source {rule.name}", lambda rule=rule: f"plugin {opened.plugins.describe(rule.plugin).name} answers")  # type: ignore[misc]
    return found


def _database(opened: Opened) -> str:
    with opened.store.read() as tx:
        figures = tx.overview()
    machines, sites = figures["machines_active"], figures["sites"]
    return f"{words.counted(machines, 'unit.machine', 'en')} at {words.counted(sites, 'unit.site', 'en')}"


def _active(opened: Opened) -> str:
    with opened.store.read() as tx:
        active = tx.active_policy()
    if active is None:
        raise OperatorError("no_policy", "no policy is active")
    if active.problem:
        raise OperatorError("bad_policy", active.problem)
    opened.gate.policy(active.commit)
    return f"commit {active.commit[:12]} since {active.activated_at:%Y-%m-%d %H:%M} UTC"
