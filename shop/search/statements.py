"""Statements that find and count products; each reads as little as an index allows."""

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

TOTAL_MAX = 10_000  # products that are counted


class Order(NamedTuple):
    """The column that a page is sorted by, before the id."""

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
    """Return the conditions that a product must meet; `words` is the condition of `q`."""
    conditions: list[Any] = []
    if filters.active is not None:
        conditions.append(Product.active if filters.active else ~Product.active)
    if filters.category_ids:
        conditions.append(Product.category_id.in_(filters.category_ids))
    if filters.currency is not None:
        conditions.append(Product.currency == filters.currency)
    if filters.min_price is not None:
        conditions.append(Product.price >= filters.min_price)
    if filters.max_price is not None:
        conditions.append(Product.price <= filters.max_price)
    if filters.in_stock is not None:
        conditions.append(Product.in_stock if filters.in_stock else ~Product.in_stock)
    if words is not None:
        conditions.append(words)
    return conditions


def select_page(
    where: Conditions, order: Order | None, after: Sequence[Any], rows: int
) -> Select[Any]:
    """Select the first rows after a cursor's values: their ids, and the column of the order."""
    columns = [Product.id, *([order.column] if order else [])]
    return _sorted(select(*columns).where(*where), columns, order, after).limit(rows)


def select_page_of_categories(
    category_ids: Sequence[int],
    where: Conditions,
    order: Order | None,
    after: Sequence[Any],
    rows: int,
) -> Select[Any]:
    """Select a page of several categories: read each in order from its index, and merge them."""
    category = _unnest_categories(category_ids)
    in_category = [Product.category_id == category.c.id, *where]
    one = select_page(in_category, order, after, rows).lateral()
    merged = select(*one.c).select_from(category.join(one, true()))
    return _sorted(merged, list(one.c), order, ()).limit(rows)


def select_matches_among(
    first: Select[Any], words: ColumnElement[bool], order: Order | None, rows: int
) -> Select[Any]:
    """Select the rows among the first ones of an order that match the words."""
    read = first.subquery("first")
    statement = select(*read.c).join(Product, Product.id == read.c.id).where(words)
    return _sorted(statement, list(read.c), order, ()).limit(rows)


def select_page_of_matches(
    where: Conditions, order: Order | None, after: Sequence[Any], rows: int
) -> Select[Any]:
    """Select a page by conditions that few rows meet: look these up first, then sort them."""
    columns = [Product.id, *([order.column] if order else [])]
    matches = select(*columns).where(*where).offset(0).subquery()  # OFFSET keeps conditions outside
    return _sorted(select(*matches.c), list(matches.c), order, after).limit(rows)


def _sorted(
    statement: Select[Any], columns: list[Any], order: Order | None, after: Sequence[Any]
) -> Select[Any]:
    """Sort by the column of the order, which is the second one, and then by the id, the first."""
    product_id = columns[0]
    if order is None:
        statement = statement.order_by(product_id)
        return statement.where(product_id > after[0]) if after else statement
    column = columns[1]
    statement = statement.order_by(column.desc() if order.descending else column, product_id)
    if not after:
        return statement
    value, last_id = after
    if order.descending:  # ids ascend all the same, so no comparison of rows can express it
        return statement.where(column <= value, or_(column < value, product_id > last_id))
    return statement.where(
        tuple_(column, product_id) > tuple_(literal(value, column.type), last_id)
    )


def _unnest_categories(category_ids: Sequence[int]) -> Any:
    ids = bindparam(None, list(category_ids), ARRAY(Integer))
    return func.unnest(ids).table_valued("id").render_derived(name="category")


def select_page_of_sold(
    where: Conditions, ids: Sequence[int], units: Sequence[int], rows: int, *, one_by_one: bool
) -> Select[Any]:
    """Select products of the sales report in its order, with the units sold.

    `one_by_one` looks products up until the page is full, whatever number PostgreSQL expects.
    Without it, PostgreSQL may read all products that meet the conditions.
    """
    lines = (
        func.unnest(integer_array(ids), integer_array(units))
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


def is_unsold(sold_ids: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a product is in no line of the sales report."""
    return not_(Product.id == func.any(integer_array(sold_ids)))


def integer_array(values: Sequence[int]) -> Any:
    """Return an array as one constant: PostgreSQL would parse each of thousands of elements."""
    return cast(literal(f"{{{dump(values)[1:-1].decode()}}}", Text), ARRAY(Integer))


def select_some_ids(where: Conditions, rows: int) -> Select[int]:
    """Select the ids of any products that meet the conditions, `rows` at most."""
    matches = select(Product.id).where(*where).offset(0).subquery()  # planned as if for all rows
    return select(matches.c.id).limit(rows)


def materialized(*columns: Any, where: Conditions, name: str = "found") -> CTE[Any]:
    """Select rows in a query of its own, which PostgreSQL plans for all rows (see `ranking`)."""
    return select(*columns).where(*where).cte(name).prefix_with("MATERIALIZED")


def count_products(where: Conditions) -> Select[int]:
    """Count products, up to one more than TOTAL_MAX."""
    found = select(literal(1)).select_from(Product).where(*where).limit(TOTAL_MAX + 1).subquery()
    return select(func.count()).select_from(found)


def counts_by_category(where: Conditions) -> Any:
    """Count the products of each category that has any, by grouping all of them."""
    return select(Product.category_id, func.count()).where(*where).group_by(Product.category_id)


def counts_of_each_category(where: Conditions) -> Any:
    """Count as `counts_by_category` does, with a range of an index for each category.

    This costs less for each product.
    """
    one = select(func.count().label("products")).where(Product.category_id == Category.id, *where)
    counted = one.correlate(Category).lateral()
    counts = select(Category.id, counted.c.products).join(counted, true())
    return counts.where(counted.c.products > 0)


def select_category_beyond(categories: int) -> Select[int]:
    """Select a category if there are more than `categories`."""
    return select(Category.id).offset(categories).limit(1)


def counts_by_stock(where: Conditions) -> Any:
    """Count the products that are in stock, and those that are not."""
    counted = (func.count().filter(one) for one in (Product.in_stock, ~Product.in_stock))
    return select(*counted).where(*where)


def counts_by_price(where: Conditions) -> Any:
    """Count products by currency and price step.

    The statement counts the products of each price first, because prices are fewer than products.
    """
    column = Product.price
    prices = select(Product.currency, column, func.count().label("products")).where(*where)
    one = prices.group_by(Product.currency, column).subquery()
    ladder = bindparam(None, list(LADDER), ARRAY(Numeric))
    step = func.width_bucket(one.c.price, ladder, type_=Integer).label("step")
    counted = select(one.c.currency, step, cast(func.sum(one.c.products), Integer))
    return counted.group_by(one.c.currency, step).order_by(one.c.currency, step)


def select_currencies(category_ids: Sequence[int], where: Conditions) -> Select[Any]:
    """Select the first and the last currency of products: the ends of ranges of an index."""
    ends: list[Any] = [
        func.min(Product.currency).label("first"),
        func.max(Product.currency).label("last"),
    ]
    if not category_ids:
        return select(*ends).where(*where)
    category = _unnest_categories(category_ids)
    one = select(*ends).where(Product.category_id == category.c.id, *where).lateral()
    return select(func.min(one.c.first), func.max(one.c.last)).select_from(
        category.join(one, true())
    )
