from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from shop.config import CATEGORIES_PAGE_SIZE, NAMED_ROWS_MAX, PRODUCTS_PAGE_SIZE
from shop.keys.auth import check_scope, has_scope
from shop.limits import PerRows, limit
from shop.openapi import Blueprint
from shop.responses import cached_page, for_caller_alone

from . import service
from .parameters import CategoryQuery, ProductQuery, SuggestionQuery
from .schemas import CategoryPageSchema, ProductPageSchema, SuggestionListSchema

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("search", __name__, description="Finding products.")

SCOPE = "catalog:write"
WITH_OR_WITHOUT_KEY: list[dict[str, list[str]]] = [{}, {"key": []}]


class ProductsCost(PerRows):
    """The cost of a page of products: that of its rows, and 1 more each for words and facets."""

    def __call__(self) -> int:
        names = [request.args[name] for name in ("id", "sku") if name in request.args]
        named = sum(text.count(",") + 1 for text in names)
        rows = -(-min(named, NAMED_ROWS_MAX) // self.rows) if names else super().__call__()
        return rows + sum(name in request.args for name in ("q", "facets"))

    def __str__(self) -> str:
        return f"{super().__str__()}, 1 more with q, 1 more with facets"


@blueprint.route("/products", tags=["products"])
@limit("default", cost=ProductsCost(50, *PRODUCTS_PAGE_SIZE))
@blueprint.arguments(ProductQuery, location="query")
@blueprint.cached(ProductPageSchema, "Link")
@blueprint.problems(401, 403)
@blueprint.doc(security=WITH_OR_WITHOUT_KEY)
def list_products(query: dict[str, Any]) -> Response:
    """Find products by words, filters, ids or SKUs, page by page.

    Without parameters, the list has all active products in the order of their ids. A key with
    catalog:write sees inactive products, too. The Link of a page leads to the next page. A page
    costs one request for each 50 rows that it asks for, one more with `q`, and one more with
    `facets`.
    """
    if "active" in query:
        check_scope(SCOPE)
    if has_scope(SCOPE):
        page = service.products_page(query, request.args, active=query.get("active"))
        return for_caller_alone(cached_page(page))
    return cached_page(service.products_page(query, request.args, active=True))


@blueprint.route("/categories", tags=["categories"])
@limit("default", cost=PerRows(100, *CATEGORIES_PAGE_SIZE))
@blueprint.arguments(CategoryQuery, location="query")
@blueprint.cached(CategoryPageSchema, "Link")
def list_categories(query: dict[str, Any]) -> Response:
    """List categories in the order of their ids.

    `include=counts` adds the number of active products to each. A page costs one request for each
    100 rows that it asks for.
    """
    return cached_page(service.categories_page(**query))


@blueprint.route("/search/suggest")
@blueprint.arguments(SuggestionQuery, location="query")
@blueprint.cached(SuggestionListSchema)
def list_suggestions(query: dict[str, str]) -> Response:
    """Suggest names for a text that is being typed.

    The answer has 10 names at most, of categories and of products.
    """
    return cached_page(service.suggestions_page(query["q"]))
