"""Where recovery keys are kept, and the last boots of each machine"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_places",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("key_id", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["site"], ["sites.id"]),
        sa.PrimaryKeyConstraint("site", "machine"),
    )
    op.create_table(
        "machine_boots",
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("boots", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["machine"], ["machines.id"]),
        sa.PrimaryKeyConstraint("machine"),
    )


def downgrade() -> None:
    op.drop_table("machine_boots")
    op.drop_table("key_places")
