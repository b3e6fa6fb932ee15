"""Which relapse was a crash: one that is told of after the machine was healthy counts for the brake on crashes too"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("claims", sa.Column("crashed", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("claims") as claims:
        claims.drop_column("crashed")
