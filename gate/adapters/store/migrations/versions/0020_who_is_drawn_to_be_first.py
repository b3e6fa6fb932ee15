"""Which machines of a make are drawn to have a release first, in each ring, and since when it is open for the make"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("strata", sa.Column("first_cut", sa.Float(), nullable=False, server_default="1.0"))
    op.add_column("strata", sa.Column("opened_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("strata") as strata:
        strata.drop_column("opened_at")
        strata.drop_column("first_cut")
