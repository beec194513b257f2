from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.config import LARGE_BODY_MAX
from shop.keys.auth import require_scope
from shop.limits import limit
from shop.openapi import Blueprint
from shop.responses import cached_document, if_match, versioned

from . import service
from .schemas import CategoryInput, CategoryPatch, CategorySchema

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint(
    "categories", __name__, url_prefix="/categories", description="The categories of products."
)

ROW_PATH = "/<row_id:category_id>"
SCOPE = "catalog:write"
ETAG_HEADER = {"ETag": "ETag"}


@blueprint.route(ROW_PATH)
@blueprint.cached(CategorySchema)
@blueprint.problems(404)
def get_category(category_id: int) -> Response:
    """Get one category.

    Send its ETag in If-Match to change it.
    """
    return cached_document(service.category(category_id))


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(CategoryInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, CategorySchema, headers={"Location": "Location", "ETag": "ETag"})
@blueprint.problems(401, 403, 409)
def create_category(values: dict[str, Any]) -> Response:
    """Create a category.

    Its name must be new. `Location` has its address.
    """
    category_id, body = service.create_category(values)
    return versioned(body, 201, location=f"/categories/{category_id}")


@blueprint.route(ROW_PATH, methods=["PUT"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(CategoryInput, body_max=LARGE_BODY_MAX)
@blueprint.response(200, CategorySchema, headers=ETAG_HEADER)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def replace_category(values: dict[str, Any], category_id: int) -> Response:
    """Replace a category.

    No other category may have its name.
    """
    return versioned(service.update_category(category_id, values, if_match()))


@blueprint.route(ROW_PATH, methods=["PATCH"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(CategoryPatch, body_max=LARGE_BODY_MAX)
@blueprint.response(200, CategorySchema, headers=ETAG_HEADER)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def update_category(values: dict[str, Any], category_id: int) -> Response:
    """Change the fields of a category that are sent.

    A field that is left out stays as it is.
    """
    return versioned(service.update_category(category_id, values, if_match()))


@blueprint.route(ROW_PATH, methods=["DELETE"])
@limit("write")
@require_scope(SCOPE)
@blueprint.response(204)
@blueprint.problems(401, 403, 404, 409)
@blueprint.conditional
def delete_category(category_id: int) -> tuple[str, int]:
    """Delete a category that has no products.

    A category with products is not deleted: move or delete them first.
    """
    service.delete_category(category_id, if_match())
    return "", 204
