"""Spans by the hour with controls, their sums, how well a rollout is seen, and when a trial began"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("claims", sa.Column("days", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("claims", sa.Column("trial_at", sa.BigInteger(), nullable=True))
    op.add_column("claims", sa.Column("tried_at", sa.BigInteger(), nullable=True))
    op.add_column("rollouts", sa.Column("measured", sa.Float(), nullable=False, server_default="0"))
    op.create_table(
        "spans",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("make", sa.Text(), nullable=False),
        sa.Column("boot", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("exposed", "failed")),
        *(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("controls", "controls_failed")
        ),
        sa.Column("looked_at", sa.BigInteger(), nullable=True),
        sa.Column("failed_then", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("closed", sa.Boolean(), nullable=False, server_default=sa.false()),
        *(
            sa.Column(name, sa.Integer(), nullable=False, server_default="0")
            for name in ("folded_exposed", "folded_failed")
        ),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("rollout", "hour", "make", "boot"),
    )
    op.create_table(
        "sums",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("make", sa.Text(), nullable=False),
        sa.Column("boot", sa.Integer(), autoincrement=False, nullable=False),
        *(sa.Column(f"log_{number}", sa.Float(), nullable=False) for number in (1, 2, 3, 4)),
        sa.Column("exposed", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("rollout", "make", "boot"),
    )
    op.create_table(
        "sights",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=True),
        sa.Column("controls", sa.Integer(), nullable=False),
        sa.Column("silent", sa.Integer(), nullable=False),
        sa.Column("unclear_since", sa.BigInteger(), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("rollout"),
    )


def downgrade() -> None:
    for name in ("sights", "sums", "spans"):
        op.drop_table(name)
    op.drop_column("rollouts", "measured")
    with op.batch_alter_table("claims") as claims:
        for name in ("tried_at", "trial_at", "days"):
            claims.drop_column(name)
