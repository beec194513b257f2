"""Index the words of products and categories anew, and update the vocabulary.

Each step is a transaction of its own, outside of the session: PostgreSQL would end a transaction
that is idle during the other steps, and the session must be usable to forget cached searches. The
documents of products do not change, so only searches are forgotten, after the last step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, text

from shop.categories.service import search_texts
from shop.extensions import cache, db
from shop.products.models import Product

from .models import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterator

SIMPLE = "simple"
BATCH_SIZE = 200  # products that are locked at once: an order of one waits for the whole batch
POLL_SECONDS = 0.1  # between two queries for transactions that still write
LOCK_TIMEOUT_SECONDS = 2  # to wait for writers; new writers wait behind this lock

SELECT_BATCH = text(
    "SELECT id FROM products WHERE id > :last_id ORDER BY id LIMIT :batch_size FOR NO KEY UPDATE"
)
# A trigger computes the words of a row whose words are set to NULL.
INDEX_PRODUCTS = text("""
    UPDATE products SET words = NULL WHERE id = ANY (:ids) AND (
        words <> shop_product_words(name, sku, description, shop_search_configuration())
        OR name_key <> shop_name_key(name)
    )
""")
# A writer locks the table before its trigger reads the configuration.
WRITING_TRANSACTIONS = text("""
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation IN ('products'::regclass, 'categories'::regclass)
""")
INDEX_CATEGORIES = text("UPDATE categories SET words = NULL")
USED_WORDS = """
    SELECT word FROM ts_stat(
        'SELECT ts_filter(words, ''{a,d}'') FROM products UNION ALL SELECT words FROM categories'
    ) WHERE left(word, 1) <> '='
"""
ADD_NEW_WORDS = text(f"""
    INSERT INTO search_words (word)
    SELECT word FROM ({USED_WORDS}) AS used
    WHERE NOT EXISTS (SELECT FROM search_words AS vocabulary WHERE vocabulary.word = used.word)
""")  # noqa: S608  (all of it is written in this file)
UNUSED_WORDS = text(f"SELECT word FROM search_words EXCEPT {USED_WORDS}")  # noqa: S608  (the same)
LOCK_VOCABULARY = text("LOCK TABLE search_words IN SHARE ROW EXCLUSIVE MODE")
# A product may have got an unused word meanwhile, so this asks again, under the lock.
DELETE_UNUSED_WORDS = text("""
    DELETE FROM search_words
    WHERE word = ANY (:unused)
        AND NOT EXISTS (SELECT FROM products WHERE words @@ shop_query(ARRAY[word], 'AD'))
        AND NOT EXISTS (SELECT FROM categories WHERE words @@ shop_query(ARRAY[word], ''))
""")
DELETE_DUPLICATE_WORDS = text("""
    DELETE FROM search_words AS one USING search_words AS other
    WHERE one.word = other.word AND one.ctid > other.ctid
""")


def list_configurations() -> list[str]:
    """Return the text-search configurations that this PostgreSQL has."""
    found = text("SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY 1")
    with db.engine.connect() as connection:
        return list(connection.scalars(found))


def set_configuration(name: str) -> None:
    """Set the text-search configuration of searches, and of rows that are written from now on.

    Searches find older rows by their plain words, and by their stems once they are indexed anew.
    """
    with db.engine.begin() as connection:
        connection.execute(delete(CONFIGURATION))
        if name != SIMPLE:
            connection.execute(insert(CONFIGURATION).values(name=name))


def await_writers() -> None:
    """Wait until every transaction has ended that may have read the old configuration.

    The rows of such a transaction are invisible until then, and would keep the old stems.
    """
    transactions = _writing_transactions()
    while transactions:
        time.sleep(POLL_SECONDS)
        transactions &= _writing_transactions()


def _writing_transactions() -> set[str]:
    with db.engine.connect() as connection:
        return set(connection.scalars(WRITING_TRANSACTIONS))


def index_categories() -> None:
    with db.engine.begin() as connection:
        connection.execute(INDEX_CATEGORIES)


def count_products() -> int:
    with db.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Product)) or 0


def index_products() -> Iterator[int]:
    """Index all products anew, and yield the size of each batch."""
    last_id = 0
    while True:
        with db.engine.begin() as connection:
            ids = list(
                connection.scalars(SELECT_BATCH, {"last_id": last_id, "batch_size": BATCH_SIZE})
            )
            connection.execute(INDEX_PRODUCTS, {"ids": ids})
        if not ids:
            return
        last_id = ids[-1]
        yield len(ids)


def update_vocabulary() -> tuple[int, int]:
    """Add new words to the vocabulary, delete unused ones, and return the numbers of both.

    Raises OperationalError if writers hold the vocabulary for LOCK_TIMEOUT_SECONDS.
    """
    with db.engine.begin() as connection:
        added = connection.execute(ADD_NEW_WORDS).rowcount
    with db.engine.begin() as connection:
        unused = list(connection.scalars(UNUSED_WORDS))
    with db.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'"))
        connection.execute(LOCK_VOCABULARY)
        deleted = connection.execute(DELETE_UNUSED_WORDS, {"unused": unused}).rowcount
        connection.execute(DELETE_DUPLICATE_WORDS)
    return added, deleted


def forget_searches() -> None:
    """Forget all cached searches."""
    cache.delete_tagged(search_texts)
