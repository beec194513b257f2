from __future__ import annotations

from marshmallow import Schema, fields, validate

from shop.config import BEST_SELLERS_PAGE_SIZE
from shop.fields import Instant, Money, Whole, WholeText, describe
from shop.products.schemas import CURRENCY, ProductSchema

PERIODS = {"day": 1, "week": 7, "month": 30, "all": None}  # days
PERIOD = describe("The period whose sales count; `all` is without a limit.", "week")
AS_OF = Instant.OUTPUT | describe("The time that the numbers are of.")
PRODUCT = describe("The product as it is now.")


class LimitQuery(Schema):
    """The number of products in the list."""

    limit = WholeText(
        1,
        BEST_SELLERS_PAGE_SIZE[1],
        load_default=BEST_SELLERS_PAGE_SIZE[0],
        metadata=describe("The products that are listed at most.", 10),
    )


class BestSellersQuery(LimitQuery):
    """The number of products in the list, and the period of the sales."""

    period = fields.String(
        validate=validate.OneOf(list(PERIODS)), load_default="all", metadata=PERIOD
    )


class BestSellerSchema(Schema):
    """A product, and the number of its units that were sold."""

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
    """A product, and its score."""

    score = fields.Float(
        required=True, metadata=describe("Units sold, each of which halves in a day.", 6.523)
    )
    product = fields.Nested(ProductSchema, required=True, metadata=PRODUCT)


class TrendingProductListSchema(Schema):
    """The products that sell best now, the first of them first."""

    items = fields.List(
        fields.Nested(TrendingProductSchema), required=True, metadata=describe("The products.")
    )


class ProductCountsSchema(Schema):
    """The numbers of products."""

    total = Whole(0, required=True, metadata=describe("All of them.", 500))
    active = Whole(0, required=True, metadata=describe("Those that can be ordered.", 498))
    out_of_stock = Whole(
        0, required=True, metadata=describe("The active ones of which nothing is left.", 19)
    )


class OrderCountsSchema(Schema):
    """The numbers of orders, by status."""

    pending = Whole(0, required=True, metadata=describe("Those that are not paid yet.", 2))
    paid = Whole(0, required=True, metadata=describe("Those that wait to be shipped.", 17))
    shipped = Whole(0, required=True, metadata=describe("Those that are under way.", 24))
    delivered = Whole(0, required=True, metadata=describe("Those that have arrived.", 1816))
    cancelled = Whole(0, required=True, metadata=describe("Those that were cancelled.", 143))


class RevenueSchema(Schema):
    """The revenue of the orders that are paid and not cancelled."""

    currency = fields.String(required=True, metadata=CURRENCY)
    orders = Whole(0, required=True, metadata=describe("The number of these orders.", 1857))
    revenue = Money(required=True, metadata=Money.SUM | describe("Their total."))
    average_order = Money(required=True, metadata=Money.SUM | describe("Their average."))


class DashboardStatsSchema(Schema):
    """The figures of the shop."""

    as_of = Instant(required=True, metadata=AS_OF)
    products = fields.Nested(
        ProductCountsSchema, required=True, metadata=describe("The numbers of products.")
    )
    orders = fields.Nested(
        OrderCountsSchema, required=True, metadata=describe("The numbers of orders.")
    )
    revenue = fields.List(
        fields.Nested(RevenueSchema),
        required=True,
        metadata=describe("The revenue, by currency."),
    )
