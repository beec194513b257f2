"""The tasks that are done by the clock. `worker.py` says when, and by whom.

A task does what is due, in pieces that end soon, and returns the seconds until it is due again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from shop import idempotency
from shop.orders import caps, expiry, leaderboard
from shop.redis import redis_connection
from shop.sessions import service as sessions

logger = logging.getLogger(__name__)

Task = Callable[[], float]

PAUSE_SECONDS = 5.0  # at most, before somebody looks for what has become due
HOUR = 3600.0
TOGETHER = 10  # orders, before other tasks have their turn, and a signal is seen


def expire_orders() -> float:
    """Cancel the orders that were not paid in time."""
    if expiry.expire(TOGETHER) == TOGETHER:
        return 0
    left = expiry.seconds_to_next()
    return PAUSE_SECONDS if left is None else min(left, PAUSE_SECONDS)


def purge() -> float:
    """Delete sessions that have ended, answers that are kept no longer, and such addresses."""
    caps.forget_addresses()
    ended, old = sessions.purge_batch(), idempotency.purge_batch()
    if not ended and not old:
        return HOUR
    logger.info("Purged %d sessions, %d idempotency keys", ended, old)
    return 0


def rebuild_the_leaderboard() -> float:
    """Make the board of an hour when it begins, so that no reader has to. Needs Redis."""
    if redis_connection().enabled:
        leaderboard.rebuild()
    return HOUR - time.time() % HOUR


TASKS: tuple[Task, ...] = (expire_orders, purge, rebuild_the_leaderboard)
