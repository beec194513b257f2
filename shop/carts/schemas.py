from __future__ import annotations

from enum import Enum

from marshmallow import Schema, fields

from shop.config import QUANTITY_MAX
from shop.fields import Input, Money, Whole, describe
from shop.products.schemas import CURRENCY, ProductSchema

QUANTITY = describe("The number of units.", 2)


class ItemState(Enum):
    """The availability of an item in a cart."""

    AVAILABLE = "available"
    SHORT = "short"  # the stock is less than the quantity
    INACTIVE = "inactive"
    GONE = "gone"


class CartItemInput(Input):
    """The quantity of a product to have in the cart."""

    quantity = Whole(1, QUANTITY_MAX, required=True, metadata=QUANTITY)


class CartItemSchema(Schema):
    """An item of a cart: a product, its quantity, and its availability."""

    product_id = Whole(1, required=True, metadata=describe("The id of the product.", 7))
    quantity = Whole(1, required=True, metadata=QUANTITY)
    state = fields.Enum(
        ItemState,
        by_value=True,
        required=True,
        metadata=describe(
            "The availability: `available`; `short` if the stock is less than the quantity; "
            "`inactive` if the product is not sold now; `gone` if it is deleted."
        ),
    )
    total = Money(
        required=True,
        allow_none=True,
        metadata=Money.SUM | describe("Price times quantity; null unless the item is available."),
    )
    product = fields.Nested(
        ProductSchema,
        required=True,
        allow_none=True,
        metadata=describe("The product as it is now; null if it is inactive or deleted."),
    )


class CartTotalSchema(Schema):
    """The sum of the available items in one currency."""

    currency = fields.String(required=True, metadata=CURRENCY)
    total = Money(required=True, metadata=Money.SUM | describe("The sum of the available items."))


class CartSchema(Schema):
    """The cart of a session, at the current prices."""

    items = fields.List(
        fields.Nested(CartItemSchema),
        required=True,
        metadata=describe("The items, in the order in which they were added."),
    )
    totals = fields.List(
        fields.Nested(CartTotalSchema),
        required=True,
        metadata=describe("The sums of the available items, by currency."),
    )
