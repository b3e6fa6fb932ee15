"""Eight processes on one database: no cap, site limit or budget is ever exceeded, and a halt is always seen.

The children claim and report as fast as they can; afterwards the store's own history is replayed, claim by claim, with
an order that the database itself gave (a row of the audit log in the same transaction).
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.claims import HOLDS_SLOT
from gate.core.counters import counts
from gate.core.model import (
    FLEET,
    Artifact,
    Budget,
    Claim,
    ClaimState,
    Machine,
    MachineStatus,
    Release,
    RingState,
    Rollout,
    RolloutState,
    Site,
    Stratum,
    Trust,
)
from gate.ports import GrantLimits

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PROCESSES, SITES, TILLS = 8, 12, 3


def prepare(store: SqlStore, cap: int, budget: int, fleet: int) -> Rollout:
    release = Release(
        id="sha256:" + "1" * 64,
        source="src",
        version="1",
        kind="content",
        boot_critical=False,
        counter=1,
        artifacts=(Artifact("a", 1, "0" * 64),),
        trust=Trust.VENDOR_SIGNED,
        first_seen_at=NOW,
    )
    rollout = Rollout("r1", release.id, "src", RolloutState.RUNNING, 0, "salt", "v1", 1, NOW)
    with store.write() as tx:
        for site in range(SITES):
            tx.save_site(Site(f"s{site}", f"s{site}", "NW", "", True))
            for till in range(TILLS):
                name = f"s{site}-{till}"
                machine = Machine(name, f"s{site}", MachineStatus.PENDING, name, {"role": "till"}, public_key=name)
                tx.add_machine(machine, name)
                active = replace(machine, status=MachineStatus.ACTIVE, make="till", ring="all")
                assert tx.accept_machine(active, NOW)
        assert tx.add_release(release, b"{}")
        ring = RingState("r1", "all", 0, None, 0, cap, 0)
        budgets = [Budget("r1", make, 0, most, 0, 0, False) for make, most in (("till", budget), (FLEET, fleet))]
        tx.add_rollout(rollout, [ring], budgets)
        stratum = Stratum("r1", "all", "till", True, SITES * TILLS, SITES * TILLS, 1.0, SITES * TILLS, SITES)
        tx.open_ring(replace(ring, opened_at=NOW, members=SITES * TILLS), [stratum], first_batch=1)
    return rollout


def new_claim(number: str, machine: str) -> Claim:
    return Claim(
        id=number, rollout="r1", release="sha256:" + "1" * 64, source="src", machine=machine,
        site=machine.split("-")[0], role="till", ring="all", make="till", state=ClaimState.GRANTED, granted_at=NOW,
        lease_until=NOW + timedelta(minutes=30), deadline_at=NOW + timedelta(hours=2), boot_id="b0", evidence="boot",
        boots=1, stay_up=timedelta(minutes=15), reboot="natural", tries=2, cohort=True,
    )  # fmt: skip


def children(url: str, rounds: int, per_site: int) -> list[bool]:
    """Eight of them, begun together; whether each saw the halt. In a process of its own, which has no threads yet."""
    fork = multiprocessing.get_context("fork")
    together, said = fork.Barrier(PROCESSES), fork.SimpleQueue()
    every = [fork.Process(target=child, args=(url, own, rounds, per_site, together, said)) for own in range(PROCESSES)]
    for one in every:
        one.start()
    for one in every:
        one.join()
    assert [one.exitcode for one in every] == [0] * PROCESSES
    return [said.get() for _ in every]


def child(url: str, own: int, rounds: int, per_site: int, together: Barrier, said: SimpleQueue[bool]) -> None:
    """Claims for every machine in turn; what was granted is reported healthy, expired or failed a little later."""
    store = SqlStore(url)
    limits = GrantLimits(per_site, one_of_make=False, sole=False, sole_after=0, heard_since=NOW)
    held: list[Claim] = []
    seen_halt = False
    full = halted = False
    together.wait(60)
    for number in count():
        last = number >= rounds and (own != 0 or halted)
        if last:  # reading takes no lock from who still writes; the last claim comes after the halt
            _wait_for_the_halt(store)
        # every other claim aims at one of three sites, so that their limit binds as well
        site, till = (number * 7 + own) % (SITES if number % 2 else 3), (number // 5 + own // 2) % TILLS
        claim = new_claim(f"c-{own}-{number}", f"s{site}-{till}")
        with store.write() as tx:
            refused = tx.grant(claim, limits)
            if refused is None:
                tx.append("granted", "test", claim.id, NOW, {"claim": claim.id})
                held.append(claim)
            seen_halt = seen_halt or refused == "halted"
            full = full or refused in ("cap_reached", "budget_reached", "last_of_role")
        if len(held) > 1 + own % 3 or (held and number % 5 == 0):
            before = held.pop(0)
            states = (ClaimState.HEALTHY, ClaimState.EXPIRED, ClaimState.HEALTHY, ClaimState.ROLLED_BACK)
            after = replace(before, state=states[number % 4], version=2, resolved_at=NOW)
            with store.write() as tx:
                assert tx.move(before, after)
                tx.append("moved", "test", before.id, NOW, {"claim": before.id})
        if own == 0 and not halted and number >= rounds // 2 and (full or number >= 20 * rounds):
            halted = True
            with store.write() as tx:
                rollout = tx.rollout("r1")
                assert rollout is not None
                assert tx.save_rollout(replace(rollout, state=RolloutState.HALTED, version=rollout.version + 1))
                tx.append("halted", "test", "r1", NOW)
        if last:
            break
    store.close()
    said.put(seen_halt)


def _wait_for_the_halt(store: SqlStore) -> None:
    while True:
        with store.read() as tx:
            rollout = tx.rollout("r1")
            if rollout is not None and rollout.state is RolloutState.HALTED:
                return
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cap", "budget", "fleet", "per_site"),
    [(7, 5, 6, 1), (7, 6, 5, 1), (5, 6, 7, 1), (90, 90, 90, 9)],
    ids=["the make's budget binds", "the fleet's budget binds", "the cap binds", "the last of a role binds"],
)
def test_eight_processes_never_exceed_a_limit_and_always_see_a_halt(
    store: SqlStore, cap: int, budget: int, fleet: int, per_site: int
) -> None:
    prepare(store, cap, budget, fleet)
    rounds = 80
    command = [sys.executable, "-m", "tests.adapters.test_processes", store.url, str(rounds), str(per_site)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [True] * PROCESSES, "each saw the halt"
    with store.read() as tx:
        claims = {claim.id: claim for claim in tx.claims("r1", limit=10_000)}
        events = sorted(tx.events(limit=10_000), key=lambda event: event.index)
        ring, budgets, stratum = tx.rings("r1")[0], tx.budgets("r1"), tx.strata("r1")[0]
    flying: set[str] = set()
    granted, highest, crowded = 0, 0, 0
    halted = False
    for event in events:
        match event.kind:
            case "granted":
                assert not halted, "P5: no claim is granted after a halt was committed"
                flying.add(event.subject)
                granted += 1
            case "moved":
                flying.discard(event.subject)
            case "halted":
                halted = True
        highest = max(highest, len(flying))
        assert len(flying) <= min(cap, budget, fleet), "P4, P10: cap and budget"
        sites = Counter(claims[one].site for one in flying)
        crowded = max([crowded, *sites.values()])
        assert crowded <= min(per_site, TILLS - 1), "P3: a site's limit, and never its last till"
        assert all(count == 1 for count in Counter(claims[one].machine for one in flying).values())
    assert halted
    assert granted == len(claims), "nothing was granted twice or lost"
    assert granted > 20
    if per_site == 1:
        assert highest == min(cap, budget, fleet), "the limits were really reached"
    else:
        assert crowded == TILLS - 1, "the limit was really reached"
    assert ring.in_flight == sum(claim.state in HOLDS_SLOT for claim in claims.values()) == len(flying)
    assert stratum.healthy == sum(counts(claim).healthy for claim in claims.values())
    for budget in budgets:
        assert budget.in_flight == len(flying)
        assert budget.failed == sum(counts(claim).bad for claim in claims.values())


if __name__ == "__main__":
    print(json.dumps(children(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201  (the parent reads it)
