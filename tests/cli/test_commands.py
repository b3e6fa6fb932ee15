"""The commands: a gate is made once, says what is wrong, refuses to start in the open, and shows a spoilt log."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from gate.adapters.policy_edit import with_item
from gate.adapters.policy_git import GitPolicies
from gate.adapters.policy_yaml import parse_text
from gate.bootstrap import open_gate
from gate.cli.main import main
from tests.load import free_port


def gate(*words: str, settings: Path | None = None) -> Result:
    options = ["--settings", str(settings)] if settings else []
    return CliRunner().invoke(main, [*words, *options])


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The settings file of a fresh gate."""
    done = gate(
        "init", str(tmp_path / "shop"), "--fleet", "shop", "--public-url", "", "--database", "", "--admin", "anna",
        "--land", "NW", "--example", "walk",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return tmp_path / "shop" / "gate.toml"


def test_a_gate_is_made_once(made: Path) -> None:
    before = {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()}
    again = gate("init", str(made.parent), "--fleet", "other", "--public-url", "", "--database", "", "--admin", "eve")
    assert again.exit_code == 1
    assert "has been made already" in again.output
    assert {path: path.read_bytes() for path in made.parent.rglob("*") if path.is_file()} == before


def test_what_init_prints_is_enough_to_begin(tmp_path: Path) -> None:
    done = gate("init", str(tmp_path / "g"), "--fleet", "f", "--public-url", "", "--database", "", "--admin", "a")
    assert re.search(r"first login, as a \(once, 24 hours\):\n  http://127\.0\.0\.1:8400/link/[\w-]{40,}", done.output)
    assert "all keys are on this machine" in done.output
    assert "not yet enforced: line" in done.output, "the seed states more than this version enforces, and says so"
    assert "sources      none yet: the page Sources says how to add one" in done.output
    with open_gate(tmp_path / "g" / "gate.toml").store.read() as tx:
        assert tx.events(limit=100, subject="source:falcon-content") == []
    policies = GitPolicies(tmp_path / "g" / "data" / "policy.git")
    text = policies.read(policies.head())
    assert parse_text(text).sources == (), "what nobody has would be red on the first day"
    assert "\n# - {name: falcon-content, plugin: falcon," in text
    added = with_item(text, "sources", {"name": "ours", "plugin": "directory", "kind": "content"})
    assert [one.name for one in parse_text(added).sources] == ["ours"], "the page adds one above the examples"
    unit = (tmp_path / "g" / "gate.service").read_text()
    assert str(tmp_path / "g") in unit
    assert "{" not in unit


@pytest.mark.parametrize("name", ["", "Sonne", "a b", "a" * 60, "-a", "ü"])
def test_a_name_that_cannot_stand_in_an_envelope_is_refused(tmp_path: Path, name: str) -> None:
    done = gate("init", str(tmp_path / "g"), "--fleet", name, "--public-url", "", "--database", "", "--admin", "a")
    assert done.exit_code == 2
    assert "a-z, 0-9 and -" in done.output
    assert not (tmp_path / "g").exists()


WISHES = {"--fleet": "f", "--public-url": "", "--database": "", "--admin": "a", "--land": "NW"}
NOT_LATER = [
    ({"--database": "postgres://gate@db/gate"}, "postgresql+psycopg://"),
    ({"--database": "/var/lib/gate.db"}, "sqlite:///FILE"),
    ({"--database": "postgresql+psycopg://gate@127.0.0.1:1/gate"}, "database"),
    ({"--admin": "K. Lehmann"}, "a login is"),
    ({"--public-url": "http://gate.example"}, "public_url must be https"),
    ({"--public-url": "gate.example"}, "public_url must be https"),
    ({"--land": "NRW"}, "no Land"),
]


@pytest.mark.parametrize(("wish", "said"), NOT_LATER, ids=[str(row[0]) for row in NOT_LATER])
def test_a_wish_that_would_be_refused_later_is_refused_at_once_and_leaves_nothing(
    tmp_path: Path, wish: dict[str, str], said: str
) -> None:
    words = [part for pair in (WISHES | wish).items() for part in pair]
    done = gate("init", str(tmp_path / "g"), *words)
    assert done.exit_code != 0
    assert said in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "g").exists() or list((tmp_path / "g").iterdir()) == []
    well = gate("init", str(tmp_path / "g"), *[part for pair in WISHES.items() for part in pair])
    assert well.exit_code == 0, "the next try begins anew"
    assert (tmp_path / "g" / "gate.toml").stat().st_mode & 0o777 == 0o600


