"""Orders that were not paid in time: cancelled once, by whoever comes first.

A payment and an expiry lock the order and ask the same clock, so one of them finds what the other
has left. Where nobody calls this, an expired order cannot be paid, and keeps its stock.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import func, select, text, tuple_
from sqlalchemy.exc import DBAPIError

from shop.database.failures import is_busy
from shop.extensions import cache, db
from shop.problems import ShopError

from . import service
from .models import Order

if TYPE_CHECKING:
    from sqlalchemy import Select

logger = logging.getLogger(__name__)

# The statement's time is one value for all of its rows, so that an index finds them.
NOW = func.statement_timestamp()


# Whoever holds a product for longer, such as an operator's transaction, holds up no other order.
PATIENCE = text("SET LOCAL lock_timeout = '1s'")


class Place(NamedTuple):
    """Where an order stands among those that expire."""

    expires_at: datetime
    order_id: int


def expire(most: int) -> int:
    """Cancel orders that were not paid in time, the oldest first, and return how many.

    Each in a transaction of its own. One that somebody else has locked is left to them; one whose
    products are locked for long, or whose stock has no room for what comes back, stays as it is.
    """
    expired, last = 0, Place(datetime.min.replace(tzinfo=UTC), 0)
    while expired < most and (found := _expire_next(last)):
        last, is_done = found
        expired += is_done
    return expired


def _expire_next(last: Place) -> tuple[Place, bool] | None:
    """Cancel the first order after a place; return its place, and whether it could be done."""
    place = last
    try:
        with cache.transaction():
            db.session.execute(PATIENCE)
            found = db.session.scalars(_due(last)).first()
            if found is None or found.expires_at is None:
                return None
            place = Place(found.expires_at, found.id)
            answer = service.change_status(found, "cancelled", service.database_time())
    except ShopError as error:
        _warn(place.order_id, str(error))
        return place, False
    except DBAPIError as error:
        if place == last or not is_busy(error):
            raise
        _warn(place.order_id, f"what it needs is locked: {error.orig}")
        return place, False
    service.announce(answer, "expired")
    logger.info("Order %d was not paid in time, and is cancelled", place.order_id)
    return place, True


def _due(last: Place) -> Select[Order]:
    """Select the order that expired next after a place, and lock it, but wait for nobody."""
    expired = select(Order).where(Order.status == "pending", Order.expires_at <= NOW)
    following = expired.where(tuple_(Order.expires_at, Order.id) > tuple_(*last))
    first = following.order_by(Order.expires_at, Order.id).limit(1)
    locked = first.with_for_update(skip_locked=True)
    return locked.execution_options(populate_existing=True)


@lru_cache(maxsize=1000)
def _warn(order_id: int, reason: str) -> None:
    """Say once for each order what keeps it from being cancelled."""
    logger.warning("Order %d was not paid in time, and cannot be cancelled: %s", order_id, reason)


def seconds_to_next() -> float | None:
    """Return when the next order expires, None where none does."""
    left = func.extract("epoch", Order.expires_at - NOW)
    coming = select(left).where(Order.status == "pending", Order.expires_at > NOW)
    found = db.session.scalar(coming.order_by(Order.expires_at).limit(1))
    return None if found is None else float(found)


def overdue() -> int:
    """Return how many orders were not paid in time and are still to be cancelled."""
    statement = select(func.count()).where(Order.status == "pending", Order.expires_at <= NOW)
    return db.session.scalar(statement) or 0
