"""How far something has come, and two indexes that large fleets need"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("machines_status", "machines", ["status"])
    op.create_index("claims_site", "claims", ["rollout", "site"])


def downgrade() -> None:
    op.drop_index("claims_site", table_name="claims")
    op.drop_index("machines_status", table_name="machines")
    op.drop_table("marks")
