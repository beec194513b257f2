"""`flask cache`: look at the cache, clear it, fill it."""

from __future__ import annotations

from typing import Any

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

from .terminal import call_redis

cache = AppGroup("cache", help="Look at the cache, clear it, fill it.")

BATCH = 500  # keys


def _keys(client: Any, family: str) -> list[bytes]:
    return list(client.scan_iter(match=f"{family}:*", count=BATCH))


@cache.command()
def stats() -> None:
    """Show what the cache holds, and Redis' hits, misses, memory and evictions."""
    info = call_redis(lambda client: client.info())
    hits, misses = info["keyspace_hits"], info["keyspace_misses"]
    rate = f"{hits / (hits + misses):.1%}" if hits + misses else "no reads yet"
    rows = [
        (
            f"{function.family}:*",
            f"{len(call_redis(lambda c, f=function: _keys(c, f.family)))} keys",
        )
        for function in memo.memoized
    ]
    rows += [
        ("hits", hits),
        ("misses", misses),
        ("hit rate", rate),
        ("evicted keys", info["evicted_keys"]),
        ("expired keys", info["expired_keys"]),
        ("memory", f"{info['used_memory_human']} of {info['maxmemory_human']}"),
        ("clients", info["connected_clients"]),
    ]
    for name, value in rows:
        click.echo(f"{name:<22} {value}")


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
@click.argument("what", type=click.Choice(["products", "categories", "all"]))
def clear(what: str) -> None:
    """Forget all entries of WHAT, at once, then free their memory."""
    removed = 0
    for function in memo.memoized:
        if what in ("all", function.family.partition(":")[0]):
            keys = call_redis(lambda client, f=function: _keys(client, f.family))
            memo.delete_memoized(function)
            own = function.generation_key.encode()
            for start in range(0, len(keys), BATCH):
                some = [key for key in keys[start : start + BATCH] if key != own]
                removed += call_redis(lambda client, some=some: client.unlink(*some)) if some else 0
    click.echo(f"cleared {what}: {removed} entries")


@cache.command()
@click.option("--pages", default=10, show_default=True, type=click.IntRange(0), help="Pages too.")
def warm(pages: int) -> None:
    """Read everything once: all rows, and the first pages of each list."""
    call_redis(lambda client: client.ping())
    for name, model, rows, page, (default, _) in (
        ("categories", Category, categories.category_documents, categories.page, CATEGORIES_LIMIT),
        ("products", Product, products.product_documents, products.page, PRODUCTS_LIMIT),
    ):
        total = db.session.scalar(select(func.count()).select_from(model))
        ids = db.session.scalars(select(model.id).order_by(model.id)).yield_per(BATCH)
        with click.progressbar(length=total, label=name) as bar:
            for some in ids.partitions():
                rows(list(some))
                bar.update(len(some))
        for number in range(pages):
            if not page(number * default, default).more:
                break
