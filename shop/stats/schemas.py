from __future__ import annotations

from marshmallow import EXCLUDE, Schema, fields, validate

from shop.config import BEST_SELLERS_LIMIT
from shop.fields import Instant, Money, Whole, WholeText
from shop.orders.models import STATUSES
from shop.products.schemas import ProductSchema

PERIODS = {"day": 1, "week": 7, "month": 30, "all": None}  # days


class LimitQuery(Schema):
    class Meta:
        unknown = EXCLUDE

    limit = WholeText(1, BEST_SELLERS_LIMIT[1], load_default=BEST_SELLERS_LIMIT[0])


class BestSellersQuery(LimitQuery):
    period = fields.String(validate=validate.OneOf(list(PERIODS)), load_default="all")


class BestSellerSchema(Schema):
    units_sold = Whole(1, required=True)
    product = fields.Nested(ProductSchema, required=True, metadata={"description": "As it is now."})


class BestSellersSchema(Schema):
    period = fields.String(required=True, validate=validate.OneOf(list(PERIODS)))
    as_of = Instant(required=True, metadata=Instant.OUTPUT)
    items = fields.List(fields.Nested(BestSellerSchema), required=True)


class TrendingSchema(Schema):
    score = fields.Float(
        required=True, metadata={"description": "Units sold, each of which halves in a day."}
    )
    product = fields.Nested(ProductSchema, required=True)


class TrendingListSchema(Schema):
    items = fields.List(fields.Nested(TrendingSchema), required=True)


class ProductCountsSchema(Schema):
    total = Whole(0, required=True)
    active = Whole(0, required=True)
    out_of_stock = Whole(0, required=True, metadata={"description": "Of the active ones."})


class RevenueSchema(Schema):
    """Of the orders that have been paid for, and not cancelled."""

    currency = fields.String(required=True, metadata={"description": "ISO 4217"})
    orders = Whole(0, required=True)
    revenue = Money(required=True, metadata=Money.SUM)
    average_order = Money(required=True, metadata=Money.SUM)


class DashboardSchema(Schema):
    as_of = Instant(required=True, metadata=Instant.OUTPUT)
    products = fields.Nested(ProductCountsSchema, required=True)
    orders = fields.Nested(
        Schema.from_dict({status: Whole(0, required=True) for status in STATUSES}, name="Orders"),
        required=True,
    )
    revenue = fields.List(fields.Nested(RevenueSchema), required=True)
