"""Every parser of what people write, given anything at all: a value, or a refusal that says where."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.adapters.calendar import check_hours
from gate.adapters.policy_yaml import PolicyProblems, parse_text
from gate.bootstrap import seed_policy
from gate.core.errors import GateError
from gate.core.policy import Policy
from gate.sim import scenario

SEED = seed_policy()
LINES = SEED.splitlines()
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-10, 10**6), st.floats(allow_nan=True), st.text(max_size=12),
    st.sampled_from(["1h", "2h open", "30 %", "always", "till", "2024-07-19T06:09:00+02:00", "Mo-Fr 08:00-18:30"]),
)  # fmt: skip
NAMES = "scenario name start run fleet releases seed events expect sites hours machines at".split()  # noqa: SIM905
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=25,
)


def policy_or_problems(text: str) -> None:
    try:
        assert isinstance(parse_text(text), Policy)
    except PolicyProblems as found:
        assert found.problems
        for problem in found.problems:
            assert problem.line >= 1
            assert problem.column >= 1
            assert str(problem.message)


@given(text=st.text(max_size=300))
def test_any_text_as_a_policy(text: str) -> None:
    policy_or_problems(text)


DAMAGE = st.tuples(
    st.integers(0, len(LINES) - 1), st.sampled_from(["drop", "twice", "word", "cut", "key"]), st.text(max_size=10)
)


@given(edits=st.lists(DAMAGE, max_size=4))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_seed_with_any_damage(edits: list[tuple[int, str, str]]) -> None:
    lines = list(LINES)
    for at, what, word in edits:
        at %= len(lines)
        line = lines[at]
        match what:
            case "drop":
                lines[at] = ""
            case "twice":
                lines.insert(at, line)
            case "word":
                lines[at] = line.partition(":")[0] + ": " + word
            case "cut":
                lines[at] = line[: len(line) // 2]
            case "key":
                lines[at] = line.replace(":", word + ":", 1)
    policy_or_problems("\n".join(lines))


@given(tree=TREES)
def test_any_tree_as_a_scenario(tree: object) -> None:
    try:
        scenario.parse(tree)
    except GateError as refused:
        assert refused.detail


@given(hours=st.text(max_size=60) | st.text('MoTuWeThFrSaSu0123456789:-; ,offPH+()"', max_size=40))
@settings(deadline=None)
def test_any_text_as_opening_hours(hours: str) -> None:
    assert check_hours(hours) is None or isinstance(check_hours(hours), str)
