"""The process that forks for each call of a plugin: clean each time, begun again when it died, gone with its parent."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from gate.adapters import plugin_nursery
from gate.adapters.plugin_process import Limits
from gate.adapters.plugins import ChildPlugins
from gate.bootstrap import limits_of
from gate.config import load
from gate.core.errors import OperatorError, SourceError
from gate.hookspecs import Source

TEXT = """
import os, sys, json, time
from gate.hookspecs import *
import gate.hookspecs as shared

@hookimpl
def gate_describe():
    return SourceInfo("left", "held", ("any",), {"do": Option("what")}, why="x")

@hookimpl
def gate_discover(source):
    before = getattr(shared, "left_behind", "nothing")
    shared.left_behind = "something"
    if source.options.get("do") == "kill":
        os.kill(os.getppid(), 9)
    if source.options.get("do") == "leave":
        line, told = os.pipe()
        if os.fork() == 0:
            os.closerange(0, told)  # who holds the answer open would be waited for
            os.closerange(told + 1, 64)
            os.setsid()
            for _ in range(2):
                if os.fork():
                    time.sleep(600)
                os.setsid()
                os.write(told, f"{os.getpid()} ".encode())
            time.sleep(600)
        pids = b""
        while pids.count(b" ") < 2:
            pids += os.read(line, 100)
        return Discovered((), json.dumps([int(pid) for pid in pids.split()]))
    files = os.listdir("/proc/self/fd")
    return Discovered((), json.dumps([before, os.getpid(), os.getppid(), os.getcwd(), len(files)]))
"""


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    package = tmp_path / "plugins" / "gate_left"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "source.py").write_text(TEXT)
    return ChildPlugins(tmp_path / "spool" / "here-1", folders=[tmp_path / "plugins"])


def look(plugins: ChildPlugins, name: str = "s", **options: str) -> list[object]:
    found = json.loads(plugins.discover("left", Source(name, options), "").cursor)
    assert isinstance(found, list)
    return found


def test_each_call_is_a_process_of_its_own_that_begins_clean(plugins: ChildPlugins, tmp_path: Path) -> None:
    first, second = look(plugins), look(plugins, "t")
    assert (first[0], second[0]) == ("nothing", "nothing")
    assert first[1] != second[1]
    assert first[2] == second[2]
    assert (first[3], second[3]) == (str(tmp_path / "spool/here-1/s"), str(tmp_path / "spool/here-1/t"))
    assert int(str(first[4])) <= 6, "nothing of ours is open in it"


def test_to_start_may_take_longer_than_a_call_of_one_that_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_nursery, "PATIENCE_S", 0.001)
    nursery = plugin_nursery.Nursery()
    assert nursery._asked({"done": 2**22 + 1}, []) == {}
    assert nursery._line is not None
    assert nursery._line.gettimeout() == 0.001


def test_a_nursery_that_has_died_is_begun_again_and_one_call_fails_at_most(plugins: ChildPlugins) -> None:
    (_, _, nursery, *_) = look(plugins)
    with contextlib.suppress(SourceError):  # the call may have answered before it died with its nursery
        look(plugins, do="kill")
    assert look(plugins)[2] != nursery
    os.kill(int(str(look(plugins)[2])), signal.SIGKILL)
    assert look(plugins)[0] == "nothing"


def test_what_a_call_started_in_sessions_of_their_own_ends_with_it(plugins: ChildPlugins) -> None:
    left = look(plugins, do="leave")
    assert len(set(left)) == 2
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []
    assert look(plugins)[0] == "nothing", "and the next call is answered"


@pytest.mark.parametrize("listed", [True, False], ids=["the kernel lists them", "it was built without that list"])
def test_whoever_a_process_has_started_is_found(listed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def unlisted(_: Path) -> bytes:
        raise FileNotFoundError

    with subprocess.Popen(["sleep", "600"]) as one:
        if not listed:
            monkeypatch.setattr(Path, "read_bytes", unlisted)
        assert one.pid in plugin_nursery._children()
        assert os.getppid() not in plugin_nursery._children()
        one.kill()


def test_calls_from_several_threads_do_not_mix(plugins: ChildPlugins, tmp_path: Path) -> None:
    found: dict[str, object] = {}
    threads = [
        threading.Thread(target=lambda n=f"s{number}": found.update({n: look(plugins, n)[3]})) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"s{number}": str(tmp_path / f"spool/here-1/s{number}") for number in range(8)}


def test_it_is_gone_with_whoever_needed_it(plugins: ChildPlugins, tmp_path: Path) -> None:
    other = ChildPlugins(tmp_path / "spool" / "other-1", folders=[tmp_path / "plugins"])
    nursery = int(str(look(other)[2]))
    assert Path(f"/proc/{nursery}").exists()
    del other
    gc.collect()
    assert not Path(f"/proc/{nursery}").exists()


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("source_call_mib = 256\nsource_call_s = 10.0\n", ""),
        ("source_call_mib = 255\n", "source_call_mib is from 256"),
        ("source_call_s = 9.9\n", "source_call_s is from 10"),
        ("source_call_s = 3601\n", "source_call_s is from 10 to 3600"),
    ],
)
def test_the_settings_say_what_a_call_may_take(tmp_path: Path, said: str, problem: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(f'{said}fleet = "f"\ndata = "data"\ndatabase = "sqlite:///gate.db"\n')
    if problem:
        with pytest.raises(OperatorError, match=problem):
            load(file)
        return
    found = load(file)
    assert (found.source_call_s, found.source_call_mib) == (10.0, 256)
    assert limits_of(found) == Limits(wall_s=10.0, memory=256 << 20)
