"""Look at the outbox once a second, in each process that serves.

A worker that cannot reach Redis leaves its names in the outbox, and another that can would not
know: for as long as this pause, and no longer, it may answer what the first has replaced.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from flask import Flask

    from .extension import Cache

logger = logging.getLogger("shop.cache")

WATCH_SECONDS = 1.0


def start(app: Flask, cache: Cache) -> threading.Event:
    """Watch from now on, in a thread, until the returned event is set."""
    stop = threading.Event()
    threading.Thread(
        target=_watch, args=[app, cache, stop], name="cache-watch", daemon=True
    ).start()
    return stop


def _watch(app: Flask, cache: Cache, stop: threading.Event) -> None:
    while not stop.wait(WATCH_SECONDS):
        try:
            look(app, cache)
        except Exception:  # the watch must go on
            logger.exception("The outbox could not be looked at")


def look(app: Flask, cache: Cache) -> None:
    """Forget what is in the outbox. While the breaker is open, its probe does that."""
    connection = redis_connection(app)
    if not connection.available:
        return
    with app.app_context():
        try:
            connection.follow_master()
            if replayed := cache.replay():
                logger.info("Invalidated %s names from the outbox", replayed)
        except RedisUnavailable:
            pass  # the breaker is open now
        except SQLAlchemyError as error:
            logger.debug("The outbox cannot be read now: %s", error)
