"""Answers of a search: which documents they are made of, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.categories import service as categories
from shop.pages import BySkip, Join, read_page
from shop.products import service as products

from . import finding
from .layouts import Chosen, Completions, Counted, Found, Items, Plain
from .query import read_query
from .suggest import Typed, completions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.pages import Layout, Page

PLAIN = {"skip", "limit", "total"}
PLACES = {"skip", "after"}
CATEGORY = Join(categories.category_documents, "category_id")
COUNT = Join(products.active_counts, "id")


def products_page(
    values: Mapping[str, Any], sent: Mapping[str, str], *, active: bool | None
) -> Page:
    """Return the page of products that parameters ask for; `sent` is how they were written.

    `active` says which of them are wanted, None both. Raises InvalidFieldsError,
    CurrencyRequiredError.
    """
    items = Items(tuple(values.get("fields_", ())), category="include" in values)
    if "id" in values or "sku" in values:
        return _chosen(values, items, active=active)
    if set(values) <= PLAIN and not values["total"]:
        return _plain(values.get("skip", 0), values["limit"], active=active)
    return _found(values, sent, items, active=active)


def _plain(skip: int, limit: int, *, active: bool | None) -> Page:
    ids = products.page_ids(skip, limit) if active else products.all_page_ids(skip, limit)
    layout = Plain(skip, limit, read_query({"limit": limit}, active=active).question)
    return read_page(layout, products.product_documents, ids, all_rows=not active)


def _found(
    values: Mapping[str, Any], sent: Mapping[str, str], items: Items, *, active: bool | None
) -> Page:
    query = read_query(values, active=active)
    facets = tuple(dict.fromkeys(values.get("facets", ())))
    entries = [finding.total(query.filters)] if values["total"] else []
    entries += [finding.facet(name, query.filters) for name in facets]
    entries += finding.page(query)
    rest = tuple((name, value) for name, value in sent.items() if name not in PLACES)
    skip = None if query.after else query.skip
    layout = Found(rest, query.limit, skip, items, total=values["total"], facets=facets)
    return _of_products(layout, items, *entries, active=active)


def _chosen(values: Mapping[str, Any], items: Items, *, active: bool | None) -> Page:
    ids, skus = (tuple(dict.fromkeys(values.get(name, ()))) for name in ("id", "sku"))
    entries = products.sku_ids(skus).values()
    return _of_products(Chosen(ids, skus, items), items, *entries, ids=ids, active=active)


def _of_products(
    layout: Layout, items: Items, *entries: bytes, active: bool | None, ids: Sequence[int] = ()
) -> Page:
    return read_page(
        layout,
        products.product_documents,
        *entries,
        ids=ids,
        joins=[CATEGORY] if items.category else [],
        all_rows=not active,
    )


def categories_page(skip: int, limit: int, include: Sequence[str] = ()) -> Page:
    """Return a page of categories, in id order, with how many products each has if asked."""
    ids, read = categories.page_ids(skip, limit), categories.category_documents
    if include:
        return read_page(Counted(skip, limit), read, ids, joins=[COUNT])
    return read_page(BySkip(skip, limit), read, ids)


def suggestions(typed: str) -> Page:
    """Return completions of what is typed."""
    return read_page(Completions(), products.product_documents, completions(Typed.of(typed)))
