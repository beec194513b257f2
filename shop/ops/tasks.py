"""The tasks of `flask worker`, which are due by the clock.

A task does a small part of what is due, and returns the seconds until it is due again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from shop import idempotency
from shop.orders import expiry, leaderboard, open_orders
from shop.redis import redis_connection
from shop.sessions import service as sessions

logger = logging.getLogger(__name__)

Task = Callable[[], float]

PAUSE_SECONDS = 5.0  # maximum between two looks for expired orders
HOUR = 3600.0
ORDERS_BATCH = 10  # orders of one call, so that other tasks and signals need not wait long


def expire_orders() -> float:
    """Cancel the orders that were not paid in time."""
    if expiry.expire_orders(ORDERS_BATCH) == ORDERS_BATCH:
        return 0
    left = expiry.seconds_to_next_expiry()
    return PAUSE_SECONDS if left is None else min(left, PAUSE_SECONDS)


def purge() -> float:
    """Delete ended sessions, expired answers, and addresses that are no longer needed."""
    open_orders.erase_addresses()
    ended, old = sessions.purge_batch(), idempotency.purge_batch()
    if not ended and not old:
        return HOUR
    logger.info("Purged %d sessions, %d idempotency keys", ended, old)
    return 0


def rebuild_the_leaderboard() -> float:
    """Make the leaderboard of an hour when it begins, so that no reader has to. Needs Redis."""
    if redis_connection().enabled:
        leaderboard.rebuild()
    return HOUR - time.time() % HOUR


TASKS: tuple[Task, ...] = (expire_orders, purge, rebuild_the_leaderboard)
