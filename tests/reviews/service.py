"""Reviews: the reads and what they cache, the writes and what they forget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from shop.extensions import cache, db
from shop.pages import dump
from shop.problems import NotFoundError
from shop.products.models import Product

from .models import Review
from .schemas import ReviewSchema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

schema = ReviewSchema()


def review(review_id: int) -> bytes:
    """Return a review's document. Raises NotFoundError."""
    try:
        return review_documents([review_id])[review_id]
    except KeyError:
        raise NotFoundError(f"There is no review {review_id}.") from None


@cache.memoize_many(key="reviews:id:{review_id}", ttl="redis_cache_ttl", tables=[Review])
def review_documents(review_ids: Sequence[int]) -> dict[int, bytes]:
    rows = db.session.scalars(select(Review).where(Review.id.in_(review_ids)))
    return {row.id: dump(schema.dump(row)) for row in rows}


def publish(values: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the new review's id and document. Raises NotFoundError for an unknown product."""
    with cache.transaction():
        if db.session.get(Product, values["product_id"]) is None:
            raise NotFoundError(f"There is no product {values['product_id']}.")
        row = Review(**values)
        db.session.add(row)
        db.session.flush()
        cache.delete_memoized(review_documents, row.id)
    return row.id, dump(schema.dump(row))
