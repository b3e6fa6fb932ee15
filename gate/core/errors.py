"""The error tree, by who must act.

GateError
|- CallerError      the one who asked must change the request (bad input, not allowed, conflict)
|  |- Malformed     the request cannot be read
|  |- Unauthenticated
|  |- Forbidden     known, but not allowed
|  |- Conflict      true a moment ago, not now
|  `- NotFound
|- OperatorError    whoever runs this server must act (disk, database, keys, settings)
|  |- Busy          so much waits already that more is refused; its sentence is for whoever asks
|  `- Unavailable   try again later; carries retry_after_s
|     `- Overtaken  somebody else was faster; the same act may be tried again at once
`- SourceError      a vendor or a plugin must act
"""

from __future__ import annotations


class GateError(Exception):
    """kind: a stable word (metric label); detail: one sentence for a person; more: such as the ``rule`` of the policy
    that refuses and the ``line`` where it stands."""

    status = 500

    def __init__(self, kind: str, detail: str, **more: object) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.more = more


class CallerError(GateError):
    """The one who asked must change the request."""

    status = 400


class Malformed(CallerError):
    """The request cannot be read; kinds bad_json, bad_envelope, bad_field."""


class Unauthenticated(CallerError):
    """One answer for an unknown key, a bad signature and a revoked machine."""

    status = 401

    def __init__(self, detail: str = "this call is not signed by a key that we know") -> None:
        super().__init__("unauthenticated", detail)


class Forbidden(CallerError):
    """Known, but not allowed."""

    status = 403


class NotFound(CallerError):
    """No such thing."""

    status = 404

    def __init__(self, detail: str) -> None:
        super().__init__("not_found", detail)


class Conflict(CallerError):
    """True a moment ago, not now; or not allowed in this state."""

    status = 409


class OperatorError(GateError):
    """Whoever runs this server must act."""


class Busy(OperatorError):
    """Too much is asked for at once; in a moment it may be asked for again."""

    status = 503

    def __init__(self, detail: str) -> None:
        super().__init__("busy", detail)


class Unavailable(OperatorError):
    """Try again later."""

    status = 503

    def __init__(self, detail: str, retry_after_s: int = 30) -> None:
        super().__init__("unavailable", detail, retry_after_s=retry_after_s)


class Overtaken(Unavailable):
    """Somebody else changed it a moment earlier, and this act was undone; it may be tried again at once."""

    def __init__(self, detail: str = "somebody else changed it a moment ago") -> None:
        super().__init__(detail, 1)


class SourceError(GateError):
    """A vendor, a vendor's feed or a plugin must act."""
