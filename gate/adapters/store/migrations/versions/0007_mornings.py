"""When each site's morning begins, when a machine is usually on, and what was seen of the fleet's mornings"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

UP = ("up_weekday", "up_saturday", "up_sunday")


def upgrade() -> None:
    op.create_table(
        "site_days",
        sa.Column("site", sa.String(), nullable=False),
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("boots_at", sa.BigInteger(), nullable=True),
        sa.Column("opens_at", sa.BigInteger(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site"),
    )
    op.create_index("ix_site_days_day", "site_days", ["day"])
    op.create_index("ix_site_days_until", "site_days", ["until"])
    op.create_table(
        "mornings",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("looked_at", sa.BigInteger(), nullable=False),
        sa.Column("judged_at", sa.BigInteger(), nullable=True),
        sa.Column("usual", sa.Float(), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("parties", sa.Text(), nullable=False),
        sa.Column("alarm", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )
    op.create_table(
        "morning_points",
        sa.Column("day", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "at"),
    )
    op.add_column("machines", sa.Column("habit", sa.Text(), nullable=False, server_default=""))
    for name in UP:
        op.add_column("machines", sa.Column(name, sa.Integer(), nullable=True))
    op.execute("INSERT INTO site_days (site, day, until) SELECT id, '', 0 FROM sites")


def downgrade() -> None:
    for name in (*UP, "habit"):
        op.drop_column("machines", name)
    op.drop_table("morning_points")
    op.drop_table("mornings")
    op.drop_index("ix_site_days_until", table_name="site_days")
    op.drop_index("ix_site_days_day", table_name="site_days")
    op.drop_table("site_days")
