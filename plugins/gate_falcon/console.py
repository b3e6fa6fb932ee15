"""What stands in Falcon's console, read and changed: policies, their groups, who is in them.

What is noted here outlives a call, in the source's own folder, and calls of several processes note one after another;
after a restore it may be gone, and then the vendor's lists alone say which group is empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gate.hookspecs import Io, Source
from gate_falcon.api import Api

UNHELD = "system_critical"
ID = re.compile(r"[0-9a-f]{32}\Z")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}\Z")
POLICIES, ACTIONS = "/policy/entities/content-update/v1", "/policy/entities/content-update-actions/v1"
VERSIONS = "/policy/queries/content-update-pin-versions/v1"
GROUP, MOVE = "/devices/queries/host-group-members/v1", "/devices/entities/host-group-actions/v1"
SETTLES = timedelta(minutes=10)
"""For so long after a move a group is not taken for empty, whatever the vendor's lists say."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A content update policy, and the host group that it is for; both by id."""

    policy: str
    group: str


def slots_of(source: Source) -> dict[str, tuple[Slot, ...]]:
    """Each ring's policies with their groups.

    Raises:
        ValueError: not written as it must be, or too few.
    """
    found: dict[str, tuple[Slot, ...]] = {}
    for part in source.options.get("rings", "").split():
        ring, _, listed = part.partition("=")
        pairs = [one.split(":") for one in listed.split(",")]
        if not ring or ring in found or not all(len(pair) == 2 and all(map(ID.match, pair)) for pair in pairs):
            raise ValueError(f"rings: {part[:60]!r} is not ring=POLICY:GROUP,POLICY:GROUP with ids of 32 hex digits")
        found[ring] = tuple(Slot(*pair) for pair in pairs)
    every = [name for slots in found.values() for slot in slots for name in (slot.policy, slot.group)]
    if source.options["category"] != UNHELD and (not found or min(map(len, found.values())) < 2):
        raise ValueError("rings: each ring needs at least two policies, each with a group of its own")
    if len(set(every)) != len(every):
        raise ValueError("rings: a policy or a group is named twice")
    return found


def ring_of(source: Source, ring: str) -> tuple[Slot, ...]:
    """One ring's policies.

    Raises:
        ValueError: the option names no such ring.
    """
    found = slots_of(source)
    if ring not in found:
        raise ValueError(f"rings: there is no {ring}")
    return found[ring]


def api_of(source: Source, io: Io, *, urgent: bool = False) -> Api:
    base = source.options.get("api", "https://api.crowdstrike.com")
    return Api(base, Path(source.options["credentials"]), io, urgent=urgent)


def versions(source: Source, api: Api) -> list[str]:
    """Oldest first."""
    query = [("category", source.options["category"]), ("sort", "deployed_timestamp.desc")]
    found = [one for one in api.read(VERSIONS, query) if isinstance(one, str) and VERSION.match(one)]
    return list(dict.fromkeys(found))[::-1]


def members_of(api: Api, group: str) -> set[str]:
    return {one for one in api.read_all(GROUP, [("id", group)]) if isinstance(one, str)}


def policies_of(source: Source, api: Api, slots: Iterable[Slot]) -> dict[str, dict[str, Any]]:
    """Policy -> what it says of this category, with ``pinned``, ``enabled``, ``groups`` and ``override``."""
    wanted = [slot.policy for slot in slots]
    found = {}
    for one in api.read(POLICIES, [("ids", policy) for policy in wanted]):
        rules = {rule["id"]: rule for rule in one["settings"]["ring_assignment_settings"]}
        rule = rules.get(source.options["category"], {})
        found[one["id"]] = {
            "pinned": rule.get("pinned_content_version") or "",
            "override": bool(rule.get("override")),
            "enabled": one["enabled"] is True,
            "groups": [group["id"] for group in one.get("groups") or ()],
            "at": one.get("modified_timestamp", ""),
        }
    if set(found) != set(wanted):
        raise ValueError(f"the vendor knows no policy {', '.join(sorted(set(wanted) - set(found)))}")
    return found


