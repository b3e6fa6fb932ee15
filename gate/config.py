"""Settings: how this server runs. What it decides stands in the policy and nowhere else.

- Read from ``gate.toml``; ``GATE_*`` in the environment wins over the file. An unknown key is an error.
- Every setting has a sentence here; ``deploy/README.md`` lists them, and a test holds the two together.
"""

from __future__ import annotations

import difflib
import os
import platform
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gate.adapters.remote_address import address
from gate.core.errors import OperatorError
from gate.core.recovery import Given

LOOPBACK = ("127.0.0.1", "::1", "localhost")
FILES = ("policy_signers", "policy_revoked")
SECRETS = ("metrics_token", "policy_remote_token")
TEXTS = {"fleet", "data", "database", "public_url", "bind", "land", "log", *SECRETS, "policy_remote", *FILES}
ROLES = {"reader", "technician", "approver", "admin"}
LIMITS = (
    ("port", 1, 65535),
    ("tick_s", 0.01, 3600),
    ("source_s", 0.01, 86400),
    ("keep_days", 0, 100_000),
    ("source_bytes_per_s", 0, 10**12),
    ("source_call_s", 10, 3600),
    ("source_call_mib", 256, 1 << 20),
)


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """What ``[oidc]`` may say."""

    issuer: str
    client_id: str
    client_secret: str = ""
    name: str = "OIDC"
    role_claim: str = ""
    """The claim whose words ``roles`` maps; empty: an admin sets the role."""
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that ``gate.toml`` may say."""

    fleet: str
    """Name of the fleet; goes into every machine's messages as the audience."""
    data: Path
    """Directory of keys, policy repository, published files and spool."""
    database: str
    """SQLAlchemy URL: ``sqlite:///...`` or ``postgresql+psycopg://...``."""
    public_url: str = ""
    """How agents and people reach this gate; https outside this machine. Empty: 127.0.0.1 only."""
    bind: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8400
    """Port to listen on."""
    land: str = ""
    """The Land of sites that name none, such as NW."""
    tick_s: float = 0.5
    """Seconds between two rounds of the worker."""
    source_s: float = 60.0
    """Seconds between two looks at the sources."""
    source_bytes_per_s: int = 0
    """The most bytes a second that one source loads. 0: as fast as it goes."""
    source_call_s: float = 60.0
    """Seconds that one call of a source's plugin may take."""
    source_call_mib: int = 1024
    """Memory that one call may take, in MiB, with whatever program it runs."""
    loopback_sources: bool = False
    """Sources may be on this machine, and there in plain http. For trials: a plugin could ask what listens."""
    proxies: tuple[str, ...] = ()
    """Addresses of proxies in front, whose X-Forwarded-For says who calls."""
    keep_days: int = 400
    """Days that finished rollouts and events stay in the database before they go to ``data/shelf``. 0: for ever."""
    log: str = "text"
    """How the log is written: ``text`` or ``json``, one line an event, on standard error."""
    metrics_token: str = ""
    """Bearer token for ``/metrics``. Empty: there is no such page."""
    policy_signers: Path | None = None
    """Who may push policies: an OpenSSH allowed_signers file outside the repository, one login of the gate a line.
    Without it a push is nobody's word."""
    policy_revoked: Path | None = None
    """Keys that sign no more, one a line: ``ssh-ed25519 AAAA...`` or ``SHA256:...``."""
    policy_remote: str = ""
    """A git repository whose branch ``main`` is fetched every ``source_s`` seconds: ``https://`` or ``ssh://``; judged
    as what is pushed."""
    policy_remote_token: str = ""
    """The password for it by https, such as a read-only access token."""
    oidc: OidcSettings | None = None
    """A login provider, as ``[oidc]``; see ``OidcSettings``."""
    plugin_folders: tuple[str, ...] = ()
    """Folders that hold source plugins of your own."""
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Options and secrets per source, such as ``[sources.shop-content]`` with ``folder``."""
    recovery: Mapping[str, Given] = field(default_factory=dict)
    """What recovery sheets say of a source, such as ``[recovery.shop-content]``: ``linux`` and ``windows``, the folder
    on a machine; ``files``; ``call``."""

    @property
    def keys(self) -> Path:
        """Where the keys lie."""
        return self.data / "keys"

    @property
    def public(self) -> Path:
        """The published directory: any file server may serve it."""
        return self.data / "public"

    @property
    def mirror(self) -> Path:
        """What stock clients are served: any file server may serve ``at`` in it."""
        return self.data / "mirror"

    @property
    def policy(self) -> Path:
        """The bare policy repository."""
        return self.data / "policy.git"

    @property
    def shelf(self) -> Path:
        """Where rows go that leave the database."""
        return self.data / "shelf"

    @property
    def metrics(self) -> Path:
        """Where this host's processes count."""
        return self.data / "metrics" / re.sub(r"[^A-Za-z0-9.-]", "_", platform.node() or "here")

    @property
    def spool(self) -> Path:
        """Where plugins put what they fetch."""
        return self.data / "spool"


def unreachable(public_url: str, bind: str) -> str:
    """Why agents and people would not reach this gate, or would not be safe on the way; empty: nothing is wrong."""
    said = urlsplit(public_url)
    if public_url and said.scheme != "https" and (said.scheme != "http" or said.hostname not in LOOPBACK):
        return "public_url must be https; a proxy in front may end TLS"
    if not public_url and bind not in LOOPBACK:
        return "bind is not this machine alone, and public_url is missing"
    return ""


