"""The SQL that finds products: each statement reads as little as an index allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    Integer,
    Numeric,
    Text,
    bindparam,
    cast,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
)

from shop.categories.models import Category
from shop.money import LADDER
from shop.pages import dump
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CTE, ColumnElement, Select

    from .query import Filters

    Conditions = Sequence[ColumnElement[bool]]
    Rows = Select[Any]

TOTAL_MAX = 10_000  # to which products are counted


class Order(NamedTuple):
    """The order of a page, before the id."""

    column: Any
    descending: bool = False


ORDERS = {
    "price": Order(Product.price),
    "-price": Order(Product.price, descending=True),
    "name": Order(Product.name_key),
    "created_at": Order(Product.created_at),
    "-created_at": Order(Product.created_at, descending=True),
}


def conditions(filters: Filters, words: ColumnElement[bool] | None = None) -> Conditions:
    """Return what a product must meet; `words` is what `q` comes to."""
    found: list[Any] = []
    if filters.active is not None:
        found.append(Product.active if filters.active else ~Product.active)
    if filters.category_ids:
        found.append(Product.category_id.in_(filters.category_ids))
    if filters.currency is not None:
        found.append(Product.currency == filters.currency)
    if filters.min_price is not None:
        found.append(Product.price >= filters.min_price)
    if filters.max_price is not None:
        found.append(Product.price <= filters.max_price)
    if filters.in_stock is not None:
        found.append(Product.in_stock if filters.in_stock else ~Product.in_stock)
    if words is not None:
        found.append(words)
    return found


def page(where: Conditions, order: Order | None, after: Sequence[Any], rows: int) -> Rows:
    """Select the first rows after a place: their ids, and what they are sorted by."""
    columns = [Product.id, *([order.column] if order else [])]
    return _in_order(select(*columns).where(*where), columns, order, after).limit(rows)


def page_of_categories(
    category_ids: Sequence[int],
    where: Conditions,
    order: Order | None,
    after: Sequence[Any],
    rows: int,
) -> Rows:
    """Do the same for several categories: each is read in order from its index, and all merged."""
    category = _categories(category_ids)
    one = page([Product.category_id == category.c.id, *where], order, after, rows).lateral()
    merged = select(*one.c).select_from(category.join(one, true()))
    return _in_order(merged, list(one.c), order, ()).limit(rows)


def among(first: Rows, words: ColumnElement[bool], order: Order | None, rows: int) -> Rows:
    """Select those of the first rows of a page that have certain words, until there are enough."""
    found = first.subquery("first")
    statement = select(*found.c).join(Product, Product.id == found.c.id).where(words)
    return _in_order(statement, list(found.c), order, ()).limit(rows)


def page_of_words(where: Conditions, order: Order | None, after: Sequence[Any], rows: int) -> Rows:
    """Do the same for what has certain words, which are looked up first: few rows have them."""
    columns = [Product.id, *([order.column] if order else [])]
    found = select(*columns).where(*where).offset(0).subquery()  # which no condition gets into
    return _in_order(select(*found.c), list(found.c), order, after).limit(rows)


def _in_order(statement: Rows, columns: list[Any], order: Order | None, after: Any) -> Rows:
    """Sort by the second column, if there is an order, and by the first, which is the id."""
    one = columns[0]
    if order is None:
        statement = statement.order_by(one)
        return statement.where(one > after[0]) if after else statement
    key = columns[1]
    statement = statement.order_by(key.desc() if order.descending else key, one)
    if not after:
        return statement
    value, last = after
    if order.descending:  # but ids ascend, so that no comparison of rows says it
        return statement.where(key <= value, or_(key < value, one > last))
    return statement.where(tuple_(key, one) > tuple_(literal(value, key.type), last))


def _categories(category_ids: Sequence[int]) -> Any:
    ids = bindparam(None, list(category_ids), ARRAY(Integer))
    return func.unnest(ids).table_valued("id").render_derived(name="category")


def page_of_sold(
    where: Conditions, ids: Sequence[int], units: Sequence[int], rows: int, *, one_by_one: bool
) -> Rows:
    """Select products of a report in its order, with the units sold.

    `one_by_one` looks them up until the page is full, however many PostgreSQL thinks that will be;
    otherwise it may read all that meet the conditions.
    """
    lines = (
        func.unnest(integers(ids), integers(units))
        .table_valued("id", "units")
        .render_derived(name="line")
    )
    report = select(*lines.c).order_by(lines.c.units.desc(), lines.c.id).subquery("report")
    product = select(Product.id).where(Product.id == report.c.id, *where).correlate(report)
    one = (product.offset(0) if one_by_one else product).lateral()
    return (
        select(one.c.id, report.c.units)
        .select_from(report.join(one, true()))
        .order_by(report.c.units.desc(), report.c.id)
        .limit(rows)
    )


def is_not_sold(ids: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition of being in no line of a report, which has these."""
    return not_(Product.id == func.any(integers(ids)))


