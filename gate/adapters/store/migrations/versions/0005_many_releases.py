"""When a rollout was done and how long it is expedited; how long a claim is watched; holds by selector"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DONE_AT = (
    "UPDATE rollouts SET done_at = (SELECT max(at) FROM events"
    " WHERE events.kind = 'rollout_done' AND events.subject = rollouts.id)"
)


def upgrade() -> None:
    op.add_column("rollouts", sa.Column("done_at", sa.BigInteger(), nullable=True))
    op.add_column("rollouts", sa.Column("inherited", sa.Integer(), nullable=False, server_default="-1"))
    op.add_column("rollouts", sa.Column("expedited_until", sa.BigInteger(), nullable=True))
    op.add_column("claims", sa.Column("watch_until", sa.BigInteger(), nullable=True))
    op.add_column("claims", sa.Column("watch_at", sa.BigInteger(), nullable=True))
    op.create_index("claims_watched", "claims", ["watch_at"])
    op.create_table(
        "holds",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("pick", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("made_by", sa.String(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(DONE_AT)


def downgrade() -> None:
    op.drop_table("holds")
    op.drop_index("claims_watched", table_name="claims")
    with op.batch_alter_table("claims") as claims:
        claims.drop_column("watch_at")
        claims.drop_column("watch_until")
    for name in ("expedited_until", "inherited", "done_at"):
        op.drop_column("rollouts", name)
