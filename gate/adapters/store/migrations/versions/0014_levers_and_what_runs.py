"""What vendors are told, and what machines really run"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vendor_holds",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("ring", sa.String(), nullable=False),
        sa.Column("halt", sa.String(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("try_at", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "ring"),
    )
    op.create_table(
        "vendor_moves",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("ring", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("try_at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "machine"),
    )
    op.create_table(
        "observations",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source", "machine"),
    )
    op.create_index("observations_standing", "observations", ["standing"])
    op.create_index("observations_machine", "observations", ["machine"])


def downgrade() -> None:
    op.drop_index("observations_machine", "observations")
    op.drop_index("observations_standing", "observations")
    for name in ("observations", "vendor_moves", "vendor_holds"):
        op.drop_table(name)
