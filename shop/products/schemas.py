from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from shop.fields import INTEGER_MAX, LINE, TEXT, Flag, Instant, Money, Text, Whole

from .currencies import CURRENCIES

SKU = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
DESCRIPTION_MAX = 10_000


class ProductInput(Schema):
    """What a client writes; a field with a default may be left out."""

    name = Text(LINE, shortest=1, longest=200, required=True, metadata={"example": "Oak desk"})
    description = Text(TEXT, longest=DESCRIPTION_MAX, load_default="")
    sku = Text(SKU, shortest=1, longest=64, allow_none=True, load_default=None)
    price = Money(required=True, metadata=Money.INPUT)
    currency = fields.String(validate=validate.OneOf(CURRENCIES), load_default="EUR")
    stock = Whole(0, required=True)
    category_id = Whole(1, required=True)
    active = Flag(load_default=True)


class ProductChanges(ProductInput):
    """Any of those fields, alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class StockChange(Schema):
    """What comes to the stock, or leaves it."""

    delta = Whole(-INTEGER_MAX, required=True, metadata={"example": -3})


class ProductSchema(Schema):
    id = Whole(1, required=True)
    name = fields.String(required=True)
    description = fields.String(required=True)
    sku = fields.String(required=True, allow_none=True)
    price = Money(required=True, metadata=Money.OUTPUT)
    currency = fields.String(required=True, metadata={"description": "ISO 4217"})
    stock = Whole(0, required=True)
    category_id = Whole(1, required=True)
    active = Flag(required=True)
    created_at = Instant(required=True, metadata=Instant.OUTPUT)
    updated_at = Instant(required=True, metadata=Instant.OUTPUT)


class ProductPageSchema(Schema):
    items = fields.List(fields.Nested(ProductSchema), required=True)
    skip = Whole(0, required=True)
    limit = Whole(1, required=True)
