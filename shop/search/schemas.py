from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from shop.categories.schemas import CategorySchema
from shop.config import (
    CATEGORIES_PAGE_SIZE,
    CHOSEN_MAX,
    PRODUCTS_PAGE_SIZE,
    SKIP_MAX,
    SUGGESTIONS_MAX,
    WORDS_MAX,
)
from shop.fields import (
    PAGE_SIZE,
    SKIPPED,
    AmountText,
    CommaList,
    Flag,
    FlagText,
    Instant,
    Money,
    Text,
    Whole,
    WholeText,
    describe,
)
from shop.money import CURRENCIES
from shop.products.schemas import CURRENCY, SKU, ProductSchema

from .cursor import CURSOR_MAX
from .query import SORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

FACETS = ("category", "price", "in_stock")
FIELDS = tuple(ProductSchema().fields)
COUNT = describe("How many products.", 42)
SKIP_WRONG = f"Must be from 0 to {SKIP_MAX}; beyond that, go on with `after` from a page's Link."
CHOOSING = {"id", "sku"}  # which products, one by one
WITH_CHOSEN = CHOOSING | {"fields", "include", "limit"}
MANY = f"{CHOSEN_MAX} at most, with commas between them"
BESIDE = "Only `id`, `sku`, `fields`, `include` and `limit` go together with it."
LENGTH = f"`q` has 1 to {WORDS_MAX} characters."


def any_of(names: Sequence[str]) -> str:
    """Return how some of these names are written."""
    return f"any of {', '.join(f'`{name}`' for name in names)}, with commas between them"


class Ids(CommaList):
    """Ids of rows."""

    def __init__(self, **options: Any) -> None:
        shape: dict[str, Any] = {"written": WholeText.DIGITS, "longest": 18, "most": CHOSEN_MAX}
        super().__init__(WholeText(1), **shape, **options)


class Names(CommaList):
    """Some of a few names."""

    def __init__(self, *names: str, **options: Any) -> None:
        written, longest = "|".join(names), max(map(len, names))
        one = fields.String(validate=validate.OneOf(names))
        super().__init__(one, written=written, longest=longest, most=len(names), **options)


class ProductQuery(Schema):
    """Which products, in which order, and what is told of them."""

    q = fields.String(
        validate=validate.Length(1, WORDS_MAX),
        metadata=describe(
            'Words of names, SKUs, descriptions and categories; `"a phrase"`, `-without`. The '
            f"last word may be the beginning of one. {LENGTH}",
            "oak desk",
        ),
    )
    category_id = Ids(
        metadata=describe(f"Those of any of these categories: ids, {MANY}, as in `3,5`.", "3,5")
    )
    min_price = AmountText(metadata=AmountText.INPUT | describe("The lowest price.", "10"))
    max_price = AmountText(metadata=AmountText.INPUT | describe("The highest price.", "49.99"))
    currency = fields.String(
        validate=validate.OneOf(CURRENCIES),
        metadata=describe(
            "Those with prices in it. Needed where prices are compared and there are several.",
            "EUR",
        ),
    )
    in_stock = FlagText(metadata=describe("Those that are in stock, or those that are not."))
    active = FlagText(
        metadata=describe("Those that are active, or those that are not; needs `catalog:write`.")
    )
    id = Ids(
        metadata=describe(
            f"Exactly these products, in this order: ids, {MANY}, as in `7,12`. {BESIDE}", "7,12"
        )
    )
    sku = CommaList(
        Text(SKU, shortest=1, longest=64),
        written="[A-Za-z0-9][A-Za-z0-9._-]*",
        longest=64,
        most=CHOSEN_MAX,
        metadata=describe(
            f"Exactly the products of these SKUs, in this order: {MANY}, as in "
            f"`FUR-0000043,GAR-0000007`. Case counts. {BESIDE}",
            "FUR-0000043,GAR-0000007",
        ),
    )
    sort = fields.String(
        validate=validate.OneOf(list(SORTS)),
        metadata=describe(
            "The order; of equals, lower ids come first. Without it, `relevance` with `q`, else "
            "`id`.",
            "price",
        ),
    )
    skip = WholeText(0, SKIP_MAX, wrong=SKIP_WRONG, metadata=SKIPPED)
    limit = WholeText(
        1,
        PRODUCTS_PAGE_SIZE[1],
        metadata=describe(
            f"The rows that a page has at most; without it, {PRODUCTS_PAGE_SIZE[0]}.", 10
        ),
    )
    after = fields.String(
        validate=validate.Length(1, CURSOR_MAX),
        metadata=describe("Where the page before ended, from its Link.", "kq3Zt1bN8Xw7WzddXQ"),
    )
    total = FlagText(metadata=describe("Whether to count what is found, up to 10,000."))
    facets = Names(
        *FACETS,
        metadata=describe(
            f"What to count the products by, each without its own filter: {any_of(FACETS)}.",
            ",".join(FACETS),
        ),
    )
    fields_ = Names(
        *FIELDS,
        data_key="fields",
        metadata=describe(
            f"The members of a product to show: {any_of(FIELDS)}; without it, all.", "id,name"
        ),
    )
    include = Names(
        "category",
        metadata=describe("`category` shows the category of each product in it.", "category"),
    )

    # The document shows no default: clients send it by themselves, and with `id` it is refused.
    @post_load
    def _have_defaults(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"limit": PRODUCTS_PAGE_SIZE[0], "total": False} | query

    @validates_schema(pass_original=True)
    def _fit_together(self, query: dict[str, Any], sent: Any, **_: Any) -> None:
        wrong = {}
        if chosen := CHOOSING & set(sent):
            told = f"Not together with {' or '.join(sorted(chosen))}."
            wrong = {name: [told] for name in sorted(set(sent) - WITH_CHOSEN)}
            if query.get("limit", CHOSEN_MAX) < sum(len(set(query[name])) for name in chosen):
                wrong["limit"] = ["Is less than the products that are named."]
        if {"after", "skip"} <= set(sent):
            wrong["skip"] = ["Not together with after."]
        if query.get("sort") == "relevance" and "q" not in sent:
            wrong["sort"] = ["There is no relevance without q."]
        if wrong:
            raise ValidationError(wrong)


