"""Orders: place them, change their status, and read them. Orders are never cached.

An order takes the stock of its products, so every sale forgets the cached products.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select, true, tuple_

from shop.config import current_settings
from shop.extensions import cache, db
from shop.fields import instant
from shop.idempotency import WriteAnswer
from shop.pages import dump
from shop.problems import InvalidFieldsError, NotFoundError, OrderExpiredError, OrderStatusError
from shop.products import service as products

from . import leaderboard, open_orders
from .lines import check_lines
from .metrics import CONFLICTS, ORDERS, REVENUE
from .models import Customer, Order, OrderLine
from .schemas import OrderSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from shop.idempotency import IdempotentRequest
    from shop.products.models import Product

    from .lines import Line
    from .open_orders import Buyer

schema = OrderSchema()

# The transitions of an order's status by action: from these statuses to that one.
TRANSITIONS = {
    "pay": ({"pending"}, "paid"),
    "ship": ({"paid"}, "shipped"),
    "deliver": ({"shipped"}, "delivered"),
    "cancel": ({"pending", "paid"}, "cancelled"),
}

# The events that the leaderboard counts, as a sale or as its cancellation.
LEADERBOARD_SIGNS = {"placed": 1, "cancelled": -1, "expired": -1}


def order_document(order_id: int, session_id: int | None) -> bytes:
    """Return the document of an order. Raises NotFoundError.

    A session reads the orders that were checked out with it; None reads all orders.
    """
    order = db.session.scalar(select(Order).where(Order.id == order_id, _is_readable(session_id)))
    if order is None:
        raise _not_found(order_id)
    return dump(schema.dump(order))


def orders_page(query: Mapping[str, Any], session_id: int | None) -> tuple[bytes, int | None]:
    """Return a page of orders, newest first, and the id of its last order if more follow.

    A session reads the orders that were checked out with it; None reads all orders. Raises
    InvalidFieldsError if `after` names no order of these.
    """
    limit = query["limit"]
    orders = db.session.scalars(_select_orders(query, session_id).limit(limit + 1)).all()
    items = schema.dump(orders[:limit], many=True)
    last_id = orders[limit - 1].id if len(orders) > limit else None
    return dump({"items": items, "limit": limit}), last_id


def _is_readable(session_id: int | None) -> ColumnElement[bool]:
    return true() if session_id is None else Order.session_id == session_id


def _select_orders(query: Mapping[str, Any], session_id: int | None) -> Any:
    newest_first = Order.created_at.desc(), Order.id.desc()
    statement = select(Order).where(_is_readable(session_id)).order_by(*newest_first)
    if status := query.get("status"):
        statement = statement.where(Order.status == status)
    if email := query.get("customer"):
        statement = statement.where(func.lower(Order.customer_email) == func.lower(email))
    if since := query.get("since"):
        statement = statement.where(Order.created_at >= since)
    if until := query.get("until"):
        statement = statement.where(Order.created_at < until)
    if after := query.get("after"):
        position = _sort_position(after, session_id)
        statement = statement.where(tuple_(Order.created_at, Order.id) < position)
    return statement


def _sort_position(order_id: int, session_id: int | None) -> Any:
    """Return the values that the list is sorted by, of an order. New orders do not change them."""
    statement = select(Order.created_at).where(Order.id == order_id, _is_readable(session_id))
    created_at = db.session.scalar(statement)
    if created_at is None:
        message = f"There is no order {order_id}."
        raise InvalidFieldsError(message, {"after": message})
    return tuple_(created_at, order_id)


def place_order(values: Mapping[str, Any], once: IdempotentRequest) -> WriteAnswer:
    """Take the stock of all lines and place an order of them, or do neither.

    Raises the errors of `add_order`.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: add_order(values["customer"], values["lines"]))
    publish_event(answer, "placed")
    return answer


def publish_event(answer: WriteAnswer, event: str) -> None:
    """Count an event of an order in the metrics and the leaderboard, and refresh its products.

    Call it after the commit. The answer has the order as the event left it.
    """
    if answer.replayed:
        return
    ORDERS.labels(event).inc()
    if event == "paid":
        order = orjson.loads(answer.body)
        REVENUE.labels(order["currency"]).inc(float(order["total"]))
    if sign := LEADERBOARD_SIGNS.get(event):
        order = orjson.loads(answer.body)
        leaderboard.feed(order, sign)
        products.cache_sold(list(dict.fromkeys(line["product_id"] for line in order["lines"])))


