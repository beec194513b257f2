"""An installation has an identity, by which it knows what is its own in a Redis that others share.

A copy of the database has the identity of the original until `flask db-identity renew`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger, server_default="1", nullable=False),
        sa.Column("identity", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_one")),
    )
    op.execute(
        "INSERT INTO installation (identity)"
        " VALUES (left(replace(gen_random_uuid()::text, '-', ''), 16))"
    )


def downgrade() -> None:
    op.drop_table("installation")
