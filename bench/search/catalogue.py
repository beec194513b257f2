"""A catalogue as large shops have it: frequent words and rare ones, a few large categories."""

from __future__ import annotations

import hashlib
import io
import random
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from bench.contenders import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.stage import Stage

CATEGORIES = 100
NAME_WORDS = 5
VOCABULARY = 8_000
SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "ur")]
# Of n things the first is drawn with the chance n ** (-1 / skew): one word is in 23 % of all names,
# and one category has 12 % of all products.
WORD_SKEW, CATEGORY_SKEW, SALES_SKEW = 3, 2.2, 3
PRICE, PRICE_SPREAD = 3.6, 0.9  # of a log-normal; half of all prices are below 37
PRICE_MAX = 50_000
CENTS = ("99", "99", "95", "90", "00", "49")
OUT_OF_STOCK, INACTIVE = 0.05, 0.01
DAYS = 730
ORDERS = 20_000
BATCH = 20_000  # rows of one COPY
COLUMNS = "id, name, description, sku, price, stock, category_id, active, created_at, updated_at"
# They are made of all rows at once, in a fraction of the time that they take row by row.
INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
      FROM pg_index WHERE indrelid = 'products'::regclass AND NOT indisunique
"""
SALES = """
    INSERT INTO orders (status, customer_name, customer_email, customer_address, currency, total,
                        created_at, updated_at, paid_at)
    SELECT 'paid', 'Bench', 'bench@example.com', '', 'EUR', 1, paid, paid, paid
      FROM (SELECT now() - random() * interval '60 days' AS paid
              FROM generate_series(1, %(orders)s)) AS sales;
    INSERT INTO order_lines (order_id, product_id, position, name, price, quantity)
    SELECT sold.id, products.id, 0, products.name, products.price, 1 + sold.id %% 3
      FROM (SELECT id, 1 + floor(%(products)s * power(random(), %(skew)s))::int AS product
              FROM orders) AS sold
      JOIN products ON products.id = sold.product
"""


def vocabulary() -> list[str]:
    """Return words that can be spoken, the most frequent first; the same each time."""
    chance = random.Random(1)  # noqa: S311  (to be repeated)
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        words["".join(chance.choices(SYLLABLES, k=chance.choice((2, 3, 3, 4))))] = None
    return list(words)


def is_kept(url: str, products: int) -> bool:
    """Tell whether the database has this catalogue, from a run before."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') = %s FROM pg_database "
            "WHERE datname = current_database()",
            [_origin(products)],
        )
        row = cursor.fetchone()
    return bool(row and row[0])


def _origin(products: int) -> str:
    """Return what a catalogue is made by: its size, this file, and the migrations."""
    made_by = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((ROOT / "migrations" / "versions").glob("0*")):
        made_by.update(path.read_bytes())
    return f"{products} {made_by.hexdigest()[:16]}"


def make(stage: Stage, products: int) -> None:
    """Make the tables and the catalogue in place of what is there, and tell of the progress."""
    with closing(psycopg2.connect(stage.database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE")
            cursor.execute("CREATE SCHEMA public")
            cursor.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
            cursor.execute("SELECT pg_reload_conf()")
            stage.flask("db", "upgrade")
            cursor.execute("SET maintenance_work_mem = '1GB'")
            _fill(cursor, products)
            cursor.execute("COMMENT ON DATABASE shop IS %s", [_origin(products)])


def _fill(cursor: Any, products: int) -> None:
    names = [f"Category {number}" for number in range(1, CATEGORIES + 1)]
    cursor.execute("INSERT INTO categories (name) SELECT unnest(%s::text[])", [names])
    cursor.execute(INDEXES)
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f"DROP INDEX {name}")
    _copy(cursor, products)
    for name, definition in indexes:
        _tell(f"making the index {name} ...")
        cursor.execute(definition)
    _tell("adding what was sold, and statistics ...")
    cursor.execute("SELECT setseed(0.5)")
    cursor.execute(SALES, {"orders": ORDERS, "products": products, "skew": SALES_SKEW})
    for table in ("products", "categories", "search_words", "orders", "order_lines"):
        cursor.execute(f"VACUUM ANALYZE {table}")


def _copy(cursor: Any, products: int) -> None:
    """Insert the products; their ids go on from 1, and so does what draws new ones."""
    rows, began = lines(products), time.monotonic()
    for first in range(0, products, BATCH):
        text = "".join(islice(rows, BATCH))
        cursor.copy_expert(f"COPY products ({COLUMNS}) FROM STDIN", io.StringIO(text))
        seconds = time.monotonic() - began
        _tell(f"{min(first + BATCH, products):,} of {products:,} products, {seconds:.0f} s")
    cursor.execute("SELECT setval(pg_get_serial_sequence('products', 'id'), %s)", [products])


def _tell(progress: str) -> None:
    print(progress, flush=True)


def lines(products: int) -> Iterator[str]:
    """Yield the lines of a COPY, the same each time but for the day."""
    chance = random.Random(2)  # noqa: S311  (to be repeated)
    words, now = vocabulary(), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(1, products + 1):
        name = [words[drawn(chance, VOCABULARY, WORD_SKEW)] for _ in range(NAME_WORDS)]
        price = min(PRICE_MAX, int(chance.lognormvariate(PRICE, PRICE_SPREAD)) + 1)
        stock = 0 if chance.random() < OUT_OF_STOCK else int(chance.expovariate(1 / 40)) + 1
        made = now - timedelta(days=DAYS * chance.random())
        values = (
            number,
            " ".join(name).capitalize(),
            f"{' '.join(reversed(name))}.",  # no word more: the name decides how many rows have it
            f"SKU-{number:07d}",
            f"{price}.{chance.choice(CENTS)}",
            stock,
            1 + drawn(chance, CATEGORIES, CATEGORY_SKEW),
            chance.random() >= INACTIVE,
            *(made.isoformat(), made.isoformat()),
        )
        yield "\t".join(map(str, values)) + "\n"


def drawn(chance: random.Random, count: int, skew: float) -> int:
    """Return one of so many, counted from 0: the first are drawn most often."""
    return int(count * chance.random() ** skew)
