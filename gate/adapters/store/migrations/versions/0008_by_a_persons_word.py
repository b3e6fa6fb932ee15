"""What has left the count by a person's word"""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

EXPLAINED = sa.text(
    "SELECT at, actor, subject, detail, because FROM events WHERE kind = 'failure_explained' ORDER BY \"index\""
)
CLAIM = sa.text(
    "SELECT c.id AS claim, c.machine, c.site, c.ring, c.make, m.name FROM claims c"
    " JOIN machines m ON m.id = c.machine WHERE c.id = :claim AND c.rollout = :rollout"
)


def upgrade() -> None:
    made = op.create_table(
        "attributions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("claim", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("ring", sa.String(), nullable=False),
        sa.Column("make", sa.Text(), nullable=False),
        sa.Column("was", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("attributions_rollout", "attributions", ["rollout", "id"])
    connection = op.get_bind()
    for event in connection.execute(EXPLAINED).mappings().all():
        detail = json.loads(event["detail"])
        wanted = {"claim": str(detail.get("claim")), "rollout": event["subject"]}
        for claim in connection.execute(CLAIM, wanted).mappings():
            said = {
                "by": event["actor"],
                "because": event["because"],
                "at": event["at"],
                "was": detail.get("state", ""),
            }
            row = {**claim, **said, "rollout": event["subject"], "kind": "explained"}
            connection.execute(made.insert().values(**row))


def downgrade() -> None:
    op.drop_table("attributions")
