"""CrowdStrike Falcon's content updates: the vendor delivers, and content update policies hold.

- One source is one category of content. Its releases are the versions that can be pinned; there are no bytes here.
- A ring has several policies, each with a host group of its own. A policy is pinned to a version and its group holds
  the hosts that may have it: machines move one by one, under the claims that the gate makes. Who is pinned gets nothing
  newer. A host is added to its new group before it leaves the old one, so that none ever falls to the default policy.
- A policy is pinned anew only while no other host stands in its group. Where each has hosts of another version, the
  ring needs one more policy; until then nobody moves, and that is said.
- Hold: each policy of the ring is paused, beside being pinned. Recall: hosts move to a policy that is pinned to the
  release before. ``override-revert`` is not used: it takes a whole policy to what the vendor thinks was before.
- A host that is let go is done once it gets nothing more: it stands in no group of ours, its policy is paused, or it
  has what its policy is pinned to. It stays pinned; one that was not updated since may still take that version.
- ``system_critical`` cannot be held: no candidates, and every answer says so.
- What a host runs: the vendor says which policy governs it and when its content was last updated, not its version. It
  counts as the pinned version once it was updated after it was pinned and moved. A policy that somebody has unpinned
  in the console is *not pinned*, which no release is.

Options: see ``gate_describe``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from gate.hookspecs import (
    Candidate,
    Discovered,
    Held,
    Io,
    Observed,
    Option,
    Published,
    RecallPlan,
    Receiver,
    Released,
    Source,
    SourceInfo,
    Stream,
    hookimpl,
)
from gate_falcon.api import Api
from gate_falcon.console import (
    ACTIONS,
    ID,
    SETTLES,
    UNHELD,
    Slot,
    api_of,
    forget,
    members_of,
    move,
    note,
    noted,
    pinned_slot,
    policies_of,
    ring_of,
    slots_of,
    time_of,
    versions,
)

CATEGORIES = ("rapid_response_al_bl_listing", "sensor_operations", "vulnerability_management", "system_critical")
STATES = {"rapid_response_al_bl_listing": "rapid_response_content"}
"""What a host's state calls a category where it has another name."""
GOVERNED = "/policy/queries/content-update-members/v1"
HOSTS = "/device-content/entities/states/v1"
AT_ONCE = 100
REMEMBERED = 20
FRESH = timedelta(minutes=2)
UNPINNED = "not pinned"
MAY_STILL = "a host was not updated since it was moved and may still take what its policy is pinned to"
NO_LEVER = "the vendor delivers system_critical content at once: nobody can pause or pin it"
WHY = "hosts take what the policy of their group is pinned to"
OPTIONS = {
    "api": Option("the API's address; https://api.crowdstrike.com if not said"),
    "category": Option("the category of content", required=True, choices=CATEGORIES),
    "credentials": Option("the file with client_id and client_secret, readable by gate's user alone", required=True),
    "rings": Option("ring=POLICY:GROUP,POLICY:GROUP and so on, rings with blanks between"),
    "host": Option("the fact with a machine's Falcon host id; falcon_aid if not said"),
}


@hookimpl
def gate_describe() -> SourceInfo:
    """Held for what can be pinned."""
    held = [Stream(name, "content", "held", WHY) for name in CATEGORIES if name != UNHELD]
    return SourceInfo(
        "falcon", "held", ("content",), OPTIONS, (*held, Stream(UNHELD, "content", "no lever", NO_LEVER)), WHY
    )


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The versions that can be pinned; of those that were there at the first look only the newest."""
    slots_of(source)
    if source.options["category"] == UNHELD:
        return Discovered(())
    offered = versions(source, api_of(source, io))
    old = json.loads(cursor)["old"] if cursor else offered[:-1][-REMEMBERED:]
    last = max((place for place, one in enumerate(offered) if one in old), default=-1)
    candidates = tuple(Candidate(one, (), one) for one in offered[last + 1 :])
    return Discovered(candidates, json.dumps({"old": old}, separators=(",", ":")))


@hookimpl
def gate_publish(
    source: Source, ring: str, release: Released | None, machines: Sequence[Receiver], io: Io
) -> Published:
    """Moves these hosts into the group whose policy is pinned to the release."""
    if source.options["category"] == UNHELD:
        return Published((), NO_LEVER)
    hosts = {_host(source, one): one.machine for one in machines if ID.match(_host(source, one))}
    unnamed = len(machines) - len(hosts)
    said = f"{unnamed} machines say no host id of their own" if unnamed else ""
    if not hosts:
        return Published((), said)
    api = api_of(source, io)
    if release is None:
        gone = _let_go(source, api, list(hosts), io)
        return Published(tuple(hosts[one] for one in gone), MAY_STILL if len(gone) < len(hosts) else said)
    ours = ring_of(source, ring)
    members = {slot.group: members_of(api, slot.group) for slots in slots_of(source).values() for slot in slots}
    mine = {slot.group for slot in ours}
    elsewhere = {host for group, found in members.items() if group not in mine for host in found & set(hosts)}
    moving = [host for host in hosts if host not in elsewhere]
    if elsewhere:
        said = f"{len(elsewhere)} hosts stand in a group of another ring: take them out there first"
    slot, problem = pinned_slot(source, api, io, ours, release.version, members, moving)
    if slot is None or not moving:
        return Published((), problem or said)
    problem = move(api, io, slot, ours, members, moving) or said
    now = {group: members_of(api, group) for group in mine}
    done = [host for host in moving if {group for group in mine if host in now[group]} == {slot.group}]
    return Published(tuple(hosts[host] for host in done), problem or "the vendor's lists do not show it yet")


@hookimpl
def gate_hold(source: Source, ring: str, reason: str, io: Io) -> Held:
    """Pauses every policy of the ring; they stay pinned."""
    if source.options["category"] == UNHELD:
        return Held(False, NO_LEVER)
    policies = [slot.policy for slot in ring_of(source, ring)]
    problem = api_of(source, io, urgent=True).act(ACTIONS, "override-pause", policies)
    return Held(not problem, problem or f"{len(policies)} policies are paused")


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """By the vendor, where there is a release to go back to and it can still be pinned."""
    if source.options["category"] == UNHELD:
        return RecallPlan("none", (NO_LEVER, "Ask the vendor, and follow the recovery sheet of the make."), False)
    if not good:
        step = "There is no release before: choose a version in the Falcon console, or revert the policy there."
        return RecallPlan("none", (step,), False)
    steps = (
        f"Hosts with {bad} move to a policy of their ring that is pinned to {good}; each goes back when it is online.",
        f"Where the vendor no longer offers {good} for pinning: revert the policies of {ring} in the Falcon console.",
    )
    return RecallPlan("vendor_pin", steps, False)


@hookimpl
def gate_observed(source: Source, machine: Receiver, report: str, io: Io) -> Observed | None:
    """What the vendor says of the machine's host."""
    host = _host(source, machine)
    if not ID.match(host) or source.options["category"] == UNHELD:
        return None
    found = _states(source, io).get(host)
    return Observed(*found) if found else Observed(UNPINNED, "no policy of ours governs the host")


