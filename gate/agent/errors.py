"""What can go wrong for an agent, by what it does about it."""

from __future__ import annotations


class AgentError(Exception):
    """A sentence for a person; the agent keeps what it has."""


class Unreachable(AgentError):
    """The gate does not answer, or says to come later."""

    def __init__(self, detail: str, retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Untrusted(AgentError):
    """Something is not signed as it must be; nothing of it is used."""


class Refused(AgentError):
    """The gate refuses: a kind of the protocol and its sentence."""

    def __init__(
        self, status: int, kind: str, detail: str, retry_after_s: int = 0, last_seq: int | None = None
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.status = status
        self.kind = kind
        self.retry_after_s = retry_after_s
        self.last_seq = last_seq


class NoRoom(AgentError):
    """The disk would be full, or nearly; nothing is fetched."""


class Misuse(AgentError):
    """A person must act: settings, files, another agent on this directory."""
