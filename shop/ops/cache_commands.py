"""`flask cache`: look at the cache, clear it, fill it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from flask.cli import AppGroup
from sqlalchemy import func, select

from shop.cache.outbox_watcher import FRESHNESS_SECONDS
from shop.categories import service as categories
from shop.categories.models import Category
from shop.cli import LateChoice, call_redis, needs_database, needs_redis, scan
from shop.config import CATEGORIES_PAGE_SIZE, PRODUCTS_PAGE_SIZE
from shop.console import service
from shop.extensions import cache as memo
from shop.extensions import db
from shop.limits import records
from shop.pages import has_more
from shop.products import service as products
from shop.products.models import Product
from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar
    from sqlalchemy.orm import InstrumentedAttribute

    from shop.cache import Memoized, MemoizedMany

cache = AppGroup("cache", help="Look at the cache, clear it, fill it.")

BATCH = 500  # keys


def _entries(function: Memoized) -> list[bytes]:
    """Scan Redis for the keys of a function's entries, valid or not. Not for requests."""
    others = (function.generation_key, function.missing_key, function.admission_key)
    return [key for key in scan(function.pattern) if key.decode("utf-8", "replace") not in others]


@cache.command()
@needs_database
def stats() -> None:
    """Show the number of entries, the hit rate, and Redis' own counts."""
    info = call_redis(lambda client: client.info())
    rows = {one.pattern: f"{len(_entries(one))} entries" for one in memo.memoized}
    rows |= {
        "hit rate of the service": _service_rate(),
        "names in the outbox": f"{len(memo.outbox)}",
        "hit rate of Redis": _hit_rate(info["keyspace_hits"], info["keyspace_misses"]),
        "evicted keys": info["evicted_keys"],
        "expired keys": info["expired_keys"],
        "memory": f"{info['used_memory_human']} of {info['maxmemory_human']}",
        "clients": info["connected_clients"],
    }
    for name, value in rows.items():
        click.echo(f"{name:<40} {value}")


def _hit_rate(hits: float, misses: float) -> str:
    if not hits + misses:
        return "no reads yet"
    return f"{hits / (hits + misses):.1%} ({hits:.0f} hits, {misses:.0f} misses)"


def _service_rate() -> str:
    """Return the hit rate of all hosts in the last hour."""
    families = service.status()["cache"]["families"]
    hits, reads = (sum(one[name] for one in families) for name in ("hits", "reads"))
    return _hit_rate(hits, reads - hits)


@cache.command()
@needs_database
def replay() -> None:
    """Forget in Redis the names in the outbox. The service does this by itself."""
    call_redis(lambda client: client.ping())
    try:
        click.echo(f"forgot {memo.replay()} names")
    except RedisUnavailable as error:
        reason = error.__cause__ or "see the log"
        raise click.ClickException(f"Redis cannot forget: {reason}") from None


@cache.command()
@click.argument("key")
def show(key: str) -> None:
    """Show the entry KEY, such as products:id:123, and the seconds it has left."""
    [name] = redis_connection().prefixed([key])
    value, seconds = call_redis(lambda client: (client.get(name), client.ttl(name)))
    if value is None:
        raise click.ClickException(f"no entry {key}")
    click.echo(value.decode("utf-8", "replace"))
    click.echo(f"expires in {seconds} s" if seconds >= 0 else "does not expire", err=True)


@cache.command()
@click.argument("what", type=LateChoice(lambda: [*memo.family_roots, "all"]))
@needs_database
def clear(what: str) -> None:
    """Forget all entries of WHAT, at once, then free their memory."""
    call_redis(lambda client: client.ping())
    removed = 0
    for function in memo.memoized:
        if what in ("all", function.family_root):
            memo.delete_memoized(function)
            removed += _empty_entries(_entries(function))
    if what == "all":
        memo.clear()  # also values that callers have stored
    click.echo(f"cleared {what}: {removed} entries")


def _empty_entries(keys: list[bytes]) -> int:
    """Empty entries, and keep the notes of writers, which may be about to commit."""
    for start in range(0, len(keys), BATCH):
        with needs_redis():
            memo.backend.protocol.release(keys[start : start + BATCH])
    return len(keys)


@cache.command()
@needs_database
def claim() -> None:
    """Make this installation the owner of Redis, whoever owns it now.

    Entries of the other installation expire. What clients have used of their quotas is deleted.
    """
    with needs_redis() as connection:
        connection.claim(memo.installation.identity(), by_force=True)
        time.sleep(FRESHNESS_SECONDS)  # until the processes of the former owner notice
        clients = connection.prefixed(scan(f"{records.PREFIX}*"))
        for client in clients:
            connection.call(lambda redis: redis.unlink(client))  # noqa: B023  (called now)
    click.echo(f"claimed; {len(clients)} clients have their whole quota again")


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
    for read_ids, (limit, _) in (
        (categories.page_ids, CATEGORIES_PAGE_SIZE),
        (products.page_ids, PRODUCTS_PAGE_SIZE),
        (products.all_page_ids, PRODUCTS_PAGE_SIZE),
    ):
        for number in range(pages):
            if not has_more(read_ids(number * limit, limit)):
                break


def _warm_rows(label: str, column: InstrumentedAttribute[int], read: MemoizedMany[int]) -> None:
    total = db.session.scalar(select(func.count(column))) or 0
    ids = db.session.scalars(select(column).order_by(column)).yield_per(BATCH)
    bar: ProgressBar[int]
    with click.progressbar(length=total, label=label) as bar:
        for some in ids.partitions():
            read(some)
            bar.update(len(some))
