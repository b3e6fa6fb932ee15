"""YAML text -> nodes with line and column, safely: no aliases, no tags, no duplicate keys, bounded size and depth."""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import MappingEndEvent, MappingStartEvent, SequenceEndEvent, SequenceStartEvent
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode
from ruamel.yaml.nodes import Node as YamlNode

from gate.core.policy import Policy, parse
from gate.core.policy_values import Entry, Node, Problem, unseen_ends
from gate.core.policy_values import PolicyProblems as PolicyProblems

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
COMMENT = "a comment stands behind a key whose value is on the next line: put it above the key, or the value beside it"


def parse_text(text: str, file: str = "policy.yaml") -> Policy:
    """A policy from YAML text.

    Raises:
        PolicyProblems: every problem that was found.
    """
    node = load(text, file)
    if isinstance(node, list):
        raise PolicyProblems(node)
    policy = parse(node, file)
    if isinstance(policy, list):
        raise PolicyProblems(policy)
    return policy


def parse_new(text: str, file: str = "policy.yaml") -> Policy:
    """As ``parse_text``, of a text that does not rule yet: it has no end of a line that nobody sees.

    Raises:
        PolicyProblems: every problem that was found.
    """
    unseen = unseen_ends(text, file)
    if unseen:
        raise PolicyProblems(unseen)
    return parse_text(text, file)


def problems_of(text: str, file: str = "policy.yaml") -> list[Problem]:
    """Every problem of a text that does not rule yet; none where it is a policy."""
    try:
        parse_new(text, file)
    except PolicyProblems as found:
        return list(found.problems)
    return []


def load(text: str, file: str) -> Node | list[Problem]:
    """Nodes with marks, or the problems that the YAML itself has."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return [Problem(file, 1, 1, f"a policy has at most {MAX_BYTES} bytes")]
    if "&" in text or "*" in text or "!" in text or _brackets(text) > MAX_DEPTH:
        problem = _forbidden(text, file)
        if problem:
            return [problem]
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return [Problem(file, line, column, str(error.problem or error.context or "this is not YAML"))]
    except (YAMLError, ValueError, RecursionError) as error:
        return [Problem(file, 1, 1, f"this is not YAML: {str(error).splitlines()[0][:200]}")]
    except NotImplementedError as error:  # ruamel's word for two comments that it would keep in one place
        where = re.search(r"line: (\d+)", str(error))
        return [Problem(file, int(where[1]) + 1 if where else 1, 1, COMMENT)]
    if root is None:
        return [Problem(file, 1, 1, "the policy is empty")]
    problems: list[Problem] = []
    node = _node(root, file, problems, 0)
    return problems or node


def _brackets(text: str) -> int:
    """How deep brackets stand in brackets at most; those in quoted texts count too."""
    deepest = depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest


def _forbidden(text: str, file: str) -> Problem | None:
    """Anchors, aliases, tags and deep nesting are refused before anything is built from them: the parser needs the
    square of the time for what is nested."""
    depth = 0
    try:
        for event in YAML(typ="rt", pure=True).parse(text):
            if isinstance(event, MappingStartEvent | SequenceStartEvent):
                depth += 1
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                depth -= 1
            if depth > MAX_DEPTH + 1:
                return Problem(file, event.start_mark.line + 1, event.start_mark.column + 1, "nested too deeply")
            if getattr(event, "anchor", None) or type(event).__name__ == "AliasEvent":
                mark = event.start_mark
                return Problem(file, mark.line + 1, mark.column + 1, "anchors and aliases are not allowed")
            if getattr(event, "tag", None):
                mark = event.start_mark
                return Problem(file, mark.line + 1, mark.column + 1, f"tag {event.tag} is not allowed")
    except (YAMLError, ValueError, RecursionError, NotImplementedError):
        return None  # composing says it better
    return None


def _node(node: YamlNode, file: str, problems: list[Problem], depth: int) -> Node:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if depth > MAX_DEPTH:
        problems.append(Problem(file, line, column, "nested too deeply"))
        return Node(line, column, "")
    if isinstance(node, MappingNode):
        return _map(node, file, problems, depth)
    if isinstance(node, SequenceNode):
        items = tuple(_node(item, file, problems, depth + 1) for item in node.value)
        return Node(line, column, items=items)
    assert isinstance(node, ScalarNode)
    text = str(node.value)  # in a folded text ruamel marks each fold with a bell
    return Node(line, column, text.replace("\a", "") if node.style == ">" else text)


def _map(node: MappingNode, file: str, problems: list[Problem], depth: int) -> Node:
    entries: dict[str, Entry] = {}
    for key, value in node.value:
        line, column = key.start_mark.line + 1, key.start_mark.column + 1
        if not isinstance(key, ScalarNode):
            problems.append(Problem(file, line, column, "a key must be a word"))
            continue
        name = str(key.value)
        if name in entries:
            problems.append(Problem(file, line, column, f"key {name!r} is there twice"))
        entries[name] = Entry(name, line, column, _node(value, file, problems, depth + 1))
    return Node(node.start_mark.line + 1, node.start_mark.column + 1, entries=tuple(entries.values()))


def render(problem: Problem, text: str) -> str:
    """``file:line:column`` with the line and a caret under the place."""
    lines = text.splitlines()
    source = lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
    return f"{problem}\n    {source}\n    {' ' * (problem.column - 1)}^"
