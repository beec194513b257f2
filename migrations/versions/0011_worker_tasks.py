"""How often each task of `flask worker` was run, and when it last succeeded."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "worker_tasks",
        sa.Column("task", sa.String(50), nullable=False),
        sa.Column("done", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("failed", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("last_success", sa.DateTime(timezone=True)),
        sa.Column("last_seconds", sa.Double),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_worker_tasks")),
    )


def downgrade() -> None:
    op.drop_table("worker_tasks")
