from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.config import LARGE_BODY_MAX, PRODUCTS_LIMIT
from shop.keys.auth import require_scope
from shop.limits import PerRows, limit
from shop.openapi import Blueprint
from shop.pages import page_query
from shop.responses import cached_document, cached_page, if_match, versioned

from . import service
from .schemas import ProductChanges, ProductInput, ProductPageSchema, ProductSchema, StockChange

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("products", __name__, url_prefix="/products")

ONE = "/<row_id:product_id>"
SCOPE = "catalog:write"
VERSION = {"ETag": "ETag"}


@blueprint.route("")
@limit("default", cost=PerRows(50, *PRODUCTS_LIMIT))
@blueprint.arguments(page_query(*PRODUCTS_LIMIT), location="query")
@blueprint.cached(ProductPageSchema, "Link")
def list_products(query: dict[str, int]) -> Response:
    """List products, in id order.

    A page costs one request for each 50 rows that it asks for.
    """
    return cached_page(service.page(**query))


@blueprint.route(ONE)
@blueprint.cached(ProductSchema)
@blueprint.problems(404)
def get_product(product_id: int) -> Response:
    """Get one product."""
    return cached_document(service.product(product_id))


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, ProductSchema, headers={"Location": "Location", "ETag": "ETag"})
@blueprint.problems(401, 403, 409)
def create_product(values: dict[str, Any]) -> Response:
    """Create a product in a category."""
    product_id, body = service.create_product(values)
    return versioned(body, 201, location=f"/products/{product_id}")


@blueprint.route(ONE, methods=["PUT"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductInput, body_max=LARGE_BODY_MAX)
@blueprint.response(200, ProductSchema, headers=VERSION)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def replace_product(values: dict[str, Any], product_id: int) -> Response:
    """Replace a product: a field left out gets its default."""
    return versioned(service.update_product(product_id, values, if_match()))


@blueprint.route(ONE, methods=["PATCH"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductChanges, body_max=LARGE_BODY_MAX)
@blueprint.response(200, ProductSchema, headers=VERSION)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def change_product(values: dict[str, Any], product_id: int) -> Response:
    """Change the fields that are sent."""
    return versioned(service.update_product(product_id, values, if_match()))


@blueprint.route(f"{ONE}/stock", methods=["PATCH"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(StockChange)
@blueprint.response(200, ProductSchema, headers=VERSION)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def change_stock(values: dict[str, int], product_id: int) -> Response:
    """Add to the stock, or take from it, whatever it is at that moment; never below 0."""
    return versioned(service.change_stock(product_id, values["delta"], if_match()))


@blueprint.route(ONE, methods=["DELETE"])
@limit("write")
@require_scope(SCOPE)
@blueprint.response(204)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def delete_product(product_id: int) -> tuple[str, int]:
    """Delete a product that was never sold; one that was is made inactive instead."""
    service.delete_product(product_id, if_match())
    return "", 204
