"""The answers of searches and lists."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from shop.categories.schemas import CategorySchema
from shop.config import SUGGESTIONS_MAX
from shop.fields import PAGE_SIZE, SKIPPED, Flag, Instant, Money, Whole, describe
from shop.products.schemas import CURRENCY, ProductSchema

COUNT = describe("The number of products.", 42)


class TotalSchema(Schema):
    """The number of products that were found."""

    count = Whole(0, required=True, metadata=describe("The number, up to 10,000.", 243))
    exact = Flag(required=True, metadata=describe("Whether there are no more than `count`."))


class CategoryCountSchema(Schema):
    """The number of products in a category."""

    id = Whole(1, required=True, metadata=describe("The id of the category.", 3))
    count = Whole(1, required=True, metadata=COUNT)


class PriceCountSchema(Schema):
    """The number of products with a price in a range."""

    currency = fields.String(required=True, metadata=CURRENCY)
    from_ = Money(
        required=True,
        data_key="from",
        metadata=Money.OUTPUT | describe("The lowest price of the range."),
    )
    to = Money(required=True, metadata=Money.OUTPUT | describe("The highest price of the range."))
    count = Whole(1, required=True, metadata=COUNT)


class StockCountSchema(Schema):
    """The numbers of products that are in stock, and that are not."""

    true = Whole(0, required=True, metadata=COUNT)
    false = Whole(0, required=True, metadata=COUNT)


class FacetsSchema(Schema):
    """The number of products for each value of a filter, with all other filters applied."""

    category = fields.List(
        fields.Nested(CategoryCountSchema),
        metadata=describe("Counts by category; `GET /categories` has the names."),
    )
    price = fields.List(
        fields.Nested(PriceCountSchema), metadata=describe("Counts by price range.")
    )
    in_stock = fields.Nested(StockCountSchema, metadata=describe("Counts by stock."))


class MissingSchema(Schema):
    """The ids and SKUs of the request that name no product."""

    ids = fields.List(
        Whole(1, metadata=describe("An id.", 99999)),
        required=True,
        metadata=describe("Ids of no product that the caller may see."),
    )
    skus = fields.List(
        fields.String(metadata=describe("A SKU.", "FUR-9999999")),
        required=True,
        metadata=describe("SKUs of no product that the caller may see."),
    )


class ListedProductSchema(ProductSchema):
    """A product: the members that `fields` names, and its category with `include=category`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)

    category = fields.Nested(
        CategorySchema, metadata=describe("The category of the product, with `include=category`.")
    )


class ProductPageSchema(Schema):
    """A page of products, with the total, facets and missing names of the request."""

    items = fields.List(
        fields.Nested(ListedProductSchema), required=True, metadata=describe("The products.")
    )
    skip = Whole(0, metadata=SKIPPED)
    limit = Whole(1, metadata=PAGE_SIZE)
    as_of = Instant(
        metadata=Instant.OUTPUT
        | describe("The time of the sales report, with `sort=best_selling`.")
    )
    total = fields.Nested(
        TotalSchema, metadata=describe("The number of products, with `total=true`.")
    )
    facets = fields.Nested(
        FacetsSchema, metadata=describe("The counts of the facets that `facets` names.")
    )
    missing = fields.Nested(
        MissingSchema, metadata=describe("The names of `id` and `sku` that name no product.")
    )


class ListedCategorySchema(CategorySchema):
    """A category, and its number of products with `include=counts`."""

    product_count = Whole(
        0, metadata=describe("The number of its active products, with `include=counts`.", 42)
    )


class CategoryPageSchema(Schema):
    """A page of categories, in the order of their ids."""

    items = fields.List(
        fields.Nested(ListedCategorySchema), required=True, metadata=describe("The categories.")
    )
    skip = Whole(0, required=True, metadata=SKIPPED)
    limit = Whole(1, required=True, metadata=PAGE_SIZE)


class SuggestionSchema(Schema):
    """A category or a product whose name completes the text."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf(["category", "product"]),
        metadata=describe("Whether a category or a product has the name.", "product"),
    )
    id = Whole(1, required=True, metadata=describe("The id of that category or product.", 7))
    text = fields.String(required=True, metadata=describe("The name.", "Oak desk"))


class SuggestionListSchema(Schema):
    """Suggestions for a text, the most likely first."""

    items = fields.List(
        fields.Nested(SuggestionSchema),
        required=True,
        validate=validate.Length(max=SUGGESTIONS_MAX),
        metadata=describe("The suggestions."),
    )
