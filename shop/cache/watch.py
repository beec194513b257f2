"""Whether the cache may answer: only while the outbox is known to have nothing to forget.

A write that could not suspend its names in Redis commits them to the outbox, and is acknowledged
VOUCH_SECONDS after that. A process answers from the cache only if it has begun to look at the
outbox, and found it empty or emptied it, within the last VOUCH_SECONDS. So a read that begins
after the acknowledgement is answered by a process that has looked after the commit.

A thread looks often enough that requests need not. In a process without it (a command, a test)
a read looks by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from shop.config import is_database_gone
from shop.redis import RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from .backend import RedisBackend
    from .memoize import Memoized
    from .outbox import Outbox

logger = logging.getLogger("shop.cache")

VOUCH_SECONDS = 0.25
WATCH_SECONDS = 0.1


class Watch:
    """What this process knows of the outbox."""

    def __init__(
        self, backend: RedisBackend, outbox: Outbox, functions: Sequence[Memoized]
    ) -> None:
        self._backend = backend
        self._outbox = outbox
        self._functions = functions
        self._clear = float("-inf")  # when the last look began that left nothing to forget
        self._looking = threading.Lock()
        self._gone = False  # the database, when it was last looked for
        self._moved = False  # to another master, which has not been told so far

    def vouches(self) -> bool:
        """Tell whether the cache may answer; needs an application context."""
        if self._gone and self._looking.locked():
            return True  # a look for a lost database can take long
        if self._age() > VOUCH_SECONDS and self._looking.acquire(timeout=VOUCH_SECONDS):
            try:
                if self._age() > VOUCH_SECONDS:  # nobody else has looked meanwhile
                    self._look()
            finally:
                self._looking.release()
        return self._gone or self._age() <= VOUCH_SECONDS

    def _age(self) -> float:
        return time.monotonic() - self._clear

    def look(self) -> None:
        """Look at the outbox, and forget what is in it; needs an application context."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        began = time.monotonic()
        try:
            self._greet_master()
            if not self._outbox.is_empty():
                replayed = self._outbox.replay(self._backend.protocol.release)
                logger.info("Invalidated %s names from the outbox", replayed)
        except RedisUnavailable as error:
            logger.warning("The outbox cannot be emptied: %s", error.__cause__ or "no Redis")
        except SQLAlchemyError as error:
            self._gone = is_database_gone(error)  # then nobody writes, and what is known stays true
        else:
            self._clear, self._gone = began, False

    def _greet_master(self) -> None:
        """Forget all in a new master, which others may have filled while we wrote to the old."""
        connection = self._backend.connection
        self._moved = connection.follow_master() or self._moved
        if self._moved:
            families = [function.generation_key for function in self._functions]
            self._backend.protocol.release(families)
            self._moved = False

    def start(self, app: Flask) -> threading.Event:
        """Look all the time, in a thread, until the returned event is set."""
        stop = threading.Event()
        threading.Thread(
            target=self._watch, args=[app, stop], name="cache-watch", daemon=True
        ).start()
        return stop

    def _watch(self, app: Flask, stop: threading.Event) -> None:
        while not stop.wait(WATCH_SECONDS):
            if self._backend.connection.available:
                try:
                    with app.app_context():
                        self.look()
                except Exception:  # whatever it is, the watch must go on
                    logger.exception("The outbox could not be looked at")
