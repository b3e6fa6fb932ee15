"""What docs/agent.md says is what the agent does."""

from __future__ import annotations

import re
from pathlib import Path

from gate.agent import diary, early, hands, linux, plugin, state
from gate.agent.probes import KINDS, LIMIT_S, MOST_LIMIT_S
from gate.agent.settings import load
from gate.agent.windows import WANTED
from gate.core import boots
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "agent.md").read_text(encoding="utf-8")


def test_every_kind_of_probe_is_documented_with_what_it_takes() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| [^|]+ \|$", TEXT.partition("## Probes")[2], re.MULTILINE)
    said = {name: (set(re.findall(r"`(\w+)`", needs)), set(re.findall(r"`(\w+)`", may))) for name, needs, may in rows}
    del said["kind"]  # the head of the table
    assert said == {name: (set(kind.options), set(kind.may)) for name, kind in KINDS.items()}
    assert f"`limit_s` ({LIMIT_S:g}, at most {MOST_LIMIT_S:g})" in TEXT


def test_the_examples_for_till_software_and_connector_are_settings(tmp_path: Path) -> None:
    example = TEXT.partition("<!-- example -->\n```toml\n")[2].partition("```")[0]
    (tmp_path / "agent.toml").write_text(example)
    assert {"till-software", "ti-connector"} <= load(tmp_path / "agent.toml").probes.keys()


def test_the_rows_of_the_windows_log_are_those_that_are_read() -> None:
    table = TEXT.partition("**Windows.")[2].partition("## ")[0]
    rows = re.findall(r"^\| (\S+) \| ([\d, ]+) \|", table, re.MULTILINE)
    said = {(provider, int(number)) for provider, numbers in rows for number in numbers.split(",")}
    assert said == {one for one in WANTED if "Defender" not in one[0]}
    assert "This has not run on Windows" in TEXT


def test_its_numbers_are_those_of_the_code() -> None:
    assert boots.KEPT == 12 and "the last twelve boots" in TEXT
    assert f"**{diary.KEEP.days} days by the gate's clock**" in TEXT
    assert f"the newest {state.MOST_WAITING}" in TEXT
    assert f"within {early.LIMIT_S:g} seconds" in TEXT
    assert f"the last {linux.LAST_LINES} lines of each" in TEXT
    assert hands.CLEAN_MOST == 10 and "`tries` and ten boots" in TEXT
    assert plugin.PROBE_S == 60 and "has 60 seconds" in TEXT
    assert linux.LIMIT_S == 10 and "Each command has ten seconds" in TEXT
