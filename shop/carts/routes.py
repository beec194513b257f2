from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.caller import request_address, session_id
from shop.idempotency import IdempotentRequest
from shop.keys.auth import require_session
from shop.limits import limit
from shop.openapi import Blueprint
from shop.orders.schemas import CheckoutInput, OrderSchema
from shop.responses import idempotent_answer, private

from . import service
from .schemas import CartItemInput, CartSchema

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint(
    "carts", __name__, url_prefix="/cart", description="The cart of a session, and its checkout."
)

ITEM = "/items/<row_id:product_id>"


@blueprint.route("")
@require_session
@blueprint.response(200, CartSchema)
@blueprint.problems(401)
def get_cart() -> Response:
    """Get the cart of the session.

    The cart shows the current prices and stock; nothing is reserved before the checkout.
    """
    return private(service.cart(session_id()))


@blueprint.route(ITEM, methods=["PUT"])
@limit("write")
@require_session
@blueprint.arguments(CartItemInput)
@blueprint.response(200, CartSchema)
@blueprint.problems(401, 404, 409)
def put_cart_item(values: dict[str, int], product_id: int) -> Response:
    """Set the quantity of a product in the cart.

    The quantity replaces the one that was there.
    """
    return private(service.put_item(session_id(), product_id, values["quantity"]))


@blueprint.route(ITEM, methods=["DELETE"])
@limit("write")
@require_session
@blueprint.response(204)
@blueprint.problems(401, 404)
def remove_cart_item(product_id: int) -> tuple[str, int]:
    """Remove a product from the cart.

    All of its units are removed, also of a product that is not available.
    """
    service.remove_item(session_id(), product_id)
    return "", 204


@blueprint.route("/checkout", methods=["POST"])
@limit("write")
@require_session
@blueprint.arguments(CheckoutInput)
@blueprint.response(201, OrderSchema, headers={"Location": "Location"} | Blueprint.REPLAYED_HEADER)
@blueprint.problems(401)
@blueprint.idempotent
def check_out_cart(values: dict[str, Any]) -> Response:
    """Order all items of the cart, or none.

    The order has the prices of this moment, and empties the cart.
    """
    buyer = session_id(), request_address()
    answer = service.check_out(*buyer, values["customer"], IdempotentRequest.from_request())
    return idempotent_answer(answer, 201, location=f"/orders/{answer.row_id}")
