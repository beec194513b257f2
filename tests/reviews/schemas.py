from __future__ import annotations

from marshmallow import Schema, fields

from shop.fields import LINE, Input, Text, Whole, describe

TEXT = describe("What a buyer says of the product.", "It is sharp.")
PRODUCT = describe("The product that is reviewed.", 1)


class ReviewInput(Input):
    """A review to publish."""

    product_id = Whole(1, required=True, metadata=PRODUCT)
    text = Text(LINE, shortest=1, longest=1000, required=True, metadata=TEXT)


class ReviewSchema(Schema):
    """A review of a product."""

    id = Whole(1, required=True, metadata=describe("Its id.", 1))
    product_id = Whole(1, required=True, metadata=PRODUCT)
    text = fields.String(required=True, metadata=TEXT)
