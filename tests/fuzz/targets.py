"""Every parser of what others write: how it is called, what it may raise, and whole examples to damage.

Shared by hypothesis (`make test`), by atheris (`make fuzz`), and by the table of hostile texts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from gate import config
from gate.adapters.calendar import LONGEST, OpeningCalendar, check_hours
from gate.adapters.envelopes import ResponseKey, read_envelope, read_json, read_key, seal
from gate.adapters.policy_yaml import PolicyProblems, parse_text
from gate.agent import settings as agent_settings
from gate.agent.envelopes import open_answer
from gate.agent.errors import Misuse, Untrusted
from gate.agent.metadata import read_manifest
from gate.bootstrap import Wishes, scenario_of, seed_policy
from gate.cli.fleet import read_sites
from gate.core.errors import Malformed, OperatorError, Unauthenticated
from gate.core.model import Artifact
from gate.flows.intake import manifest_bytes
from gate.web import wire
from gate_directory import drops

KEY = SigningKey(b"k" * 32)
RESPONSE = ResponseKey(b"r" * 32)
HEX = "ab" * 32
AT = "2026-03-02T09:00:00Z"
MONTH = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Target:
    """``parse`` gives a value or raises one of ``refusals``, and nothing else; ``seeds`` are read without a refusal."""

    name: str
    parse: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: tuple[bytes, ...]

    def feed(self, raw: bytes) -> bool:
        """Was it taken?"""
        try:
            self.parse(raw)
        except self.refusals as refused:
            str(refused).encode()  # the sentence can be printed and stored
            return False
        return True


def targets() -> dict[str, Target]:
    """All of them, by name."""
    calls = _calls()
    found = [
        Target("policy", lambda raw: parse_text(_text(raw)), (PolicyProblems,), _policies()),
        Target("scenario", lambda raw: scenario_of(_text(raw), "it"), (Malformed,), _scenarios()),
        Target("hours", _hours, (Malformed,), (b"Mo-Fr 08:00-18:30; Sa 08:30-13:00; PH off", b"24/7",
               b"PH,Su 10:00-12:00; Dec 24 08:00-12:00 open \"a; b\"; week 1-53/2 Mo off")),
        Target("json", read_json, (Malformed,), tuple(calls.values())),
        Target("envelope", _envelope, (Malformed, Unauthenticated), tuple(
            seal(KEY, wire.PAYLOAD_TYPES[kind], raw) for kind, raw in calls.items())),
        *(Target(f"call-{kind}", partial(_call, SHAPES[kind]), (Malformed,), (calls[kind],)) for kind in SHAPES),
        Target("key", lambda raw: read_key(_text(raw)), (Malformed,), (bytes(KEY.verify_key).hex().encode(),)),
        Target("answer", lambda raw: open_answer(raw, RESPONSE.public_key), (Untrusted,),
               (RESPONSE.seal(wire.ANSWER_TYPE, b'{"status": "active"}'),)),
        Target("manifest", read_manifest, (Untrusted,), (_manifest(),)),
        Target("drop", lambda raw: _drop(raw), (drops.BadDrop,), (json.dumps(
            {"version": "1", "files": [{"name": "a.json", "length": 1, "sha256": HEX}]}).encode(),)),
        Target("agent.toml", _agent_toml, (Misuse,), (agent_settings.render(
            {"role": "till"}, {"shop": {"plugin": "directory", "folder": "/srv", "probe": "x {current}"}},
            {"reboot": "now"}).encode(),)),
        Target("gate.toml", _gate_toml, (OperatorError,), (_settings(),)),
        Target("sites.csv", _sites, (Malformed,), (
            b"id,name,land,hours,always_on,labels\nnord,\"Zur Sonne, Nord\",NW,Mo-Fr 08:00-18:30,yes,a b\n",)),
    ]  # fmt: skip
    return {target.name: target for target in found}


SHAPES: dict[str, type[wire.Shape]] = {
    "enrol": wire.Enrol,
    "checkin": wire.CheckInCall,
    "claim": wire.ClaimCall,
    "report": wire.ReportCall,
}


def _text(raw: bytes) -> str:
    """What is not UTF-8 stays in it as lone surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def _policies() -> tuple[bytes, ...]:
    return tuple(seed_policy(name).encode() for name in ("policy.yaml", "walk.yaml"))


