"""Lists of products: the tags that they depend on, and the tags that a write forgets.

Each tag has scopes: all products, or the categories that share one of 64 buckets. So a list of any
number of categories depends on few generations.

Most changes of a price leave it in its step of the ladder (`shop.money`). Such a change affects
neither the number of products in each step, nor a page by price whose rows are in other steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from shop.categories.service import search_texts
from shop.extensions import cache
from shop.money import CENT, step

from .models import Product

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from decimal import Decimal

    from shop.cache import Tag

ALL_PRODUCTS = "all"
BUCKETS = 64
SCOPES_MAX = 8  # of one list; a list with more scopes depends on all products

members = cache.tag("products:members:{scope}", tables=[Product])
prices = cache.tag("products:prices:{scope}", tables=[Product])  # any change of a price
steps = cache.tag("products:steps:{scope}", tables=[Product])  # changes to another step
step_prices = cache.tag("products:step:{scope}:{step}", tables=[Product])  # changes within a step
stock = cache.tag("products:stock:{scope}", tables=[Product])
names = cache.tag("products:names:{scope}", tables=[Product])
category_moves = cache.tag("products:filing", tables=[Product])


class ListFields(NamedTuple):
    """The fields by which lists filter, sort or count."""

    category_id: int
    active: bool
    price: Decimal
    currency: str
    in_stock: bool
    name: str
    description: str
    sku: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ListFields:
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


def category_bucket(category_id: int) -> str:
    """Return the scope of a category, which others with the same remainder share."""
    return f"c{category_id % BUCKETS:02d}"


def scopes(category_ids: Collection[int]) -> list[str]:
    """Return the scopes of a list of these categories; without a category, all products."""
    found = sorted({category_bucket(one) for one in category_ids})
    return found if 0 < len(found) <= SCOPES_MAX else [ALL_PRODUCTS]


def forget_created_or_deleted(fields: ListFields) -> None:
    """Forget the lists that a product enters or leaves."""
    _forget(members, [fields.category_id])
    cache.delete_tagged(search_texts)


def forget_changes(before: ListFields, after: ListFields) -> None:
    """Forget the lists that filter, sort or count by a changed field."""
    touched = [before.category_id, after.category_id]
    if before.active != after.active:
        forget_created_or_deleted(before)
    if before.category_id != after.category_id:
        for category_id in touched:
            cache.delete_tagged(members, category_bucket(category_id))
        cache.delete_tagged(category_moves)
        cache.delete_tagged(search_texts)
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
        cache.delete_tagged(search_texts)


def forget_stock(category_ids: Iterable[int]) -> None:
    """Forget the lists by stock of categories in which a product sold out, or came back."""
    if found := list(category_ids):
        _forget(stock, found)


def _stays_in_step(before: ListFields, after: ListFields) -> bool:
    """Tell whether a price stays in its step; a fraction of a cent counts as another step."""
    return (
        before.currency == after.currency
        and step(before.price) == step(after.price)
        and before.price % CENT == after.price % CENT == 0
    )


def _forget(tag: Tag, category_ids: Iterable[int], *rest: object) -> None:
    """Forget the lists of all products, and the lists of these categories."""
    for scope in {ALL_PRODUCTS, *map(category_bucket, category_ids)}:
        cache.delete_tagged(tag, scope, *rest)
