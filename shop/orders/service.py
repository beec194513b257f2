"""Orders: placing them, their states, and reading them. They are never cached.

An order takes from the stock of products, and so every sale forgets the products that it sells.
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

from . import caps, leaderboard
from .lines import check_lines
from .metrics import CONFLICTS, ORDERS
from .models import Customer, Order, OrderLine
from .schemas import OrderSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from shop.idempotency import IdempotentRequest
    from shop.products.models import Product

    from .caps import Buyer
    from .lines import Line

schema = OrderSchema()

# What can be done with an order: from which statuses, and to which.
TRANSITIONS = {
    "pay": ({"pending"}, "paid"),
    "ship": ({"paid"}, "shipped"),
    "deliver": ({"shipped"}, "delivered"),
    "cancel": ({"pending", "paid"}, "cancelled"),
}

# What becomes of an order: what the leaderboard makes of it.
COUNTED = {"placed": 1, "cancelled": -1, "expired": -1}


def order(order_id: int, reader: int | None) -> bytes:
    """Return an order's document. Raises NotFoundError.

    The reader is a session, which sees what was checked out with it, or None, who sees all.
    """
    found = db.session.scalar(select(Order).where(Order.id == order_id, _seen_by(reader)))
    if found is None:
        raise _not_found(order_id)
    return dump(schema.dump(found))


def page(query: Mapping[str, Any], reader: int | None) -> tuple[bytes, int | None]:
    """Return the orders that a reader sees, newest first, and the last one's id if more follow.

    Raises InvalidFieldsError for `after` an order that is not there.
    """
    limit = query["limit"]
    found = db.session.scalars(_matching(query, reader).limit(limit + 1)).all()
    items = schema.dump(found[:limit], many=True)
    last = found[limit - 1].id if len(found) > limit else None
    return dump({"items": items, "limit": limit}), last


def _seen_by(reader: int | None) -> ColumnElement[bool]:
    """Return the condition on orders that a reader sees: an order of others is one that is not."""
    return true() if reader is None else Order.session_id == reader


def _matching(query: Mapping[str, Any], reader: int | None) -> Any:
    newest_first = Order.created_at.desc(), Order.id.desc()
    statement = select(Order).where(_seen_by(reader)).order_by(*newest_first)
    if status := query.get("status"):
        statement = statement.where(Order.status == status)
    if email := query.get("customer"):
        statement = statement.where(func.lower(Order.customer_email) == func.lower(email))
    if since := query.get("since"):
        statement = statement.where(Order.created_at >= since)
    if until := query.get("until"):
        statement = statement.where(Order.created_at < until)
    if after := query.get("after"):
        statement = statement.where(tuple_(Order.created_at, Order.id) < _place(after, reader))
    return statement


def _place(order_id: int, reader: int | None) -> Any:
    """Return where in the list an order stands, which holds however many come before it."""
    found = select(Order.created_at).where(Order.id == order_id, _seen_by(reader))
    created_at = db.session.scalar(found)
    if created_at is None:
        message = f"There is no order {order_id}."
        raise InvalidFieldsError(message, {"after": message})
    return tuple_(created_at, order_id)


def place_order(values: Mapping[str, Any], once: IdempotentRequest) -> WriteAnswer:
    """Take the stock of all lines, and make an order of them, or neither.

    Raises what `add_order` raises.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: add_order(values["customer"], values["lines"]))
    announce(answer, "placed")
    return answer


def announce(answer: WriteAnswer, event: str) -> None:
    """Tell metrics, leaderboard and cache, after the commit, what became of an order."""
    if answer.replayed:
        return
    ORDERS.labels(event).inc()
    if sign := COUNTED.get(event):
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
    """Do that within a transaction, which is to be rolled back if this raises.

    Raises what `check_lines` raises. A buyer without a key has taken their turn: then also what
    `caps.check` raises.
    """
    if buyer:
        caps.check(buyer)
    found = products.lock_products([line["product_id"] for line in lines])
    check_lines(lines, found, field)
    products.move_stock({line["product_id"]: -line["quantity"] for line in lines})
    new = Order(customer=Customer(**customer), currency=_currency(found), expires_at=_end())
    if buyer:
        new.session_id, new.client_address = buyer.session_id, caps.remembered(buyer)
    new.lines = [
        _line(position, found[line["product_id"]], line["quantity"])
        for position, line in enumerate(lines)
    ]
    new.total = sum((line.total for line in new.lines), Decimal(0))
    db.session.add(new)
    db.session.flush()
    return WriteAnswer(new.id, dump(schema.dump(new)))


def _end() -> Any:
    """Return by when an order that is placed now is to be paid."""
    seconds = current_settings().order_payment_seconds
    return func.now() + timedelta(seconds=seconds) if seconds else None


def _line(position: int, product: Product, quantity: int) -> OrderLine:
    return OrderLine(
        product_id=product.id,
        position=position,
        sku=product.sku,
        name=product.name,
        price=product.price,
        quantity=quantity,
    )


def _currency(found: Mapping[int, Product]) -> str:
    return next(iter(found.values())).currency


def move_order(order_id: int, action: str, once: IdempotentRequest) -> WriteAnswer:
    """Bring an order to the status that the action leads to; `cancel` gives the stock back.

    Raises NotFoundError, OrderStatusError, OrderExpiredError, StockLimitError.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: _move(order_id, action))
    announce(answer, TRANSITIONS[action][1])
    return answer


def _move(order_id: int, action: str) -> WriteAnswer:
    found = db.session.get(Order, order_id, with_for_update=True)
    if found is None:
        raise _not_found(order_id)
    now = database_time()
    _check_step(found, action, now)
    return change_status(found, TRANSITIONS[action][1], now)


def _check_step(found: Order, action: str, now: datetime) -> None:
    """Raise the error that says why a locked order does not allow a step."""
    allowed, status = TRANSITIONS[action]
    if action == "pay" and found.expires_at and found.is_expired(now):
        CONFLICTS.labels(action).inc()
        message = f"Order {found.id} was not paid in time: place another one."
        raise OrderExpiredError(message, order_id=found.id, expires_at=instant(found.expires_at))
    if found.status not in allowed:
        CONFLICTS.labels(action).inc()
        message = f"Order {found.id} is {found.status}: it cannot become {status}."
        raise OrderStatusError(message, order_id=found.id, order_status=found.status, action=action)


def change_status(found: Order, status: str, now: datetime) -> WriteAnswer:
    """Let a locked order have a status, within a transaction; `cancelled` gives the stock back.

    Raises StockLimitError where the stock has no room for that.
    """
    if status == "cancelled":
        back = {line.product_id: line.quantity for line in found.lines}
        products.lock_products(back)
        products.move_stock(back)
    if status == "paid":
        found.expires_at = None
    found.client_address = None
    found.status = status
    found.updated_at = now
    setattr(found, f"{status}_at", now)
    db.session.flush()
    return WriteAnswer(found.id, dump(schema.dump(found)))


def database_time() -> datetime:
    """Return what all orders are timed by: the clock of PostgreSQL, as of now."""
    now: datetime = db.session.scalars(select(func.clock_timestamp())).one()
    return now


def _not_found(order_id: int) -> NotFoundError:
    return NotFoundError(f"There is no order {order_id}.")
