"""Products: cached reads, and writes that forget what they change.

A row is cached once, active or not. An answer for everybody leaves out inactive rows when it is
made, so no list of ids, however old, shows a product that has become inactive.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, cast, column, func, select, update, values
from sqlalchemy.exc import SQLAlchemyError

from shop.categories.models import Category
from shop.etags import require_match
from shop.extensions import cache, db
from shop.fields import INTEGER_MAX
from shop.log_throttle import once_a_minute
from shop.money import decimals, exact_amount
from shop.pages import dump, select_page_ids
from shop.problems import (
    InvalidFieldsError,
    NotFoundError,
    OutOfStockError,
    ProductOrderedError,
    ShopError,
    SKUTakenError,
    StockLimitError,
    TooManyDecimalsError,
    raise_for_violations,
)

from . import lists, rows
from .lists import ListFields
from .models import Product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from .rows import Row

logger = logging.getLogger(__name__)

ACTIVE = b'"active":true'
PRICE_FIELDS = {"price", "currency"}  # they are checked together


def product(product_id: int) -> bytes:
    """Return an active product's document. Raises NotFoundError."""
    for document in public_documents([product_id]):
        return document
    raise _not_found(product_id)


def any_product(product_id: int) -> bytes:
    """Return a product's document, active or not. Raises NotFoundError."""
    try:
        return product_documents([product_id])[product_id]
    except KeyError:
        raise _not_found(product_id) from None


def public_documents(product_ids: Sequence[int]) -> list[bytes]:
    """Return the documents of the active products among these."""
    return product_documents.filter_public(product_documents(product_ids).values())


def is_active(document: bytes) -> bool:
    """Tell whether a product is active, by its document.

    Within a JSON text each quotation mark has a backslash before it, so these bytes can only be the
    member. The search begins at the end, near the member.
    """
    return document.rfind(ACTIVE) >= 0


@cache.memoize_many(
    key="products:id:{product_id}",
    ttl="redis_cache_ttl",
    tables=[Product],
    is_public=is_active,
)
def product_documents(product_ids: Sequence[int]) -> dict[int, bytes]:
    return {row["id"]: rows.document(row) for row in rows.read(product_ids)}


def is_unlinked_page(skip: int, limit: int) -> bool:
    """Tell whether no page of this size links to the page; there are many such pages."""
    return skip % limit != 0


@cache.memoize(
    key="products:list:skip:{skip}:limit:{limit}",
    ttl="redis_cache_ttl",
    tables=[Product],
    needs_admission=is_unlinked_page,
)
def page_ids(skip: int, limit: int) -> bytes:
    return select_page_ids(Product.id, skip, limit, Product.active)


@cache.memoize(
    key="products:list:all:skip:{skip}:limit:{limit}",
    ttl="redis_cache_ttl",
    tables=[Product],
    family=page_ids.family,
    needs_admission=is_unlinked_page,
)
def all_page_ids(skip: int, limit: int) -> bytes:
    return select_page_ids(Product.id, skip, limit)


# The family is `products`: in a family `products:sku`, the entry of a SKU `generation` would have
# the name of the family's generation.
@cache.memoize_many(
    key="products:sku:{sku}", ttl="redis_cache_ttl", tables=[Product], log_keys=False
)
def sku_ids(skus: Sequence[str]) -> dict[str, bytes]:
    """Return the id of each SKU's product, active or not, as a page of ids."""
    found = db.session.execute(select(Product.sku, Product.id).where(Product.sku.in_(skus)))
    return {sku: dump({"ids": [product_id]}) for sku, product_id in found if sku}


@cache.memoize_many(key="products:count:{category_id}", ttl="redis_cache_ttl", tables=[Product])
def active_counts(category_ids: Sequence[int]) -> dict[int, bytes]:
    """Return the number of active products of each category."""
    counts = (
        select(Product.category_id, func.count())
        .where(Product.category_id.in_(category_ids), Product.active)
        .group_by(Product.category_id)
    )
    found = dict(db.session.execute(counts).all())
    return {one: dump(found.get(one, 0)) for one in category_ids}