def spoil_mode(folder: Path) -> None:
    (folder / "data/keys/timestamp.pem").chmod(0o644)


def spoil_bytes(folder: Path) -> None:
    (folder / "data/keys/timestamp.pem").write_text("x")


def spoil_missing(folder: Path) -> None:
    (folder / "data/keys/timestamp.pem").unlink()


def spoil_plane(folder: Path) -> None:
    (folder / "data/public/metadata/timestamp.json").write_text("{}")


def spoil_repository(folder: Path) -> None:
    shutil.rmtree(folder / "data/policy.git")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoil_mode, "keys"),
        (spoil_bytes, "keys"),
        (spoil_missing, "keys"),
        (spoil_plane, "read plane"),
        (spoil_repository, "policy repository"),
    ],
)
def test_doctor_names_what_is_spoilt_and_nothing_else_hides_it(
    made: Path, spoil: Callable[[Path], None], what: str
) -> None:
    assert gate("doctor", settings=made).exit_code == 0
    spoil(made.parent)
    said = gate("doctor", "-o", "json", settings=made)
    assert said.exit_code == 1
    found = {row["what"]: row for row in json.loads(said.output)}
    assert not found[what]["good"]
    assert found["database"]["good"]
    assert "Traceback" not in said.output
    if what != "policy repository":
        refused = gate("serve", settings=made)
        assert refused.exit_code == 1
        assert refused.output.splitlines()[-1].startswith("not_ready: ")


def test_a_halt_works_with_repository_and_keys_gone(made: Path) -> None:
    spoil_repository(made.parent)
    shutil.rmtree(made.parent / "data/keys")
    done = gate("halt", "all", "--because", "the telephone does not stop", settings=made)
    assert (done.exit_code, done.output) == (0, "nothing moves\n")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('bind = "0.0.0.0"', "public_url is missing"),
        ('public_url = "http://gate.example.org"', "must be https"),
    ],
)
def test_it_does_not_serve_in_the_open(made: Path, line: str, word: str) -> None:
    name = line.split(" ")[0]
    made.write_text(re.sub(rf"(?m)^{name} = .*$", line, made.read_text()))
    refused = gate("serve", settings=made)
    assert refused.exit_code == 1
    assert word in refused.output


def test_a_role_that_does_not_exist_is_a_usage_error(made: Path) -> None:
    assert gate("serve", "--role", "web,wroker", settings=made).exit_code == 2


def test_a_database_that_does_not_answer_has_its_own_exit_code(made: Path) -> None:
    made.write_text(re.sub(r"(?m)^database = .*$", 'database = "sqlite:////nowhere/at/all.db"', made.read_text()))
    said = gate("status", settings=made)
    assert said.exit_code == 3
    assert said.output.startswith("unavailable: ")


