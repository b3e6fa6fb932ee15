"""The text of every policy version that has ruled; those before are filled in from the repository at the next start"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy_texts",
        sa.Column("commit", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("commit"),
    )


def downgrade() -> None:
    op.drop_table("policy_texts")
