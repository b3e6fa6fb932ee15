"""People: when a session was confirmed last, tokens, who somebody is at a provider; the log by actor and by kind"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("web_sessions") as table:
        table.add_column(sa.Column("stepped_up_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("user", sa.String(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_access_tokens_sha256", "access_tokens", ["sha256"], unique=True)
    op.create_table(
        "identities",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("user", sa.String(), sa.ForeignKey("users.id"), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject"),
    )
    op.create_index("ix_identities_user", "identities", ["user"])
    op.create_index("events_actor", "events", ["actor", "index"])
    op.create_index("events_kind", "events", ["kind", "index"])


def downgrade() -> None:
    op.drop_index("events_kind", "events")
    op.drop_index("events_actor", "events")
    op.drop_table("identities")
    op.drop_table("access_tokens")
    with op.batch_alter_table("web_sessions") as table:
        table.drop_column("stepped_up_at")