def load(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the file, with ``GATE_<NAME>`` from the environment on top.

    Raises:
        OperatorError: no file, not TOML, an unknown key (with a suggestion), a missing or ill-typed value.
    """
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        hint = "name yours with --settings or GATE_SETTINGS, or make one with `gate init`"
        raise OperatorError("no_settings", f"there is no {path}; {hint}") from problem
    except RecursionError as problem:
        raise OperatorError("bad_settings", f"{path}: nested too deeply") from problem
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise OperatorError("bad_settings", f"{path}: {problem}") from problem
    known = {one.name for one in fields(Settings)}
    for name in known:
        override = (os.environ if environment is None else environment).get(f"GATE_{name.upper()}")
        if override is not None and name not in ("sources", "plugin_folders", "proxies", "oidc", "recovery"):
            found[name] = override
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise OperatorError("bad_settings", f"{path}: unknown setting {key!r}{hint}")
    missing = [name for name in ("fleet", "data", "database") if not found.get(name)]
    if missing:
        raise OperatorError("bad_settings", f"{path}: {', '.join(missing)} missing")
    try:
        for name in TEXTS & found.keys():
            if not isinstance(found[name], str):
                raise ValueError(f"{name} is not a text in quotes")
        found["data"] = (path.parent / found["data"]).resolve()
        found["database"] = _database(path, str(found["database"]))
        for name in FILES:
            found[name] = (path.parent / found[name]).resolve() if found.get(name) else None
        if found["policy_revoked"] and not found["policy_signers"]:
            raise ValueError("policy_revoked without policy_signers revokes nothing")
        if found.get("policy_remote"):
            address(found["policy_remote"])
        found["port"] = int(found.get("port", 8400))
        found["tick_s"] = float(found.get("tick_s", 0.5))
        found["source_s"] = float(found.get("source_s", 60.0))
        found["keep_days"] = int(found.get("keep_days", 400))
        found["source_bytes_per_s"] = int(found.get("source_bytes_per_s", 0))
        found["source_call_s"] = float(found.get("source_call_s", 60.0))
        found["source_call_mib"] = int(found.get("source_call_mib", 1024))
        found["loopback_sources"] = _flag("loopback_sources", found.get("loopback_sources", False))
        for name, least, most in LIMITS:
            if not least <= found[name] <= most:
                raise ValueError(f"{name} is from {least} to {most}")
        if found.setdefault("log", "text") not in ("text", "json"):
            raise ValueError("log is text or json")
        found["proxies"] = _list("proxies", found.get("proxies", []))
        found["plugin_folders"] = _list("plugin_folders", found.get("plugin_folders", []))
        found["oidc"] = _oidc(found["oidc"]) if "oidc" in found else None
        found["sources"] = _sources(path, found.get("sources", {}))
        found["recovery"] = {name: _given(name, one) for name, one in _table(found.get("recovery", {})).items()}
    except (TypeError, ValueError, OverflowError) as problem:
        raise OperatorError("bad_settings", f"{path}: {problem}") from problem
    return Settings(**found)


def _flag(name: str, found: Any) -> bool:
    said = str(found).lower()
    if said not in ("true", "false"):
        raise ValueError(f"{name} is true or false")
    return said == "true"


def _list(name: str, found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is not a list of texts")
    return tuple(found)


def _oidc(found: Any) -> OidcSettings:
    if not isinstance(found, dict):
        raise ValueError("oidc is not a table")
    known = {one.name for one in fields(OidcSettings)}
    if set(found) - known:
        raise ValueError(f"oidc knows {', '.join(sorted(known))}")
    roles = found.get("roles", {})
    texts = [found.get(one, "") for one in known - {"roles"}]
    if not isinstance(roles, dict) or not all(isinstance(one, str) for one in [*texts, *roles.values()]):
        raise ValueError("oidc has texts in quotes, and roles = {word = 'role'}")
    if not (found.get("issuer") and found.get("client_id")):
        raise ValueError("oidc needs issuer and client_id")
    if not set(roles.values()) <= ROLES or bool(found.get("role_claim")) != bool(roles):
        raise ValueError(f"oidc.roles maps words of role_claim to {', '.join(sorted(ROLES))}; both or neither")
    return OidcSettings(**found)


def _table(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ValueError("recovery is a table for each source")
    return found


def _given(source: str, found: Any) -> Given:
    known = {one.name for one in fields(Given)}
    if not isinstance(found, dict) or set(found) - known:
        raise ValueError(f"recovery.{source} knows {', '.join(sorted(known))}")
    texts = {name: value for name, value in found.items() if name != "files"}
    if not all(isinstance(one, str) for one in texts.values()):
        raise ValueError(f"recovery.{source} has texts in quotes, and files as a list of such")
    return Given(**texts, files=_list(f"recovery.{source}.files", found.get("files", [])))


def _sources(path: Path, found: Any) -> dict[str, dict[str, str]]:
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise OperatorError("bad_settings", f"{path}: sources is not a table of tables")
    return {name: {key: str(value) for key, value in one.items()} for name, one in found.items()}


def _database(path: Path, url: str) -> str:
    """A relative SQLite path is relative to the settings file."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/"):
        return prefix + str((path.parent / url.removeprefix(prefix)).resolve())
    return url
