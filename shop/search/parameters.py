"""The query parameters of searches and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from shop.config import (
    CATEGORIES_PAGE_SIZE,
    NAMED_ROWS_MAX,
    PRODUCTS_PAGE_SIZE,
    SEARCH_TEXT_MAX,
    SKIP_MAX,
)
from shop.fields import (
    PAGE_SIZE,
    SKIPPED,
    AmountText,
    CommaList,
    FlagText,
    Text,
    WholeText,
    describe,
)
from shop.money import CURRENCIES
from shop.products.schemas import SKU, ProductSchema

from .cursor import CURSOR_MAX
from .query import SORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

FACETS = ("category", "price", "in_stock")
FIELDS = tuple(ProductSchema().fields)
WRONG_SKIP = f"Must be from 0 to {SKIP_MAX}; beyond that, go on with `after` from a page's Link."
NAMING_PARAMETERS = {"id", "sku"}  # which name products one by one
PARAMETERS_WITH_NAMED = NAMING_PARAMETERS | {"fields", "include", "limit"}
AT_MOST = f"{NAMED_ROWS_MAX} at most, with commas between them"
ONLY_WITH = "Only `id`, `sku`, `fields`, `include` and `limit` go together with it."
TEXT_LENGTH = f"`q` has 1 to {SEARCH_TEXT_MAX} characters."


def list_choices(names: Sequence[str]) -> str:
    """Describe a parameter that takes some of these names."""
    return f"any of {', '.join(f'`{name}`' for name in names)}, with commas between them"


class IdList(CommaList):
    """Ids of rows, with commas between them."""

    def __init__(self, **options: Any) -> None:
        shape: dict[str, Any] = {"written": WholeText.DIGITS, "longest": 18, "most": NAMED_ROWS_MAX}
        super().__init__(WholeText(1), **shape, **options)


class NameList(CommaList):
    """Some of a few names, with commas between them."""

    def __init__(self, *names: str, **options: Any) -> None:
        written, longest = "|".join(names), max(map(len, names))
        one = fields.String(validate=validate.OneOf(names))
        super().__init__(one, written=written, longest=longest, most=len(names), **options)


class ProductQuery(Schema):
    """The parameters of `GET /products`: the products, their order, and the members to show."""

    q = fields.String(
        validate=validate.Length(1, SEARCH_TEXT_MAX),
        metadata=describe(
            'Words of names, SKUs, descriptions and categories; `"a phrase"`, `-without`. The '
            f"last word may be the beginning of one. {TEXT_LENGTH}",
            "oak desk",
        ),
    )
    category_id = IdList(
        metadata=describe(
            f"Find products of any of these categories: ids, {AT_MOST}, as in `3,5`.", "3,5"
        )
    )
    min_price = AmountText(metadata=AmountText.INPUT | describe("The lowest price.", "10"))
    max_price = AmountText(metadata=AmountText.INPUT | describe("The highest price.", "49.99"))
    currency = fields.String(
        validate=validate.OneOf(CURRENCIES),
        metadata=describe(
            "Find products with prices in this currency. Required to compare prices where there "
            "are several currencies.",
            "EUR",
        ),
    )
    in_stock = FlagText(
        metadata=describe("Find products that are in stock, or products that are not.")
    )
    active = FlagText(
        metadata=describe("Find active products, or inactive ones; needs `catalog:write`.")
    )
    id = IdList(
        metadata=describe(
            "Find exactly these products, in this order: "
            f"ids, {AT_MOST}, as in `7,12`. {ONLY_WITH}",
            "7,12",
        )
    )
    sku = CommaList(
        Text(SKU, shortest=1, longest=64),
        written="[A-Za-z0-9][A-Za-z0-9._-]*",
        longest=64,
        most=NAMED_ROWS_MAX,
        metadata=describe(
            f"Find exactly the products of these SKUs, in this order: {AT_MOST}, as in "
            f"`FUR-0000043,GAR-0000007`. Case counts. {ONLY_WITH}",
            "FUR-0000043,GAR-0000007",
        ),
    )
    sort = fields.String(
        validate=validate.OneOf(list(SORTS)),
        metadata=describe(
            "The order; among equals, lower ids come first. Without `sort`, the order is "
            "`relevance` with `q`, else `id`.",
            "price",
        ),
    )
    skip = WholeText(0, SKIP_MAX, wrong=WRONG_SKIP, metadata=SKIPPED)
    limit = WholeText(
        1,
        PRODUCTS_PAGE_SIZE[1],
        metadata=describe(
            f"The rows that a page has at most; {PRODUCTS_PAGE_SIZE[0]} without `limit`.", 10
        ),
    )
    after = fields.String(
        validate=validate.Length(1, CURSOR_MAX),
        metadata=describe(
            "The cursor of the next page, from the Link of a page.", "kq3Zt1bN8Xw7WzddXQ"
        ),
    )
    total = FlagText(
        metadata=describe("Whether to count the products that are found, up to 10,000.")
    )
    facets = NameList(
        *FACETS,
        metadata=describe(
            f"The facets to count, each without its own filter: {list_choices(FACETS)}.",
            ",".join(FACETS),
        ),
    )
    fields_ = NameList(
        *FIELDS,
        data_key="fields",
        metadata=describe(
            f"The members of a product to show: {list_choices(FIELDS)}; all without `fields`.",
            "id,name",
        ),
    )
    include = NameList(
        "category",
        metadata=describe("`category` adds its category to each product.", "category"),
    )

    # OpenAPI shows no defaults: generated clients would send them, also beside `id`: that is 422.
    @post_load
    def _add_defaults(self, query: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {"limit": PRODUCTS_PAGE_SIZE[0], "total": False} | query

    @validates_schema(pass_original=True)
    def _check_combination(self, query: dict[str, Any], sent: Any, **_: Any) -> None:
        wrong = {}
        if naming := NAMING_PARAMETERS & set(sent):
            message = f"Not together with {' or '.join(sorted(naming))}."
            wrong = {name: [message] for name in sorted(set(sent) - PARAMETERS_WITH_NAMED)}
            if query.get("limit", NAMED_ROWS_MAX) < sum(len(set(query[name])) for name in naming):
                wrong["limit"] = ["Is less than the products that are named."]
        if {"after", "skip"} <= set(sent):
            wrong["skip"] = ["Not together with after."]
        if query.get("sort") == "relevance" and "q" not in sent:
            wrong["sort"] = ["There is no relevance without q."]
        if wrong:
            raise ValidationError(wrong)


class CategoryQuery(Schema):
    """The parameters of `GET /categories`."""

    skip = WholeText(0, load_default=0, metadata=SKIPPED)
    limit = WholeText(
        1, CATEGORIES_PAGE_SIZE[1], load_default=CATEGORIES_PAGE_SIZE[0], metadata=PAGE_SIZE
    )
    include = NameList(
        "counts",
        metadata=describe(
            "`counts` adds the number of its active products to each category.", "counts"
        ),
    )


class SuggestionQuery(Schema):
    """The parameters of `GET /search/suggest`."""

    q = fields.String(
        validate=validate.Length(1, SEARCH_TEXT_MAX),
        required=True,
        metadata=describe(f"The text that is typed so far. {TEXT_LENGTH}", "oak d"),
    )
