from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.caller import session_id
from shop.config import LARGE_BODY_MAX, ORDERS_PAGE_SIZE
from shop.idempotency import IdempotentRequest
from shop.keys.auth import has_scope, require_scope, require_scope_or_session
from shop.limits import PerRowsOfSession, limit
from shop.openapi import Blueprint
from shop.responses import idempotent_answer, private, private_page

from . import service
from .schemas import OrderInput, OrderPageSchema, OrderQuery, OrderSchema

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response

    View = Callable[[int], Response]

blueprint = Blueprint(
    "orders",
    __name__,
    url_prefix="/orders",
    description="Orders: placing them, reading them, and their status.",
)

ONE = "/<long_id:order_id>"
READ, WRITE = "orders:read", "orders:write"


@blueprint.route("")
@limit("default", cost=PerRowsOfSession(20, *ORDERS_PAGE_SIZE))
@require_scope_or_session(READ)
@blueprint.arguments(OrderQuery, location="query")
@blueprint.response(200, OrderPageSchema, headers={"Link": "Link"})
@blueprint.problems(401, 403)
def list_orders(query: dict[str, Any]) -> Response:
    """List orders, newest first.

    A session finds the orders that were checked out with it. A page costs a session one request
    for each 20 orders that it asks for. The link to the next page stays right while orders come in.
    """
    body, last_id = service.orders_page(query, _reading_session())
    return private_page(body, last_id)


@blueprint.route(ONE)
@require_scope_or_session(READ)
@blueprint.response(200, OrderSchema)
@blueprint.problems(401, 403, 404)
def get_order(order_id: int) -> Response:
    """Get one order.

    A session gets an order that was checked out with it. The lines show the products as they were
    when the order was placed.
    """
    return private(service.order_document(order_id, _reading_session()))


def _reading_session() -> int | None:
    """Return the session that reads its own orders; None for a key, which reads all orders."""
    return None if has_scope(READ) else session_id()


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(OrderInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, OrderSchema, headers={"Location": "Location"} | Blueprint.REPLAYED_HEADER)
@blueprint.problems(401, 403)
@blueprint.idempotent
def place_order(values: dict[str, Any]) -> Response:
    """Place an order: all lines or none.

    The order has the prices of this moment. It takes its stock now, and gives it back if it is
    cancelled.
    """
    answer = service.place_order(values, IdempotentRequest.from_request())
    return idempotent_answer(answer, 201, location=f"/orders/{answer.row_id}")


def transition_route(action: str) -> Callable[[View], View]:
    """Declare the route of a transition of an order's status."""

    def decorate(view: View) -> View:
        documented = blueprint.response(200, OrderSchema, headers=Blueprint.REPLAYED_HEADER)(
            blueprint.problems(401, 403, 404)(blueprint.idempotent(view))
        )
        guarded = limit("write")(require_scope(WRITE)(documented))
        declared: View = blueprint.route(f"{ONE}/{action}", methods=["POST"])(guarded)
        return declared

    return decorate


@transition_route("pay")
def pay_order(order_id: int) -> Response:
    """Mark an order as paid.

    A pending order can be paid, before its `expires_at`.
    """
    return _transition(order_id, "pay")


@transition_route("ship")
def ship_order(order_id: int) -> Response:
    """Mark an order as shipped.

    A paid order can be shipped; from then on it cannot be cancelled.
    """
    return _transition(order_id, "ship")


@transition_route("deliver")
def deliver_order(order_id: int) -> Response:
    """Mark an order as delivered.

    A shipped order can be delivered, which is final.
    """
    return _transition(order_id, "deliver")


@transition_route("cancel")
def cancel_order(order_id: int) -> Response:
    """Cancel an order, and give its stock back.

    A pending or a paid order can be cancelled, which is final.
    """
    return _transition(order_id, "cancel")


def _transition(order_id: int, action: str) -> Response:
    return idempotent_answer(
        service.transition_order(order_id, action, IdempotentRequest.from_request())
    )
