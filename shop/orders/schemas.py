from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from shop.config import LINES_MAX, ORDERS_PAGE_SIZE, QUANTITY_MAX
from shop.fields import (
    EMAIL,
    ID_MAX,
    LINE,
    PAGE_SIZE,
    TEXT,
    BoundedList,
    Input,
    Instant,
    Money,
    Text,
    Whole,
    WholeText,
    describe,
)
from shop.products.schemas import A_SKU, CURRENCY

from .models import CANCEL_REASONS, STATUSES

CUSTOMER_NAME = describe("The name of who buys, in one line.", "Sample Customer")
CUSTOMER_EMAIL = describe("The e-mail address of who buys.", "customer@example.com")
CUSTOMER_ADDRESS = describe(
    "Where it is sent; it may have several lines.", "1 Market Street, Exampleton"
)
ORDER_ID = describe("Its id.", 2001, format="int64")
AFTER = describe("The id of the last order of the page before.", 2001, format="int64")
PRODUCT_ID = describe("The product's id.", 7)
QUANTITY = describe("The units of it.", 2)
STATUS = describe("How far the order is.", STATUSES[0])
CANCEL_REASON = describe(
    "Why it is cancelled: requested by a call, or expired without having been paid; else null.",
    "expired",
)
EXPIRES_AT = describe(
    "It is cancelled if it is not paid by then; null if it does not end by itself, as one that is "
    "paid.",
    "2026-03-01T13:00:00Z",
)


class CustomerInput(Input):
    """Who buys."""

    name = Text(LINE, shortest=1, longest=200, required=True, metadata=CUSTOMER_NAME)
    email = Text(EMAIL, longest=254, required=True, metadata=CUSTOMER_EMAIL)
    address = Text(TEXT, longest=1000, load_default="", metadata=CUSTOMER_ADDRESS)


class OrderLineInput(Input):
    """How much of a product is ordered."""

    product_id = Whole(1, required=True, metadata=PRODUCT_ID)
    quantity = Whole(1, QUANTITY_MAX, required=True, metadata=QUANTITY)


class CheckoutInput(Input):
    """Who buys what is in the cart."""

    customer = fields.Nested(CustomerInput, required=True, metadata=describe("Who buys."))


class OrderInput(CheckoutInput):
    """Who buys what; each product is in one line."""

    lines = BoundedList(
        fields.Nested(OrderLineInput),
        least=1,
        most=LINES_MAX,
        required=True,
        metadata=describe("What is ordered; no two lines have the same product."),
    )

    @validates_schema
    def _each_product_once(self, order: dict[str, Any], **_: Any) -> None:
        seen: dict[int, int] = {}
        for position, line in enumerate(order["lines"]):
            first = seen.setdefault(line["product_id"], position)
            if first != position:
                message = f"Product {line['product_id']} is in line {first} already."
                raise ValidationError({"lines": {position: {"product_id": [message]}}})


class OrderQuery(Schema):
    """Which orders, newest first."""

    status = fields.String(validate=validate.OneOf(STATUSES), metadata=STATUS)
    customer = Text(EMAIL, longest=254, metadata=CUSTOMER_EMAIL)
    since = Instant(metadata=Instant.INPUT | describe("Those placed then or later."))
    until = Instant(metadata=Instant.INPUT | describe("Those placed before."))
    after = WholeText(1, ID_MAX, metadata=AFTER)
    limit = WholeText(1, ORDERS_PAGE_SIZE[1], load_default=ORDERS_PAGE_SIZE[0], metadata=PAGE_SIZE)


class CustomerSchema(Schema):
    """Who has bought."""

    name = fields.String(required=True, metadata=CUSTOMER_NAME)
    email = fields.String(required=True, metadata=CUSTOMER_EMAIL)
    address = fields.String(required=True, metadata=CUSTOMER_ADDRESS)


def _since(status: str) -> dict[str, Any]:
    return Instant.OUTPUT | describe(f"When it was {status}; null if it was not.")


class OrderLineSchema(Schema):
    """The product as it was when it was ordered."""

    product_id = Whole(1, required=True, metadata=PRODUCT_ID)
    sku = fields.String(required=True, allow_none=True, metadata=A_SKU)
    name = fields.String(required=True, metadata=describe("What it was called.", "Oak desk"))
    price = Money(required=True, metadata=Money.OUTPUT | describe("The price of one unit."))
    quantity = Whole(1, required=True, metadata=QUANTITY)
    total = Money(required=True, metadata=Money.SUM | describe("Price times quantity."))


class OrderSchema(Schema):
    """An order, and when it got how far."""

    id = Whole(1, ID_MAX, required=True, metadata=ORDER_ID)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES), metadata=STATUS)
    customer = fields.Nested(CustomerSchema, required=True, metadata=describe("Who has bought."))
    currency = fields.String(required=True, metadata=CURRENCY)
    total = Money(required=True, metadata=Money.SUM | describe("The sum of the lines."))
    lines = fields.List(
        fields.Nested(OrderLineSchema), required=True, metadata=describe("What was ordered.")
    )
    created_at = Instant(required=True, metadata=Instant.CREATED)
    updated_at = Instant(required=True, metadata=Instant.UPDATED)
    paid_at = Instant(required=True, allow_none=True, metadata=_since("paid"))
    shipped_at = Instant(required=True, allow_none=True, metadata=_since("shipped"))
    delivered_at = Instant(required=True, allow_none=True, metadata=_since("delivered"))
    cancelled_at = Instant(required=True, allow_none=True, metadata=_since("cancelled"))
    cancel_reason = fields.String(
        required=True,
        allow_none=True,
        validate=validate.OneOf((*CANCEL_REASONS, None)),
        metadata=CANCEL_REASON,
    )
    expires_at = Instant(required=True, allow_none=True, metadata=Instant.OUTPUT | EXPIRES_AT)


class OrderPageSchema(Schema):
    """A page of orders, newest first."""

    items = fields.List(fields.Nested(OrderSchema), required=True, metadata=describe("The orders."))
    limit = Whole(1, required=True, metadata=PAGE_SIZE)
