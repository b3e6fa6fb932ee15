"""The vendor mirror: who may read it, and what each reader is served"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mirror_pointers",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("ring", sa.String(), nullable=False),
        sa.Column("release", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("ask_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "holder"),
    )
    op.create_index("mirror_pointers_ask_at", "mirror_pointers", ["ask_at"])
    op.create_table(
        "mirror_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    op.create_index("mirror_tokens_holder", "mirror_tokens", ["source", "holder"])


def downgrade() -> None:
    op.drop_index("mirror_tokens_holder", "mirror_tokens")
    op.drop_table("mirror_tokens")
    op.drop_index("mirror_pointers_ask_at", "mirror_pointers")
    op.drop_table("mirror_pointers")
