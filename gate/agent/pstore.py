"""The texts that a panic left: in ``/sys/fs/pstore``, until systemd-pstore moves them to ``/var/lib/systemd/pstore``.

- Only a text that holds ``Kernel panic`` or the mark ``Panic#`` is a crash: what a kernel survived lies there too.
- A text is known by what it says, not by where it lies: moved or found late, it is the same one. Its lines carry the
  kernel's own time since the boot, to the microsecond.
- Its moment is the kernel's own: the file's time below ``/sys/fs/pstore``, or the seconds in the name it has in EFI.
  The time of a copy says nothing; a moment that is not known is None.

Source: the kernel's pstore and admin-guide/ramoops, systemd-pstore(8).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gate.agent.boots import DETAIL, Left

KERNEL = Path("/sys/fs/pstore")
MOVED = Path("/var/lib/systemd/pstore")
MOST_TEXT = 256 * 1024
CRASH = re.compile(r"Kernel panic|^Panic#\d", re.MULTILINE)
TOLD = re.compile(r"Kernel panic|BUG: |\bOops[: ]|general protection fault|Internal error", re.IGNORECASE)
STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^\]]*\])?\s*")
SECONDS = re.compile(r"(?<!\d)(1[0-9]{9})(?=\d{0,8}(?!\d))")


@dataclass(frozen=True, slots=True)
class Pstore:
    """``kernel``: the kernel's own folder; ``moved``: where texts lie later."""

    kernel: Path = KERNEL
    moved: Path = MOVED

    def left(self) -> tuple[Left, ...]:
        """What crashes left, each once, as the kernel's own folder has it where both do; who names the panic last."""
        found: dict[str, Left] = {}
        for folder in (self.kernel, self.moved):
            for path in sorted(folder.glob("**/dmesg*")) if folder.is_dir() else ():
                try:
                    text = path.read_bytes()[:MOST_TEXT].decode(errors="replace")
                    at = self._at(folder, path)
                except OSError:
                    continue
                if CRASH.search(text):
                    found.setdefault(key(text), Left(key(text), panic_text(text), at))
        return tuple(sorted(found.values(), key=lambda one: "Kernel panic" in one.text))

    def _at(self, folder: Path, path: Path) -> datetime | None:
        named = SECONDS.search(str(path.relative_to(folder)))
        seconds = float(named[1]) if named else path.stat().st_mtime if folder == self.kernel else 0.0
        return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None


def key(text: str) -> str:
    """What a text is known by: its panic's lines with their times, all of it where none names the panic."""
    lines = [line.strip() for line in text.splitlines() if "Kernel panic" in line and STAMP.match(line.strip())]
    return hashlib.sha256("\n".join(lines or [text]).encode()).hexdigest()


def panic_text(text: str) -> str:
    """The lines of a kernel's last words that say what it was, in order; the last line where none does."""
    lines = [STAMP.sub("", line).strip() for line in text.splitlines()]
    told = [line for line in lines if TOLD.search(line)]
    told += [line for line in lines if line.startswith(("RIP:", "pc :", "Comm:"))][:1]
    return "; ".join(dict.fromkeys(told or _last(lines)))[:DETAIL]


def _last(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line][-1:]
