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
    "orders", __name__, url_prefix="/orders", description="What was sold, and how far it is."
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

    A session finds those that were checked out with it, and a page costs it one request for each
    20 orders that it asks for. The link to the next page stays right while orders come in.
    """
    body, last = service.page(query, _reader())
    return private_page(body, last)


@blueprint.route(ONE)
@require_scope_or_session(READ)
@blueprint.response(200, OrderSchema)
@blueprint.problems(401, 403, 404)
def get_order(order_id: int) -> Response:
    """Get one order.

    A session gets one that was checked out with it. Its lines are as they were when it was placed.
    """
    return private(service.order(order_id, _reader()))


def _reader() -> int | None:
    """Return the session that reads its own orders; None for a key, which reads all."""
    return None if has_scope(READ) else session_id()


@blueprint.route("", methods=["POST"])
@limit("write")
@require_scope(WRITE)
@blueprint.arguments(OrderInput, body_max=LARGE_BODY_MAX)
@blueprint.response(201, OrderSchema, headers={"Location": "Location"} | Blueprint.REPLAYED)
@blueprint.problems(401, 403)
@blueprint.once
def place_order(values: dict[str, Any]) -> Response:
    """Place an order: all lines or none.

    Prices are those of this moment. The stock is taken now, and comes back if the order is
    cancelled.
    """
    answer = service.place_order(values, IdempotentRequest.from_request())
    return idempotent_answer(answer, 201, location=f"/orders/{answer.row_id}")


def step(action: str) -> Callable[[View], View]:
    """Declare the call that brings an order on by `action`."""

    def decorate(view: View) -> View:
        documented = blueprint.response(200, OrderSchema, headers=Blueprint.REPLAYED)(
            blueprint.problems(401, 403, 404)(blueprint.once(view))
        )
        guarded = limit("write")(require_scope(WRITE)(documented))
        declared: View = blueprint.route(f"{ONE}/{action}", methods=["POST"])(guarded)
        return declared

    return decorate


@step("pay")
def pay_order(order_id: int) -> Response:
    """Note that an order is paid.

    A pending order can be paid, before its `expires_at`.
    """
    return _moved(order_id, "pay")


@step("ship")
def ship_order(order_id: int) -> Response:
    """Note that an order is shipped.

    A paid order can be shipped; from then on it cannot be cancelled.
    """
    return _moved(order_id, "ship")


@step("deliver")
def deliver_order(order_id: int) -> Response:
    """Note that an order is delivered.

    A shipped order can be delivered, which ends it.
    """
    return _moved(order_id, "deliver")


@step("cancel")
def cancel_order(order_id: int) -> Response:
    """Cancel an order, and give its stock back.

    A pending or a paid order can be cancelled, which ends it.
    """
    return _moved(order_id, "cancel")


def _moved(order_id: int, action: str) -> Response:
    return idempotent_answer(service.move_order(order_id, action, IdempotentRequest.from_request()))
