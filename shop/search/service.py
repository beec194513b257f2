"""The pages of searches and lists: the cached documents that they need, and their layouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.categories import service as categories
from shop.pages import Join, SkipLayout, read_page
from shop.products import service as products

from . import cached_reads
from .layouts import (
    AllProductsLayout,
    CategoryCountsLayout,
    FoundProductsLayout,
    ItemFormat,
    NamedProductsLayout,
    SuggestionsLayout,
)
from .query import read_query
from .suggestions import TypedText, completions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.pages import Layout, Page

SKIP_PAGE_PARAMETERS = {"skip", "limit", "total"}
PAGE_START_PARAMETERS = {"skip", "after"}
CATEGORY = Join(categories.category_documents, "category_id")
COUNT = Join(products.active_counts, "id")


def products_page(
    parameters: Mapping[str, Any], sent: Mapping[str, str], *, active: bool | None
) -> Page:
    """Return the page of products for the parameters; `sent` has them as the client wrote them.

    `active` selects active or inactive products, None both. Raises InvalidFieldsError,
    CurrencyRequiredError.
    """
    item_format = ItemFormat(tuple(parameters.get("fields_", ())), category="include" in parameters)
    if "id" in parameters or "sku" in parameters:
        return _named_products_page(parameters, item_format, active=active)
    if set(parameters) <= SKIP_PAGE_PARAMETERS and not parameters["total"]:
        return _all_products_page(parameters.get("skip", 0), parameters["limit"], active=active)
    return _found_products_page(parameters, sent, item_format, active=active)


def _all_products_page(skip: int, limit: int, *, active: bool | None) -> Page:
    ids = products.page_ids(skip, limit) if active else products.all_page_ids(skip, limit)
    list_name = read_query({"limit": limit}, active=active).list_name
    layout = AllProductsLayout(skip, limit, list_name)
    return read_page(layout, products.product_documents, ids, all_rows=not active)


def _found_products_page(
    parameters: Mapping[str, Any],
    sent: Mapping[str, str],
    item_format: ItemFormat,
    *,
    active: bool | None,
) -> Page:
    query = read_query(parameters, active=active)
    facets = tuple(dict.fromkeys(parameters.get("facets", ())))
    entries = [cached_reads.total(query.filters)] if parameters["total"] else []
    entries += [cached_reads.facet(name, query.filters) for name in facets]
    entries += cached_reads.page_entries(query)
    layout = FoundProductsLayout(
        tuple((name, value) for name, value in sent.items() if name not in PAGE_START_PARAMETERS),
        query.limit,
        None if query.cursor else query.skip,
        item_format,
        total=parameters["total"],
        facets=facets,
    )
    return _read_products(layout, item_format, *entries, active=active)


def _named_products_page(
    parameters: Mapping[str, Any], item_format: ItemFormat, *, active: bool | None
) -> Page:
    ids, skus = (tuple(dict.fromkeys(parameters.get(name, ()))) for name in ("id", "sku"))
    entries = products.sku_ids(skus).values()
    layout = NamedProductsLayout(ids, skus, item_format)
    return _read_products(layout, item_format, *entries, ids=ids, active=active)


def _read_products(
    layout: Layout,
    item_format: ItemFormat,
    *entries: bytes,
    active: bool | None,
    ids: Sequence[int] = (),
) -> Page:
    return read_page(
        layout,
        products.product_documents,
        *entries,
        ids=ids,
        joins=[CATEGORY] if item_format.category else [],
        all_rows=not active,
    )


def categories_page(skip: int, limit: int, include: Sequence[str] = ()) -> Page:
    """Return a page of categories, in id order; `include` may ask for their numbers of products."""
    ids, read = categories.page_ids(skip, limit), categories.category_documents
    if include:
        return read_page(CategoryCountsLayout(skip, limit), read, ids, joins=[COUNT])
    return read_page(SkipLayout(skip, limit), read, ids)


def suggestions_page(text: str) -> Page:
    """Return the suggestions for a text that is being typed."""
    entry = completions(TypedText.of(text))
    return read_page(SuggestionsLayout(), products.product_documents, entry)