# Writes forget by these functions. The table is in docs/cache.md.


def forget_product(product_id: int) -> None:
    cache.delete_memoized(product_documents, product_id)


def cache_sold(product_ids: Sequence[int]) -> None:
    """Cache rows again that a sale has forgotten: products that sell are read often.

    Call this after the commit. It never fails the sale.
    """
    try:
        product_documents(product_ids)
    except SQLAlchemyError as error:
        db.session.rollback()
        kind = type(error).__name__
        if once_a_minute("sold"):
            logger.warning("Products that were sold could not be read again: %s", kind)


def forget_pages() -> None:
    """Forget all pages of ids, because a row came or went. Other changes leave them as they are."""
    cache.delete_memoized(page_ids)


def forget_created_or_deleted(row: Row) -> None:
    """Forget the row, and the pages, lists, counts and SKU that a product enters or leaves."""
    forget_product(row["id"])
    forget_pages()
    lists.forget_created_or_deleted(ListFields.from_row(row))
    cache.delete_memoized(active_counts, row["category_id"])
    if row["sku"] is not None:
        cache.delete_memoized(sku_ids, row["sku"])


def forget_changes(was: Row, row: Row) -> None:
    """Forget the row, and the pages, lists, counts and SKUs that a change affects."""
    before, after = ListFields.from_row(was), ListFields.from_row(row)
    forget_product(row["id"])
    lists.forget_changes(before, after)
    if before.active != after.active:
        forget_pages()
    if (before.active, before.category_id) != (after.active, after.category_id):
        for category_id in (before.category_id, after.category_id):
            cache.delete_memoized(active_counts, category_id)
    if before.sku != after.sku:
        for sku in filter(None, (before.sku, after.sku)):
            cache.delete_memoized(sku_ids, sku)


