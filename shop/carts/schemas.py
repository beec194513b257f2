from __future__ import annotations

from enum import Enum

from marshmallow import Schema, fields

from shop.config import QUANTITY_MAX
from shop.fields import Input, Money, Whole, describe
from shop.products.schemas import CURRENCY, ProductSchema

QUANTITY = describe("The units of it.", 2)


class State(Enum):
    """Whether an item can be had now."""

    AVAILABLE = "available"
    SHORT = "short"  # of stock
    INACTIVE = "inactive"
    GONE = "gone"


class CartItemInput(Input):
    """How much of a product the cart is to have."""

    quantity = Whole(1, QUANTITY_MAX, required=True, metadata=QUANTITY)


class CartItemSchema(Schema):
    """A product in the cart, and whether it can be had now."""

    product_id = Whole(1, required=True, metadata=describe("The product's id.", 7))
    quantity = Whole(1, required=True, metadata=QUANTITY)
    state = fields.Enum(
        State,
        by_value=True,
        required=True,
        metadata=describe(
            "Whether it can be had: `short` where the stock is less than the quantity, `inactive` "
            "where it is not sold now, `gone` where it is no more in the catalogue."
        ),
    )
    total = Money(
        required=True,
        allow_none=True,
        metadata=Money.SUM | describe("Price times quantity; null unless it is available."),
    )
    product = fields.Nested(
        ProductSchema,
        required=True,
        allow_none=True,
        metadata=describe("The product as it is now; null if it is inactive or gone."),
    )


class CartTotalSchema(Schema):
    """What the items of one currency cost together."""

    currency = fields.String(required=True, metadata=CURRENCY)
    total = Money(
        required=True, metadata=Money.SUM | describe("The sum of the items that are available.")
    )


class CartSchema(Schema):
    """What a session is about to order, at the prices of now."""

    items = fields.List(
        fields.Nested(CartItemSchema),
        required=True,
        metadata=describe("The items, in the order in which they were put in."),
    )
    totals = fields.List(
        fields.Nested(CartTotalSchema),
        required=True,
        metadata=describe("The sums of the items that are available, by currency."),
    )
