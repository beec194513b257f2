"""Make anew what products are found by: their words, and the vocabulary of all of them.

Each step is a transaction of its own beside those of requests: PostgreSQL ends one that is idle
while others go on, and the session has to be usable when searches are forgotten. The documents of
products stay as they are, so that nothing of them is forgotten; searches are, when all is done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, text

from shop.categories.service import texts
from shop.extensions import cache, db
from shop.products.models import Product

from .models import CONFIGURATION

if TYPE_CHECKING:
    from collections.abc import Iterator

SIMPLE = "simple"
BATCH = 200  # products: who sells one waits for so many at most
LOOK_SECONDS = 0.1  # between two looks at those who write
LOCK_SECONDS = 2  # to wait for writers, whom others would wait behind

BATCH_IDS = text(
    "SELECT id FROM products WHERE id > :last ORDER BY id LIMIT :batch FOR NO KEY UPDATE"
)
# A trigger computes the words of what is set to NULL.
INDEX_PRODUCTS = text("""
    UPDATE products SET words = NULL WHERE id = ANY (:ids) AND (
        words <> shop_product_words(name, sku, description, shop_search_configuration())
        OR name_key <> shop_name_key(name)
    )
""")
# A writer locks the table before a trigger asks for the configuration.
WRITERS = text("""
    SELECT DISTINCT virtualtransaction FROM pg_locks
    WHERE mode = 'RowExclusiveLock' AND pid <> pg_backend_pid()
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relation IN ('products'::regclass, 'categories'::regclass)
""")
INDEX_CATEGORIES = text("UPDATE categories SET words = NULL")
USED = """
    SELECT word FROM ts_stat(
        'SELECT ts_filter(words, ''{a,d}'') FROM products UNION ALL SELECT words FROM categories'
    ) WHERE left(word, 1) <> '='
"""
LEARN = text(f"""
    INSERT INTO search_words (word)
    SELECT word FROM ({USED}) AS used
    WHERE NOT EXISTS (SELECT FROM search_words AS known WHERE known.word = used.word)
""")  # noqa: S608  (all of it is written in this file)
UNUSED = text(f"SELECT word FROM search_words EXCEPT {USED}")  # noqa: S608  (the same)
LOCK = text("LOCK TABLE search_words IN SHARE ROW EXCLUSIVE MODE")
# A word may have come back since it was looked for; the lock keeps it from doing so now.
FORGET_UNUSED = text("""
    DELETE FROM search_words
    WHERE word = ANY (:unused)
        AND NOT EXISTS (SELECT FROM products WHERE words @@ shop_query(ARRAY[word], 'AD'))
        AND NOT EXISTS (SELECT FROM categories WHERE words @@ shop_query(ARRAY[word], ''))
""")
FORGET_REPEATED = text("""
    DELETE FROM search_words AS one USING search_words AS other
    WHERE one.word = other.word AND one.ctid > other.ctid
""")


def configurations() -> list[str]:
    """Return the text-search configurations that this PostgreSQL has."""
    found = text("SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY 1")
    with db.engine.connect() as connection:
        return list(connection.scalars(found))


def choose(name: str) -> None:
    """Let rows that are written from now on have the stems of a configuration, and searches use it.

    Rows that are there are found by their words as they are, and by their stems once they are
    indexed anew.
    """
    with db.engine.begin() as connection:
        connection.execute(delete(CONFIGURATION))
        if name != SIMPLE:
            connection.execute(insert(CONFIGURATION).values(name=name))


def await_writers() -> None:
    """Return when all have ended that may have asked for the configuration of before.

    Their rows are seen by nobody until then, and would keep the stems of before.
    """
    waited_for = _writers()
    while waited_for:
        time.sleep(LOOK_SECONDS)
        waited_for &= _writers()


def _writers() -> set[str]:
    with db.engine.connect() as connection:
        return set(connection.scalars(WRITERS))


def index_categories() -> None:
    with db.engine.begin() as connection:
        connection.execute(INDEX_CATEGORIES)


def count_products() -> int:
    with db.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(Product)) or 0


def index_products() -> Iterator[int]:
    """Index all products anew, in batches, and yield how many each has."""
    last = 0
    while True:
        with db.engine.begin() as connection:
            ids = list(connection.scalars(BATCH_IDS, {"last": last, "batch": BATCH}))
            connection.execute(INDEX_PRODUCTS, {"ids": ids})
        if not ids:
            return
        last = ids[-1]
        yield len(ids)


def learn_words() -> tuple[int, int]:
    """Bring the vocabulary to what there is, and return how many words came and went.

    Raises OperationalError where a writer does not let it be for LOCK_SECONDS.
    """
    with db.engine.begin() as connection:
        came = connection.execute(LEARN).rowcount
    with db.engine.begin() as connection:
        unused = list(connection.scalars(UNUSED))
    with db.engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(LOCK)
        went = connection.execute(FORGET_UNUSED, {"unused": unused}).rowcount
        connection.execute(FORGET_REPEATED)
    return came, went


def forget_searches() -> None:
    cache.delete_tagged(texts)
