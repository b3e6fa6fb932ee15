"""Texts of this machine, made fit to be said: a panic, a probe, a plugin and a person may write anything.

What a gate would refuse for good (a NUL, half of a surrogate pair) or a terminal would obey is a space; what is too
long is cut, measured as JSON writes it, so that no call is larger than the protocol allows.
"""

from __future__ import annotations

SHORT = 128
LONG = 500


def clean(text: str, most: int = LONG) -> str:
    """The printable text of at most ``most`` bytes in a JSON text."""
    left, out = most, []
    for char in text[:most]:
        plain = char if char.isprintable() else " "
        left -= _bytes(plain)
        if left < 0:
            break
        out.append(plain)
    return "".join(out)


def _bytes(char: str) -> int:
    if char in '"\\':
        return 2
    return 1 if char.isascii() else 6 if ord(char) < 0x10000 else 12
