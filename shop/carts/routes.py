from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.idempotency import Once
from shop.keys.auth import require_session
from shop.keys.caller import session_id
from shop.limits import limit
from shop.openapi import Blueprint
from shop.orders.schemas import CheckoutInput, OrderSchema
from shop.responses import carried_out, private

from . import service
from .schemas import CartSchema, ItemInput

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("carts", __name__, url_prefix="/cart")

ITEM = "/items/<row_id:product_id>"


@blueprint.route("")
@require_session
@blueprint.response(200, CartSchema)
@blueprint.problems(401)
def get_cart() -> Response:
    """Get the cart of the session, at the prices of now."""
    return private(service.cart(session_id()))


@blueprint.route(ITEM, methods=["PUT"])
@limit("write")
@require_session
@blueprint.arguments(ItemInput)
@blueprint.response(200, CartSchema)
@blueprint.problems(401, 404, 409)
def put_item(values: dict[str, int], product_id: int) -> Response:
    """Put so many of a product into the cart, instead of what was there."""
    return private(service.put_item(session_id(), product_id, values["quantity"]))


@blueprint.route(ITEM, methods=["DELETE"])
@limit("write")
@require_session
@blueprint.response(204)
@blueprint.problems(401, 404)
def remove_item(product_id: int) -> tuple[str, int]:
    """Take a product out of the cart."""
    service.remove_item(session_id(), product_id)
    return "", 204


@blueprint.route("/checkout", methods=["POST"])
@limit("write")
@require_session
@blueprint.arguments(CheckoutInput)
@blueprint.response(201, OrderSchema, headers={"Location": "Location"} | Blueprint.REPLAYED)
@blueprint.problems(401)
@blueprint.once
def check_out(values: dict[str, Any]) -> Response:
    """Order what is in the cart: all of it or nothing. The cart is empty then."""
    answer = service.check_out(session_id(), values["customer"], Once.from_request())
    return carried_out(answer, 201, location=f"/orders/{answer.row_id}")
