"""The read plane on disk: a TUF repository (python-tuf) that any file server can serve.

- ``reconcile`` compares what should stand with what stands, and writes only what differs or nears its expiry. So a
  crash between a decision's commit and its publication is repaired by the next call.
- Each write is temp + fsync + rename, in the order roles, snapshot, timestamp: a client at any moment sees the old
  state or the new one. A version, once written, is never rewritten: after a crash the next one is higher.
- One publisher at a time (a lock file). The versions live in the published directory, since that is what clients
  hold us to.
- A role is never dropped from the snapshot: a ring that left the policy is emptied.
- A new timestamp file is at least a second younger than the one before: file servers build ETags from that. Its
  ``issued_at`` never goes back, whatever this machine's clock does: agents would refuse it.

Layout and roles: the agent protocol, "Read plane"; format: TUF specification 1.0.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import StorageError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from gate.core.errors import OperatorError
from gate.ports import Catalogued, Wanted

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIFE = {
    "root": 365 * DAY,
    "targets": 180 * DAY,
    "policy": 90 * DAY,
    "override": 90 * DAY,
    "gate": 7 * DAY,
    "catalog": DAY,
    "ring": DAY,
    "snapshot": DAY,
    "timestamp": HOUR,
}
KEPT_VERSIONS = 20
TIDY_AFTER = DAY


@dataclass(slots=True)
class _State:
    """What stands in the folder."""

    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    roles: dict[str, Metadata[Targets]] = field(default_factory=dict)


class TufPublisher:
    """Writes the published directory: ``metadata/`` and ``content/``."""

    def __init__(self, folder: Path, signers: Mapping[str, CryptoSigner]) -> None:
        self._metadata = folder / "metadata"
        self._content = folder / "content"
        self._signers = signers
        self._state: _State | None = None
        self._seen: tuple[int, int] = (0, 0)

    @property
    def root_sha256(self) -> str:
        """The sha256 of ``1.root.json``: what an enrolment code pins.

        Raises:
            OperatorError: nothing has been published yet.
        """
        try:
            return sha256((self._metadata / "1.root.json").read_bytes()).hexdigest()
        except OSError as problem:
            raise OperatorError("not_published", f"{self._metadata} has no root; `gate init` makes one") from problem

    def timestamp_version(self) -> int:
        """The version of the timestamp that stands."""
        return self._load().timestamp.signed.version

    def create_root(self, now: datetime) -> None:
        """The first root: which key speaks for which top role. Once."""
        with self._locked():
            if (self._metadata / "1.root.json").exists():
                return
            root = Root(expires=_expires("root", now), consistent_snapshot=True)
            for role, name in (("root", "root"), ("targets", "targets"), ("snapshot", "timestamp")):
                root.add_key(self._signers[name].public_key, role)
            root.add_key(self._signers["timestamp"].public_key, "timestamp")
            self._write_role("root", self._sign(Metadata(root), "root"))

    def reconcile(self, read: Callable[[], Wanted | None], now: datetime) -> int | None:
        """Makes the published state what it should be; returns the timestamp's version. ``read`` says what that is; it
        is asked under the lock, so that nobody writes what another has overtaken meanwhile. None: nothing yet.

        Raises:
            OperatorError: no root yet, or the folder cannot be written.
        """
        try:
            with self._locked():
                wanted = read()
                return None if wanted is None else self._reconcile(wanted, now)
        except OSError as problem:
            self._state = None
            raise OperatorError("not_published", f"the published directory cannot be written: {problem}") from problem

    def put_blob(self, file: Path, digest: str) -> None:
        """Puts an artifact's bytes at their digest (hex sha256 of what ``file`` holds); idempotent.

        Raises:
            OperatorError: the bytes are not those of the digest, or they cannot be written.
        """
        target = self._content / "blobs" / digest
        temporary = target.with_name(f".{digest}.{os.getpid()}")
        try:
            if target.exists():
                os.utime(target)  # so that it is not tidied away before the release that needs it is published
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            found = sha256()
            with file.open("rb") as source, temporary.open("wb") as copy:
                while part := source.read(1 << 20):
                    found.update(part)
                    copy.write(part)
                copy.flush()
                os.fsync(copy.fileno())
            if found.hexdigest() != digest:
                raise OperatorError("changed_bytes", f"{file.name} changed while it was stored")
            temporary.rename(target)
            _sync(target.parent)
        except OSError as problem:
            raise OperatorError("not_published", f"an artifact cannot be written: {problem.strerror}") from problem
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def blob(self, digest: str) -> Path:
        """Where an artifact's bytes lie; to be read only."""
        return self._content / "blobs" / digest

    def room(self) -> int:
        """Bytes that are free where artifacts are stored."""
        found = os.statvfs(self._content if self._content.exists() else self._content.parent)
        return found.f_bavail * found.f_frsize

    def taken(self, source: str, unpublished: Mapping[str, int]) -> int:
        """Bytes of what lies here of a source's releases, each file once; ``unpublished``: digest -> length of files
        that no manifest here may name yet."""
        lengths = dict(unpublished)
        for path in (self._content / source).glob("*.json"):
            with contextlib.suppress(FileNotFoundError):  # tidied away meanwhile
                lengths |= {one["sha256"]: one["length"] for one in json.loads(path.read_bytes())["artifacts"]}
        return sum(length for digest, length in lengths.items() if self.blob(digest).exists())

    # what should stand

    def _reconcile(self, wanted: Wanted, now: datetime) -> int:
        state = self._load() if (self._metadata / "timestamp.json").exists() else None
        before = state.roles if state else {}
        roles = self._wanted_roles(wanted, before, now)
        changed: dict[str, Metadata[Targets]] = {}
        for name, targets in roles.items():
            old = before.get(name)
            if old is None or _body(old.signed) != _body(targets) or _nears(name, old.signed, now):
                targets.version = self._next_version(name)
                targets.expires = _expires(name, now)
                changed[name] = self._sign(Metadata(targets), name)
        for catalogued in wanted.catalog.items():
            self._write_manifests(*catalogued)
        for name, metadata in changed.items():
            self._write_role(name, metadata)
        snapshot = state.snapshot if state else None
        if changed or snapshot is None or _nears("snapshot", snapshot.signed, now):
            snapshot = self._write_snapshot({**before, **changed}, now)
        stamp = state.timestamp if state else None
        if (
            stamp is None
            or stamp.signed.snapshot_meta.version != snapshot.signed.version
            or _nears("timestamp", stamp.signed, now)
        ):
            stamp = self._write_timestamp(snapshot, wanted, now)
        self._state = _State(stamp, snapshot, {**before, **changed})
        self._seen = self._look()
        if changed:
            self._prune({**before, **changed}, snapshot)
        return stamp.signed.version

    def _wanted_roles(
        self, wanted: Wanted, before: Mapping[str, Metadata[Targets]], now: datetime
    ) -> dict[str, Targets]:
        known = {name.removeprefix("ring-") for name in before if name.startswith("ring-")}
        fed = {name.removeprefix("catalog-") for name in before if name.startswith("catalog-")}
        rings, sources = sorted(known | set(wanted.rings)), sorted(fed | set(wanted.catalog))
        roles = {
            "targets": Targets(expires=now, delegations=self._top(sources)),
            "gate": Targets(expires=now, delegations=self._ring_delegations(rings)),
            "override": before["override"].signed if "override" in before else Targets(expires=now),
            "policy": Targets(expires=now, targets=_one(_bundle(_kept(wanted.bundle, before)))),
        }
        for source in sources:
            entries = [_catalogued(source, one) for one in wanted.catalog.get(source, ())]
            roles[f"catalog-{source}"] = Targets(expires=now, targets={entry.path: entry for entry in entries})
        lengths = {one.hex: len(one.manifest) for many in wanted.catalog.values() for one in many}
        for ring in rings:
            approvals = wanted.rings.get(ring, {})
            entries = [_approval(ring, source, custom, lengths) for source, custom in sorted(approvals.items())]
            roles[f"ring-{ring}"] = Targets(expires=now, targets={entry.path: entry for entry in entries})
        return roles

    def _top(self, sources: Sequence[str]) -> Delegations:
        roles = [_role("policy", self._ids("policy"), ["policy/bundle"])]
        roles += [_role(f"catalog-{name}", self._ids("catalog"), [f"content/{name}/*"]) for name in sources]
        roles.append(_role("override", self._ids("override-1", "override-2"), ["override/*/*/current"], 2))
        roles.append(_role("gate", self._ids("gate"), ["rings/*/*/current"]))
        return self._delegations(roles, "policy", "catalog", "override-1", "override-2", "gate")

    def _ring_delegations(self, rings: Sequence[str]) -> Delegations:
        roles = [_role(f"ring-{ring}", self._ids("gate"), [f"rings/{ring}/*/current"]) for ring in rings]
        return self._delegations(roles, "gate")

    def _delegations(self, roles: Sequence[DelegatedRole], *names: str) -> Delegations:
        keys = [self._signers[name].public_key for name in names]
        return Delegations({key.keyid: key for key in keys}, {role.name: role for role in roles})

    def _ids(self, *names: str) -> list[str]:
        return [self._signers[name].public_key.keyid for name in names]

    # writing

    def _sign(self, metadata: Metadata[Any], role: str) -> Metadata[Any]:
        names = {"snapshot": ["timestamp"], "override": ["override-1", "override-2"]}.get(role)
        for name in names or [role.partition("-")[0].replace("ring", "gate")]:
            metadata.sign(self._signers[name], append=True)
        return metadata

    def _write_snapshot(self, roles: Mapping[str, Metadata[Targets]], now: datetime) -> Metadata[Snapshot]:
        meta = {f"{name}.json": MetaFile(version=roles[name].signed.version) for name in sorted(roles)}
        snapshot = Snapshot(version=self._next_version("snapshot"), expires=_expires("snapshot", now), meta=meta)
        signed = self._sign(Metadata(snapshot), "snapshot")
        self._write_role("snapshot", signed)
        return signed

    def _write_timestamp(self, snapshot: Metadata[Snapshot], wanted: Wanted, now: datetime) -> Metadata[Timestamp]:
        path = self._metadata / "timestamp.json"
        before = path.stat().st_mtime if path.exists() else 0.0
        old = Metadata[Timestamp].from_file(str(path)).signed if before else None
        version = old.version + 1 if old else 1
        issued_at = max(_wire(now), old.unrecognized_fields["issued_at"] if old else "")
        extra = {"audit_size": wanted.audit_size, "audit_root": wanted.audit_root, "issued_at": issued_at}
        stamp = Timestamp(
            version=version,
            expires=_expires("timestamp", now),
            snapshot_meta=MetaFile(version=snapshot.signed.version),
            unrecognized_fields=extra,
        )
        signed = self._sign(Metadata(stamp), "timestamp")
        temporary = self._temporary("timestamp.json", signed.to_bytes())
        if temporary.stat().st_mtime < before + 1:
            os.utime(temporary, (before + 1, before + 1))
        self._rename(temporary, path)
        return signed

    def _write_role(self, role: str, metadata: Metadata[Any]) -> None:
        path = self._metadata / f"{metadata.signed.version}.{role}.json"
        self._rename(self._temporary(path.name, metadata.to_bytes()), path)

    def _write_manifests(self, source: str, releases: Sequence[Catalogued]) -> None:
        for release in releases:
            path = self._content / source / f"{release.hex}.{release.hex}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._rename(self._temporary(f"manifest-{release.hex}", release.manifest), path)

    def _temporary(self, name: str, content: bytes) -> Path:
        path = self._metadata / f".{name}.new"
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return path

    def _rename(self, temporary: Path, path: Path) -> None:
        temporary.rename(path)
        _sync(path.parent)

    def _next_version(self, role: str) -> int:
        return max(self._versions(role), default=0) + 1

    def _versions(self, role: str) -> list[int]:
        numbers = (path.name.partition(".")[0] for path in self._metadata.glob(f"*.{role}.json"))
        return [int(number) for number in numbers if number.isdigit()]

    def _prune(self, roles: Mapping[str, Metadata[Targets]], snapshot: Metadata[Snapshot]) -> None:
        """Old versions go, but for the last ones: a client may be in the middle of a refresh. Roots stay for ever."""
        current = {name: metadata.signed.version for name, metadata in roles.items()}
        current["snapshot"] = snapshot.signed.version
        for path in self._metadata.glob("*.json"):
            number, _, role = path.name.removesuffix(".json").partition(".")
            if role in current and number.isdigit() and int(number) <= current[role] - KEPT_VERSIONS:
                path.unlink()

    def tidy(self, now: datetime) -> int:
        """Removes manifests and artifacts that nothing published names and that are a day old; returns how many.

        What was fetched a moment ago is named by the next publication; a day is more than that takes."""
        with self._locked():
            state = self._load()
            targets = [target for role in state.roles.values() for target in role.signed.targets.values()]
            manifests = {digest for target in targets for digest in target.hashes.values()}
            named = set()
            for path in self._content.glob("*/*.json"):
                if path.name.partition(".")[0] in manifests:
                    named |= {one["sha256"] for one in json.loads(path.read_bytes())["artifacts"]}
            old = now.timestamp() - TIDY_AFTER.total_seconds()
            gone = [path for path in self._content.glob("*/*.json") if path.name.partition(".")[0] not in manifests]
            gone += [path for path in (self._content / "blobs").glob("*") if path.name not in named]
            gone = [path for path in gone if path.stat().st_mtime < old]
            for path in gone:
                path.unlink()
            return len(gone)

    # reading

    def _load(self) -> _State:
        look = self._look()
        if self._state is None or look != self._seen:
            self._state, self._seen = self._read_state(), look
        return self._state

    def _read_state(self) -> _State:
        try:
            stamp: Metadata[Timestamp] = Metadata.from_file(str(self._metadata / "timestamp.json"))
            version = stamp.signed.snapshot_meta.version
            snapshot: Metadata[Snapshot] = Metadata.from_file(str(self._metadata / f"{version}.snapshot.json"))
            roles: dict[str, Metadata[Targets]] = {
                name.removesuffix(".json"): Metadata.from_file(str(self._metadata / f"{meta.version}.{name}"))
                for name, meta in snapshot.signed.meta.items()
            }
        except (OSError, StorageError, DeserializationError) as problem:
            raise OperatorError(
                "bad_metadata", f"what {self._metadata} publishes cannot be read: {problem}; put the backup of it back"
            ) from problem
        return _State(stamp, snapshot, roles)

    def _look(self) -> tuple[int, int]:
        try:
            found = (self._metadata / "timestamp.json").stat()
        except OSError as problem:
            raise OperatorError(
                "not_published", f"{self._metadata} has no timestamp; `gate init` makes one"
            ) from problem
        return found.st_mtime_ns, found.st_ino

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._metadata.mkdir(parents=True, exist_ok=True)
        self._content.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._metadata.parent / ".publishing", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON (OLPC) of a custom; integers only."""
    return str(encode_canonical(dict(value))).encode()


def _kept(bundle: Mapping[str, Any], before: Mapping[str, Metadata[Targets]]) -> Mapping[str, Any]:
    """The bundle that stands, where only the policy's version differs: a minimum is not signed anew for that."""
    if "policy" in before and "policy/bundle" in before["policy"].signed.targets:
        old = before["policy"].signed.targets["policy/bundle"].unrecognized_fields["custom"]
        if {**old, "policy_version": ""} == {**bundle, "policy_version": ""}:
            return dict(old)
    return bundle


