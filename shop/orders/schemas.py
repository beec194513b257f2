from __future__ import annotations

from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from shop.config import LINES_MAX, ORDERS_LIMIT, QUANTITY_MAX
from shop.fields import EMAIL, LINE, TEXT, BoundedList, Instant, Money, Text, Whole, WholeText

from .models import STATUSES


class CustomerInput(Schema):
    name = Text(
        LINE, shortest=1, longest=200, required=True, metadata={"example": "Sample Customer"}
    )
    email = Text(EMAIL, longest=254, required=True, metadata={"example": "customer@example.com"})
    address = Text(TEXT, longest=1000, load_default="")


class LineInput(Schema):
    product_id = Whole(1, required=True)
    quantity = Whole(1, QUANTITY_MAX, required=True)


class CheckoutInput(Schema):
    """Who buys what is in the cart."""

    customer = fields.Nested(CustomerInput, required=True)


class OrderInput(CheckoutInput):
    """Who buys what; each product is in one line."""

    lines = BoundedList(fields.Nested(LineInput), least=1, most=LINES_MAX, required=True)

    @validates_schema
    def _each_product_once(self, order: dict[str, Any], **_: Any) -> None:
        seen: dict[int, int] = {}
        for position, line in enumerate(order["lines"]):
            first = seen.setdefault(line["product_id"], position)
            if first != position:
                message = f"Product {line['product_id']} is in line {first} already."
                raise ValidationError({"lines": {position: {"product_id": [message]}}})


class OrderQuery(Schema):
    """Which orders, newest first. A name that is misspelt is refused: it would find too many."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    customer = Text(EMAIL, longest=254, metadata={"description": "The customer's e-mail address."})
    since = Instant(metadata=Instant.INPUT)
    until = Instant(metadata=Instant.INPUT)
    after = WholeText(1, metadata={"description": "The last order of the page before."})
    limit = WholeText(1, ORDERS_LIMIT[1], load_default=ORDERS_LIMIT[0])


class CustomerSchema(Schema):
    name = fields.String(required=True)
    email = fields.String(required=True)
    address = fields.String(required=True)


class OrderLineSchema(Schema):
    """The product as it was when it was ordered."""

    product_id = Whole(1, required=True)
    sku = fields.String(required=True, allow_none=True)
    name = fields.String(required=True)
    price = Money(required=True, metadata=Money.OUTPUT)
    quantity = Whole(1, required=True)
    total = Money(required=True, metadata=Money.SUM)


class OrderSchema(Schema):
    id = Whole(1, required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    customer = fields.Nested(CustomerSchema, required=True)
    currency = fields.String(required=True, metadata={"description": "ISO 4217"})
    total = Money(required=True, metadata=Money.SUM)
    lines = fields.List(fields.Nested(OrderLineSchema), required=True)
    created_at = Instant(required=True, metadata=Instant.OUTPUT)
    updated_at = Instant(required=True, metadata=Instant.OUTPUT)
    paid_at = Instant(required=True, allow_none=True, metadata=Instant.OUTPUT)
    shipped_at = Instant(required=True, allow_none=True, metadata=Instant.OUTPUT)
    delivered_at = Instant(required=True, allow_none=True, metadata=Instant.OUTPUT)
    cancelled_at = Instant(required=True, allow_none=True, metadata=Instant.OUTPUT)


class OrderPageSchema(Schema):
    items = fields.List(fields.Nested(OrderSchema), required=True)
    limit = Whole(1, required=True)