def test_the_audit_log_shows_what_was_changed_in_it(made: Path) -> None:
    good = gate("audit", "verify", settings=made)
    assert good.exit_code == 0
    size, root = re.search(r"good: (\d+) leaves, root ([0-9a-f]{64})", good.output).groups()  # type: ignore[union-attr]
    assert gate("user", "add", "bea", "--role", "admin", settings=made).exit_code == 0
    noted = gate("audit", "verify", "--size", size, "--root", root, settings=made)
    assert noted.exit_code == 0
    wrong = gate("audit", "verify", "--size", size, "--root", "0" * 64, settings=made)
    assert wrong.exit_code == 1
    assert "you noted" in wrong.output
    future = gate("audit", "verify", "--size", "99", "--root", root, settings=made)
    assert "there are fewer" in future.output
    assert gate("audit", "verify", "--size", size, settings=made).exit_code == 2
    engine = create_engine(f"sqlite:///{made.parent / 'data/gate.db'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE events SET leaf = x'7b7d' WHERE \"index\" = 1"))
    engine.dispose()
    spoilt = gate("audit", "verify", settings=made)
    assert spoilt.exit_code == 1
    assert spoilt.output.startswith("NOT WELL")


def test_people_are_added_linked_listed_and_disabled(made: Path) -> None:
    added = gate("user", "add", "bea", "--role", "admin", "--name", "Bea B", settings=made)
    link = added.output.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8400/link/[\w-]{40,}", link)
    twice = gate("user", "add", "bea", settings=made)
    assert twice.exit_code == 4
    assert gate("user", "link", "bea", settings=made).output.strip() != link
    assert gate("user", "disable", "bea", settings=made).exit_code == 0
    rows = json.loads(gate("user", "list", "-o", "json", settings=made).output)
    assert {row["login"]: row["disabled"] for row in rows} == {"anna": False, "bea": True}
    assert gate("user", "disable", "nobody", settings=made).exit_code == 2


def test_another_role_ends_the_sessions_and_its_reason_is_kept(made: Path) -> None:
    gate("user", "add", "bea", settings=made)
    assert gate("user", "role", "bea", "approver", settings=made).exit_code == 2, "a reason is needed"
    assert gate("user", "role", "bea", "chief", "--because", "why not", settings=made).exit_code == 2
    done = gate("user", "role", "bea", "approver", "--because", "for Kim", settings=made)
    assert (done.exit_code, done.output) == (0, "bea is approver\n")
    rows = json.loads(gate("user", "list", "-o", "json", settings=made).output)
    assert {row["login"]: row["role"] for row in rows} == {"anna": "admin", "bea": "approver"}
    with open_gate(made).store.read() as tx:
        [event] = [one for one in tx.events(subject="bea", limit=10) if one.kind == "user_role_changed"]
    assert (event.because, event.detail) == ("for Kim", {"was": "reader", "role": "approver"})
    assert gate("user", "role", "bea", "reader", "--because", " ", settings=made).exit_code == 2
    assert gate("user", "role", "nobody", "reader", "--because", "gone", settings=made).exit_code == 2


