"""Fleets of any size, written straight into the tables; a few of their machines have real keys, to be spoken for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from nacl.signing import SigningKey
from sqlalchemy import insert, update
from sqlalchemy import text as text_of

from gate.adapters.envelopes import seal
from gate.adapters.store.tx_machines import FLEET_VERSION, MACHINES, ROLES, SESSIONS, SITES
from gate.adapters.store.tx_rollouts import BUDGETS, STRATA
from gate.bootstrap import Opened
from gate.core.model import Artifact, Release, RolloutState, Trust
from gate.flows import advance, intake
from tests.real_gate import agreed

SITE_SIZE = 6
SYSTEMS = 14  # with the roles: some forty makes
CHALLENGE = "c" * 32
WAVE = 20_000
ROLES_OF_A_SITE = ("till", "till", "till", "workstation", "workstation", "server")
POLICY = """version: 1
fleet: {fleet}
timezone: Europe/Berlin
makes: {{by: [role, os]}}
sources:
{sources}
rings:
  - name: all
    why: the whole fleet, so that the store is what limits
    pick: {{role: [till, workstation, server]}}
    windows: [always]
    gate: {{soak: 5m, at_least: 10}}
    at_most: {{per_site: 1}}
defaults: {{stay_up: 1m, checkin: 5m, lease: 30m, deadline: 2h open}}
"""
SOURCE = "  - {{name: {name}, plugin: directory, kind: content, boot_critical: false, lever: held, evidence: alive}}"


def key_of(number: int) -> SigningKey:
    """The key of machine ``number``."""
    return SigningKey(hashlib.sha256(f"bench-{number}".encode()).digest())


class Speaker:
    """A machine of the fleet that signs."""

    def __init__(self, fleet: str, number: int) -> None:
        self.key = key_of(number)
        self.keyid = hashlib.sha256(bytes(self.key.verify_key)).hexdigest()
        self.machine = f"m-{self.keyid[:32]}"
        self.fleet = fleet
        self.seq = 0

    def _sealed(self, kind: str, payload: dict[str, Any], challenge: str | None = CHALLENGE) -> bytes:
        self.seq += 1
        head = {"aud": self.fleet, "machine": self.machine, "seq": self.seq, "challenge": challenge}
        return seal(self.key, f"application/vnd.gate.{kind}+json", json.dumps(head | payload).encode())

    def checkin(self) -> bytes:
        """A sign of life, without a challenge so that it can be signed long before."""
        said = {"client_nonce": f"n{self.seq}", "boot_id": "b1", "uptime_s": 100, "timestamp_version": 1}
        return self._sealed("checkin", said | {"installed": {}, "facts": {}, "events": []}, None)

    def claim(self, release: str, source: str) -> bytes:
        """May I?"""
        return self._sealed("claim", {"source": source, "release": release, "boot_id": "b1"})

    def report(self, claim: str, step: str, release: str) -> bytes:
        """This step is done."""
        said = {"claim": claim, "step": step, "boot_id": "b1", "uptime_s": 900, "release": release, "probes": []}
        return self._sealed("report", said)


def policy_text(fleet: str, sources: int) -> str:
    """One ring for all, so many sources."""
    lines = [SOURCE.format(name=f"s{number}") for number in range(sources)]
    return POLICY.format(fleet=fleet, sources="\n".join(lines))


def _machines(size: int, speaking: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Machine 0 of each site comes first, so that the speakers are on sites of their own where there are enough."""
    sites = -(-size // SITE_SIZE)
    for number in range(size):
        site, place = number % sites, number // sites
        role = ROLES_OF_A_SITE[place % SITE_SIZE]
        if number < speaking:
            public = bytes(key_of(number).verify_key).hex()
        else:
            public = hashlib.sha256(f"nobody-{number}".encode()).hexdigest()
        keyid = hashlib.sha256(bytes.fromhex(public)).hexdigest()
        yield {
            "id": f"m-{keyid[:32]}",
            "site": f"s{site:06}",
            "status": "active",
            "name": f"pc-{number}",
            "role": role,
            "facts": json.dumps({"hostname": f"pc-{number}", "role": role, "os": f"w{site % SYSTEMS}"}),
            "labels": "[]",
            "make": f"role={role} os=w{site % SYSTEMS}",
            "ring": "all",
            "accepted_at": now,
            "last_seen_at": now,
            "public_key": public,
            "keyid": keyid,
            "claim": None,
        }


def fill(opened: Opened, size: int, speaking: int, sources: int = 1) -> None:
    """``size`` machines at ``size / 6`` sites under a policy with one ring; the first ``speaking`` have real keys."""
    now = datetime.now(UTC)
    text = policy_text(opened.settings.fleet, sources)
    opened.policies.write(text, opened.policies.head(), "bench", "one ring", now)
    sites = -(-size // SITE_SIZE)
    agreed(opened, now)
    with opened.store.connection() as connection, connection.begin():
        rows: list[dict[str, Any]] = []
        for number in range(sites):
            name = f"s{number:06}"
            rows.append(
                {"id": name, "name": f"Apotheke {number}", "land": "NW", "hours": "Mo-Fr 08:00-18:30; Sa 08:30-13:00",
                 "always_on": False, "labels": "[]", "in_flight": 0}
            )  # fmt: skip
            _flush(connection, SITES, rows, WAVE)
        _flush(connection, SITES, rows, 1)
        totals: dict[tuple[str, str], int] = {}
        for machine in _machines(size, speaking, now):
            rows.append(machine)
            place = (machine["site"], machine["role"])
            totals[place] = totals.get(place, 0) + 1
            _flush(connection, MACHINES, rows, WAVE)
        _flush(connection, MACHINES, rows, 1)
        for (site, role), total in totals.items():
            rows.append({"site": site, "role": role, "total": total, "busy": 0, "broken": 0})
            _flush(connection, ROLES, rows, WAVE)
        _flush(connection, ROLES, rows, 1)
        for number in range(speaking):
            rows.append(
                {"machine": Speaker("", number).machine, "seq": 0, "challenge": CHALLENGE, "challenge_at": now,
                 "last_call": "", "last_status": 0, "last_answer": "", "boot_id": "b1", "timestamp_version": 1,
                 "installed": "{}"}
            )  # fmt: skip
        _flush(connection, SESSIONS, rows, 1)
        connection.execute(update(FLEET_VERSION).values(version=FLEET_VERSION.c.version + 1))
        if connection.dialect.name == "postgresql":  # as autovacuum does within a minute
            connection.execute(text_of("ANALYZE"))


def _flush(connection: Any, where: Any, rows: list[dict[str, Any]], at: int) -> None:
    if len(rows) >= at:
        if connection.dialect.name == "postgresql":
            _copy(connection, where, rows)
        else:
            connection.execute(insert(where), rows)
        rows.clear()


def _copy(connection: Any, where: Any, rows: list[dict[str, Any]]) -> None:
    """Rows by COPY; what they do not say is the column's default."""
    said = [one for one in where.columns if one.default is not None and one.default.is_scalar]
    defaults = {one.name: one.default.arg for one in said}
    columns = [one for one in where.columns if one.name in rows[0] or one.name in defaults]
    names = [one.name for one in columns]
    to_driver = [one.type.dialect_impl(connection.dialect).bind_processor(connection.dialect) for one in columns]
    quoted = ", ".join(f'"{name}"' for name in names)
    driver = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {where.name} ({quoted}) FROM STDIN") as copy:
        for row in rows:
            values = [(defaults | row)[name] for name in names]
            copy.write_row([to(value) if to else value for to, value in zip(to_driver, values, strict=True)])


def release(opened: Opened, source: str, version: str = "1.0") -> Release:
    """A release whose first and only ring has opened, under a budget that is not what is measured."""
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        active = tx.active_policy()
        assert active is not None
        intake.candidate_seen(
            tx, opened.gate, source=source, version=version, kind="content", boot_critical=False,
            artifacts=(Artifact("a.bin", 1, "0" * 64),), trust=Trust.DIGEST_PINNED, now=now,
            policy_version=active.commit,
        )  # fmt: skip
        rollout = tx.rollouts(source=source, limit=1)[0]
        if rollout.state is RolloutState.RUNNING:
            advance.advance_rollout(tx, opened.gate, rollout.id, now + timedelta(seconds=1))
        found = tx.release(rollout.release)
    assert found is not None
    with opened.store.connection() as connection, connection.begin():
        connection.execute(update(BUDGETS).where(BUDGETS.c.rollout == rollout.id).values(allowed=10**8))
        connection.execute(update(STRATA).where(STRATA.c.rollout == rollout.id).values(first_cut=1.0))  # nor is a draw
    return found
