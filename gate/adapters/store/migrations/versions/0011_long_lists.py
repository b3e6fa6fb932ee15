"""Long lists: machines by name and sites by name without a sort, and the filters that people keep"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("machines_name", "machines", ["name", "id"])
    op.create_index("sites_name", "sites", ["name", "id"])
    op.drop_index("machines_site", "machines")
    op.create_index("machines_site", "machines", ["site", "id"])
    op.create_table(
        "saved_filters",
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("page", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("user", "page", "name"),
        sa.ForeignKeyConstraint(["user"], ["users.id"]),
    )


def downgrade() -> None:
    op.drop_table("saved_filters")
    op.drop_index("machines_site", "machines")
    op.create_index("machines_site", "machines", ["site"])
    op.drop_index("sites_name", "sites")
    op.drop_index("machines_name", "machines")
