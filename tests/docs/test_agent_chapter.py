"""What docs/agent.md says is what the agent does."""

from __future__ import annotations

import re
from pathlib import Path

from gate.agent import calls, diary, early, going_back, hands, health, http, linux, plugin, state, texts
from gate.agent.probes import KINDS, LIMIT_S, MOST_LIMIT_S
from gate.agent.settings import RAN, load
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
    assert plugin.ACT_S == 900 and "have 15 minutes" in TEXT
    assert going_back.FIRST_WAIT_S == 60 and going_back.MOST_WAIT_S == 3600 and "at most an hour" in TEXT
    assert http.CALL_S == 25 and "**A call** has 25 seconds" in TEXT
    assert http.WHOLE_S == 600 and "an artifact ten minutes" in TEXT
    assert (texts.LONG, texts.SHORT) == (500, 128) and "at most 500 bytes each (names and facts 128)" in TEXT
    assert linux.LIMIT_S == 10 and "Each command has ten seconds" in TEXT


def test_a_loss_of_power_is_one_thing_in_all_words() -> None:
    said = "used up a try"
    assert f"| a loss of power, or a power button, in a boot before | by itself nothing: it has {said} |" in TEXT
    assert "**A loss of power uses up a try**" in TEXT
    assert said in str(health.__doc__)


def test_the_unit_in_the_chapter_is_ordered_as_the_one_that_is_installed() -> None:
    unit = (REPOSITORY / "deploy" / "agent" / "linux" / "gate-agent-early.service").read_text(encoding="utf-8")
    order = re.findall(r"^(?:Before|After|Conflicts|RequiresMountsFor)=.*$", unit, re.MULTILINE)
    assert order == re.findall(r"^(?:Before|After|Conflicts|RequiresMountsFor)=.*$", TEXT, re.MULTILINE)
    run = r"^(?:ExecStart|TimeoutStartSec|Type)=.*$"
    assert sorted(re.findall(run, unit, re.MULTILINE)) == sorted(re.findall(run, TEXT, re.MULTILINE))
    assert any("systemd-pstore.service" in line for line in order)


def test_every_file_that_it_writes_and_every_call_that_it_makes_is_named() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "gate" / "agent").glob("*.py"))
    written = {state.DOWN, RAN, *re.findall(r'(?:\.write\(|os\.open\(self\.path / )"([\w.]+)"', code)}
    assert {"state.json", "key", "lock"} <= written
    writes, sends = (TEXT.partition(f"## What it {verb}")[2].partition("\n## ")[0] for verb in ("writes", "sends, and"))
    rows = [row.partition("|")[0] for row in re.findall(r"^\| (.+)$", writes, re.MULTILINE)]
    assert written <= {name for row in rows for name in re.findall(r"`([\w.]+)/?`", row)}
    said = re.findall(r"^\| ([\w -]+) \|", sends, re.MULTILINE)
    assert {"enrolment", "check-in", *calls.PATHS.keys() - {"checkin"}} <= set(said)
