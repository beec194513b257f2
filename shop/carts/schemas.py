from __future__ import annotations

from enum import Enum

from marshmallow import Schema, fields

from shop.config import QUANTITY_MAX
from shop.fields import Money, Whole
from shop.products.schemas import ProductSchema


class State(Enum):
    """Whether an item can be had now."""

    AVAILABLE = "available"
    SHORT = "short"  # of stock
    INACTIVE = "inactive"
    GONE = "gone"


class ItemInput(Schema):
    quantity = Whole(1, QUANTITY_MAX, required=True)


class ItemSchema(Schema):
    product_id = Whole(1, required=True)
    quantity = Whole(1, required=True)
    state = fields.Enum(State, by_value=True, required=True)
    total = Money(
        required=True, allow_none=True, metadata=Money.SUM | {"description": "If it is available."}
    )
    product = fields.Nested(
        ProductSchema, required=True, allow_none=True, metadata={"description": "As it is now."}
    )


class TotalSchema(Schema):
    currency = fields.String(required=True, metadata={"description": "ISO 4217"})
    total = Money(required=True, metadata=Money.SUM)


class CartSchema(Schema):
    items = fields.List(fields.Nested(ItemSchema), required=True)
    totals = fields.List(
        fields.Nested(TotalSchema),
        required=True,
        metadata={"description": "Of the items that are available, by currency."},
    )
