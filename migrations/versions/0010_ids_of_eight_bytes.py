"""Ids of eight bytes, for sessions and orders and what names them: four run out with traffic.

To change a type writes the table anew under a lock. So each id gets a wide column beside it, which
a trigger keeps, and which takes its name in the end: only that keeps all requests waiting, for some
milliseconds. Each step before is committed by itself, and all of them can be taken again; requests
go on meanwhile, those of the version before too.
"""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# In the order in which requests take them.
WIDENED = {
    "idempotency_keys": ("row_id",),
    "sessions": ("id",),
    "cart_items": ("session_id",),
    "orders": ("id", "session_id"),
    "order_lines": ("order_id",),
}
NULLABLE = {("orders", "session_id")}
SEQUENCES = {"sessions": "sessions_id_seq", "orders": "orders_id_seq"}
KEYS = {
    "sessions": "(wide_id)",
    "cart_items": "(wide_session_id, product_id)",
    "orders": "(wide_id)",
    "order_lines": "(wide_order_id, product_id) INCLUDE (quantity)",
}
INDEXES = {  # all of orders
    "ix_orders_created_at_id": "(created_at, wide_id)",
    "ix_orders_status": "(status, created_at, wide_id)",
    "ix_orders_customer": "(lower(customer_email), created_at, wide_id)",
    "ix_orders_expires_at": "(expires_at, wide_id)"
    " WHERE status = 'pending' AND expires_at IS NOT NULL",
    "ix_orders_session_id": "(wide_session_id) WHERE wide_session_id IS NOT NULL",
}
FOREIGN_KEYS = {  # of each table: its column, what that names, and what becomes of the row
    "cart_items": ("session_id", "sessions", "CASCADE"),
    "orders": ("session_id", "sessions", "SET NULL"),
    "order_lines": ("order_id", "orders", "CASCADE"),
}
BLOCKS = 50  # of a table, whose rows are filled in one transaction
PATIENCE = "100ms"
FOUR_BYTES = 2**31 - 1


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for table, columns in WIDENED.items():
            add_columns(table, columns)
        op.execute("SET lock_timeout = 0")  # what follows waits for locks that block nobody else
        fill_columns()
        drop_foreign_keys()
        make_indexes()
        op.execute("SET lock_timeout = '5s'")
        make_constraints()
        for sequence in SEQUENCES.values():
            op.execute(f"ALTER SEQUENCE {sequence} AS bigint")
        op.execute(f"ANALYZE {', '.join(WIDENED)}")
    exchange_columns()
    op.execute("ALTER SEQUENCE api_keys_id_seq AS bigint")
    op.execute("ALTER TABLE api_keys ALTER COLUMN id TYPE bigint")  # which has few rows


def add_columns(table: str, columns: tuple[str, ...]) -> None:
    """Add the wide columns, and let a trigger keep them equal to the others."""
    added = (f"ADD COLUMN IF NOT EXISTS wide_{column} bigint" for column in columns)
    op.execute(f"ALTER TABLE {table} {', '.join(added)}")
    copies = " ".join(f"NEW.wide_{column} := NEW.{column};" for column in columns)
    op.execute(
        f"CREATE OR REPLACE FUNCTION shop_widen_{table}() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN {copies} RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE OR REPLACE TRIGGER widen BEFORE INSERT OR UPDATE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION shop_widen_{table}()"
    )


def fill_columns() -> None:
    for table, columns in WIDENED.items():
        op.execute(backfill(table, columns))


def backfill(table: str, columns: tuple[str, ...]) -> str:
    """Return what fills the rows that are there, some blocks of the table at a time.

    Whoever holds a row keeps nobody waiting but for it: it is left out, and comes in a later turn.
    """
    values = ", ".join(f"wide_{column} = {column}" for column in columns)
    lacking = " OR ".join(f"wide_{one} IS DISTINCT FROM {one}" for one in columns)
    return f"""DO $$ DECLARE block bigint; BEGIN LOOP
        FOR block IN SELECT generate_series(
            0, pg_relation_size('{table}') / current_setting('block_size')::int, {BLOCKS}
        ) LOOP
            UPDATE {table} SET {values} WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM {table}
                WHERE ctid >= ('(' || block || ',0)')::tid
                    AND ctid < ('(' || block + {BLOCKS} || ',0)')::tid AND ({lacking})
                FOR NO KEY UPDATE SKIP LOCKED
            ));
            COMMIT;
        END LOOP;
        EXIT WHEN NOT EXISTS (SELECT FROM {table} WHERE {lacking});
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP; END $$"""  # noqa: S608  (all of it is written in this file)


def drop_foreign_keys() -> None:
    """Drop those that a failed run has left: they need the indexes that are made next."""
    for table, (_, other, _) in FOREIGN_KEYS.items():
        drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS wide_{foreign_key(table)}"
        op.execute(within_locks((other, table), "ACCESS EXCLUSIVE", drop))


def make_indexes() -> None:
    for table, rows in KEYS.items():
        make_index("UNIQUE INDEX", f"wide_pk_{table}", f"{table} {rows}")
    for name, rows in INDEXES.items():
        make_index("INDEX", f"wide_{name}", f"orders {rows}")


