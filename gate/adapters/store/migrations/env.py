"""Alembic's entry: runs on the connection that the store hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from gate.adapters.store import tables

assert tables.SiteRow.__table__ is not None  # type: ignore[attr-defined]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