def _host(source: Source, machine: Receiver) -> str:
    return machine.facts.get(source.options.get("host", "falcon_aid"), "")


def _let_go(source: Source, api: Api, hosts: Sequence[str], io: Io) -> list[str]:
    """Those of them that get nothing more."""
    slots = [slot for found in slots_of(source).values() for slot in found]
    members = {slot: members_of(api, slot.group) for slot in slots}
    policies, states = policies_of(source, api, slots), _asked(api, hosts)
    moved, pinned = noted(io, "moved.json"), noted(io, "pinned.json")

    def gone(host: str, slot: Slot) -> bool:
        policy = policies[slot.policy]
        since = _since(policy, pinned.get(slot.policy), moved.get(host))
        runs, _ = _runs(source, policy["pinned"], since, states.get(host, {}), ("", ""))
        return host not in members[slot] or policy["override"] or runs not in ("", UNPINNED)

    return [host for host in hosts if all(gone(host, slot) for slot in slots)]


def _asked(api: Api, hosts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    return {
        one["device_id"]: one
        for start in range(0, len(hosts), AT_ONCE)
        for one in api.read(HOSTS, [("ids", name) for name in hosts[start : start + AT_ONCE]])
    }


def _since(policy: Mapping[str, Any], pinned: Sequence[str] | None, moved: Sequence[str] | None) -> datetime:
    """Since when a host of this policy takes what that is pinned to."""
    at = pinned[1] if pinned and pinned[0] == policy["pinned"] else policy["at"]
    return max(time_of(at), time_of(moved[2] if moved else ""))


def _states(source: Source, io: Io) -> dict[str, tuple[str, str]]:
    """host -> (version, how it is known); asked for once for all machines."""
    kept = noted(io, "states.json")
    if kept and timedelta() <= io.now() - time_of(kept["at"]) < FRESH:
        return {host: (said[0], said[1]) for host, said in kept["hosts"].items()}
    api, slots = api_of(source, io), [slot for found in slots_of(source).values() for slot in found]
    policies = policies_of(source, api, slots)
    governed = {host: slot for slot in slots for host in api.read_all(GOVERNED, [("id", slot.policy)])}
    states = _asked(api, sorted(governed))
    before = kept.get("hosts", {}) if kept else {}
    moved, pinned = noted(io, "moved.json"), noted(io, "pinned.json")
    found = {}
    for host, slot in governed.items():
        policy = policies[slot.policy]
        since = _since(policy, pinned.get(slot.policy), moved.get(host))
        found[host] = _runs(source, policy["pinned"], since, states.get(host, {}), before.get(host, ["", ""]))
    note(io, "states.json", {"at": io.now().isoformat(), "hosts": found}, whole=True)
    forget(io, "moved.json", lambda host, said: _over(found.get(host), said, io.now()))
    return found


def _over(runs: Sequence[str] | None, moved: Sequence[str], now: datetime) -> bool:
    """Does it matter no more when a host was moved: it is in no group of ours, or has what it was moved for?"""
    return now - time_of(moved[2]) >= SETTLES and (runs is None or runs[0] != "")


def _runs(
    source: Source, pinned: str, since: datetime, state: Mapping[str, Any], before: Sequence[str]
) -> tuple[str, str]:
    if not pinned:
        return UNPINNED, "somebody has unpinned its policy at the vendor"
    category = source.options["category"]
    last = (state.get(STATES.get(category, category)) or {}).get("last_update", "")
    if before[0] == pinned or (last and time_of(last) >= since):
        return pinned, f"updated {last} under a policy that is pinned to it"
    return "", f"it may have {pinned} and was not updated since"
