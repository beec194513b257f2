"""Orders: placing them, their states, and reading them. They are never cached.

An order takes from the stock of products, and so every sale forgets the products that it sells.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import func, select, tuple_

from shop.extensions import cache, db
from shop.idempotency import Answer
from shop.pages import dump
from shop.problems import (
    InvalidFieldsError,
    MixedCurrenciesError,
    NotFoundError,
    OrderStatusError,
    OutOfStockError,
)
from shop.products import service as products

from . import leaderboard
from .metrics import CONFLICTS, ORDERS, REFUSED_LINES
from .models import Customer, Order, OrderLine
from .schemas import OrderSchema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shop.idempotency import Once
    from shop.problems import FieldError
    from shop.products.models import Product

    Line = Mapping[str, int]  # product_id, quantity

schema = OrderSchema()

# What can be done with an order: from which statuses, and to which.
TRANSITIONS = {
    "pay": ({"pending"}, "paid"),
    "ship": ({"paid"}, "shipped"),
    "deliver": ({"shipped"}, "delivered"),
    "cancel": ({"pending", "paid"}, "cancelled"),
}


def order(order_id: int) -> bytes:
    """Return an order's document. Raises NotFoundError."""
    found = db.session.get(Order, order_id)
    if found is None:
        raise _not_found(order_id)
    return dump(schema.dump(found))


def page(query: Mapping[str, Any]) -> tuple[bytes, int | None]:
    """Return orders, newest first, and the last one's id if more follow.

    Raises InvalidFieldsError for `after` an order that is not there.
    """
    limit = query["limit"]
    found = db.session.scalars(_matching(query).limit(limit + 1)).all()
    items = schema.dump(found[:limit], many=True)
    last = found[limit - 1].id if len(found) > limit else None
    return dump({"items": items, "limit": limit}), last


def _matching(query: Mapping[str, Any]) -> Any:
    statement = select(Order).order_by(Order.created_at.desc(), Order.id.desc())
    if status := query.get("status"):
        statement = statement.where(Order.status == status)
    if email := query.get("customer"):
        statement = statement.where(func.lower(Order.customer_email) == func.lower(email))
    if since := query.get("since"):
        statement = statement.where(Order.created_at >= since)
    if until := query.get("until"):
        statement = statement.where(Order.created_at < until)
    if after := query.get("after"):
        statement = statement.where(tuple_(Order.created_at, Order.id) < _place(after))
    return statement


def _place(order_id: int) -> Any:
    """Return where in the list an order stands, which holds however many come before it."""
    created_at = db.session.scalar(select(Order.created_at).where(Order.id == order_id))
    if created_at is None:
        message = f"There is no order {order_id}."
        raise InvalidFieldsError(message, {"after": message})
    return tuple_(created_at, order_id)


def place_order(values: Mapping[str, Any], once: Once) -> Answer:
    """Take the stock of all lines, and make an order of them, or neither.

    Raises what `add_order` raises.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: add_order(values["customer"], values["lines"]))
    announce(answer, "placed")
    return answer


def announce(answer: Answer, event: str) -> None:
    """Tell, after the commit, the metrics and the leaderboard what became of an order."""
    if answer.replayed:
        return
    ORDERS.labels(event).inc()
    if event in {"placed", "cancelled"}:
        leaderboard.feed(orjson.loads(answer.body), 1 if event == "placed" else -1)


def add_order(
    customer: Mapping[str, str], lines: Sequence[Line], *, field: str = "lines"
) -> Answer:
    """Do that within a transaction, which is to be rolled back if this raises.

    Raises InvalidFieldsError for unknown products, MixedCurrenciesError, OutOfStockError for
    products that are inactive or short; all name the lines, as those of the caller's `field`.
    """
    found = products.lock_products([line["product_id"] for line in lines])
    _check(lines, found, field)
    products.move_stock({line["product_id"]: -line["quantity"] for line in lines})
    new = Order(customer=Customer(**customer), currency=_currency(found))
    new.lines = [
        _line(position, found[line["product_id"]], line["quantity"])
        for position, line in enumerate(lines)
    ]
    new.total = sum((line.total for line in new.lines), Decimal(0))
    db.session.add(new)
    db.session.flush()
    return Answer(new.id, dump(schema.dump(new)))


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


def _check(lines: Sequence[Line], found: Mapping[int, Product], field: str) -> None:
    """Raise the error that tells of every line what is wrong with it."""
    for wrong_lines, kind, message in (
        (_unknown, InvalidFieldsError, "The order has lines that are not valid."),
        (_other_currencies, MixedCurrenciesError, "All lines of an order are in one currency."),
        (_unavailable, OutOfStockError, "Not all lines can be had."),
    ):
        if wrong := dict(wrong_lines(lines, found)):
            raise kind(message, {f"{field}.{path}": what for path, what in wrong.items()})


def _unknown(
    lines: Sequence[Line], found: Mapping[int, Product]
) -> Iterable[tuple[str, FieldError]]:
    for position, line in enumerate(lines):
        if line["product_id"] not in found:
            REFUSED_LINES.labels("unknown").inc()
            yield f"{position}.product_id", f"There is no product {line['product_id']}."


def _other_currencies(
    lines: Sequence[Line], found: Mapping[int, Product]
) -> Iterable[tuple[str, FieldError]]:
    first = found[lines[0]["product_id"]].currency
    for position, line in enumerate(lines):
        product = found[line["product_id"]]
        if product.currency != first:
            REFUSED_LINES.labels("currency").inc()
            message = f"Product {product.id} is sold in {product.currency}, the first in {first}."
            yield f"{position}.product_id", message


def _unavailable(
    lines: Sequence[Line], found: Mapping[int, Product]
) -> Iterable[tuple[str, FieldError]]:
    for position, line in enumerate(lines):
        product = found[line["product_id"]]
        if not product.active:
            REFUSED_LINES.labels("inactive").inc()
            message = f"Product {product.id} is not sold now."
            wrong = {"detail": message, "product_id": product.id, "available": 0}
            yield f"{position}.product_id", wrong
        elif product.stock < line["quantity"]:
            REFUSED_LINES.labels("stock").inc()
            message = f"Product {product.id} has a stock of {product.stock}."
            wrong = {"detail": message, "product_id": product.id, "available": product.stock}
            yield f"{position}.quantity", wrong


def move_order(order_id: int, action: str, once: Once) -> Answer:
    """Bring an order to the status that the action leads to; `cancel` gives the stock back.

    Raises NotFoundError, OrderStatusError.
    """
    with cache.transaction():
        answer = once.carry_out(lambda: _move(order_id, action))
    announce(answer, TRANSITIONS[action][1])
    return answer


def _move(order_id: int, action: str) -> Answer:
    found = db.session.get(Order, order_id, with_for_update=True)
    if found is None:
        raise _not_found(order_id)
    allowed, status = TRANSITIONS[action]
    if found.status not in allowed:
        CONFLICTS.labels(action).inc()
        message = f"Order {order_id} is {found.status}: it cannot become {status}."
        raise OrderStatusError(message, order_id=order_id, order_status=found.status, action=action)
    if action == "cancel":
        back = {line.product_id: line.quantity for line in found.lines}
        products.lock_products(back)
        products.move_stock(back)
    found.status = status
    found.updated_at = db.session.scalars(select(func.clock_timestamp())).one()
    setattr(found, f"{status}_at", found.updated_at)
    db.session.flush()
    return Answer(found.id, dump(schema.dump(found)))


def _not_found(order_id: int) -> NotFoundError:
    return NotFoundError(f"There is no order {order_id}.")
