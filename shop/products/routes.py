from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.config import LARGE_BODY_MAX
from shop.keys.auth import has_scope, require_lookup_for_404, require_scope
from shop.limits import limit
from shop.openapi import Blueprint
from shop.responses import cached_document, for_caller_alone, if_match, versioned

from . import service
from .schemas import ProductInput, ProductPatch, ProductSchema, StockAdjustment

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint(
    "products", __name__, url_prefix="/products", description="The products and their prices."
)

ROW_PATH = "/<row_id:product_id>"
SCOPE = "catalog:write"
ETAG_HEADER = {"ETag": "ETag"}
WITH_OR_WITHOUT_KEY: list[dict[str, list[str]]] = [{}, {"key": []}]


@blueprint.route(ROW_PATH)
@blueprint.cached(ProductSchema)
@blueprint.problems(404)
@require_lookup_for_404
@blueprint.doc(security=WITH_OR_WITHOUT_KEY)
def get_product(product_id: int) -> Response:
    """Get one product; an inactive one only with a key with catalog:write.

    Send its ETag in If-Match to change it.
    """
    if has_scope(SCOPE):
        return for_caller_alone(cached_document(service.any_product(product_id)))
    return cached_document(service.product(product_id))


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, ProductSchema, headers={"Location": "Location", "ETag": "ETag"})
@blueprint.problems(401, 403, 409)
def create_product(values: dict[str, Any]) -> Response:
    """Create a product in a category.

    Its SKU, if it has one, must be new. `Location` has its address.
    """
    product_id, body = service.create_product(values)
    return versioned(body, 201, location=f"/products/{product_id}")


@blueprint.route(ROW_PATH, methods=["PUT"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductInput, body_max=LARGE_BODY_MAX)
@blueprint.response(200, ProductSchema, headers=ETAG_HEADER)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def replace_product(values: dict[str, Any], product_id: int) -> Response:
    """Replace a product.

    A field that is left out gets its default. The stock becomes the number that is sent, also if
    some was sold meanwhile: send If-Match, or adjust the stock instead.
    """
    return versioned(service.update_product(product_id, values, if_match()))


@blueprint.route(ROW_PATH, methods=["PATCH"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ProductPatch, body_max=LARGE_BODY_MAX)
@blueprint.response(200, ProductSchema, headers=ETAG_HEADER)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def update_product(values: dict[str, Any], product_id: int) -> Response:
    """Change the fields of a product that are sent.

    A field that is left out stays as it is.
    """
    return versioned(service.update_product(product_id, values, if_match()))


@blueprint.route(f"{ROW_PATH}/stock", methods=["PATCH"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(StockAdjustment)
@blueprint.response(200, ProductSchema, headers=ETAG_HEADER)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def adjust_stock(values: dict[str, int], product_id: int) -> Response:
    """Add to the stock of a product, or take from it.

    The difference is applied to the present stock, which never goes below 0.
    """
    return versioned(service.change_stock(product_id, values["delta"], if_match()))


@blueprint.route(ROW_PATH, methods=["DELETE"])
@limit("write")
@require_scope(SCOPE)
@blueprint.response(204)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def delete_product(product_id: int) -> tuple[str, int]:
    """Delete a product that was never sold.

    A product that was sold stays, because orders refer to it: make it inactive instead.
    """
    service.delete_product(product_id, if_match())
    return "", 204
