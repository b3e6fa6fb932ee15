"""The falcon plugin against a mock of the vendor's API, and the mock against the vendor's own client (FalconPy)."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import falconpy
import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.core.errors import SourceError
from gate.hookspecs import Published, Receiver, Released, Source
from gate_falcon import console
from gate_falcon import source as plugin
from tests.falcon_mock import CATEGORIES, NAME, PINNED_AT, SECRET, Falcon, falcon, falcon_source

CATEGORY = "rapid_response_al_bl_listing"
AFTER = "2027-01-01T00:00:00Z"
V1, V2, V3 = "2026.11.1", "2026.11.2", "2026.11.3"


@pytest.fixture
def vendor() -> Iterator[Falcon]:
    with falcon({CATEGORY: [V1, V2]}) as found:
        yield found


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))


@pytest.fixture
def source(vendor: Falcon, tmp_path: Path) -> Source:
    """Two rings: the first with two policies, the rest with three."""
    return falcon_source(vendor, tmp_path)


def host(number: int) -> str:
    return f"{number + 0xABC000:032x}"


def receiver(number: int, **facts: str) -> Receiver:
    return Receiver(f"m{number}", f"till-{number}", {"falcon_aid": host(number), **facts})


def publish(plugins: ChildPlugins, source: Source, version: str, *numbers: int, ring: str = "rest") -> Published:
    machines = [receiver(number) for number in numbers]
    return plugins.publish("falcon", source, ring, Released("0" * 64, version, (), {}), machines)


def group(number: int) -> str:
    return f"{number + 0xF000:032x}"


def pinned(vendor: Falcon, *numbers: int) -> list[str]:
    return [vendor.policies[f"{number:032x}"].pinned.get(CATEGORY, "") for number in numbers]


def acts(vendor: Falcon) -> list[str]:
    """Every action so far, by name."""
    return [one.partition("action_name=")[2] for one in vendor.calls if "action_name=" in one]


def settled(vendor: Falcon, plugins: ChildPlugins) -> None:
    """Some time has passed since the last move, and the vendor's last answer is old."""
    state = plugins._kept("edr", "state")
    for file in state.glob("*.json"):
        file.unlink()


# the mock is what the vendor's own client speaks to


def requests(vendor: Falcon, since: int) -> list[tuple[Any, ...]]:
    """Method, path, query and body of each call but logins; the order of a query says nothing."""
    found = []
    for asked in vendor.server.asked[since:]:
        parts = urlsplit(asked.path)
        if parts.path != "/oauth2/token":
            body = json.loads(asked.body) if asked.body else None
            kind = asked.headers.get("content-type") if body is not None else None
            found.append((asked.method, parts.path, sorted(parse_qsl(parts.query)), body, kind))
    return found


def falconpys(vendor: Falcon) -> dict[str, Callable[..., dict[str, Any]]]:
    """Path -> the call of the vendor's own client that asks there."""
    access = {"client_id": NAME, "client_secret": SECRET, "base_url": vendor.server.url("")}
    policies, groups = falconpy.ContentUpdatePolicies(**access), falconpy.HostGroup(**access)
    return {
        console.VERSIONS: policies.query_pinnable_content_versions,
        console.POLICIES: policies.get_policies,
        plugin.GOVERNED: policies.query_policy_members,
        console.ACTIONS: policies.perform_action,
        console.GROUP: groups.query_group_members,
        console.MOVE: groups.perform_group_action,
        plugin.HOSTS: falconpy.DeviceContent(**access).get_states,
    }