def _scenarios() -> tuple[bytes, ...]:
    folder = resources.files("gate.sim") / "scenarios"
    found = [file.read_bytes() for file in folder.iterdir() if file.name.endswith(".yaml")]
    return tuple(raw.replace(b"sites: 400", b"sites: 4") for raw in found)


def _hours(raw: bytes) -> None:
    """Checked; whatever is let in can also be expanded."""
    text = _text(raw)
    problem = check_hours(text)
    if problem is not None:
        raise Malformed("bad_field", problem)
    assert len(text) <= LONGEST
    OpeningCalendar("Europe/Berlin").intervals(text, "NW", *MONTH)


def _envelope(raw: bytes) -> None:
    found = read_envelope(raw)
    found.verify(bytes(KEY.verify_key))


def _call(shape: type[wire.Shape], raw: bytes) -> None:
    said: Any = wire.read(shape, read_json(raw))
    if isinstance(said, wire.CheckInCall):
        wire.checkin_of(said)
    if isinstance(said, wire.ReportCall):
        wire.report_of(said)


def _drop(raw: bytes) -> None:
    """What a drop announces can also be stored."""
    found = drops.read_manifest(raw, "drop", 1 << 31)
    artifacts = tuple(Artifact(one.name, one.length, one.sha256) for one in found.artifacts)
    read_manifest(manifest_bytes("shop", found.version, "content", False, 1, artifacts))


def _in_file(raw: bytes, name: str, parse: Callable[[Path], object]) -> None:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        path = Path(folder) / name
        path.write_bytes(raw)
        parse(path)


def _agent_toml(raw: bytes) -> None:
    _in_file(raw, "agent.toml", agent_settings.load)


def _gate_toml(raw: bytes) -> None:
    _in_file(raw, "gate.toml", lambda path: config.load(path, {}))


def _sites(raw: bytes) -> None:
    found, problems = read_sites(raw, "NW", "sites.csv")
    if problems:
        raise Malformed("bad_field", "; ".join(problems))
    for site in found:
        f"{site.id}{site.name}{site.hours}{site.labels}".encode()


def _manifest() -> bytes:
    return manifest_bytes("shop", "1", "content", False, 1, (Artifact("a.json", 1, HEX), Artifact("b", 2, HEX)))


def _settings() -> bytes:
    from gate.bootstrap import _settings_text

    wishes = Wishes("shop", "https://gate.example", "", "anna", "NW", sources={"shop": {"folder": "/srv"}})
    return (_settings_text(wishes) + '[sources.b]\ntoken = "x"\n').encode()


def _calls() -> dict[str, bytes]:
    """A whole call of each kind."""
    head = {"aud": "shop", "machine": "m-1", "seq": 7, "challenge": "c"}
    event = {"kind": "power_loss", "at": AT, "detail": "ü"}
    probe, boot = {"name": "p", "ok": True, "detail": ""}, {"boot_id": "b", "started_at": AT, "ended": "clean"}
    said = {
        "enrol": {"aud": "shop", "code": "c", "nonce": "n", "public_key": HEX, "facts": {"role": "till"}},
        "checkin": head | {"client_nonce": "n", "boot_id": "b", "uptime_s": 1.5, "timestamp_version": 1,
                           "installed": {"shop": "sha256:" + HEX}, "facts": {"os": "linux"}, "events": [event]},
        "claim": head | {"source": "shop", "release": "sha256:" + HEX, "boot_id": "b"},
        "report": head | {"claim": "c-1", "step": "installed", "boot_id": "b", "uptime_s": 1, "release": "r",
                          "prev_boot_id": None, "booted_at": AT, "observed_at": AT, "probes": [probe], "boots": [boot]},
    }  # fmt: skip
    return {kind: json.dumps(one).encode() for kind, one in said.items()}
