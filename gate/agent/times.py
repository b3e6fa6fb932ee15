"""Moments on the wire and on disk: RFC 3339 UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def moment(text: Any) -> datetime:
    """RFC 3339 UTC -> aware datetime.

    Raises:
        ValueError, TypeError: it is none.
    """
    found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def wire(at: datetime) -> str:
    """Aware datetime -> ``2026-03-01T08:00:00Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def now_utc() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)
