"""Cancel orders that were not paid in time.

A payment and an expiry both lock the order and read PostgreSQL's clock, so an order is either paid
or cancelled, never both. While nothing calls this module, an expired order cannot be paid, and
keeps its stock.
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

# The time of the statement is one value for all rows, so PostgreSQL can use an index.
NOW = func.statement_timestamp()
# A transaction that locks a product for longer, such as an operator's, holds up no other order.
SET_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '1s'")


class ExpiryCursor(NamedTuple):
    """The position of an order among those that expire."""

    expires_at: datetime
    order_id: int


def expire_orders(limit: int) -> int:
    """Cancel orders that were not paid in time, the oldest first, and return their number.

    Each order has a transaction of its own. An order that another transaction has locked is left to
    that transaction. An order is left as it is if its products are locked for long, or if their
    stock has no room for the returned units.
    """
    expired, cursor = 0, ExpiryCursor(datetime.min.replace(tzinfo=UTC), 0)
    while expired < limit and (result := _expire_next(cursor)):
        cursor, is_cancelled = result
        expired += is_cancelled
    return expired


def _expire_next(cursor: ExpiryCursor) -> tuple[ExpiryCursor, bool] | None:
    """Cancel the first order after a cursor; return its cursor, and whether it is cancelled."""
    next_cursor = cursor
    try:
        with cache.transaction():
            db.session.execute(SET_LOCK_TIMEOUT)
            order = db.session.scalars(_select_next(cursor)).first()
            if order is None or order.expires_at is None:
                return None
            next_cursor = ExpiryCursor(order.expires_at, order.id)
            answer = service.change_status(order, "cancelled", service.database_time())
    except ShopError as error:
        _warn(next_cursor.order_id, str(error))
        return next_cursor, False
    except DBAPIError as error:
        if next_cursor == cursor or not is_busy(error):
            raise
        _warn(next_cursor.order_id, f"what it needs is locked: {error.orig}")
        return next_cursor, False
    service.publish_event(answer, "expired")
    logger.info("Order %d was not paid in time, and is cancelled", next_cursor.order_id)
    return next_cursor, True


def _select_next(cursor: ExpiryCursor) -> Select[Order]:
    """Select and lock the first expired order after a cursor; skip orders that are locked."""
    expired = select(Order).where(Order.status == "pending", Order.expires_at <= NOW)
    following = expired.where(tuple_(Order.expires_at, Order.id) > tuple_(*cursor))
    first = following.order_by(Order.expires_at, Order.id).limit(1)
    locked = first.with_for_update(skip_locked=True)
    return locked.execution_options(populate_existing=True)


@lru_cache(maxsize=1000)
def _warn(order_id: int, reason: str) -> None:
    """Log once for each order and reason that the order cannot be cancelled."""
    logger.warning("Order %d was not paid in time, and cannot be cancelled: %s", order_id, reason)


def seconds_to_next_expiry() -> float | None:
    """Return the seconds until the next order expires, None if none will."""
    left = func.extract("epoch", Order.expires_at - NOW)
    pending = select(left).where(Order.status == "pending", Order.expires_at > NOW)
    seconds = db.session.scalar(pending.order_by(Order.expires_at).limit(1))
    return None if seconds is None else float(seconds)


def count_overdue() -> int:
    """Return how many orders were not paid in time and are still to be cancelled."""
    statement = select(func.count()).where(Order.status == "pending", Order.expires_at <= NOW)
    return db.session.scalar(statement) or 0
