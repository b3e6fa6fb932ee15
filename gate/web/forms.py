"""What every form needs: its fields, who sent it, and where it may send one back to."""

from __future__ import annotations

from flask import g, request

from gate.core.errors import GateError, Malformed, NotFound

POST = ["POST"]


def me() -> str:
    """Who sent it."""
    assert g.visitor is not None, "an act needs a visitor"
    return str(g.visitor.user.id)


def text(name: str, most: int, *, needed: bool = True) -> str:
    """A field of the form.

    Raises:
        Malformed: too long, control characters, or missing.
    """
    value = request.form.get(name, "").strip()
    if len(value) > most or any(ord(char) < 32 and char not in "\r\n\t" for char in value):
        raise Malformed("bad_field", f"{name} is too long, or has control characters")
    if needed and not value:
        raise Malformed("bad_field", f"{name} is missing")
    return value


def branch_head() -> str:
    """The head of the policy's branch; empty where the repository cannot be read."""
    try:
        return str(g.parts.gate.texts.head())
    except GateError:
        return ""


def known_commit(wanted: str) -> str:
    """The full id of a version, from ``head`` or its first digits.

    Raises:
        NotFound: none, or several.
    """
    try:
        if len(wanted) != 40:
            return str(g.parts.gate.texts.resolve(wanted))
        return str(g.parts.gate.texts.version(wanted).commit)
    except (GateError, AssertionError) as problem:
        if isinstance(problem, NotFound):
            raise
        with g.parts.store.read() as tx:
            if tx.policy_text(wanted) is None:
                raise NotFound(f"there is no policy version {wanted[:12]}") from problem
        return wanted


def ours(wish: str) -> bool:
    """A path of this site: one slash, and nothing that a browser reads as another host."""
    return wish.startswith("/") and not wish.startswith(("//", "/\\")) and all(ord(char) > 32 for char in wish)
