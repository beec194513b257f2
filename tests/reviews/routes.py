from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.keys.auth import require_scope
from shop.limits import limit
from shop.openapi import Blueprint
from shop.responses import cached_document, private

from . import service
from .schemas import ReviewInput, ReviewSchema

if TYPE_CHECKING:
    from flask import Response

SCOPE = "reviews:write"
blueprint = Blueprint("reviews", __name__, url_prefix="/reviews", description="What buyers say.")


@blueprint.route("/<row_id:review_id>")
@blueprint.cached(ReviewSchema)
@blueprint.problems(404)
def get_review(review_id: int) -> Response:
    """Get one review."""
    return cached_document(service.review(review_id))


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(SCOPE)
@blueprint.arguments(ReviewInput)
@blueprint.response(201, ReviewSchema, headers={"Location": "Location"})
@blueprint.problems(401, 403, 404)
def publish_review(values: dict[str, Any]) -> Response:
    """Publish a review."""
    review_id, body = service.publish(values)
    return private(body, 201, location=f"/reviews/{review_id}")
