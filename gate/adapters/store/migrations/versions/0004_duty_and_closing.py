"""Night duty, closing days, gaps of our own, learned deadlines, and what a claim's clock stands on"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sites", sa.Column("times", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("machines", sa.Column("down_at", sa.BigInteger(), nullable=True))
    op.add_column("claims", sa.Column("clock_from", sa.BigInteger(), nullable=True))
    op.add_column("claims", sa.Column("dark_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "gaps",
        sa.Column("start_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("start_at"),
    )
    op.create_index("ix_gaps_end_at", "gaps", ["end_at"])
    op.create_table(
        "boot_times",
        sa.Column("make", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("boots", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("make", "step"),
    )


def downgrade() -> None:
    op.drop_table("boot_times")
    op.drop_table("gaps")
    op.drop_column("claims", "dark_at")
    op.drop_column("claims", "clock_from")
    op.drop_column("machines", "down_at")
    op.drop_column("sites", "times")
