"""What products are found and sorted by: their words, the key of their name, whether in stock.

Triggers keep the columns, because a generated column writes the table anew under a lock. Rows that
are there get theirs in batches. Each step is committed by itself, and all of them can be taken
again; requests go on meanwhile, those of the version before too.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A role that owns the database may create these, because they are trusted.
STOP = """DO $$ DECLARE missing text; BEGIN
    IF getdatabaseencoding() <> 'UTF8' THEN RAISE EXCEPTION USING MESSAGE =
        'Finding products needs a database with the encoding UTF8, and this one has '
        || getdatabaseencoding();
    END IF;
    SELECT string_agg('CREATE EXTENSION ' || name || ';', ' ' ORDER BY name) INTO missing
    FROM unnest(ARRAY['pg_trgm', 'unaccent']) AS needed (name)
    WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = name)
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        AND NOT (
            has_database_privilege(current_database(), 'CREATE')
            AND EXISTS (
                SELECT FROM pg_available_extension_versions AS version
                WHERE version.name = needed.name AND trusted
            )
        );
    IF missing IS NOT NULL THEN RAISE EXCEPTION USING MESSAGE =
        'The role ' || current_user || ' may not create extensions (docs/operations.md, Upgrade): '
        || 'in the database ' || current_database() || ', as a superuser, run: ' || missing;
    END IF;
END $$"""
PREPARATION = (
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE EXTENSION IF NOT EXISTS unaccent",
    # They may be in a schema of their own. This counts until the connection ends.
    """DO $$ BEGIN
    PERFORM set_config(
        'search_path', current_setting('search_path') || ', ' || quote_ident(nspname), false
    )
    FROM (
        SELECT DISTINCT nspname
        FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
        WHERE extname IN ('pg_trgm', 'unaccent') AND nspname <> ALL (current_schemas(true))
    ) AS elsewhere;
END $$""",
    # In the locale C, lower() changes ASCII alone.
    """DO $$ DECLARE known name[] := ARRAY['und-x-icu', 'pg_c_utf8', 'C.utf8', 'C']; BEGIN
    EXECUTE 'CREATE COLLATION IF NOT EXISTS shop_case FROM pg_catalog.' || (
        SELECT quote_ident(collname) FROM pg_collation
        WHERE collname = ANY (known) AND collnamespace = 'pg_catalog'::regnamespace
        ORDER BY array_position(known, collname) LIMIT 1
    );
END $$""",
)
SCRIPT = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
# In an order in which they can be dropped.
FUNCTIONS = (
    "shop_search_configuration()",
    "shop_product_words(text, text, text, regconfig)",
    "shop_lexemes(text, text, integer, regconfig)",
    "shop_stems(text, regconfig)",
    "shop_name_key(text)",
    "shop_fold(text)",
    "shop_words(text)",
    "shop_plain(text)",
    "shop_near(text)",
    "shop_deletions(text)",
    "shop_query(text[], text)",
)
TRIGGER_FUNCTIONS = (
    *("shop_index_product", "shop_index_category", "shop_mark_stock"),
    *("shop_learn_new", "shop_learn_changed"),
)
# Any of its columns may be missing where a run was stopped, and rows were written after it.
LACKING = "(words IS NULL OR name_key IS NULL OR in_stock IS NULL)"
# Whoever holds a row keeps nobody waiting but for it: the batch leaves it out, and comes back.
BACKFILL = f"""DO $$ DECLARE
    batch integer[];
    last integer := 0;
BEGIN LOOP
    batch := ARRAY(
        SELECT id FROM products WHERE id > last AND {LACKING}
        ORDER BY id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
    );
    UPDATE products SET words = NULL, in_stock = NULL WHERE id = ANY (batch);
    COMMIT;
    last := batch[cardinality(batch)];
    IF last IS NULL THEN
        EXIT WHEN NOT EXISTS (SELECT FROM products WHERE {LACKING});
        last := 0;
        PERFORM pg_sleep(0.1);
        COMMIT;
    END IF;