def create_product(fields: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the new product's id and document.

    Raises SKUTakenError, InvalidFieldsError for an unknown category, TooManyDecimalsError.
    """
    price = _exact_price(fields, fields)
    refusals = _refusals(fields)
    with raise_for_violations(refusals), cache.transaction():
        _refuse_early(fields, refusals)
        row = rows.create({**fields, "price": price})
        forget_created_or_deleted(row)
    return row["id"], rows.document(row)


def update_product(product_id: int, changes: Mapping[str, Any], if_match: str | None) -> bytes:
    """Return the changed document.

    Raises NotFoundError, PreconditionFailedError, and what `create_product` raises.
    """
    with raise_for_violations(_refusals(changes)), cache.transaction():
        before, after = _changed(product_id, changes, if_match)
        forget_changes(before, after)
    return rows.document(after)


def delete_product(product_id: int, if_match: str | None) -> None:
    """Delete a product. Raises NotFoundError, PreconditionFailedError, ProductOrderedError."""

    def ordered() -> ProductOrderedError:
        message = f"Product {product_id} has been sold: make it inactive instead."
        return ProductOrderedError(message, product_id=product_id)

    with raise_for_violations({"fk_order_lines_product_id": ordered}), cache.transaction():
        row = _lock(product_id, if_match)
        rows.remove(row)
        forget_created_or_deleted(row)


def change_stock(product_id: int, delta: int, if_match: str | None) -> bytes:
    """Add to the stock, or take from it, and return the changed document.

    Raises NotFoundError, PreconditionFailedError, OutOfStockError, StockLimitError.
    """
    with cache.transaction():
        before = _lock(product_id, if_match)
        stock = before["stock"] + delta
        if not 0 <= stock <= INTEGER_MAX:
            short = OutOfStockError if delta < 0 else StockLimitError
            message = f"Product {product_id} has a stock of {before['stock']}."
            raise short(message, product_id=product_id, available=before["stock"])
        after = rows.change(before, {"stock": stock})
        forget_changes(before, after)
    return rows.document(after)


def lock_products(product_ids: Iterable[int]) -> dict[int, Product]:
    """Lock the existing products within a transaction, and return them by id.

    Rows are locked in the order of their ids, so that transactions never wait in a circle.
    """
    found = select(Product).where(Product.id.in_(product_ids)).order_by(Product.id)
    locking = found.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {row.id: row for row in db.session.scalars(locking)}


def move_stock(deltas: Mapping[int, int]) -> None:
    """Add to the stock of locked products, or take from it, within a transaction.

    Raises OutOfStockError, StockLimitError; then the caller must roll back.
    """
    moves = values(column("product_id", Integer), column("delta", Integer), name="moves")
    moves = moves.data(list(deltas.items()))
    stock = cast(Product.stock, BigInteger) + moves.c.delta
    moved = db.session.execute(
        update(Product)
        .where(Product.id == moves.c.product_id, stock.between(0, INTEGER_MAX))
        .values(stock=stock)
        .returning(Product.id, Product.category_id, Product.stock),
        execution_options={"synchronize_session": False},
    ).all()
    if short := deltas.keys() - {row.id for row in moved}:
        first = min(short)
        refusal = OutOfStockError if deltas[first] < 0 else StockLimitError
        row = db.session.get_one(Product, first)
        message = f"The stock of product {first} does not allow this."
        raise refusal(message, product_id=first, available=row.stock)
    for product_id in deltas:
        forget_product(product_id)
    lists.forget_stock(
        row.category_id for row in moved if (row.stock > 0) != (row.stock - deltas[row.id] > 0)
    )


def _changed(product_id: int, changes: Mapping[str, Any], if_match: str | None) -> tuple[Row, Row]:
    """Lock a product and change it; return the old and the new row."""
    needs_no_check = if_match is None and not PRICE_FIELDS & changes.keys()
    if changes and needs_no_check and (found := rows.lock_and_change(product_id, changes)):
        return found
    before = _lock(product_id, if_match)
    price = _exact_price({**before, **changes}, changes)
    return before, rows.change(before, {**changes, "price": price})


def _lock(product_id: int, if_match: str | None) -> Row:
    row = rows.lock(product_id)
    if row is None:
        raise _not_found(product_id)
    if if_match is not None:
        require_match(rows.document(row), if_match)
    return row


def _exact_price(row: Mapping[str, Any], changes: Mapping[str, Any]) -> Decimal:
    """Return the price with the decimal places of the currency.

    `changes` tells which field is wrong. Raises TooManyDecimalsError.
    """
    currency = row["currency"]
    try:
        return exact_amount(row["price"], currency)
    except ValueError as error:
        field = "price" if "price" in changes else "currency"
        raise TooManyDecimalsError(
            str(error),
            {field: str(error)},
            currency=currency,
            decimal_places=decimals(currency),
        ) from None


def _not_found(product_id: int) -> NotFoundError:
    return NotFoundError(f"There is no product {product_id}.")


def _refuse_early(
    fields: Mapping[str, Any], refusals: Mapping[str, Callable[[], ShopError]]
) -> None:
    """Raise the error of a violated constraint before the INSERT: a refused one uses up an id."""
    violated = None
    if fields["sku"] is not None and _product_with_sku(fields["sku"]) is not None:
        violated = "uq_products_sku"
    elif db.session.get(Category, fields["category_id"]) is None:
        violated = "fk_products_category_id"
    if violated:
        refusal = refusals[violated]()
        raise refusal


def _product_with_sku(sku: str) -> int | None:
    return db.session.scalar(select(Product.id).where(Product.sku == sku))


def _refusals(fields: Mapping[str, Any]) -> dict[str, Callable[[], ShopError]]:
    def sku_taken() -> ShopError:
        sku = fields["sku"]
        return SKUTakenError(f"The SKU {sku} is taken.", sku=sku, product_id=_product_with_sku(sku))

    def unknown_category() -> ShopError:
        unknown = f"There is no category {fields['category_id']}."
        return InvalidFieldsError(unknown, {"category_id": unknown})

    return {"uq_products_sku": sku_taken, "fk_products_category_id": unknown_category}
