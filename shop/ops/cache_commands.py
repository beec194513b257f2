"""`flask cache`: look at the cache, clear it, fill it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from flask.cli import AppGroup
from sqlalchemy import func, select

from shop.categories import service as categories
from shop.categories.models import Category
from shop.config import CATEGORIES_LIMIT, PRODUCTS_LIMIT
from shop.extensions import cache as memo
from shop.extensions import db
from shop.products import service as products
from shop.products.models import Product
from shop.terminal import call_redis, needs_database

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar
    from sqlalchemy.orm import InstrumentedAttribute

    from shop.cache import Memoized, MemoizedMany

cache = AppGroup("cache", help="Look at the cache, clear it, fill it.")

BATCH = 500  # keys
FEATURES = dict.fromkeys(function.family.partition(":")[0] for function in memo.memoized)


def _entries(function: Memoized) -> list[bytes]:
    """Return the keys of a function's entries, current or not. Scans; not for requests."""
    keys: list[bytes] = call_redis(
        lambda client: list(client.scan_iter(match=function.pattern, count=BATCH))
    )
    return [key for key in keys if key != function.generation_key.encode()]


@cache.command()
def stats() -> None:
    """Show what the cache holds, and Redis' hits, misses, memory and evictions."""
    info = call_redis(lambda client: client.info())
    hits, misses = info["keyspace_hits"], info["keyspace_misses"]
    rows = {one.pattern: f"{len(_entries(one))} entries" for one in memo.memoized}
    rows |= {
        "hits": hits,
        "misses": misses,
        "hit rate": f"{hits / (hits + misses):.1%}" if hits + misses else "no reads yet",
        "evicted keys": info["evicted_keys"],
        "expired keys": info["expired_keys"],
        "memory": f"{info['used_memory_human']} of {info['maxmemory_human']}",
        "clients": info["connected_clients"],
    }
    for name, value in rows.items():
        click.echo(f"{name:<32} {value}")


@cache.command()
@click.argument("key")
def show(key: str) -> None:
    """Show the entry KEY, such as products:id:123, and the seconds it has left."""
    value, seconds = call_redis(lambda client: (client.get(key), client.ttl(key)))
    if value is None:
        raise click.ClickException(f"no entry {key}")
    click.echo(value.decode("utf-8", "replace"))
    click.echo(f"expires in {seconds} s" if seconds >= 0 else "does not expire", err=True)


@cache.command()
@click.argument("what", type=click.Choice([*FEATURES, "all"]))
def clear(what: str) -> None:
    """Forget all entries of WHAT, at once, then free their memory."""
    removed = 0
    for function in memo.memoized:
        if what in ("all", function.family.partition(":")[0]):
            memo.delete_memoized(function)
            removed += _unlink(_entries(function))
    click.echo(f"cleared {what}: {removed} entries")


def _unlink(keys: list[bytes]) -> int:
    removed = 0
    for start in range(0, len(keys), BATCH):
        some = keys[start : start + BATCH]
        removed += call_redis(lambda client: client.unlink(*some))  # noqa: B023  (called now)
    return removed


@cache.command()
@click.option(
    "--pages",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="How many pages of each list, of the default size.",
)
@needs_database
def warm(pages: int) -> None:
    """Read everything once: all rows, and the first pages of each list."""
    call_redis(lambda client: client.ping())
    _warm_rows("categories", Category.id, categories.category_documents)
    _warm_rows("products", Product.id, products.product_documents)
    for page, (limit, _) in (
        (categories.page, CATEGORIES_LIMIT),
        (products.page, PRODUCTS_LIMIT),
    ):
        for number in range(pages):
            if not page(number * limit, limit).more:
                break


def _warm_rows(label: str, column: InstrumentedAttribute[int], read: MemoizedMany) -> None:
    total = db.session.scalar(select(func.count(column))) or 0
    ids = db.session.scalars(select(column).order_by(column)).yield_per(BATCH)
    bar: ProgressBar[int]
    with click.progressbar(length=total, label=label) as bar:
        for some in ids.partitions():
            read(some)
            bar.update(len(some))