def add_order(
    customer: Mapping[str, str],
    lines: Sequence[Line],
    *,
    field: str = "lines",
    buyer: Buyer | None = None,
) -> WriteAnswer:
    """Take the stock of all lines and add an order of them, within the caller's transaction.

    The caller rolls the transaction back if this raises. `field` is the path of the lines. For a
    buyer without a key, the caller has locked the address and the session.

    Raises the errors of `check_lines`, and for a buyer those of `open_orders.check_caps`.
    """
    if buyer:
        open_orders.check_caps(buyer)
    found = products.lock_products([line["product_id"] for line in lines])
    check_lines(lines, found, field)
    products.move_stock({line["product_id"]: -line["quantity"] for line in lines})
    currency = found[lines[0]["product_id"]].currency
    order = Order(customer=Customer(**customer), currency=currency, expires_at=_expiry_time())
    if buyer:
        order.session_id = buyer.session_id
        order.client_address = open_orders.address_to_store(buyer)
    order.lines = [
        _order_line(position, found[line["product_id"]], line["quantity"])
        for position, line in enumerate(lines)
    ]
    order.total = sum((line.total for line in order.lines), Decimal(0))
    db.session.add(order)
    db.session.flush()
    return WriteAnswer(order.id, dump(schema.dump(order)))


def _expiry_time() -> Any:
    """Return the time by which an order that is placed now must be paid, None for any time."""
    seconds = current_settings().order_payment_seconds
    return func.now() + timedelta(seconds=seconds) if seconds else None


def _order_line(position: int, product: Product, quantity: int) -> OrderLine:
    return OrderLine(
        product_id=product.id,
        position=position,
        sku=product.sku,
        name=product.name,
        price=product.price,
        quantity=quantity,
    )


def transition_order(order_id: int, action: str, once: IdempotentRequest) -> WriteAnswer:
    """Bring an order to the status that the action leads to; `cancel` gives the stock back.

    Raises NotFoundError, OrderStatusError, OrderExpiredError, StockLimitError.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: _transition(order_id, action))
    publish_event(answer, TRANSITIONS[action][1])
    return answer


def _transition(order_id: int, action: str) -> WriteAnswer:
    order = db.session.get(Order, order_id, with_for_update=True)
    if order is None:
        raise _not_found(order_id)
    now = database_time()
    _check_transition(order, action, now)
    return change_status(order, TRANSITIONS[action][1], now)


def _check_transition(order: Order, action: str, now: datetime) -> None:
    """Raise OrderExpiredError or OrderStatusError if a locked order does not allow the action."""
    allowed, status = TRANSITIONS[action]
    if action == "pay" and order.expires_at and order.is_expired(now):
        CONFLICTS.labels(action).inc()
        message = f"Order {order.id} was not paid in time: place another one."
        raise OrderExpiredError(message, order_id=order.id, expires_at=instant(order.expires_at))
    if order.status not in allowed:
        CONFLICTS.labels(action).inc()
        message = f"Order {order.id} is {order.status}: it cannot become {status}."
        raise OrderStatusError(message, order_id=order.id, order_status=order.status, action=action)


def change_status(order: Order, status: str, now: datetime) -> WriteAnswer:
    """Set the status of a locked order, within a transaction; `cancelled` gives the stock back.

    Raises StockLimitError if the stock has no room for the returned units.
    """
    if status == "cancelled":
        returned = {line.product_id: line.quantity for line in order.lines}
        products.lock_products(returned)
        products.move_stock(returned)
    if status == "paid":
        order.expires_at = None
    order.client_address = None
    order.status = status
    order.updated_at = now
    setattr(order, f"{status}_at", now)
    db.session.flush()
    return WriteAnswer(order.id, dump(schema.dump(order)))


def database_time() -> datetime:
    """Return the time of PostgreSQL's clock, which times all orders."""
    now: datetime = db.session.scalars(select(func.clock_timestamp())).one()
    return now


def _not_found(order_id: int) -> NotFoundError:
    return NotFoundError(f"There is no order {order_id}.")