def test_the_version_is_said_without_a_gate() -> None:
    said = CliRunner().invoke(main, ["version", "-o", "json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.output)
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["gate"])
    assert re.fullmatch(r"\d{4}", found["schema"])
    assert CliRunner().invoke(main, ["version"]).output.splitlines()[0] == f"gate {found['gate']}"


def test_sites_are_imported_all_or_none(made: Path, tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    table.write_text("id,name,land,hours,always_on,labels\nnord,Nord,NW,Mo-Fr 08:00-18:30,,\nSued!,S,XX,,,\n,,,,,\n")
    refused = gate("sites", "import", str(table), settings=made)
    assert refused.exit_code == 1
    assert f"{table}:3:" in refused.output
    assert f"{table}:4:" in refused.output
    assert json.loads(gate("sites", "list", "-o", "json", settings=made).output) == []
    table.write_text(
        "id,name,land,hours,always_on,labels\nnord,Nord,NW,Mo-Fr 08:00-18:30,,\nsued,Süd,BY,24/7,ja,pilot\n"
    )
    assert gate("sites", "import", str(table), settings=made).output == "2 sites\n"
    rows = json.loads(gate("sites", "list", "-o", "json", settings=made).output)
    assert [row["id"] for row in rows] == ["nord", "sued"]
    assert gate("enrol-code", "west", settings=made).exit_code == 2
    code = gate("enrol-code", "nord", settings=made).output.strip()
    assert re.fullmatch(r"[0-9a-f]{32}\.[0-9a-f]{64}", code)
    assert gate("why", "nobody", settings=made).exit_code == 2


def test_settings_are_shown_with_their_origin_and_without_secrets(made: Path) -> None:
    made.write_text(made.read_text() + '\n[sources.falcon]\nclient_secret = "s3cret"\n')
    said = gate("config", "show", "--origin", settings=made)
    assert said.exit_code == 0
    assert "s3cret" not in said.output
    assert "fleet = shop  (file)" in said.output


class Running:
    """A command that runs in a process of its own; everything that it printed is kept."""

    def __init__(self, *words: str, folder: Path) -> None:
        self.log = folder / "log"
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GATE_")}
        (folder / "tmp").mkdir()
        program = Path(sys.executable).with_name("gate")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, *words],
                stdout=log,
                stderr=log,
                env=environment | {"TMPDIR": str(folder / "tmp")},
                start_new_session=True,
            )

    def wait_for(self, address: str, seconds: float = 60.0) -> str:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and self.process.poll() is None:
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    return str(answer.read().decode())
            except OSError:
                self.process.poll()
                _pause()
        raise AssertionError(self.log.read_text())

    def others(self) -> list[str]:
        """Process ids of this command's session that still run."""
        found = subprocess.run(["ps", "-s", str(self.process.pid), "-o", "pid=,stat="], capture_output=True, text=True)
        return [line.split()[0] for line in found.stdout.splitlines() if "Z" not in line.split()[1]]

    def gone(self) -> bool:
        limit = time.monotonic() + 20
        while self.others() and time.monotonic() < limit:
            _pause()
        return not self.others()

    def end(self) -> None:
        if self.process.poll() is None or self.others():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def _pause() -> None:
    """Another process gets its turn."""
    time.sleep(0.05)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*words: str) -> Running:
        folder = tmp_path / f"run-{len(started)}"
        folder.mkdir()
        started.append(Running(*words, folder=folder))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_the_demo_is_there_at_once_and_leaves_nothing(running: Callable[..., Running]) -> None:
    port = free_port()
    demo = running("demo", "--port", str(port), "--speed", "2000")
    page = demo.wait_for(f"http://127.0.0.1:{port}/")
    assert "Demo" in page
    assert list((demo.folder / "tmp").iterdir())
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(20) == 0, demo.log.read_text()
    assert demo.gone()
    assert not list((demo.folder / "tmp").iterdir())
    assert "Traceback" not in demo.log.read_text()


@pytest.mark.slow
def test_a_gate_that_is_killed_leaves_no_process_and_starts_again(made: Path, running: Callable[..., Running]) -> None:
    port = free_port()
    made.write_text(re.sub(r"(?m)^port = .*$", f"port = {port}", made.read_text()))
    first = running("serve", "--settings", str(made))
    first.wait_for(f"http://127.0.0.1:{port}/metadata/timestamp.json")
    first.process.kill()
    first.process.wait()
    assert first.gone(), "its children end with it"
    second = running("serve", "--settings", str(made))
    second.wait_for(f"http://127.0.0.1:{port}/metadata/timestamp.json")
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait(30) == 0
    assert second.gone()
    assert "Traceback" not in second.log.read_text()
    assert gate("doctor", settings=made).exit_code == 0


def test_a_port_that_is_taken_is_said_in_a_sentence(made: Path, running: Callable[..., Running]) -> None:
    port = free_port()
    made.write_text(re.sub(r"(?m)^port = .*$", f"port = {port}", made.read_text()))
    with socket.create_server(("127.0.0.1", port), reuse_port=True):
        late = running("serve", "--settings", str(made))
        assert late.process.wait(60) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in late.log.read_text()
    assert "Traceback" not in late.log.read_text()
