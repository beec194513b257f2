from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from shop.config import CATEGORIES_PAGE_SIZE, PRODUCTS_PAGE_SIZE
from shop.keys.auth import check_scope, has_scope
from shop.limits import PerRows, limit
from shop.openapi import Blueprint
from shop.responses import cached_page, for_this_caller

from . import service
from .costs import PerQuery
from .schemas import (
    CategoryPageSchema,
    CategoryQuery,
    ProductPageSchema,
    ProductQuery,
    SuggestionListSchema,
    SuggestionQuery,
)

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("search", __name__, description="Finding products.")

SCOPE = "catalog:write"
WITH_OR_WITHOUT_KEY: list[dict[str, list[str]]] = [{}, {"key": []}]


@blueprint.route("/products", tags=["products"])
@limit("default", cost=PerQuery(50, *PRODUCTS_PAGE_SIZE))
@blueprint.arguments(ProductQuery, location="query")
@blueprint.cached(ProductPageSchema, "Link")
@blueprint.problems(401, 403)
@blueprint.doc(security=WITH_OR_WITHOUT_KEY)
def list_products(query: dict[str, Any]) -> Response:
    """Find products: by words, filters, ids or SKUs; in an order; page by page.

    Without parameters all that are active are listed, in id order; to a key with catalog:write
    the others, too. The next page is the Link of this one. A page costs one request for each 50
    rows that it asks for, one more with `q`, and one more with `facets`.
    """
    if "active" in query:
        check_scope(SCOPE)
    if has_scope(SCOPE):
        page = service.products_page(query, request.args, active=query.get("active"))
        return for_this_caller(cached_page(page))
    return cached_page(service.products_page(query, request.args, active=True))


@blueprint.route("/categories", tags=["categories"])
@limit("default", cost=PerRows(100, *CATEGORIES_PAGE_SIZE))
@blueprint.arguments(CategoryQuery, location="query")
@blueprint.cached(CategoryPageSchema, "Link")
def list_categories(query: dict[str, Any]) -> Response:
    """List categories, in id order.

    `include=counts` tells how many active products each has. A page costs one request for each
    100 rows that it asks for.
    """
    return cached_page(service.categories_page(**query))


@blueprint.route("/search/suggest")
@blueprint.arguments(SuggestionQuery, location="query")
@blueprint.cached(SuggestionListSchema)
def list_suggestions(query: dict[str, str]) -> Response:
    """Complete what is being typed.

    The answer has 10 names at most, of categories and of products.
    """
    return cached_page(service.suggestions(query["q"]))
