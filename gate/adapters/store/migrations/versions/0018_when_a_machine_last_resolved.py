"""When a machine last resolved under a rollout, by an index: until when it is watched"""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("claims_resolved", "claims", ["rollout", "resolved_at"])


def downgrade() -> None:
    op.drop_index("claims_resolved", "claims")
