from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.config import LARGE_BODY_MAX
from shop.idempotency import Once
from shop.keys.auth import require_scope
from shop.limits import limit
from shop.openapi import Blueprint
from shop.responses import carried_out, private, private_page

from . import service
from .schemas import OrderInput, OrderPageSchema, OrderQuery, OrderSchema

if TYPE_CHECKING:
    from flask import Response

blueprint = Blueprint("orders", __name__, url_prefix="/orders")

ONE = "/<row_id:order_id>"
READ, WRITE = "orders:read", "orders:write"


@blueprint.route("")
@require_scope(READ)
@blueprint.arguments(OrderQuery, location="query", unknown=None)
@blueprint.response(200, OrderPageSchema, headers={"Link": "Link"})
@blueprint.problems(401, 403)
def list_orders(query: dict[str, Any]) -> Response:
    """List orders, newest first. The link to the next page stays right while orders come in."""
    body, last = service.page(query)
    return private_page(body, last)


@blueprint.route(ONE)
@require_scope(READ)
@blueprint.response(200, OrderSchema)
@blueprint.problems(401, 403, 404)
def get_order(order_id: int) -> Response:
    """Get one order."""
    return private(service.order(order_id))


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(OrderInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, OrderSchema, headers={"Location": "Location"} | Blueprint.REPLAYED)
@blueprint.problems(401, 403)
@blueprint.once
def place_order(values: dict[str, Any]) -> Response:
    """Place an order: all lines or none. Prices are those of this moment."""
    answer = service.place_order(values, Once.from_request())
    return carried_out(answer, 201, location=f"/orders/{answer.row_id}")


@blueprint.route(f"{ONE}/<any(pay, ship, deliver, cancel):action>", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.response(200, OrderSchema, headers=Blueprint.REPLAYED)
@blueprint.problems(401, 403, 404)
@blueprint.once
def move_order(order_id: int, action: str) -> Response:
    """Pay, ship, deliver or cancel an order.

    An order is pending, then paid, shipped, delivered. It can be cancelled until it is shipped,
    which gives its stock back.
    """
    return carried_out(service.move_order(order_id, action, Once.from_request()))
