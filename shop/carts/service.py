"""Carts: read and change the items of a session, and check them out as an order.

The items of a cart are in the database alone. Their products are read from the cache.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from shop.config import LINES_MAX
from shop.extensions import cache, db
from shop.money import amount_text
from shop.orders import open_orders
from shop.orders import service as orders
from shop.orders.open_orders import Buyer
from shop.pages import dump
from shop.problems import CartEmptyError, CartFullError, NotForSaleError, NotFoundError
from shop.products import service as products
from shop.sessions import service as sessions

from .models import CartItem
from .schemas import ItemState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.idempotency import IdempotentRequest, WriteAnswer


def cart(session_id: int) -> bytes:
    """Return the document of the cart; its items are in the order in which they were added."""
    items = _items(session_id)
    documents = products.product_documents([item.product_id for item in items])
    found = {product_id: orjson.loads(document) for product_id, document in documents.items()}
    rows = [_row(item, found.get(item.product_id)) for item in items]
    return dump({"items": rows, "totals": _totals(rows)})


def _items(session_id: int) -> Sequence[CartItem]:
    of_session = select(CartItem).where(CartItem.session_id == session_id)
    ordered = of_session.order_by(CartItem.added_at, CartItem.product_id)
    return db.session.scalars(ordered.execution_options(populate_existing=True)).all()


def _row(item: CartItem, product: dict[str, Any] | None) -> dict[str, Any]:
    state = _state(item.quantity, product)
    total = None
    if product and state is ItemState.AVAILABLE:
        total = amount_text(Decimal(product["price"]) * item.quantity, product["currency"])
    return {
        "product_id": item.product_id,
        "quantity": item.quantity,
        "state": state.value,
        "total": total,
        "product": None if state is ItemState.INACTIVE else product,
    }


def _state(quantity: int, product: dict[str, Any] | None) -> ItemState:
    if product is None:
        return ItemState.GONE
    if not product["active"]:
        return ItemState.INACTIVE
    return ItemState.AVAILABLE if quantity <= product["stock"] else ItemState.SHORT


def _totals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    sums: dict[str, Decimal] = {}
    for row in rows:
        if row["total"]:
            currency = row["product"]["currency"]
            sums[currency] = sums.get(currency, Decimal(0)) + Decimal(row["total"])
    return [{"currency": one, "total": amount_text(sums[one], one)} for one in sorted(sums)]


def put_item(session_id: int, product_id: int, quantity: int) -> bytes:
    """Set the quantity of a product in the cart, and return the cart.

    The stock is not reserved. Raises SessionEndedError, NotFoundError, NotForSaleError,
    CartFullError.
    """
    _check_product(product_id)
    with cache.transaction():
        sessions.lock_session(session_id)
        _check_room(session_id, product_id)
        item = insert(CartItem).values(
            session_id=session_id, product_id=product_id, quantity=quantity
        )
        db.session.execute(
            item.on_conflict_do_update(
                index_elements=[CartItem.session_id, CartItem.product_id],
                set_={"quantity": quantity},
            )
        )
    return cart(session_id)


def _check_product(product_id: int) -> None:
    product = orjson.loads(products.any_product(product_id))
    if not product["active"]:
        raise NotForSaleError(f"Product {product_id} is not sold now.", product_id=product_id)


def _check_room(session_id: int, product_id: int) -> None:
    others = select(func.count()).where(
        CartItem.session_id == session_id, CartItem.product_id != product_id
    )
    if (db.session.scalar(others) or 0) >= LINES_MAX:
        raise CartFullError(f"A cart has {LINES_MAX} items at most.", limit=LINES_MAX)


def remove_item(session_id: int, product_id: int) -> None:
    """Remove a product from the cart.

    Raises SessionEndedError, NotFoundError for a product that is not in the cart.
    """
    of_session = delete(CartItem).where(CartItem.session_id == session_id)
    statement = of_session.where(CartItem.product_id == product_id).returning(CartItem.product_id)
    with cache.transaction():
        sessions.lock_session(session_id)
        removed = db.session.scalar(statement)
    if not removed:
        raise NotFoundError(f"Product {product_id} is not in the cart.")


def check_out(
    session_id: int, client_address: str, customer: Mapping[str, str], once: IdempotentRequest
) -> WriteAnswer:
    """Order all items of the cart and empty it, or do neither.

    Raises SessionEndedError, CartEmptyError, and the errors of `orders.add_order`.
    """
    buyer = Buyer(session_id, client_address)
    with cache.transaction():
        answer = once.carry_out(lambda: _order_items(buyer, customer))
    orders.publish_event(answer, "placed")
    return answer


def _order_items(buyer: Buyer, customer: Mapping[str, str]) -> WriteAnswer:
    open_orders.lock_address(buyer)
    sessions.lock_session(buyer.session_id)
    lines = [
        {"product_id": item.product_id, "quantity": item.quantity}
        for item in _items(buyer.session_id)
    ]
    if not lines:
        raise CartEmptyError("The cart is empty.")
    answer = orders.add_order(customer, lines, field="items", buyer=buyer)
    db.session.execute(delete(CartItem).where(CartItem.session_id == buyer.session_id))
    return answer
