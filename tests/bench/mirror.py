"""The vendor mirror, and what idle sources cost: 1 KiB and 50 MiB, 200 and 304, by gate's own server and by nginx.

- Five hundred tokens lead to the same release, as the machines of a ring do.
- The limits: a bare callable that answers the same bytes from memory, and nginx on the same folder by a location that
  says nothing but where it is. Beside it: nginx on one plain file of another folder, which is no link.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from gate.adapters.mirror_folder import MirrorFolder
from gate.bootstrap import Opened, SystemClock, Wishes, init, open_gate
from gate.ports import Laid
from tests.bench.driver import Load, get
from tests.load import free_port
from tests.nginx import in_front, nginx
from tests.process_tree import spent_s
from tests.real_gate import agreed

SIZES = {"small": 1024, "large": 50 << 20}
SHOWN = {"small": "1 KiB", "large": "50 MiB"}
TOKENS = 500
LATER = "Mon, 02 Mar 2099 09:00:00 GMT"
IDLE = 50
Say = Callable[..., None]
Process = Callable[[list[str], int], AbstractContextManager[int]]
Loaded = Callable[..., tuple[Load, float]]
Figures = Callable[[Load, float], str]


def mirror(folder: Path, opened: Opened, port: int, pid: int, count: int, say: Say, process: Process, loaded: Loaded,
           figures: Figures) -> None:  # fmt: skip
    """Both servers on the gate's own folder."""
    tokens = laid(folder / "plain", opened)
    other = free_port()
    words = [sys.executable, "-m", "tests.bench.limits", "files", str(other), str(folder / "plain")]
    with process(words, other) as limit_pid:
        for what, status, requests, plain in asked(tokens, count):
            ratios = []
            for _ in range(3):
                mine, cpu = loaded(port, pid, requests)
                limit, limit_cpu = loaded(other, limit_pid, plain)
                ratios.append((mine.rate / limit.rate, figures(mine, cpu), figures(limit, limit_cpu), limit_cpu / cpu))
            ratio, ours, bare, by_cpu = sorted(ratios)[1]
            say(f"mirror, {what}, {status}, built-in server", ours,
                f"{bare} (bare callable, same bytes); ratio {ratio:.2f}, by CPU {by_cpu:.2f}", ">= 0.7 x",
                ratio >= 0.7)  # fmt: skip
    if nginx() is None:
        say("mirror, nginx", "not measured: nginx is not installed", goal=">= 0.95 x")
        return
    (folder / "mirror-nginx").mkdir()
    for path in (opened.settings.data, *folder.parents, folder, folder / f"{opened.settings.data.parent.name}"):
        path.chmod(path.stat().st_mode | 0o055)
    with in_front(folder / "mirror-nginx", opened.settings.data, [port], plain=folder / "plain") as front:
        its = int((folder / "mirror-nginx" / "nginx.pid").read_text())
        for what, status, requests, plain in asked(tokens, count):
            bare = [one.replace(b" /mirror/", b" /bare/", 1) for one in requests]
            rates = []
            for _ in range(3):
                mine, cpu = loaded(front, its, requests)
                limit, limit_cpu = loaded(front, its, bare)
                other, _ = loaded(front, its, plain)
                rates.append((mine.rate / limit.rate, figures(mine, cpu), figures(limit, limit_cpu), other.rate))
            ratio, ours, its_own, any_file = sorted(rates)[1]
            said = f"{its_own} (the same folder, a bare location); ratio {ratio:.2f}; one plain file: {any_file:,.0f}/s"
            say(f"mirror, {what}, {status}, nginx on our folder", ours, said, ">= 0.95 x", ratio >= 0.95)  # fmt: skip


def laid(plain: Path, opened: Opened) -> list[str]:
    """A release with both files behind every token, and the same bytes as plain files."""
    blobs = opened.settings.public / "content" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    plain.mkdir(exist_ok=True)
    files = []
    for number, (name, size) in enumerate(SIZES.items()):
        raw = secrets.token_bytes(1024) * (size // 1024)
        digest = f"{number}" * 64
        (blobs / digest).write_bytes(raw)
        (plain / name).write_bytes(raw)
        files.append(Laid(name, "", blobs / digest))
    folder = MirrorFolder(opened.settings.mirror, blobs)
    tokens = [secrets.token_urlsafe(24) for _ in range(TOKENS)]
    for number, token in enumerate(tokens):
        folder.admit("s0", token, f"m-{number}")
    first = opened.settings.mirror / "to" / "s0"
    folder.point("s0", "m-0", "a" * 64, files, datetime.now(UTC))
    for number in range(1, TOKENS):
        (first / f"m-{number}").symlink_to((first / "m-0").readlink())
    return tokens


def asked(tokens: list[str], count: int) -> list[tuple[str, int, list[bytes], list[bytes]]]:
    """(size, status, requests to the mirror, requests for the plain file)."""
    found = []
    for name in SIZES:
        for status in (200, 304):
            more = {"If_Modified_Since": LATER} if status == 304 else {}
            many = max(4, count // 1000) if (name, status) == ("large", 200) else count
            paths = [f"/mirror/s0/{tokens[number % TOKENS]}/{name}" for number in range(many)]
            found.append(
                (SHOWN[name], status, [get(path, **more) for path in paths], [get(f"/logged/{name}", **more)] * many)
            )
    return found


def idling(folder: Path, say: Say) -> None:
    """Fifty sources of which nothing is new, as a worker looks at them once a minute."""
    (folder / "drops").mkdir(parents=True)
    names = [f"idle-{number}" for number in range(IDLE)]
    sources = {name: {"folder": str(folder / "drops")} for name in names}
    made = init(folder / "gate", Wishes("idle", "", "", "anna", "NW", "walk", sources=sources), datetime.now(UTC))
    opened = open_gate(made.settings, SystemClock())
    policies = opened.policies
    before = policies.read(policies.head())
    line = before[before.index("  - {name: shop-content") : before.index("rings:")]
    text = before.replace(line, "".join(f"  - {{name: {name}, plugin: directory}}\n" for name in names) + "\n")
    policies.write(text, policies.head(), "anna", "idle", datetime.now(UTC))
    agreed(opened, datetime.now(UTC))
    worker = opened.worker()
    worker.look()  # the first starts what the others use
    costs = []
    for _ in range(3):
        began, at = spent_s(os.getpid()), time.perf_counter()
        worker.look()
        costs.append((spent_s(os.getpid()) - began, time.perf_counter() - at))
    cpu, seconds = sorted(costs)[1]
    say(f"discovery of {IDLE} idle sources, a look at each", f"{cpu:.2f} s of CPU, {seconds:.1f} s", "",
        "< 1 s of CPU a minute", cpu < 1)  # fmt: skip
    opened.close()
