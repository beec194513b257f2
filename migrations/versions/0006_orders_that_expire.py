"""Orders that expire, and that know who checked them out while they are pending.

Each step is committed by itself, so that none holds its locks for longer than it needs them, and
all of them can be taken again.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Empty in every row. So PostgreSQL does not look at the rows for the foreign key, as it comes in
# the statement that adds its column.
COLUMNS = {
    "session_id": "integer CONSTRAINT fk_orders_session_id"
    " REFERENCES sessions (id) ON DELETE SET NULL",
    "client_address": "varchar(64)",
    "expires_at": "timestamptz",
}
# Of few rows or none, for which the table is read once each; meanwhile writers of orders wait.
INDEXES = {
    "ix_orders_expires_at": "(expires_at, id) WHERE status = 'pending' AND expires_at IS NOT NULL",
    "ix_orders_session_id": "(session_id) WHERE session_id IS NOT NULL",
    "ix_orders_client_address": "(client_address) WHERE client_address IS NOT NULL",
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        added = (f"ADD COLUMN IF NOT EXISTS {name} {kind}" for name, kind in COLUMNS.items())
        op.execute(f"ALTER TABLE orders {', '.join(added)}")
        for name, rows in INDEXES.items():
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON orders {rows}")


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("orders", name)  # and with it its index, and its foreign key
