from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields, validate

from shop.fields import (
    INTEGER_MAX,
    LINE,
    TEXT,
    Flag,
    Input,
    Instant,
    Money,
    Text,
    Whole,
    describe,
)
from shop.money import CURRENCIES

SKU = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
DESCRIPTION_MAX = 10_000

NAME = describe("Its name, in one line.", "Oak desk")
DESCRIPTION = describe("The text for buyers; it may have several lines.", "Seats two.")
A_SKU = describe("The shop's own code for it, which no other product has.", "FUR-0000043")
CURRENCY = describe(
    "The currency, by ISO 4217. Amounts have its decimal places: 100 JPY, 19.90 EUR, 1.250 KWD.",
    "EUR",
)
STOCK = describe("The units that can be sold.", 5)
CATEGORY_ID = describe("Its category.", 1)
ACTIVE = describe("True if it can be ordered.")


class ProductInput(Input):
    """A product, to create or to replace one."""

    name = Text(LINE, shortest=1, longest=200, required=True, metadata=NAME)
    description = Text(TEXT, longest=DESCRIPTION_MAX, load_default="", metadata=DESCRIPTION)
    sku = Text(SKU, shortest=1, longest=64, allow_none=True, load_default=None, metadata=A_SKU)
    price = Money(required=True, metadata=Money.INPUT)
    currency = fields.String(
        validate=validate.OneOf(CURRENCIES), load_default="EUR", metadata=CURRENCY
    )
    stock = Whole(0, required=True, metadata=STOCK)
    category_id = Whole(1, required=True, metadata=CATEGORY_ID)
    active = Flag(load_default=True, metadata=ACTIVE)


class ProductPatch(ProductInput):
    """The fields of a product to change; the others stay as they are."""

    EXAMPLE: ClassVar = {"price": "18.90"}

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class StockAdjustment(Input):
    """A change of the stock."""

    delta = Whole(
        -INTEGER_MAX,
        required=True,
        metadata=describe("The units that come to the stock; below 0, those that leave it.", -3),
    )


class ProductSchema(Schema):
    """A product of the catalogue."""

    id = Whole(1, required=True, metadata=describe("Its id.", 7))
    name = fields.String(required=True, metadata=NAME)
    description = fields.String(required=True, metadata=DESCRIPTION)
    sku = fields.String(required=True, allow_none=True, metadata=A_SKU)
    price = Money(required=True, metadata=describe("The price of one unit.") | Money.OUTPUT)
    currency = fields.String(required=True, metadata=CURRENCY)
    stock = Whole(0, required=True, metadata=STOCK)
    category_id = Whole(1, required=True, metadata=CATEGORY_ID)
    active = Flag(required=True, metadata=ACTIVE)
    created_at = Instant(required=True, metadata=Instant.CREATED)
    updated_at = Instant(required=True, metadata=Instant.UPDATED)
