"""What boots have shown, by make and by boot number; the background; extensions"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TRIALS = """
    SELECT rollout, make,
        CASE WHEN bad = 1 AND boots_healthy >= boots THEN boots - 1 ELSE boots_healthy END AS well,
        CASE WHEN explained THEN 0 ELSE bad END AS bad
    FROM (
        SELECT claims.*, CASE WHEN state IN ('unhealthy', 'failed', 'silent', 'relapsed', 'rolled_back')
            THEN 1 ELSE 0 END AS bad
        FROM claims WHERE action <> 'recall'
    ) AS known
"""
COUNT_BOOTS = """
    INSERT INTO boots (rollout, boot, tried, failed)
    SELECT rollouts.id, numbers.boot,
        (SELECT count(*) FROM (:trials) AS c WHERE c.rollout = rollouts.id AND c.well + c.bad >= numbers.boot),
        (SELECT count(*) FROM (:trials) AS c
            WHERE c.rollout = rollouts.id AND c.bad = 1 AND c.well + 1 = numbers.boot)
    FROM rollouts CROSS JOIN
        (SELECT 1 AS boot UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5) AS numbers
"""
COUNT_BUDGETS = """
    UPDATE budgets SET
        tried = (SELECT coalesce(sum(c.well + c.bad), 0) FROM (:trials) AS c
            WHERE c.rollout = budgets.rollout AND budgets.make IN (c.make, '*')),
        tried_failed = (SELECT coalesce(sum(c.bad), 0) FROM (:trials) AS c
            WHERE c.rollout = budgets.rollout AND budgets.make IN (c.make, '*'))
"""


def upgrade() -> None:
    op.create_table(
        "boots",
        sa.Column("rollout", sa.String(), nullable=False),
        sa.Column("boot", sa.Integer(), nullable=False),
        sa.Column("tried", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["rollout"], ["rollouts.id"]),
        sa.PrimaryKeyConstraint("rollout", "boot"),
    )
    for name in ("tried", "tried_failed", "extended", "extend_to"):
        op.add_column("budgets", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    # rollouts that have begun go on with the background that stands in until one is measured
    op.add_column("rollouts", sa.Column("background", sa.Float(), nullable=False, server_default="0.0075"))
    for count in (COUNT_BOOTS, COUNT_BUDGETS):
        op.execute(count.replace(":trials", TRIALS))


def downgrade() -> None:
    op.drop_column("rollouts", "background")
    for name in ("extend_to", "extended", "tried_failed", "tried"):
        op.drop_column("budgets", name)
    op.drop_table("boots")
