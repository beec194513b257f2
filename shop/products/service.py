"""Products: the reads and what they cache, the writes and what they forget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from shop.errors import ConflictError, InvalidError, NotFoundError, ShopError, violations
from shop.extensions import cache, db
from shop.pages import Page, dump, select_page_ids

from .models import Product
from .schemas import ProductSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

schema = ProductSchema()


def product(product_id: int) -> bytes:
    """Return a product's document. Raises NotFoundError."""
    try:
        return product_documents([product_id])[product_id]
    except KeyError:
        raise _not_found(product_id) from None


def page(skip: int, limit: int) -> Page:
    """Return a page of products, in id order."""
    found = json.loads(page_ids(skip, limit))
    documents = product_documents(found["ids"])
    return Page(list(documents.values()), skip, limit, found["more"])


@cache.memoize_many(key="products:id:{product_id}", ttl="redis_cache_ttl", tables=[Product])
def product_documents(product_ids: Sequence[int]) -> dict[int, bytes]:
    found = select(Product).where(Product.id.in_(product_ids))
    rows = db.session.scalars(found.execution_options(populate_existing=True))
    return {row.id: dump(schema.dump(row)) for row in rows}


@cache.memoize(
    key="products:list:skip:{skip}:limit:{limit}", ttl="redis_cache_ttl", tables=[Product]
)
def page_ids(skip: int, limit: int) -> bytes:
    return select_page_ids(Product.id, skip, limit)


def forget_product(product_id: int) -> None:
    cache.delete_memoized(product_documents, product_id)


def forget_pages() -> None:
    """Forget all pages: a row came or went. A row that changes is in no page."""
    cache.delete_memoized(page_ids)


def create_product(values: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the new product's id and document.

    Raises ConflictError for a SKU in use, InvalidError for an unknown category.
    """
    row = Product(**values)
    with violations(_refusals(values)), cache.transaction():
        db.session.add(row)
        db.session.flush()
        forget_product(row.id)
        forget_pages()
    return row.id, dump(schema.dump(row))


def update_product(product_id: int, changes: Mapping[str, Any]) -> bytes:
    """Return the changed document. Raises NotFoundError, and what `create_product` raises."""
    with violations(_refusals(changes)), cache.transaction():
        row = _locked(product_id)
        for name, value in changes.items():
            setattr(row, name, value)
        forget_product(product_id)
    return dump(schema.dump(row))


def delete_product(product_id: int) -> None:
    """Raises NotFoundError."""
    with cache.transaction():
        db.session.delete(_locked(product_id))
        forget_product(product_id)
        forget_pages()


def _locked(product_id: int) -> Product:
    row = db.session.get(Product, product_id, with_for_update=True)
    if row is None:
        raise _not_found(product_id)
    return row


def _not_found(product_id: int) -> NotFoundError:
    return NotFoundError(f"There is no product {product_id}.")


def _refusals(values: Mapping[str, Any]) -> dict[str, ShopError]:
    return {
        "uq_products_sku": ConflictError(f"The SKU {values.get('sku')} is taken."),
        "fk_products_category_id": InvalidError(
            "category_id", f"There is no category {values.get('category_id')}."
        ),
    }
