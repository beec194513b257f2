from __future__ import annotations

from marshmallow import Schema, fields, validate

from shop.config import BEST_SELLERS_PAGE_SIZE
from shop.fields import Instant, Money, Whole, WholeText, describe
from shop.products.schemas import CURRENCY, ProductSchema

PERIODS = {"day": 1, "week": 7, "month": 30, "all": None}  # days
PERIOD = describe("Which sales count: those of so long ago, or all.", "week")
AS_OF = Instant.OUTPUT | describe("The time that the numbers are of.")
PRODUCT = describe("The product as it is now.")


class LimitQuery(Schema):
    """How many products."""

    limit = WholeText(
        1,
        BEST_SELLERS_PAGE_SIZE[1],
        load_default=BEST_SELLERS_PAGE_SIZE[0],
        metadata=describe("The products that are listed at most.", 10),
    )


class BestSellersQuery(LimitQuery):
    """How many products, of which sales."""

    period = fields.String(
        validate=validate.OneOf(list(PERIODS)), load_default="all", metadata=PERIOD
    )


class BestSellerSchema(Schema):
    """A product, and how many units of it were sold."""

    units_sold = Whole(
        1, required=True, metadata=describe("The units in orders that were paid for.", 29)
    )
    product = fields.Nested(ProductSchema, required=True, metadata=PRODUCT)


class BestSellerListSchema(Schema):
    """The products of which most units were sold, the first of them first."""

    period = fields.String(required=True, validate=validate.OneOf(list(PERIODS)), metadata=PERIOD)
    as_of = Instant(required=True, metadata=AS_OF)
    items = fields.List(
        fields.Nested(BestSellerSchema), required=True, metadata=describe("The best sellers.")
    )


class TrendingProductSchema(Schema):
    """A product, and how well it sells just now."""

    score = fields.Float(
        required=True, metadata=describe("Units sold, each of which halves in a day.", 6.523)
    )
    product = fields.Nested(ProductSchema, required=True, metadata=PRODUCT)


class TrendingProductListSchema(Schema):
    """The products that sell best just now, the first of them first."""

    items = fields.List(
        fields.Nested(TrendingProductSchema), required=True, metadata=describe("The products.")
    )


class ProductCountsSchema(Schema):
    """How many products there are."""

    total = Whole(0, required=True, metadata=describe("All of them.", 500))
    active = Whole(0, required=True, metadata=describe("Those that can be ordered.", 498))
    out_of_stock = Whole(
        0, required=True, metadata=describe("The active ones of which nothing is left.", 19)
    )


class OrderCountsSchema(Schema):
    """How many orders there are, by status."""

    pending = Whole(0, required=True, metadata=describe("Those that are not paid yet.", 2))
    paid = Whole(0, required=True, metadata=describe("Those that wait to be shipped.", 17))
    shipped = Whole(0, required=True, metadata=describe("Those that are under way.", 24))
    delivered = Whole(0, required=True, metadata=describe("Those that have arrived.", 1816))
    cancelled = Whole(0, required=True, metadata=describe("Those that were cancelled.", 143))


class RevenueSchema(Schema):
    """Of the orders that have been paid for, and not cancelled."""

    currency = fields.String(required=True, metadata=CURRENCY)
    orders = Whole(0, required=True, metadata=describe("How many orders those are.", 1857))
    revenue = Money(required=True, metadata=Money.SUM | describe("What they brought in."))
    average_order = Money(
        required=True, metadata=Money.SUM | describe("What one of them brought in, on average.")
    )


class DashboardStatsSchema(Schema):
    """The figures of the shop."""

    as_of = Instant(required=True, metadata=AS_OF)
    products = fields.Nested(
        ProductCountsSchema, required=True, metadata=describe("How many products there are.")
    )
    orders = fields.Nested(
        OrderCountsSchema, required=True, metadata=describe("How many orders there are.")
    )
    revenue = fields.List(
        fields.Nested(RevenueSchema),
        required=True,
        metadata=describe("What the shop took in, by currency."),
    )