class TotalSchema(Schema):
    """How many products were found."""

    count = Whole(0, required=True, metadata=describe("How many, up to 10,000.", 243))
    exact = Flag(required=True, metadata=describe("Whether these are all."))


class CategoryCountSchema(Schema):
    """How many of the products are in a category."""

    id = Whole(1, required=True, metadata=describe("The category.", 3))
    count = Whole(1, required=True, metadata=COUNT)


class PriceCountSchema(Schema):
    """How many of the products have a price in a range."""

    currency = fields.String(required=True, metadata=CURRENCY)
    from_ = Money(
        required=True, data_key="from", metadata=Money.OUTPUT | describe("From this one.")
    )
    to = Money(required=True, metadata=Money.OUTPUT | describe("To this one, which is in it."))
    count = Whole(1, required=True, metadata=COUNT)


class StockCountSchema(Schema):
    """How many of the products are in stock, and how many are not."""

    true = Whole(0, required=True, metadata=COUNT)
    false = Whole(0, required=True, metadata=COUNT)


class FacetsSchema(Schema):
    """How many products each value of a filter finds, beside all other filters."""

    category = fields.List(
        fields.Nested(CategoryCountSchema),
        metadata=describe("By category; `GET /categories` has the names."),
    )
    price = fields.List(fields.Nested(PriceCountSchema), metadata=describe("By price."))
    in_stock = fields.Nested(StockCountSchema, metadata=describe("By stock."))


class MissingSchema(Schema):
    """What was asked for and is not there."""

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
    """A product, with the members that `fields` names, and its category with `include`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)

    category = fields.Nested(CategorySchema, metadata=describe("Its category as it is now."))


class ProductPageSchema(Schema):
    """A page of products, and what was asked for besides."""

    items = fields.List(
        fields.Nested(ListedProductSchema), required=True, metadata=describe("The products.")
    )
    skip = Whole(0, metadata=SKIPPED)
    limit = Whole(1, metadata=PAGE_SIZE)
    as_of = Instant(
        metadata=Instant.OUTPUT | describe("The time of the report that best sellers are of.")
    )
    total = fields.Nested(TotalSchema, metadata=describe("How many there are."))
    facets = fields.Nested(FacetsSchema, metadata=describe("How many each filter would find."))
    missing = fields.Nested(MissingSchema, metadata=describe("What was named and is not there."))


class CategoryQuery(Schema):
    """Which categories, and what is told of them."""

    skip = WholeText(0, load_default=0, metadata=SKIPPED)
    limit = WholeText(
        1, CATEGORIES_PAGE_SIZE[1], load_default=CATEGORIES_PAGE_SIZE[0], metadata=PAGE_SIZE
    )
    include = Names(
        "counts",
        metadata=describe("`counts` shows how many active products each has.", "counts"),
    )


class ListedCategorySchema(CategorySchema):
    """A category, and how many products it has where that is asked for."""

    product_count = Whole(0, metadata=describe("Its active products, with `include=counts`.", 42))


class CategoryPageSchema(Schema):
    """A page of categories, in the order of their ids."""

    items = fields.List(
        fields.Nested(ListedCategorySchema), required=True, metadata=describe("The categories.")
    )
    skip = Whole(0, required=True, metadata=SKIPPED)
    limit = Whole(1, required=True, metadata=PAGE_SIZE)


class SuggestionQuery(Schema):
    """What somebody has typed so far."""

    q = fields.String(
        validate=validate.Length(1, WORDS_MAX),
        required=True,
        metadata=describe(f"What is typed so far. {LENGTH}", "oak d"),
    )


class SuggestionSchema(Schema):
    """A name that may be meant."""

    kind = fields.String(
        required=True,
        validate=validate.OneOf(["category", "product"]),
        metadata=describe("What has the name.", "product"),
    )
    id = Whole(1, required=True, metadata=describe("The id of that category or product.", 7))
    text = fields.String(required=True, metadata=describe("The name.", "Oak desk"))


class SuggestionListSchema(Schema):
    """Completions of what is typed, the most likely first."""

    items = fields.List(
        fields.Nested(SuggestionSchema),
        required=True,
        validate=validate.Length(max=SUGGESTIONS_MAX),
        metadata=describe("The completions."),
    )