def integers(values: Sequence[int]) -> Any:
    """Return an array as one constant: of thousands of parts PostgreSQL would parse each."""
    return cast(literal(f"{{{dump(values)[1:-1].decode()}}}", Text), ARRAY(Integer))


def some(where: Conditions, rows: int) -> Select[int]:
    """Select the ids of any products, up to so many."""
    found = select(Product.id).where(*where).offset(0).subquery()  # planned as if for all
    return select(found.c.id).limit(rows)


def all_of(*columns: Any, where: Conditions, name: str = "found") -> CTE[Any]:
    """Select rows in a statement of its own, planned for all of them (see `ranking`)."""
    return select(*columns).where(*where).cte(name).prefix_with("MATERIALIZED")


def total(where: Conditions) -> Select[int]:
    """Count products, up to one more than TOTAL_MAX."""
    found = select(literal(1)).select_from(Product).where(*where).limit(TOTAL_MAX + 1).subquery()
    return select(func.count()).select_from(found)


def counts_by_category(where: Conditions) -> Any:
    """Count the products of each category that has some."""
    return select(Product.category_id, func.count()).where(*where).group_by(Product.category_id)


def counts_of_each_category(where: Conditions) -> Any:
    """Do the same in a range of an index for each category, which takes less for each product."""
    one = select(func.count().label("products")).where(Product.category_id == Category.id, *where)
    counted = one.correlate(Category).lateral()
    counts = select(Category.id, counted.c.products).join(counted, true())
    return counts.where(counted.c.products > 0)


def category_beyond(categories: int) -> Select[int]:
    """Select a category, if there are more than so many."""
    return select(Category.id).offset(categories).limit(1)


def counts_by_stock(where: Conditions) -> Any:
    """Count products that are in stock, and those that are not."""
    counted = (func.count().filter(one) for one in (Product.in_stock, ~Product.in_stock))
    return select(*counted).where(*where)


def counts_by_price(where: Conditions) -> Any:
    """Count products by currency and by how many places of the ladder their price has reached.

    Products of one price are counted first: there are fewer prices than products.
    """
    column = Product.price
    prices = select(Product.currency, column, func.count().label("products")).where(*where)
    one = prices.group_by(Product.currency, column).subquery()
    ladder = bindparam(None, list(LADDER), ARRAY(Numeric))
    step = func.width_bucket(one.c.price, ladder, type_=Integer).label("step")
    counted = select(one.c.currency, step, cast(func.sum(one.c.products), Integer))
    return counted.group_by(one.c.currency, step).order_by(one.c.currency, step)


def currencies(category_ids: Sequence[int], where: Conditions) -> Rows:
    """Select the first and the last currency of products: ends of ranges of an index."""
    ends: list[Any] = [
        func.min(Product.currency).label("first"),
        func.max(Product.currency).label("last"),
    ]
    if not category_ids:
        return select(*ends).where(*where)
    category = _categories(category_ids)
    one = select(*ends).where(Product.category_id == category.c.id, *where).lateral()
    return select(func.min(one.c.first), func.max(one.c.last)).select_from(
        category.join(one, true())
    )