def _bundle(custom: Mapping[str, Any]) -> TargetFile:
    raw = canonical(custom)
    return TargetFile(len(raw), {"sha256": sha256(raw).hexdigest()}, "policy/bundle", {"custom": dict(custom)})


def _catalogued(source: str, release: Catalogued) -> TargetFile:
    custom = {
        "first_seen_at": release.first_seen_at,
        "vendor_signature": release.vendor_signature,
        "counter": release.counter,
    }
    path = f"content/{source}/{release.hex}.json"
    return TargetFile(len(release.manifest), {"sha256": release.hex}, path, {"custom": custom})


def _approval(ring: str, source: str, custom: Mapping[str, Any], lengths: Mapping[str, int]) -> TargetFile:
    digest = str(custom["release"]).removeprefix("sha256:")
    path = f"rings/{ring}/{source}/current"
    return TargetFile(lengths[digest], {"sha256": digest}, path, {"custom": dict(custom)})


def _one(target: TargetFile) -> dict[str, TargetFile]:
    return {target.path: target}


def _role(name: str, keyids: list[str], paths: list[str], threshold: int = 1) -> DelegatedRole:
    return DelegatedRole(name, keyids, threshold, True, paths)


def _life(role: str) -> timedelta:
    return LIFE[role if role in LIFE else role.partition("-")[0]]


def _expires(role: str, now: datetime) -> datetime:
    return now.replace(microsecond=0) + _life(role)


def _nears(role: str, signed: Signed, now: datetime) -> bool:
    """Half of its life is over."""
    return signed.expires - now < _life(role) / 2


def _body(targets: Targets) -> dict[str, Any]:
    body = targets.to_dict()
    return {key: value for key, value in body.items() if key not in ("version", "expires")}


def _wire(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
