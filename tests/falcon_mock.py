"""A mock of the part of Falcon's API that content updates need: real HTTP, state, and a sharp eye on every request.

- Answers have the form of the vendor's models (ContentUpdatePolicyV1, DevicecontentState, msa responses).
- What is against the documented form is answered 400 and kept in ``wrong``: no test may end with one.
- It also plays the vendor's bad days: an expired token, a missing scope, a rate limit, a partial answer, a late list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from gate.hookspecs import Source
from tests.upstream import Asked, Reply, Upstream, upstream

NAME, SECRET = "a" * 32, "s3cret-" + "b" * 33
CATEGORIES = ("rapid_response_al_bl_listing", "sensor_operations", "system_critical", "vulnerability_management")
ACTIONS = {
    "add-host-group": ("group_id",),
    "remove-host-group": ("group_id",),
    "set-pinned-content-version": CATEGORIES,
    "remove-pinned-content-version": CATEGORIES,
    "override-allow": (),
    "override-pause": (),
    "override-revert": (),
    "enable": (),
    "disable": (),
}
PINNED_AT = "2026-03-01T00:00:00Z"


class Wrong(Exception):
    """A request that is not as documented."""


@dataclass
class Policy:
    """A content update policy."""

    id: str
    groups: list[str]
    pinned: dict[str, str] = field(default_factory=dict)
    override: str = ""
    enabled: bool = True


class Falcon:
    """The vendor's state. ``versions``: category -> what can be pinned, oldest first."""

    def __init__(self, server: Upstream, versions: dict[str, list[str]]) -> None:
        self.server = server
        self.policies: dict[str, Policy] = {}
        self.groups: dict[str, list[str]] = {}
        self.versions: dict[str, list[str]] = {name: [] for name in CATEGORIES} | versions
        self.updated: dict[str, str] = {}
        self.tokens: list[str] = []
        self.expired: set[str] = set()
        self.wrong: list[str] = []
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.limited_until = 0
        self.no_scope: set[str] = set()
        self.refuses: dict[str, str] = {}
        """action -> what the vendor says instead of doing it, beside a 207"""
        self.late: dict[str, list[str]] = {}
        """group -> its members as a list that lags behind says"""
        self.page = 5000
        doors = {
            "/oauth2/token": ("POST", self._token),
            "/policy/queries/content-update-pin-versions/v1": ("GET", self._versions),
            "/policy/entities/content-update/v1": ("GET", self._policies),
            "/policy/entities/content-update-actions/v1": ("POST", self._act),
            "/policy/queries/content-update-members/v1": ("GET", self._governed),
            "/devices/queries/host-group-members/v1": ("GET", self._members),
            "/devices/entities/host-group-actions/v1": ("POST", self._move),
            "/device-content/entities/states/v1": ("GET", self._states),
        }
        for path, (method, answer) in doors.items():
            server.answers[path] = lambda asked, m=method, a=answer: self._answered(asked, m, a)  # type: ignore[misc]

    def policy(self, number: int, *hosts: str) -> tuple[str, str]:
        """A policy with its group, by number; their ids."""
        policy, group = f"{number:032x}", f"{number + 0xF000:032x}"
        self.policies[policy] = Policy(policy, [group])
        self.groups[group] = list(hosts)
        return policy, group

    def _answered(self, asked: Asked, method: str, answer: Any) -> Reply:
        path = urlsplit(asked.path).path
        self.calls.append(f"{asked.method} {asked.path}")
        try:
            if asked.method != method:
                raise Wrong(f"{asked.method} instead of {method}")
            if self.limited_until:
                return _reply(
                    429, errors=[(429, "API rate limit exceeded.")], X_Ratelimit_RetryAfter=self.limited_until
                )
            if path != "/oauth2/token":
                token = asked.headers.get("authorization", "").removeprefix("Bearer ")
                if token not in self.tokens:
                    raise Wrong("without a token")
                if token in self.expired:
                    return _reply(401, errors=[(401, "access denied, invalid bearer token")])
                if path in self.no_scope:
                    return _reply(403, errors=[(403, "access denied, authorization failed")])
                if method == "POST" and asked.headers.get("content-type") != "application/json":
                    raise Wrong(f"content type {asked.headers.get('content-type')}")
            query = parse_qsl(urlsplit(asked.path).query, strict_parsing=bool(urlsplit(asked.path).query))
            reply: Reply = answer(query, asked)
            return reply
        except (Wrong, ValueError, KeyError, TypeError) as problem:
            self.wrong.append(f"{asked.method} {asked.path}: {problem!r}")
            return _reply(400, errors=[(400, str(problem))])

    def _token(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        if query or asked.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise Wrong("not a form")
        if asked.headers.get("authorization"):
            raise Wrong("with a token")
        said = dict(parse_qsl(asked.body.decode(), strict_parsing=True))
        if said != {"client_id": NAME, "client_secret": SECRET}:
            return _reply(403, errors=[(403, "access denied, authorization failed")])
        self.tokens.append(f"token-{len(self.tokens)}")
        granted = {"access_token": self.tokens[-1], "expires_in": 1799, "token_type": "bearer"}
        return Reply(201, json.dumps(granted).encode(), {"Content-Type": "application/json"})

    def _versions(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        said = _only(query, "category", "sort")
        if said.get("sort", "deployed_timestamp.desc") not in ("deployed_timestamp.desc", "deployed_timestamp.asc"):
            raise Wrong("sort")
        return _reply(200, self.versions[said["category"]][::-1])

    def _policies(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        if not query or {name for name, _ in query} != {"ids"}:
            raise Wrong("ids")
        return _reply(200, [self._said(self.policies[one]) for _, one in query if one in self.policies])

    def _said(self, one: Policy) -> dict[str, Any]:
        rules = [
            {
                "id": name,
                "ring_assignment": "ga",
                "delay_hours": "0",
                "pinned_content_version": one.pinned.get(name, ""),
                "override": {"action": one.override} if one.override else None,
            }
            for name in CATEGORIES
        ]
        return {
            "cid": "c" * 32,
            "id": one.id,
            "name": one.id[-4:],
            "enabled": one.enabled,
            "platform_name": "all",
            "groups": [{"id": group, "name": group[-4:]} for group in one.groups],
            "modified_timestamp": PINNED_AT,
            "settings": {"ring_assignment_settings": rules},
        }

    def _act(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        said, body = _only(query, "action_name"), json.loads(asked.body)
        action, given = said["action_name"], body.get("action_parameters", [])
        self.bodies.append(body)
        if (
            set(body) - {"action_parameters", "ids"}
            or not body["ids"]
            or not all(i in self.policies for i in body["ids"])
        ):
            raise Wrong(f"body {body}")
        if any(set(one) != {"name", "value"} or one["name"] not in ACTIONS[action] for one in given):
            raise Wrong(f"parameters {given}")
        if len(given) != (1 if ACTIONS[action] else 0):
            raise Wrong("parameters")
        if action in self.refuses:
            return _reply(207, errors=[(500, self.refuses[action])])
        for one in body["ids"]:
            self._done(self.policies[one], action, given[0] if given else {})
        return _reply(200, [self._said(self.policies[one]) for one in body["ids"]])

    def _done(self, policy: Policy, action: str, given: dict[str, str]) -> None:
        match action:
            case "add-host-group":
                policy.groups.append(given["value"])
            case "remove-host-group":
                policy.groups.remove(given["value"])
            case "set-pinned-content-version":
                if given["value"] not in self.versions[given["name"]]:
                    raise Wrong(f"{given['value']} cannot be pinned")
                policy.pinned[given["name"]] = given["value"]
            case "remove-pinned-content-version":
                policy.pinned.pop(given["name"])
            case "enable" | "disable":
                policy.enabled = action == "enable"
            case "override-allow":
                policy.override = ""
            case _:
                policy.override = action.removeprefix("override-")

    def _governed(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        said = _only(query, "id", "limit", "offset")
        groups = self.policies[said["id"]].groups
        return self._paged([host for group in groups for host in self.groups[group]], said)

    def _members(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        said = _only(query, "id", "limit", "offset")
        return self._paged(self.late.get(said["id"], self.groups[said["id"]]), said)

    def _paged(self, found: list[str], said: dict[str, str]) -> Reply:
        limit, offset = int(said.get("limit", 100)), int(said.get("offset", 0))
        if not 1 <= limit <= 5000:
            raise Wrong("limit")
        page = found[offset : offset + min(limit, self.page)]
        return _reply(200, page, total=len(found))

    def _move(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        said, body = _only(query, "action_name"), json.loads(asked.body)
        self.bodies.append(body)
        ((name, value),) = [(one["name"], one["value"]) for one in body["action_parameters"]]
        if name != "filter" or not value.startswith("(device_id:[") or not value.endswith("])"):
            raise Wrong(f"filter {value}")
        hosts = [one.strip("'") for one in value[len("(device_id:[") : -2].split(",")]
        if not hosts or not all(len(one) == 32 for one in hosts) or len(body["ids"]) != 1:
            raise Wrong(f"body {body}")
        group = self.groups[body["ids"][0]]
        if said["action_name"] in self.refuses:
            return _reply(207, errors=[(500, self.refuses[said["action_name"]])])
        if said["action_name"] == "add-hosts":
            group += [one for one in hosts if one not in group]
        elif said["action_name"] == "remove-hosts":
            group[:] = [one for one in group if one not in hosts]
        else:
            raise Wrong("action_name")
        return _reply(200, [{"id": body["ids"][0], "name": "g"}])

    def _states(self, query: list[tuple[str, str]], asked: Asked) -> Reply:
        if not 1 <= len(query) <= 100 or {name for name, _ in query} != {"ids"}:
            raise Wrong("between 1 and 100 ids")
        found = []
        for _, host in query:
            content = {"last_update": self.updated[host]} if host in self.updated else {}
            more = dict.fromkeys(("sensor_operations", "vulnerability_management", "system_critical"), content)
            state = {"cid": "c" * 32, "device_id": host, "rapid_response_content": content, **more}
            found.append({**state, "groups": [name for name, hosts in self.groups.items() if host in hosts]})
        return _reply(200, found)


def _only(query: list[tuple[str, str]], *names: str) -> dict[str, str]:
    said = dict(query)
    if len(said) != len(query) or not set(said) <= set(names) or names[0] not in said:
        raise Wrong(f"query {query}")
    return said


def _reply(
    status: int, resources: list[Any] | None = None, errors: Any = (), total: int | None = None, **more: Any
) -> Reply:
    meta: dict[str, Any] = {"query_time": 0.01, "trace_id": "t"}
    if total is not None:
        meta["pagination"] = {"total": total, "offset": 0, "limit": 100}
    said = {"meta": meta, "resources": resources, "errors": [{"code": c, "message": m} for c, m in errors]}
    headers = {name.replace("_", "-"): str(value) for name, value in more.items()}
    return Reply(status, json.dumps(said).encode(), {"Content-Type": "application/json", **headers})


@contextmanager
def falcon(versions: dict[str, list[str]]) -> Iterator[Falcon]:
    """A running one; it ends well only where every request was as documented."""
    with upstream() as server:
        found = Falcon(server, versions)
        yield found
        assert found.wrong == []


def falcon_source(vendor: Falcon, folder: Path, **more: str) -> Source:
    """A source with two rings: the first has two policies, the rest three; the groups are empty."""
    slots = [":".join(vendor.policy(number)) for number in range(1, 6)]
    secret = folder / "falcon.json"
    secret.write_text(json.dumps({"client_id": NAME, "client_secret": SECRET}))
    secret.chmod(0o600)
    rings = f"first={slots[0]},{slots[1]} rest={slots[2]},{slots[3]},{slots[4]}"
    options = {"api": vendor.server.url(""), "credentials": str(secret), "rings": rings}
    options["category"] = "rapid_response_al_bl_listing"
    return Source("edr", options | more, 1_000_000, (vendor.server.host,))
