"""Where people decide: when the gate would have opened a ring, who set a gate aside, and how sites fail together"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollout_rings") as table:
        table.add_column(sa.Column("ready_at", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("waived_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "correlations",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("machines", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("pairs", sa.BigInteger(), nullable=False),
        sa.Column("both", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rollout"),
    )
    op.create_index("ix_correlations_at", "correlations", ["at"])


def downgrade() -> None:
    op.drop_table("correlations")
    with op.batch_alter_table("rollout_rings") as table:
        table.drop_column("waived_at")
        table.drop_column("ready_at")
