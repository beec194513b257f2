"""Tells whether the cache may answer: only while the outbox has nothing to forget.

A write that could not suspend its names in Redis commits them to the outbox, and is acknowledged
when the database has been there for VOUCH_SECONDS after that. A process answers from the cache
only if it has begun to look at the outbox, and found it empty or emptied it, within the last
VOUCH_SECONDS. So a read that begins after the acknowledgement is answered by a process that has
looked after the commit. A look that finds no database counts as well, if it follows in time on
one that counts: nothing is committed without it.

A thread looks often enough that requests need not. In a process without it (a command, a test)
a read looks by itself, and each call of Redis looks whose Redis it is.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from shop.database.failures import is_database_gone
from shop.redis import RedisUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from shop.redis import RedisConnection

    from .installation import Found, Installation
    from .outbox import Outbox
    from .protocol import Protocol

logger = logging.getLogger("shop.cache")

VOUCH_SECONDS = 0.25
WATCH_SECONDS = 0.1
PATIENCE_SECONDS = 1.0  # that others wait for a look
FIRST_SECONDS = 3.0  # that they wait for the first of a process, which may find Redis vacant
LOOKS = 2  # of one read: the first may have taken so long that it does not count


class _UnusableError(Exception):
    """Why the cache is not used, although both servers may answer."""


class Watch:
    """The state of the outbox, as far as this process knows."""

    def __init__(
        self,
        connection: RedisConnection,
        protocol: Protocol,
        outbox: Outbox,
        installation: Installation,
        generations: Callable[[], list[str]],
    ) -> None:
        """`generations` returns the names of those of all families."""
        self.identity = ""  # of the installation, as the last look that counts has found it
        self._connection = connection
        self._protocol = protocol
        self._outbox = outbox
        self._installation = installation
        self._generations = generations
        self._origin = b""
        self._clear = float("-inf")  # when the last look began that counts
        self._looking = threading.Lock()
        self._asked = float("-inf")  # when the last look began, whether it counts or not
        self._deadline: float | None = None  # until which others wait for that one
        self._is_watched = False  # by the thread
        self._moved = False  # to another master, which has not been told so far
        self._trouble = ""  # that has been logged

    def vouches(self) -> bool:
        """Tell whether the cache may answer; needs an application context."""
        for _ in range(LOOKS):
            if self.is_fresh():
                return True
            if self._may_look():
                try:
                    if not self.is_fresh():  # nobody else has looked meanwhile
                        self._look()
                finally:
                    self._looking.release()
        return self.is_fresh()

    def is_fresh(self) -> bool:
        """Tell whether the last look still counts; a read that is asked to look can wait."""
        return self._age() <= VOUCH_SECONDS

    def _age(self) -> float:
        return time.monotonic() - self._clear

    def look(self) -> None:
        """Look at the outbox, and forget what is in it; needs an application context."""
        with self._looking:
            self._look()

    def introduce(self, app: Flask) -> None:
        """Find out whose Redis this is, ahead of a call of it, unless that is known."""
        if self._is_introduced() or not self._may_look():
            return
        try:
            if not self._has_asked():  # nobody else has looked meanwhile
                with app.app_context():
                    self._look()
        finally:
            self._looking.release()

    def _is_introduced(self) -> bool:
        """Tell whether a call of Redis may begin; those of a look that goes on may in any case."""
        if not self._connection.ownership.is_known:
            return False
        return self._is_watched or self._has_asked() or self._looking.locked()

    def _may_look(self) -> bool:
        """Wait for a look that goes on, until its deadline; tell whether this one may look now."""
        patience = FIRST_SECONDS if self._deadline is None else self._deadline - time.monotonic()
        return self._looking.acquire(timeout=max(0, patience))

    def _has_asked(self) -> bool:
        known = self._connection.ownership.is_known
        return known and time.monotonic() - self._asked <= VOUCH_SECONDS

    def _look(self) -> None:
        began, trouble = time.monotonic(), ""
        self._asked = began
        self._deadline = began + (FIRST_SECONDS if self._deadline is None else PATIENCE_SECONDS)
        try:
            found = self._ask_database()
            if not self._is_ours(found):
                return
            self._greet_master()
            if not found.outbox_is_empty:
                self._empty_outbox()
            self._begin(found)
        except _UnusableError as error:
            trouble = f"The cache is not used: {error}"
        except RedisUnavailable as error:
            trouble = f"The outbox cannot be emptied: {error.__cause__ or 'no Redis'}"
        except SQLAlchemyError as error:
            trouble = f"The outbox cannot be read: {getattr(error, 'orig', error)}"
            # Without a database nobody writes. If it is gone so soon after a look that counts, no
            # write that this one would have seen is acknowledged either.
            if self._is_still_ours() and is_database_gone(error) and self.is_fresh():
                self._clear = began
        else:
            self._clear = began
        if trouble and trouble != self._trouble:
            logger.warning("%s", trouble)
        self._trouble = trouble

    def _ask_database(self) -> Found:
        try:
            found = self._installation.look(self._outbox)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # Was it that connection, or is it the database?
            found = self._installation.look(self._outbox)
        if found.life is None:
            raise _UnusableError("the database is a standby, which may be behind")
        return found

    def _is_ours(self, found: Found) -> bool:
        """Tell whether Redis is of this installation; what is known stays true while it is away."""
        connection = self._connection
        try:
            connection.claim(found.identity)
        except RedisUnavailable as error:
            if not connection.ownership.is_known:
                reason = f"it is not known whose Redis this is: {error.__cause__ or 'no Redis'}"
                raise _UnusableError(reason) from error
        return not connection.ownership.is_foreign

    def _is_still_ours(self) -> bool:
        """Tell whether Redis is of the installation that the database has told before."""
        connection = self._connection
        with suppress(RedisUnavailable):
            connection.claim()
        return not connection.ownership.is_foreign

    def _begin(self, found: Found) -> None:
        """From here on documents of another installation or life of the database are none."""
        if self._origin not in {b"", found.origin}:
            logger.warning("The database is not the one of before: the cache begins anew")
        self.identity, self._origin = found.identity, found.origin
        self._connection.set_origin(found.origin)

    def _empty_outbox(self) -> None:
        if not self._connection.available:
            raise RedisUnavailable
        if replayed := self._outbox.replay(self._protocol.release):
            logger.info("Invalidated %s names from the outbox", replayed)

    def _greet_master(self) -> None:
        """Forget all in a new master, which others may have filled while we wrote to the old."""
        connection = self._connection
        self._moved = connection.follow_master() or self._moved
        if self._moved:
            self._protocol.release(self._generations())
            self._moved = False

    def start(self, app: Flask) -> threading.Event:
        """Look all the time, in a thread, until the returned event is set."""
        stop = threading.Event()
        if self._connection.enabled:
            self._is_watched = True
            threading.Thread(
                target=self._watch, args=[app, stop], name="cache-watch", daemon=True
            ).start()
        return stop

    def _watch(self, app: Flask, stop: threading.Event) -> None:
        while True:
            try:
                with app.app_context():
                    self.look()
            except Exception:  # whatever it is, the watch must go on
                logger.exception("The outbox could not be looked at")
            if stop.wait(WATCH_SECONDS):
                self._is_watched = False
                return
