"""What a policy's text says, without places, and what it should say after an edit.

- Said is dictionaries, lists and texts, as the text has them; a path is what the policy calls a place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gate.adapters.policy_yaml import PolicyProblems, load
from gate.core.errors import Malformed
from gate.core.policy_values import Node

Value = str | Sequence["Value"] | Mapping[str, "Value"]
"""What a form gives: a scalar's text, a list, or a map."""
Said = Any


def steps_of(path: str) -> list[str | int]:
    """The steps of a path: keys and indexes."""
    found: list[str | int] = []
    for part in re.findall(r"[^.\[\]]+|\[\d+\]", path):
        found.append(int(part[1:-1]) if part.startswith("[") else part)
    return found


def path_of(steps: Sequence[str | int]) -> str:
    """The path of these steps."""
    found = ""
    for step in steps:
        found += f"[{step}]" if isinstance(step, int) else f".{step}" if found else step
    return found


def said(text: str) -> Said:
    """What the text says, without places: dictionaries, lists and texts."""
    node = load(text, "policy.yaml")
    if isinstance(node, list):
        raise PolicyProblems(node)
    return gist(node)


def gist(node: Node) -> Said:
    """What a node says, without places."""
    if node.entries is not None:
        return {entry.key: gist(entry.node) for entry in node.entries}
    return node.text if node.items is None else [gist(item) for item in node.items]


def plain(value: Value) -> Said:
    """A form's value as ``said`` has it."""
    match value:
        case str():
            return value
        case Mapping():
            return {key: plain(one) for key, one in value.items()}
        case _:
            return [plain(one) for one in value]


def find(found: Said, steps: Sequence[str | int]) -> Said | None:
    """What stands at a place; None where there is nothing."""
    for step in steps:
        if isinstance(step, int):
            found = found[step] if isinstance(found, list) and step < len(found) else None
        else:
            found = found.get(step) if isinstance(found, dict) else None
        if found is None:
            return None
    return None if found == "" else found


def wanted(before: Said, steps: Sequence[str | int], value: Value | None) -> Said:
    """What the text should say afterwards."""
    chain: list[tuple[Said, str | int]] = []
    here = before
    for number, step in enumerate(steps[:-1]):
        if isinstance(step, int):
            if not isinstance(here, list) or step >= len(here):
                raise Malformed("bad_field", f"the policy has no place {path_of(steps[: number + 1])}")
        elif not isinstance(here, dict):
            raise Malformed("bad_field", f"{path_of(steps[:number])} is not a map")
        elif here.get(step, "") == "":
            if value is None:
                return before
            here[step] = {}
        chain.append((here, step))
        here = here[step]
    last = steps[-1]
    if value is not None:
        if isinstance(last, str) and not isinstance(here, dict):
            raise Malformed("bad_field", f"{path_of(steps[:-1])} is not a map")
        here[last] = plain(value)
        return before
    if isinstance(here, dict):
        here.pop(last, None)
    while not here and chain and isinstance(chain[-1][1], str):
        above, step = chain.pop()
        del above[step]
        here = above
    return before
