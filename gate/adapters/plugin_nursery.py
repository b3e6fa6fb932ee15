"""A process that has loaded what every plugin call needs, and forks for each: starting Python costs ten looks.

- It is started with an empty environment and without any open file of ours; it never calls a plugin itself. What a call
  does to its own process is gone with it, and the next one begins as clean.
- Messages are JSON over a socket pair, with two files beside them: where the question is, where the answer goes.
- It ends when its parent does; what it has forked ends with it.
- What a call has started ends with the call, in whatever session: who loses its parent becomes a child of the call, and
  with the call gone a child of this process, which kills what is no call (PR_SET_CHILD_SUBREAPER of Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn

from gate.core.errors import OperatorError

START = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); "
    "from gate.adapters.plugin_nursery import nurse; nurse(int(sys.argv[1]))"
)
"""It finds the code that this process found, and nothing by its environment or its directory."""
STARTING_S = 60.0
"""Until its first answer: on a busy host loading alone takes longer than any answer of one that stands."""
PATIENCE_S = 10.0
LONGEST = 1 << 16
TOOLS = os.pathsep.join(["/usr/bin", "/bin", "/usr/local/bin", str(Path(sys.executable).parent)])
"""Where calls find programs, such as Sigma's, which pip puts beside the interpreter."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Nursery:
    """Started with the first call, and again when it has died."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._stop: weakref.finalize[..., Nursery] | None = None

    def begin(self, question: int, answer: int, folder: Path, numbers: Mapping[str, int]) -> int:
        """Forks a call; returns its process id, which is its group's too.

        Raises:
            OperatorError: no process can be started.
        """
        said = {"folder": str(folder), "numbers": numbers, "paths": _paths()}
        return int(self._asked(said, [question, answer])["pid"])

    def end(self, pid: int) -> None:
        """Ends a call with whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(OperatorError):
            self._asked({"done": pid}, [])

    def _asked(self, said: Mapping[str, Any], files: list[int]) -> dict[str, Any]:
        raw = json.dumps(said).encode()
        with self._lock:
            for _ in range(2):
                line = self._line or self._started()
                try:
                    socket.send_fds(line, [raw], files)
                    found = line.recv(LONGEST)
                except OSError:
                    found = b""
                if found:
                    line.settimeout(PATIENCE_S)
                    answer: dict[str, Any] = json.loads(found)
                    return answer
                assert self._stop is not None
                self._stop()
                self._line = None
        raise OperatorError("no_process", "no process for a plugin can be started")

    def _started(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(STARTING_S)
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, json.dumps(_paths()), str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": TOOLS, "LC_ALL": "C.UTF-8"},
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._line, self._stop = ours, weakref.finalize(self, _stopped, ours, process)
        return ours


def _paths() -> list[str]:
    return [path for path in sys.path if os.path.isabs(path)]


def _stopped(line: socket.socket, process: subprocess.Popen[bytes]) -> None:
    line.close()
    process.kill()
    process.wait()


def nurse(handle: int) -> None:
    """In the nursery: waits for calls until the parent is gone."""
    from gate.adapters import egress, plugin_child

    egress.trusting()
    for checked_with in ("ed25519", "padding", "rsa"):  # by most plugins: loading it costs more than a look
        importlib.import_module(f"cryptography.hazmat.primitives.asymmetric.{checked_with}")
    gc.disable()  # what is loaded stays as it is: a page that nobody writes is shared by every call
    gc.freeze()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    line, calls = socket.socket(fileno=handle), set[int]()
    while True:
        try:
            raw, files, _, _ = socket.recv_fds(line, LONGEST, 2)
        except ConnectionError:
            return
        if not raw:
            return
        said = json.loads(raw)
        if "done" in said:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(said["done"], 0)
            calls.discard(said["done"])
            _end_strays(calls)
            line.send(b"{}")
            continue
        pid = os.fork()
        if pid == 0:
            _call(line, files, said, plugin_child)
        calls.add(pid)
        for file in files:
            os.close(file)
        line.send(json.dumps({"pid": pid}).encode())


def _end_strays(calls: Collection[int]) -> None:
    """Kills what ended calls have left behind, until nothing comes after it."""
    while strays := [pid for pid in _children() if pid not in calls]:
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    """Of this process, which has one thread; by proc(5), and where the kernel was built without that list (before 4.2,
    or no CONFIG_PROC_CHILDREN) by the parent of each process."""
    with contextlib.suppress(FileNotFoundError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_bytes().split()]
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            said = Path(f"/proc/{name}/stat").read_text(encoding="utf-8", errors="replace")
            if int(said.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(name))
    return found


def _call(line: socket.socket, files: list[int], said: Mapping[str, Any], child: Any) -> NoReturn:
    """In the forked process: a group, a directory, an environment and files of its own, then the call."""
    try:
        os.setsid()
        kernel = ctypes.CDLL(None)
        kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(PR_SET_CHILD_SUBREAPER, 1)
        line.close()
        os.chdir(said["folder"])
        folder = said["folder"]
        os.environ.clear()
        os.environ.update({"PATH": TOOLS, "LC_ALL": "C.UTF-8", "HOME": folder, "TMPDIR": folder})
        for file, place in zip(files, (0, 1), strict=True):
            os.dup2(file, place)
            os.close(file)
        sys.path[:] = list(dict.fromkeys([*said["paths"], *sys.path]))
        gc.enable()
        random.seed()
        child.main(said["numbers"])
    finally:
        os._exit(0)