def test_each_request_is_the_one_that_the_vendors_own_client_makes(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.groups[group(4)] = [host(1)]
    other = vendor.policies[f"{3:032x}"]
    other.groups, other.enabled, other.override = [], False, "pause"
    assert plugins.discover("falcon", source, "").candidates
    assert publish(plugins, source, V2, 1).machines == ("m1",)
    assert plugins.hold("falcon", source, "first", "why").ok
    assert plugins.observed("falcon", source, [(receiver(1), "")])
    assert plugins.publish("falcon", source, "rest", None, [receiver(1), receiver(2)]).machines
    ours = {json.dumps(one): one for one in requests(vendor, 0)}.values()
    asked_for = {dict(query).get("action_name") for _, _, query, _, _ in ours} - {None}
    told = "".join(Path(str(one.__file__)).read_text(encoding="utf-8") for one in (console, plugin))
    assert asked_for == set(re.findall(r'(?:ACTIONS|\(api), "([a-z-]+)"', told))
    assert len(asked_for) == 7

    ways = falconpys(vendor)
    for one in ours:
        _, path, query, body, _ = one
        given = {name: value for name, value in query if name != "ids"} | (body or {})
        if not body and (ids := [value for name, value in query if name == "ids"]):
            given["ids"] = ids
        if path == console.MOVE:
            given["filter"] = given.pop("action_parameters")[0]["value"]
        since = len(vendor.server.asked)
        assert ways[path](**given)["status_code"] == 200
        assert requests(vendor, since) == [one]


def test_the_vendors_client_reads_what_the_mock_answers(vendor: Falcon, plugins: ChildPlugins, source: Source) -> None:
    assert publish(plugins, source, V1, 1, 2).machines == ("m1", "m2")
    access = {"client_id": NAME, "client_secret": SECRET, "base_url": vendor.server.url("")}
    policies = falconpy.ContentUpdatePolicies(**access)
    said = policies.get_policies(ids=f"{3:032x}")["body"]["resources"][0]
    rule = next(one for one in said["settings"]["ring_assignment_settings"] if one["id"] == CATEGORY)
    assert rule["pinned_content_version"] == V1
    members = falconpy.HostGroup(**access).query_group_members(id=group(3))
    assert members["body"]["resources"] == [host(1), host(2)]
    vendor.limited_until = 1_900_000_000
    limited = policies.query_pinnable_content_versions(category=CATEGORY)
    assert limited["status_code"] == 429
    assert limited["headers"]["X-Ratelimit-RetryAfter"] == "1900000000"


# discovery


def test_of_what_can_be_pinned_at_the_first_look_only_the_newest_is_a_candidate_and_then_each_new_one(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    first = plugins.discover("falcon", source, "")
    assert [one.version for one in first.candidates] == [V2]
    assert plugins.discover("falcon", source, first.cursor) == first
    vendor.versions[CATEGORY].append(V3)
    assert [one.version for one in plugins.discover("falcon", source, first.cursor).candidates] == [V2, V3]
    vendor.versions[CATEGORY] = [V1, V3]  # the vendor has taken V2 back: what is older does not come anew
    assert [one.version for one in plugins.discover("falcon", source, first.cursor).candidates] == [V3]
    vendor.versions[CATEGORY] = ["2026.10.0", V1, V3]  # something older is offered again
    assert [one.version for one in plugins.discover("falcon", source, first.cursor).candidates] == [V3]
    vendor.versions[CATEGORY] = [V1, "2026.10.9", V3]
    assert [one.version for one in plugins.discover("falcon", source, first.cursor).candidates] == ["2026.10.9", V3]


# pin: machines move one by one


def test_exactly_the_machines_that_were_named_get_the_release_and_twice_is_once(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    assert publish(plugins, source, V1, 1, 2, 3).machines == ("m1", "m2", "m3")
    assert pinned(vendor, 1, 2, 3, 4, 5) == ["", "", V1, "", ""]
    assert publish(plugins, source, V2, 2).machines == ("m2",)
    assert pinned(vendor, 3, 4, 5) == [V1, V2, ""]
    assert vendor.groups[group(3)] == [host(1), host(3)]
    assert vendor.groups[group(4)] == [host(2)]
    before = len(acts(vendor))
    assert publish(plugins, source, V2, 2).machines == ("m2",)
    assert len(acts(vendor)) == before  # nothing is done twice
    assert publish(plugins, source, V1, 2).machines == ("m2",)  # a recall: back to the policy of the release before
    assert vendor.groups[group(3)] == [host(1), host(3), host(2)]
    assert vendor.groups[group(4)] == []


def test_a_host_is_in_its_new_group_before_it_leaves_the_old_one(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1)
    publish(plugins, source, V2, 1)
    assert acts(vendor)[-3:] == ["set-pinned-content-version", "add-hosts", "remove-hosts"]


def test_a_policy_is_not_pinned_anew_while_others_hosts_stand_in_its_group(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.versions[CATEGORY] = [V1, V2, V3, "4"]
    for version, number in ((V1, 1), (V2, 2), (V3, 3)):
        assert publish(plugins, source, version, number).machines == (f"m{number}",)
    settled(vendor, plugins)
    found = publish(plugins, source, "4", 4)
    assert found.machines == ()
    assert "the ring needs one policy more" in found.detail
    assert pinned(vendor, 3, 4, 5) == [V1, V2, V3]
    assert publish(plugins, source, "4", 1).machines == ("m1",)  # it stands alone in its group: that one is pinned anew
    assert pinned(vendor, 3, 4, 5) == ["4", V2, V3]


def test_a_list_that_lags_behind_makes_no_group_look_empty(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1)
    vendor.late[group(3)] = []
    publish(plugins, source, V2, 2)
    assert pinned(vendor, 3, 4) == [V1, V2]
    found = publish(plugins, source, V1, 5)
    assert (found.machines, found.detail) == ((), "the vendor's lists do not show it yet")
    vendor.late.clear()
    assert publish(plugins, source, V1, 5).machines == ("m5",)


def test_a_policy_that_was_switched_off_or_lost_its_group_is_put_right(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.policies[f"{3:032x}"].enabled = False
    vendor.policies[f"{3:032x}"].groups.clear()
    assert publish(plugins, source, V1, 1).machines == ("m1",)
    assert vendor.policies[f"{3:032x}"].enabled
    assert vendor.policies[f"{3:032x}"].groups == [group(3)]


def test_a_version_that_the_vendor_no_longer_offers_is_pinned_nowhere(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    found = publish(plugins, source, "2025.1.1", 1)
    assert (found.machines, "does not offer 2025.1.1 for pinning any more" in found.detail) == ((), True)
    assert acts(vendor) == []


@pytest.mark.parametrize("aid", ["", "x" * 32, "A" * 32, "'" + "a" * 31, "a" * 31, "a" * 32 + "\n"])
def test_a_machine_without_a_host_id_of_its_own_moves_nobody(
    vendor: Falcon, plugins: ChildPlugins, source: Source, aid: str
) -> None:
    machines = [receiver(1), Receiver("m2", "till-2", {"falcon_aid": aid})]
    found = plugins.publish("falcon", source, "rest", Released("0" * 64, V1, (), {}), machines)
    assert found == Published(("m1",), "1 machines say no host id of their own")
    assert vendor.groups[group(3)] == [host(1)]


def test_a_host_that_stands_in_another_rings_group_is_not_moved(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1, ring="first")
    found = publish(plugins, source, V2, 1, 2)
    assert found.machines == ("m2",)
    assert "stand in a group of another ring" in found.detail
    assert vendor.groups[group(1)] == [host(1)]


def test_long_lists_are_read_to_their_end(vendor: Falcon, plugins: ChildPlugins, source: Source) -> None:
    vendor.page = 3
    assert len(publish(plugins, source, V1, *range(10)).machines) == 10
    assert publish(plugins, source, V1, *range(10)).machines == tuple(f"m{n}" for n in range(10))
    assert acts(vendor).count("add-hosts") == 1


def test_a_machine_that_is_let_go_stays_pinned_and_is_done_once_it_gets_nothing_more(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    """The first has the version, the second was not updated since it was moved, the third stands in no group."""
    publish(plugins, source, V1, 1, 2)
    vendor.updated = {host(1): AFTER, host(2): PINNED_AT, host(3): PINNED_AT}
    before = len(acts(vendor))

    def let_go() -> Published:
        return plugins.publish("falcon", source, "rest", None, [receiver(number) for number in (1, 2, 3)])

    found = let_go()
    assert found.machines == ("m1", "m3")
    assert found.detail == plugin.MAY_STILL
    assert len(acts(vendor)) == before
    vendor.groups[group(3)].remove(host(2))  # somebody takes it out by hand
    assert let_go().machines == ("m1", "m2", "m3")
    vendor.groups[group(3)].append(host(2))
    assert plugins.hold("falcon", source, "rest", "why").ok
    assert let_go().machines == ("m1", "m2", "m3")


def test_a_host_of_a_policy_that_somebody_has_unpinned_is_not_let_go(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1)
    vendor.updated = {host(1): AFTER}
    vendor.policies[f"{3:032x}"].pinned.clear()
    assert plugins.publish("falcon", source, "rest", None, [receiver(1)]).machines == ()


def test_what_processes_note_at_once_is_all_kept(tmp_path: Path) -> None:
    io: Any = SimpleNamespace(state=tmp_path)
    begun = threading.Barrier(4)

    def notes(own: int) -> None:
        begun.wait(20)
        for number in range(50):
            console.note(io, "moved.json", {f"{own}-{number}": number})

    threads = [threading.Thread(target=notes, args=(own,)) for own in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(console.noted(io, "moved.json")) == 200


def test_when_a_host_was_moved_is_forgotten_once_it_has_the_version_or_is_gone(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1, 2, 3)
    io: Any = SimpleNamespace(state=plugins._kept("edr", "state"))
    vendor.updated = {host(1): AFTER, host(2): PINNED_AT}
    vendor.groups[group(3)].remove(host(3))
    runs(plugins, source, 1)
    assert set(console.noted(io, "moved.json")) == {host(1), host(2), host(3)}, "the vendor's lists lag behind"
    long_ago = {key: [*said[:2], PINNED_AT] for key, said in console.noted(io, "moved.json").items()}
    console.note(io, "moved.json", long_ago)
    stale(plugins)
    assert runs(plugins, source, 1, 2) == [V1, ""]
    assert set(console.noted(io, "moved.json")) == {host(2)}


# pause


def test_a_hold_pauses_every_policy_of_the_ring_and_a_release_after_it_begins_again(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    publish(plugins, source, V1, 1)
    assert plugins.hold("falcon", source, "rest", "tills freeze").ok
    assert [vendor.policies[f"{n:032x}"].override for n in range(1, 6)] == ["", "", "pause", "pause", "pause"]
    assert pinned(vendor, 3) == [V1]  # nothing is taken back
    assert plugins.hold("falcon", source, "rest", "tills freeze").ok
    assert publish(plugins, source, V1, 2).machines == ("m2",)
    assert vendor.policies[f"{3:032x}"].override == ""


# the vendor's bad days


def test_what_the_vendor_does_in_part_is_done_for_nobody_else(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.refuses["add-hosts"] = "one of your hosts is gone"
    found = publish(plugins, source, V1, 1, 2)
    assert (found.machines, found.detail) == ((), "add-hosts: 500 one of your hosts is gone")
    vendor.refuses = {"set-pinned-content-version": "locked by another user"}
    found = publish(plugins, source, V2, 1)
    assert (found.machines, "locked by another user" in found.detail) == ((), True)
    vendor.refuses = {"override-pause": "not now"}
    held = plugins.hold("falcon", source, "rest", "why")
    assert (held.ok, held.detail) == (False, "override-pause: 500 not now")
    vendor.refuses = {}
    assert publish(plugins, source, V1, 1, 2).machines == ("m1", "m2")


def test_a_token_that_has_run_out_is_asked_for_anew_once(vendor: Falcon, plugins: ChildPlugins, source: Source) -> None:
    vendor.expired = {"token-0"}
    assert plugins.discover("falcon", source, "").candidates
    assert vendor.tokens == ["token-0", "token-1"]
    vendor.expired = {f"token-{number}" for number in range(20)}
    with pytest.raises(SourceError, match="answered 401"):
        plugins.discover("falcon", source, "")
    assert len(vendor.tokens) == 4


def test_a_client_without_the_scope_is_told_so(vendor: Falcon, plugins: ChildPlugins, source: Source) -> None:
    vendor.no_scope = {"/policy/queries/content-update-pin-versions/v1"}
    with pytest.raises(SourceError, match="answered 403: the API client lacks a scope"):
        plugins.discover("falcon", source, "")


def test_a_vendor_that_asks_to_wait_is_left_alone_until_then_but_for_a_hold(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.limited_until = 4_000_000_000  # far away: no longer than ten minutes is waited
    with pytest.raises(SourceError, match="asks to wait until"):
        plugins.discover("falcon", source, "")
    vendor.limited_until = 0
    asked = len(vendor.calls)
    with pytest.raises(SourceError, match="asks to wait until"):
        plugins.discover("falcon", source, "")
    assert len(vendor.calls) == asked
    assert plugins.hold("falcon", source, "rest", "why").ok


def test_a_wrong_secret_and_a_readable_file_are_refused_without_a_word_of_it(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    file = Path(source.options["credentials"])
    file.write_text(json.dumps({"client_id": NAME, "client_secret": "wr0ng"}))
    with pytest.raises(SourceError, match="/oauth2/token answered 403") as problem:
        plugins.discover("falcon", source, "")
    assert "wr0ng" not in str(problem.value)
    file.write_text("wr0ng")
    with pytest.raises(SourceError, match="is not client_id and client_secret as JSON") as problem:
        plugins.discover("falcon", source, "")
    assert "wr0ng" not in str(problem.value)
    file.chmod(0o640)
    with pytest.raises(SourceError, match="readable by that user alone"):
        plugins.discover("falcon", source, "")


def test_no_secret_and_no_token_is_left_in_the_sources_own_folder(
    vendor: Falcon, plugins: ChildPlugins, source: Source, tmp_path: Path
) -> None:
    publish(plugins, source, V1, 1)
    plugins.observed("falcon", source, [(receiver(1), "")])
    kept = b"".join(file.read_bytes() for file in (tmp_path / "spool").rglob("*") if file.is_file())
    kept += b"".join(file.read_bytes() for file in plugins._kept("edr", "state").rglob("*") if file.is_file())
    assert kept
    assert SECRET.encode() not in kept
    assert b"token-" not in kept


# observed


def test_what_a_host_runs_is_what_its_policy_is_pinned_to_once_it_was_updated_since(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.updated = {host(1): PINNED_AT, host(2): AFTER}
    publish(plugins, source, V1, 1, 2)
    assert runs(plugins, source, 1, 2, 3) == ["", V1, "not pinned"]
    vendor.updated[host(1)] = AFTER
    assert runs(plugins, source, 1) == [""]  # one answer of the vendor is good for a while
    stale(plugins)
    assert runs(plugins, source, 1) == [V1]
    vendor.updated[host(1)] = PINNED_AT  # what was seen stays while it is pinned to the same
    stale(plugins)
    assert runs(plugins, source, 1) == [V1]
    vendor.policies[f"{3:032x}"].pinned.clear()
    stale(plugins)
    found = plugins.observed("falcon", source, [(receiver(1), "")])
    assert found is not None
    assert found[0] is not None
    assert (found[0].version, found[0].detail) == ("not pinned", "somebody has unpinned its policy at the vendor")
    vendor.policies[f"{3:032x}"].pinned[CATEGORY] = V2  # somebody has pinned another version in the console
    vendor.updated[host(1)] = AFTER
    stale(plugins)
    assert runs(plugins, source, 1) == [V2]


def runs(plugins: ChildPlugins, source: Source, *numbers: int) -> list[str]:
    found = plugins.observed("falcon", source, [(receiver(number), "") for number in numbers])
    assert found is not None
    return [one.version if one else "?" for one in found]


def stale(plugins: ChildPlugins) -> None:
    file = plugins._kept("edr", "state") / "states.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "at": PINNED_AT}))


def test_many_hosts_are_asked_for_a_hundred_at_a_time_and_once_for_all(
    vendor: Falcon, plugins: ChildPlugins, source: Source
) -> None:
    vendor.groups[group(3)] = [host(number) for number in range(250)]
    assert len(runs(plugins, source, *range(250))) == 250
    assert sum("device-content" in one for one in vendor.calls) == 3
    assert len(vendor.tokens) == 1


# what cannot be held


def test_system_critical_has_no_lever_and_every_answer_says_so(
    vendor: Falcon, plugins: ChildPlugins, tmp_path: Path
) -> None:
    source = falcon_source(vendor, tmp_path, category="system_critical", rings="")
    info = plugins.describe("falcon")
    levers = {one.name: (one.lever, one.why) for one in info.streams}
    assert set(levers) == set(CATEGORIES)
    assert {name: lever for name, (lever, _) in levers.items() if lever != "held"} == {"system_critical": "no lever"}
    assert plugins.discover("falcon", source, "").candidates == ()
    held = plugins.hold("falcon", source, "first", "why")
    assert (held.ok, held.detail) == (False, plugin.NO_LEVER)
    assert publish(plugins, source, V1, 1) == Published((), plugin.NO_LEVER)
    assert plugins.recall_plan("falcon", source, "first", V2, V1).how == "none"
    assert plugins.observed("falcon", source, [(receiver(1), "")]) == [None]
    assert vendor.calls == []


def test_a_recall_is_by_the_vendor_where_there_is_a_release_before(plugins: ChildPlugins, source: Source) -> None:
    plan = plugins.recall_plan("falcon", source, "rest", V2, V1)
    assert (plan.how, plan.needs_agent) == ("vendor_pin", False)
    assert plugins.recall_plan("falcon", source, "rest", V2, "").how == "none"


P, G = "1" * 32, "2" * 32


@pytest.mark.parametrize(
    ("rings", "problem"),
    [
        ("", "at least two policies"),
        (f"rest={P}:{G}", "at least two policies"),
        (f"rest={P}:{G},{P}:{'3' * 32}", "named twice"),
        (f"rest={P}:{G},{'4' * 32}:{G}", "named twice"),
        (f"rest={P}:{G},{'4' * 32}:{P}", "named twice"),
        (f"rest={P}:{G},{'4' * 32}", "is not ring=POLICY:GROUP"),
        (f"={P}:{G},{'4' * 32}:{'5' * 32}", "is not ring=POLICY:GROUP"),
        (f"rest={P}:{G},{'4' * 31}:{'5' * 32}", "is not ring=POLICY:GROUP"),
        (f"a={P}:{G},{'4' * 32}:{'5' * 32} a={'6' * 32}:{'7' * 32},{'8' * 32}:{'9' * 32}", "is not ring="),
    ],
)
def test_rings_that_are_not_written_as_they_must_be_end_the_look(
    vendor: Falcon, plugins: ChildPlugins, tmp_path: Path, rings: str, problem: str
) -> None:
    with pytest.raises(SourceError, match=problem):
        plugins.discover("falcon", falcon_source(vendor, tmp_path, rings=rings), "")
    assert vendor.calls == []
