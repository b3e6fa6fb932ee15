"""Pending machines that are let in by a CSV file: all of them or none, every problem with its row.

- Columns: machine, role, site, labels; the first line names them, and ``machine`` and ``role`` must be there.
- ``machine`` is an id, or the name of one pending machine only; of several with that name it is the one that asks to
  join the row's site. Without a site it joins the one that its code was for.
- A machine enrols itself: nobody is let in here who has not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.core.model import Machine, MachineStatus
from gate.core.policy import Policy
from gate.flows import csv_rows, machines
from gate.flows.csv_rows import MOST, Trouble
from gate.ports import Gate, Tx

COLUMNS = ("machine", "role", "site", "labels")
NEEDED = ("machine", "role")
LONGEST = 200
PAGE = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One row."""

    machine: str
    role: str
    site: str
    labels: frozenset[str]


def read(raw: bytes) -> tuple[list[tuple[int, Wanted]], list[Trouble]]:
    """The rows of a file, each with its line, and what is wrong with it."""
    return csv_rows.read(raw, f"a list of machines has at most {MOST} bytes", _head, _row)


def take(tx: Tx, gate: Gate, policy: Policy, rows: Sequence[tuple[int, Wanted]], by: str, now: datetime) -> None:
    """Lets all of them in, at the operator's own shell, where one person is enough for every ring."""
    for machine, one in _found(tx, rows)[0]:
        site = one.site or machine.site
        machines.accept(tx, gate, machine, site, one.role, one.labels, by, now, policy, people=1)


def problems(tx: Tx, rows: Sequence[tuple[int, Wanted]]) -> list[Trouble]:
    """What is wrong with rows that could be read."""
    return _found(tx, rows)[1]


def _found(tx: Tx, rows: Sequence[tuple[int, Wanted]]) -> tuple[list[tuple[Machine, Wanted]], list[Trouble]]:
    by_name = _pending(tx)
    found: dict[str, tuple[Machine, Wanted]] = {}
    troubles = []
    for line, one in rows:
        machine, said = _machine(tx, by_name, one)
        if machine is not None and machine.id in found:
            said = f"machine {one.machine} is there twice"
        site = one.site or (machine.site if machine else "")
        if not said and tx.site(site) is None:
            said = f"there is no site {site}"
        if said:
            troubles.append(Trouble(line, said))
        elif machine is not None:
            found[machine.id] = machine, one
    return list(found.values()), troubles


def _pending(tx: Tx) -> Mapping[str, Sequence[Machine]]:
    found: Mapping[str, list[Machine]] = defaultdict(list)
    after = ""
    while page := tx.machines(status=MachineStatus.PENDING.value, after=after, limit=PAGE):
        for one in page:
            found[one.name].append(one)
        after = page[-1].id
    return found


def _machine(tx: Tx, by_name: Mapping[str, Sequence[Machine]], wanted: Wanted) -> tuple[Machine | None, str]:
    """The machine of a row, or why there is none."""
    known = tx.machine(wanted.machine)
    if known is not None:
        pending = known.status is MachineStatus.PENDING
        return (known, "") if pending else (None, f"machine {wanted.machine} is {known.status.value}")
    named = by_name.get(wanted.machine, ())
    if len(named) > 1:
        named = [one for one in named if one.site == wanted.site]
    if len(named) != 1:
        return None, f"{len(by_name.get(wanted.machine, ())) or 'no'} pending machines are called {wanted.machine}"
    return named[0], ""


def _head(columns: Sequence[str]) -> Iterator[str]:
    known = f"the columns are {', '.join(COLUMNS)}; {' and '.join(NEEDED)} must be there"
    if len(set(columns)) != len(columns) or set(columns) - set(COLUMNS) or set(NEEDED) - set(columns):
        yield known


def _row(columns: Sequence[str], row: Sequence[str]) -> Wanted:
    if len(row) > len(columns):
        raise ValueError(f"{len(row)} values in a row of {len(columns)} columns")
    said = dict(zip(columns, row, strict=False))
    text = {name: said.get(name, "").strip() for name in COLUMNS}
    if any(len(one) > LONGEST or any(ord(char) < 32 or ord(char) == 127 for char in one) for one in text.values()):
        raise ValueError(f"a value is longer than {LONGEST} characters, or has control characters")
    missing = [name for name in NEEDED if not text[name]]
    if missing:
        raise ValueError(f"{' and '.join(missing)} must be there")
    return Wanted(text["machine"], text["role"], text["site"], frozenset(text["labels"].split()))
