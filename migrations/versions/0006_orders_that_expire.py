"""Orders that expire, and that know who checked them out while they are pending."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A new column is empty in every row, so PostgreSQL does not look at the rows for its foreign
    # key, if that comes in the same statement: no lock is held for as long as a table is read.
    op.execute("""
        ALTER TABLE orders ADD COLUMN session_id integer
            CONSTRAINT fk_orders_session_id REFERENCES sessions (id) ON DELETE SET NULL
    """)
    op.add_column("orders", sa.Column("client_address", sa.String(length=64)))
    op.add_column("orders", sa.Column("expires_at", sa.DateTime(timezone=True)))
    # Of no row so far, but each reads the table once.
    for name, columns, condition in INDEXES:
        op.create_index(name, "orders", columns, postgresql_where=sa.text(condition))


INDEXES = [
    ("ix_orders_expires_at", ["expires_at", "id"], "status = 'pending'"),
    ("ix_orders_session_id", ["session_id"], "session_id IS NOT NULL"),
    ("ix_orders_client_address", ["client_address"], "client_address IS NOT NULL"),
]


def downgrade() -> None:
    for name in ("expires_at", "client_address", "session_id"):
        op.drop_column("orders", name)  # and with it its index, and its foreign key