def pinned_slot(
    source: Source,
    api: Api,
    io: Io,
    ours: Sequence[Slot],
    version: str,
    members: Mapping[str, set[str]],
    moving: Sequence[str],
) -> tuple[Slot | None, str]:
    """The policy that is pinned to a version, pinned now where none was; None with the reason."""
    category, before = source.options["category"], policies_of(source, api, ours)
    slot = next((one for one in ours if before[one.policy]["pinned"] == version), None)
    if slot is None:
        if version not in versions(source, api):
            return None, f"the vendor does not offer {version} for pinning any more"
        moved = noted(io, "moved.json")
        recent = {group for _, group, at in moved.values() if io.now() - time_of(at) < SETTLES}
        free = [one for one in ours if members[one.group] <= set(moving) and one.group not in recent]
        if not free:
            return None, "each policy of this ring has hosts of another version: the ring needs one policy more"
        slot = free[0]
    state, problems = before[slot.policy], []
    if slot.group not in state["groups"]:
        problems.append(api.act(ACTIONS, "add-host-group", [slot.policy], [("group_id", slot.group)]))
    if not state["enabled"]:
        problems.append(api.act(ACTIONS, "enable", [slot.policy]))
    if state["pinned"] != version:
        problems.append(api.act(ACTIONS, "set-pinned-content-version", [slot.policy], [(category, version)]))
        note(io, "pinned.json", {slot.policy: [version, io.now().isoformat()]})
    if state["override"]:
        problems.append(api.act(ACTIONS, "override-allow", [slot.policy]))
    after = policies_of(source, api, [slot])[slot.policy]
    if after["pinned"] != version or not after["enabled"] or slot.group not in after["groups"]:
        said = "; ".join(one for one in problems if one)
        return (
            None,
            said or f"the vendor does not show policy {slot.policy} pinned to {version}, enabled, for its group",
        )
    return slot, ""


def move(
    api: Api, io: Io, slot: Slot, ours: Sequence[Slot], members: Mapping[str, set[str]], moving: Sequence[str]
) -> str:
    """Into the group first, then out of the others; what could not be done."""
    new = [host for host in moving if host not in members[slot.group]]
    note(io, "moved.json", {host: [slot.policy, slot.group, io.now().isoformat()] for host in new})
    problems = [_hosts(api, "add-hosts", slot.group, new)]
    there = members_of(api, slot.group) if new else members[slot.group]
    for other in ours:
        leaving = [host for host in moving if host in members[other.group] and host in there]
        if other != slot:
            problems.append(_hosts(api, "remove-hosts", other.group, leaving))
    return "; ".join(one for one in problems if one)


def _hosts(api: Api, action: str, group: str, hosts: Sequence[str]) -> str:
    if not hosts:
        return ""
    chosen = ",".join(f"'{host}'" for host in hosts)
    return api.act(MOVE, action, [group], [("filter", f"(device_id:[{chosen}])")])


def time_of(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime(1970, 1, 1, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def noted(io: Io, name: str) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((io.state / name).read_text())
        if isinstance(found, dict):
            return found
    return {}


def note(io: Io, name: str, said: Mapping[str, Any], *, whole: bool = False) -> None:
    with _alone(io, name):
        _write(io, name, dict(said) if whole else {**noted(io, name), **said})


def forget(io: Io, name: str, over: Callable[[str, Any], bool]) -> None:
    """Drops what is over, by its key and what was noted."""
    with _alone(io, name):
        before = noted(io, name)
        after = {key: said for key, said in before.items() if not over(key, said)}
        if after != before:
            _write(io, name, after)


def _write(io: Io, name: str, found: Mapping[str, Any]) -> None:
    part = io.state / f"{name}.part"
    part.write_text(json.dumps(found))
    part.replace(io.state / name)


@contextlib.contextmanager
def _alone(io: Io, name: str) -> Iterator[None]:
    with (io.state / f"{name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
