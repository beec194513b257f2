"""Lists of products: what they depend on, and what a write of a product forgets of them.

A list depends on tags. Each is of a scope: of all products, or of the categories that share one of
64 buckets, so that it does not matter how many categories are asked for.

Most changes of a price leave it in its step of the ladder (`shop.money`). They change neither how
many products each step has, nor a page in the order of prices whose rows are in other steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shop.categories.service import texts
from shop.extensions import cache
from shop.money import CENT, step

from .models import Product

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from decimal import Decimal

    from shop.cache import Tag

ALL = "all"
BUCKETS = 64
SCOPES_MAX = 8  # that one list depends on; what would have more depends on all products

members = cache.tag("products:members:{scope}", tables=[Product])
prices = cache.tag("products:prices:{scope}", tables=[Product])  # of each change of a price
steps = cache.tag("products:steps:{scope}", tables=[Product])  # of those that leave their step
step_prices = cache.tag("products:step:{scope}:{step}", tables=[Product])  # of those that do not
stock = cache.tag("products:stock:{scope}", tables=[Product])
names = cache.tag("products:names:{scope}", tables=[Product])
filing = cache.tag("products:filing", tables=[Product])


class Facts(NamedTuple):
    """The fields that lists show, filter, sort or count by."""

    category_id: int
    active: bool
    price: Decimal
    currency: str
    in_stock: bool
    name: str
    description: str
    sku: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Facts:
        return cls(
            row["category_id"],
            row["active"],
            row["price"],
            row["currency"],
            row["stock"] > 0,
            row["name"],
            row["description"],
            row["sku"],
        )


def bucket(category_id: int) -> str:
    """Return the scope that a category shares with those of the same remainder."""
    return f"c{category_id % BUCKETS:02d}"


def scopes(category_ids: Collection[int]) -> list[str]:
    """Return the scopes of a list of these categories; without any, of all products."""
    found = sorted({bucket(one) for one in category_ids})
    return found if 0 < len(found) <= SCOPES_MAX else [ALL]


def forget_new_or_gone(facts: Facts) -> None:
    """Forget the lists that a product enters or leaves."""
    _forget(members, [facts.category_id])
    cache.delete_tagged(texts)


def forget_changes(before: Facts, after: Facts) -> None:
    """Forget the lists that show, filter, sort or count by what a write has changed."""
    touched = [before.category_id, after.category_id]
    if before.active != after.active:
        forget_new_or_gone(before)
    if before.category_id != after.category_id:
        for category_id in touched:
            cache.delete_tagged(members, bucket(category_id))
        cache.delete_tagged(filing)
        cache.delete_tagged(texts)
    if (before.price, before.currency) != (after.price, after.currency):
        _forget(prices, touched)
        if _stays_in_step(before, after):
            _forget(step_prices, touched, step(after.price))
        else:
            _forget(steps, touched)
    if before.in_stock != after.in_stock:
        _forget(stock, touched)
    if before.name != after.name:
        _forget(names, touched)
    if (before.name, before.description, before.sku) != (after.name, after.description, after.sku):
        cache.delete_tagged(texts)


def forget_stock(category_ids: Iterable[int]) -> None:
    """Forget the lists that filter or count by stock: some of these categories crossed zero."""
    if found := list(category_ids):
        _forget(stock, found)


def _stays_in_step(before: Facts, after: Facts) -> bool:
    """Tell whether a price does, and is on no side of a range that ends within a cent."""
    return (
        before.currency == after.currency
        and step(before.price) == step(after.price)
        and before.price % CENT == after.price % CENT == 0
    )


def _forget(tag: Tag, category_ids: Iterable[int], *rest: object) -> None:
    """Forget the lists of all products, and those of these categories."""
    for scope in {ALL, *map(bucket, category_ids)}:
        cache.delete_tagged(tag, scope, *rest)