END LOOP; END $$"""  # noqa: S608  (all of it is written in this file)
NEVER_NULL = {"categories": ("words",), "products": ("words", "name_key", "in_stock")}
INDEXES = {
    "ix_categories_words": "categories USING gin (words)",
    # Each search reads what is not merged yet: so that is kept short.
    "ix_products_words": "products USING gin (words) WITH (gin_pending_list_limit = 128)",
    "ix_products_price": "products (currency, price, id) INCLUDE (active, in_stock, category_id)",
    "ix_products_name_key": "products (name_key, id) "
    "INCLUDE (active, in_stock, category_id, currency, price)",
    "ix_products_created_at": "products (created_at, id) "
    "INCLUDE (active, in_stock, category_id, currency, price)",
    "ix_products_category_price": "products (category_id, currency, price, id) "
    "INCLUDE (active, in_stock)",
    "ix_products_category_name_key": "products (category_id, name_key, id) "
    "INCLUDE (active, in_stock, currency, price)",
    "ix_products_category_created_at": "products (category_id, created_at, id) "
    "INCLUDE (active, in_stock, currency, price)",
    "ix_products_category": "products (category_id, id) "
    "INCLUDE (active, in_stock, currency, price)",
    "ix_products_out_of_stock": "products (category_id, id) WHERE NOT in_stock",
    "ix_products_inactive": "products (id) WHERE NOT active",
    "ix_search_words_word": "search_words (word)",
    "ix_search_words_trigrams": "search_words USING gin (word gin_trgm_ops)",
    "ix_search_words_deletions": "search_words USING gin (shop_deletions(word))",
}


def upgrade() -> None:
    stop_without_extensions()
    with op.get_context().autocommit_block():
        for statement in (*PREPARATION, *statements(SCRIPT)):
            op.execute(statement)
        op.execute("SET lock_timeout = 0")  # what follows waits for locks that block nobody else
        op.execute("UPDATE categories SET words = NULL WHERE words IS NULL")
        op.execute(BACKFILL)
        op.execute("SET lock_timeout = '5s'")
        for table, columns in NEVER_NULL.items():
            refuse_null(table, columns)
        op.execute("SET lock_timeout = 0")
        for name, rows in INDEXES.items():
            make_index(name, rows)
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_products_category_id")
        op.execute("SET lock_timeout = '5s'")
        op.execute("ANALYZE products, categories, search_words")


def stop_without_extensions() -> None:
    """Raise CommandError with what a superuser has to run, before anything is changed."""
    try:
        op.execute(STOP)
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != "P0001":  # raise_exception
            raise
        raise CommandError(error.orig.diag.message_primary) from None


def statements(script: str) -> list[str]:
    """Return the statements of a script; a line that ends with `;` ends one outside of a body."""
    found, lines, in_body = [], [], False
    for line in script.splitlines():
        lines.append(line)
        in_body ^= line.count("$$") % 2 == 1
        if line.endswith(";") and not in_body:
            found.append("\n".join(lines))
            lines = []
    return found


def refuse_null(table: str, columns: tuple[str, ...]) -> None:
    """Refuse NULL without a look at the rows under a lock: a check has looked at them before."""
    for column in columns:
        name = f"ck_{table}_{column}_given"
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID"
        )
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL")
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


def make_index(name: str, rows: str) -> None:
    """Make an index while the table is in use; one that a failed run has left goes first."""
    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {rows}")


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        make_index("ix_products_category_id", "products (category_id)")
        op.execute("SET lock_timeout = '5s'")
    for function in TRIGGER_FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}() CASCADE")  # and with it its triggers
    op.drop_index("ix_search_words_deletions", table_name="search_words")
    for table, columns in NEVER_NULL.items():
        for column in columns:
            op.drop_column(table, column)  # and with it its indexes
    for function in FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}")
    op.drop_table("search_configuration")
    op.drop_table("search_words")
    op.execute("DROP COLLATION shop_case")
