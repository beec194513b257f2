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

CUSTOMER_NAME = describe("The name of the buyer, in one line.", "Sample Customer")
CUSTOMER_EMAIL = describe("The e-mail address of the buyer.", "customer@example.com")
CUSTOMER_ADDRESS = describe(
    "The address to send the order to; it may have several lines.", "1 Market Street, Exampleton"
)
ORDER_ID = describe("The id of the order.", 2001, format="int64")
AFTER = describe("The id of the last order of the previous page.", 2001, format="int64")
PRODUCT_ID = describe("The id of the product.", 7)
QUANTITY = describe("The number of units.", 2)
STATUS = describe("The status of the order.", STATUSES[0])
CANCEL_REASON = describe(
    "Why the order is cancelled: `requested` by a call, or `expired` because it was not paid in "
    "time; null if it is not cancelled.",
    "expired",
)
EXPIRES_AT = describe(
    "The time at which the order is cancelled unless it is paid by then; null for an order that "
    "does not expire, such as a paid one.",
    "2026-03-01T13:00:00Z",
)


class CustomerInput(Input):
    """The buyer of an order."""

    name = Text(LINE, shortest=1, longest=200, required=True, metadata=CUSTOMER_NAME)
    email = Text(EMAIL, longest=254, required=True, metadata=CUSTOMER_EMAIL)
    address = Text(TEXT, longest=1000, load_default="", metadata=CUSTOMER_ADDRESS)


class OrderLineInput(Input):
    """A product to order, and the number of units."""

    product_id = Whole(1, required=True, metadata=PRODUCT_ID)
    quantity = Whole(1, QUANTITY_MAX, required=True, metadata=QUANTITY)


class CheckoutInput(Input):
    """The checkout of a cart: its buyer."""

    customer = fields.Nested(CustomerInput, required=True, metadata=describe("The buyer."))


class OrderInput(CheckoutInput):
    """An order to place: its buyer and lines; each product is in one line."""

    lines = BoundedList(
        fields.Nested(OrderLineInput),
        least=1,
        most=LINES_MAX,
        required=True,
        metadata=describe("The products to order; no two lines have the same product."),
    )

    @validates_schema
    def _check_products_differ(self, order: dict[str, Any], **_: Any) -> None:
        seen: dict[int, int] = {}
        for position, line in enumerate(order["lines"]):
            first = seen.setdefault(line["product_id"], position)
            if first != position:
                message = f"Product {line['product_id']} is in line {first} already."
                raise ValidationError({"lines": {position: {"product_id": [message]}}})


class OrderQuery(Schema):
    """The parameters of `GET /orders`."""

    status = fields.String(validate=validate.OneOf(STATUSES), metadata=STATUS)
    customer = Text(EMAIL, longest=254, metadata=CUSTOMER_EMAIL)
    since = Instant(
        metadata=Instant.INPUT | describe("Find orders that were placed at this time or later.")
    )
    until = Instant(
        metadata=Instant.INPUT | describe("Find orders that were placed before this time.")
    )
    after = WholeText(1, ID_MAX, metadata=AFTER)
    limit = WholeText(1, ORDERS_PAGE_SIZE[1], load_default=ORDERS_PAGE_SIZE[0], metadata=PAGE_SIZE)


class CustomerSchema(Schema):
    """The buyer of an order."""

    name = fields.String(required=True, metadata=CUSTOMER_NAME)
    email = fields.String(required=True, metadata=CUSTOMER_EMAIL)
    address = fields.String(required=True, metadata=CUSTOMER_ADDRESS)


def _time_of(status: str) -> dict[str, Any]:
    return Instant.OUTPUT | describe(f"When the order was {status}; null if it was not.")


class OrderLineSchema(Schema):
    """A line of an order: the product as it was when it was ordered."""

    product_id = Whole(1, required=True, metadata=PRODUCT_ID)
    sku = fields.String(required=True, allow_none=True, metadata=A_SKU)
    name = fields.String(required=True, metadata=describe("The name of the product.", "Oak desk"))
    price = Money(required=True, metadata=Money.OUTPUT | describe("The price of one unit."))
    quantity = Whole(1, required=True, metadata=QUANTITY)
    total = Money(required=True, metadata=Money.SUM | describe("Price times quantity."))


class OrderSchema(Schema):
    """An order, its status, and the time of each transition."""

    id = Whole(1, ID_MAX, required=True, metadata=ORDER_ID)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES), metadata=STATUS)
    customer = fields.Nested(CustomerSchema, required=True, metadata=describe("The buyer."))
    currency = fields.String(required=True, metadata=CURRENCY)
    total = Money(required=True, metadata=Money.SUM | describe("The sum of the lines."))
    lines = fields.List(
        fields.Nested(OrderLineSchema), required=True, metadata=describe("The lines of the order.")
    )
    created_at = Instant(required=True, metadata=Instant.CREATED)
    updated_at = Instant(required=True, metadata=Instant.UPDATED)
    paid_at = Instant(required=True, allow_none=True, metadata=_time_of("paid"))
    shipped_at = Instant(required=True, allow_none=True, metadata=_time_of("shipped"))
    delivered_at = Instant(required=True, allow_none=True, metadata=_time_of("delivered"))
    cancelled_at = Instant(required=True, allow_none=True, metadata=_time_of("cancelled"))
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