def make_index(kind: str, name: str, rows: str) -> None:
    """Make an index while the table is in use; one that a failed run has left goes first."""
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE {kind} CONCURRENTLY {name} ON {rows}")


def make_constraints() -> None:
    for table, columns in WIDENED.items():
        for column in columns:
            if (table, column) not in NULLABLE:
                refuse_null(table, f"wide_{column}")
    for table, (column, other, action) in FOREIGN_KEYS.items():
        add_foreign_key(table, column, other, action)


def refuse_null(table: str, column: str) -> None:
    """Refuse NULL without a look at the rows under a lock: a check has looked at them before."""
    name = f"ck_{table}_{column}_given"
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
    op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID")
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
    op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")
    op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def add_foreign_key(table: str, column: str, other: str, action: str) -> None:
    name = f"wide_{foreign_key(table)}"
    add = (
        f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (wide_{column}) "
        f"REFERENCES {other} (wide_id) ON DELETE {action} NOT VALID"
    )
    op.execute(within_locks((other, table), "SHARE ROW EXCLUSIVE", add))
    op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")


def foreign_key(table: str) -> str:
    return f"fk_{table}_{FOREIGN_KEYS[table][0]}"


def within_locks(tables: Iterable[str], mode: str, statement: str = "NULL") -> str:
    """Return what locks some tables, for as long as the transaction goes on, then does something.

    It gives up and begins again before it waits for a second, because then PostgreSQL looks for a
    deadlock, and may end a request.
    """
    return f"""DO $$ BEGIN
        FOR attempt IN 1..200 LOOP
            BEGIN
                SET LOCAL lock_timeout = '{PATIENCE}';
                LOCK TABLE {", ".join(tables)} IN {mode} MODE;
                {statement};
                RETURN;
            EXCEPTION WHEN lock_not_available THEN
                PERFORM pg_sleep(random() / 5);
            END;
        END LOOP;
        RAISE lock_not_available USING MESSAGE = 'the tables are in use: run the upgrade again';
    END $$"""


def exchange_columns() -> None:
    """Let the wide columns take the place of the others, all at once."""
    op.execute(within_locks([*WIDENED, "api_keys"], "ACCESS EXCLUSIVE"))
    for table in FOREIGN_KEYS:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {foreign_key(table)}")
    for table, columns in WIDENED.items():
        exchange(table, columns)
    for name in INDEXES:
        op.execute(f"ALTER INDEX wide_{name} RENAME TO {name}")


def exchange(table: str, columns: tuple[str, ...]) -> None:
    op.execute(f"DROP FUNCTION shop_widen_{table}() CASCADE")  # and with it its trigger
    if sequence := SEQUENCES.get(table):
        op.execute(f"ALTER SEQUENCE {sequence} OWNED BY {table}.wide_id")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN wide_id SET DEFAULT nextval('{sequence}')")
    for column in columns:
        op.drop_column(table, column)  # and with it its indexes
        op.execute(f"ALTER TABLE {table} RENAME COLUMN wide_{column} TO {column}")
    if table in KEYS:
        key = f"pk_{table}"
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {key} PRIMARY KEY USING INDEX wide_{key}")
    if table in FOREIGN_KEYS:
        name = foreign_key(table)
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT wide_{name} TO {name}")


def downgrade() -> None:
    op.execute(within_locks([*WIDENED, "api_keys"], "ACCESS EXCLUSIVE"))
    stop_at_wide_ids()
    for table, columns in WIDENED.items():
        changes = (f"ALTER COLUMN {column} TYPE integer" for column in columns)
        op.execute(f"ALTER TABLE {table} {', '.join(changes)}")
    op.execute("ALTER TABLE api_keys ALTER COLUMN id TYPE integer")
    for sequence in (*SEQUENCES.values(), "api_keys_id_seq"):
        op.execute(f"ALTER SEQUENCE {sequence} AS integer")


def stop_at_wide_ids() -> None:
    """Raise CommandError with what four bytes cannot hold."""
    ids = [
        f"SELECT '{table}.{column}' AS place, max({column}) AS most FROM {table}"  # noqa: S608
        for table, columns in WIDENED.items()
        for column in columns
    ]
    ids += [f"SELECT '{one}', last_value FROM {one}" for one in SEQUENCES.values()]  # noqa: S608
    look = f"""DO $$ DECLARE found text; BEGIN
        SELECT string_agg(place || ' (' || most || ')', ', ' ORDER BY place) INTO found
        FROM ({" UNION ALL ".join(ids)}) AS ids WHERE most > {FOUR_BYTES};
        IF found IS NOT NULL THEN
            RAISE EXCEPTION USING MESSAGE = 'Ids that four bytes cannot hold: ' || found;
        END IF;
    END $$"""  # noqa: S608  (all of it is written in this file)
    try:
        op.execute(look)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != "P0001":  # raise_exception
            raise
        raise CommandError(error.orig.diag.message_primary) from None
