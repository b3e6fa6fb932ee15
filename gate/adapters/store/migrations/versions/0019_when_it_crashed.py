"""When a machine first told of a crash, whatever had become of its claim before: what the brakes on crashes count"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

TOLD = sa.text("crashed_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("claims", sa.Column("crashed_at", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE claims SET crashed_at = resolved_at WHERE state IN ('failed', 'rolled_back') AND action <> 'recall'"
    )
    op.create_index(
        "claims_crashed", "claims", ["rollout", "ring", "crashed_at"], sqlite_where=TOLD, postgresql_where=TOLD
    )


def downgrade() -> None:
    op.drop_index("claims_crashed", "claims")
    with op.batch_alter_table("claims") as claims:
        claims.drop_column("crashed_at")
