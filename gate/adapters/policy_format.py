"""The layout of a policy's text: indentation, blanks at the end of lines, the final newline. Never a word.

- Two blanks a level, and the items of a list two beyond their key; a comment line goes with the line after it.
- Comments, quotes, order and blank lines stay; what goes on over several lines is moved as a whole.
- What is written must read like what was there, node by node; where it would not, less is done.
"""

from __future__ import annotations

import re

from gate.adapters.policy_yaml import PolicyProblems, load
from gate.core.policy_values import Node, Problem

BLOCK = re.compile(r"(?:^|[:\-]\s)\s*[|>][-+\d]*\s*(?:#.*)?$")
QUOTED = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:''|[^'])*'|(?:^|\s)#.*$")
DASHES = re.compile(r"^(?:-(?: +|\Z))+")
STEP = 2


def formatted(text: str, file: str = "policy.yaml") -> str:
    """The text with its layout set straight; twice is once.

    Raises:
        PolicyProblems: it is not YAML.
    """
    node = load(text, file)
    if isinstance(node, list):
        raise PolicyProblems(node)
    said = _gist(node)
    for attempt in (_indented(_trimmed(text)), _trimmed(text), text.rstrip("\n") + "\n"):
        again = load(attempt, file)
        if not isinstance(again, list) and _gist(again) == said:
            return attempt
    return text


def _gist(node: Node | list[Problem]) -> object:
    """What a node says, without its place."""
    assert isinstance(node, Node)
    if node.entries is not None:
        return [(entry.key, _gist(entry.node)) for entry in node.entries]
    return node.text if node.items is None else [_gist(item) for item in node.items]


def _trimmed(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def _indented(text: str) -> str:
    """Line by line: a stack of (indentation there was, the one it gets, a list), and the shift of what goes on."""
    stack, shift, depth, block, base = [(0, 0, False)], 0, 0, -1, 0
    waiting: list[str] = []
    done: list[str] = []
    for line in text.rstrip("\n").split("\n"):
        bare = line.lstrip(" ")
        old = len(line) - len(bare)
        goes_on = depth > 0 or (block >= 0 and (old > block or not bare))
        if not goes_on and (not bare or bare.startswith("#")):
            waiting.append(bare)
            continue
        if not goes_on:
            block = -1
            shift = _level(stack, old, bare) - old
            bare = DASHES.sub(lambda found: "- " * found[0].count("-"), bare, count=1).rstrip()
            base = old + shift
        done += [" " * (old + shift) + one if one else "" for one in waiting]
        waiting = []
        new = max(old + shift, base + STEP) if goes_on else old + shift
        done.append(" " * new + bare if bare else "")
        words = QUOTED.sub("", bare)
        depth += 0 if block >= 0 else len(re.findall(r"[\[{]", words)) - len(re.findall(r"[\]}]", words))
        if block < 0 and depth == 0 and BLOCK.search(words):
            block = old
    return "\n".join([*done, *waiting]) + "\n"


def _level(stack: list[tuple[int, int, bool]], old: int, bare: str) -> int:
    """The indentation that a line gets; the stack then ends with the level of what its words begin."""
    dashes = DASHES.match(bare)
    while stack[-1][0] > old or (stack[-1][0] == old and stack[-1][2] and not dashes):
        stack.pop()
    if stack[-1][0] < old or (dashes and not stack[-1][2]):
        stack.append((old, stack[-1][1] + STEP, bool(dashes)))
    new = stack[-1][1]
    if dashes:
        stack.append((old + dashes.end(), new + STEP * dashes[0].count("-"), False))
    return new
