from __future__ import annotations

from typing import TYPE_CHECKING

from shop.keys.auth import require_scope
from shop.openapi import Blueprint
from shop.responses import cached_document

from . import service
from .schemas import (
    BestSellerListSchema,
    BestSellersQuery,
    DashboardStatsSchema,
    LimitQuery,
    TrendingProductListSchema,
)

if TYPE_CHECKING:
    from flask import Response

SCOPE = "stats:read"
blueprint = Blueprint("stats", __name__, description="Best sellers, trending products and revenue.")


@blueprint.route("/products/top-selling")
@blueprint.arguments(BestSellersQuery, location="query")
@blueprint.cached(BestSellerListSchema)
def list_best_sellers(query: dict[str, str | int]) -> Response:
    """List the products of which most units were sold, in paid orders.

    The numbers are of the time `as_of`, up to an hour and some minutes ago.
    """
    return cached_document(service.best_sellers(str(query["period"]), int(query["limit"])))


@blueprint.route("/products/trending")
@blueprint.arguments(LimitQuery, location="query")
@blueprint.cached(TrendingProductListSchema)
def list_trending_products(query: dict[str, int]) -> Response:
    """List the products that sell best now.

    The weight of a sale halves each day.
    """
    return cached_document(service.trending(query["limit"]))


@blueprint.route("/stats/dashboard")
@require_scope(SCOPE)
@blueprint.cached(DashboardStatsSchema)
@blueprint.problems(401, 403)
def get_dashboard() -> Response:
    """Get the numbers of products and orders, and the revenue.

    The numbers are of the time `as_of`, up to ten minutes ago.
    """
    return cached_document(service.dashboard())
