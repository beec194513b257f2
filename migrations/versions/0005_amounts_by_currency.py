"""Amounts with the decimal places of their currency (ISO 4217).

The columns take any, and CHECKs say which: no table is written anew, and none is locked for
longer than a change of the catalogue takes. Each step is committed by itself, and all of them
can be taken again.
"""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ITS_DECIMALS = (
    "CASE WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', "
    "'UGX', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0 "
    "WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3 ELSE 2 END"
)
COLUMNS = {  # of each table: the amount, its precision before, its limit, its decimal places
    "products": ("price", 12, 10**10, ITS_DECIMALS),
    "orders": ("total", 18, 10**16, ITS_DECIMALS),
    "order_lines": ("price", 12, 10**10, "3"),
}
AMOUNTS = """
    SELECT 1 AS kind, id, 0 AS line, 'product ' || id AS place, price AS amount, currency
    FROM products
    UNION ALL
    SELECT 2, id, 0, 'order ' || id, total, currency
    FROM orders
    UNION ALL
    SELECT 3, order_id, product_id, 'product ' || product_id || ' in order ' || order_id, price,
           currency
    FROM order_lines JOIN orders ON orders.id = order_lines.order_id
"""
LISTED = 20  # amounts that are told; of the others, how many


def upgrade() -> None:
    told = "Amounts that their currency does not have (docs/operations.md, Upgrade): "
    stop_at(ITS_DECIMALS, told)
    with op.get_context().autocommit_block():
        for table, (column, _, limit, places) in COLUMNS.items():
            alter_unchecked(table, column, limit, places)
    try:
        stop_at(ITS_DECIMALS, told)  # what has been written since the first look
    except CommandError:
        # A check is tried on each change of a row: the shop would sell none of what is listed.
        with op.get_context().autocommit_block():
            for table, (column, *_) in COLUMNS.items():
                op.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}_decimals")
        raise
    with op.get_context().autocommit_block():
        for table, (column, *_) in COLUMNS.items():
            names = (f"ck_{table}_{column}_{check}" for check in ("positive", "limit", "decimals"))
            op.execute(
                f"ALTER TABLE {table} " + ", ".join(f"VALIDATE CONSTRAINT {name}" for name in names)
            )


def alter_unchecked(table: str, column: str, limit: int, places: str) -> None:
    """Let the column take any amount, and new rows only what the checks allow.

    A check that stays would be tried on all rows, under the lock.
    """
    checks = {
        f"ck_{table}_{column}_positive": f"{column} > 0",
        f"ck_{table}_{column}_limit": f"{column} < {limit}",
        f"ck_{table}_{column}_decimals": f"scale(trim_scale({column})) <= {places}",
    }
    drops = [f"DROP CONSTRAINT IF EXISTS {name}" for name in checks]
    adds = [f"ADD CONSTRAINT {name} CHECK ({check}) NOT VALID" for name, check in checks.items()]
    changes = [*drops, f"ALTER COLUMN {column} TYPE numeric", *adds]
    op.execute(f"ALTER TABLE {table} {', '.join(changes)}")


def downgrade() -> None:
    # In the order in which a cancellation takes them.
    op.execute("LOCK TABLE orders, order_lines, products IN ACCESS EXCLUSIVE MODE")
    stop_at("2", "Amounts with more than the two decimal places that there were before: ")
    for table, (column, precision, *_) in COLUMNS.items():
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{column}_limit, "
            f"DROP CONSTRAINT ck_{table}_{column}_decimals, "
            f"ALTER COLUMN {column} TYPE numeric({precision}, 2)"
        )


def stop_at(places: str, told: str) -> None:
    """Raise CommandError with a line that lists the amounts that have more decimal places."""
    # Written for a script, too: without a query whose rows Python would have to read.
    look = f"""DO $$ DECLARE found text; BEGIN
        SELECT string_agg(place || ' (' || amount || ' ' || currency || ')', ', ' ORDER BY number)
               FILTER (WHERE number <= {LISTED})
            || CASE WHEN count(*) > {LISTED} THEN ', and ' || count(*) - {LISTED} || ' more'
                    ELSE '' END
        INTO found FROM (
            SELECT *, row_number() OVER (ORDER BY kind, id, line) AS number
            FROM ({AMOUNTS}) AS amounts
            WHERE amount = 'NaN' OR scale(trim_scale(amount)) > {places}
        ) AS wrong;
        IF found IS NOT NULL THEN RAISE EXCEPTION USING MESSAGE = '{told}' || found; END IF;
    END $$"""  # noqa: S608  (all of it is written in this file)
    try:
        op.execute(look)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != "P0001":  # raise_exception
            raise
        raise CommandError(error.orig.diag.message_primary) from None
