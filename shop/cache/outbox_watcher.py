"""Checks the outbox, and tells whether the cache may answer: only while the outbox is empty.

A write that could not suspend its names in Redis commits them to the outbox. It is acknowledged
when the database has been there for FRESHNESS_SECONDS after that commit. A process answers from
the cache only if, within the last FRESHNESS_SECONDS, it has begun a check that found the outbox
empty or emptied it. So a read that begins after the acknowledgement is answered by a process that
has checked after the commit. A check that finds no database passes as well, if it follows in time
on one that passed: nobody commits without the database.

A thread checks often enough that requests need not. In a process without that thread (a command,
a test) each read checks by itself, and each call of Redis finds out which installation owns Redis.
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

    from .installation import Installation, InstallationStatus
    from .outbox import Outbox
    from .protocol import Protocol

logger = logging.getLogger("shop.cache")

FRESHNESS_SECONDS = 0.25
CHECK_PAUSE_SECONDS = 0.1
CHECK_TIMEOUT_SECONDS = 1.0  # other threads wait for a check no longer
FIRST_CHECK_TIMEOUT_SECONDS = 3.0  # for a process's first check, which may claim a vacant Redis
CHECKS_PER_READ = 2  # the first may take so long that it does not count


class _UnusableError(Exception):
    """The cache must not be used, although both servers may answer."""


class OutboxWatcher:
    """Checks the outbox for one process, and knows when the last check passed."""

    def __init__(
        self,
        connection: RedisConnection,
        protocol: Protocol,
        outbox: Outbox,
        installation: Installation,
        generations: Callable[[], list[str]],
    ) -> None:
        """`generations` returns the names of the generations of all families."""
        self.database = ""  # its identity, as the last passed check has found it
        self._connection = connection
        self._protocol = protocol
        self._outbox = outbox
        self._installation = installation
        self._generations = generations
        self._origin = b""
        self._last_passed = float("-inf")  # the begin of the last check that passed
        self._checking = threading.Lock()
        self._last_begun = float("-inf")  # the begin of the last check, passed or not
        self._check_deadline: float | None = None  # other threads wait until then
        self._has_thread = False
        self._master_changed = False  # the new master still has entries of others
        self._logged_trouble = ""

    def may_answer(self) -> bool:
        """Tell whether the cache may answer; needs an application context."""
        for _ in range(CHECKS_PER_READ):
            if self.is_fresh():
                return True
            if self._wait_to_check():
                try:
                    if not self.is_fresh():  # no other thread has checked meanwhile
                        self._check()
                finally:
                    self._checking.release()
        return self.is_fresh()

    def is_fresh(self) -> bool:
        """Tell whether a check has passed lately; this checks nothing, and never waits."""
        return time.monotonic() - self._last_passed <= FRESHNESS_SECONDS

    def check(self) -> None:
        """Check the outbox, and forget the names in it; needs an application context."""
        with self._checking:
            self._check()

    def find_installation(self, app: Flask) -> None:
        """Find out which installation owns Redis, ahead of a call, unless that is known."""
        if self._may_call_redis() or not self._wait_to_check():
            return
        try:
            if not self._checked_lately():  # no other thread has checked meanwhile
                with app.app_context():
                    self._check()
        finally:
            self._checking.release()

    def _may_call_redis(self) -> bool:
        """Tell whether a call of Redis may begin; the calls of a running check always may."""
        if not self._connection.ownership.is_known:
            return False
        return self._has_thread or self._checked_lately() or self._checking.locked()

    def _wait_to_check(self) -> bool:
        """Wait for a running check until its deadline; tell whether this thread may check now."""
        if self._check_deadline is None:
            return self._checking.acquire(timeout=FIRST_CHECK_TIMEOUT_SECONDS)
        return self._checking.acquire(timeout=max(0, self._check_deadline - time.monotonic()))

    def _checked_lately(self) -> bool:
        known = self._connection.ownership.is_known
        return known and time.monotonic() - self._last_begun <= FRESHNESS_SECONDS

    def _check(self) -> None:
        began, trouble = time.monotonic(), ""
        self._last_begun = began
        self._check_deadline = began + (
            FIRST_CHECK_TIMEOUT_SECONDS if self._check_deadline is None else CHECK_TIMEOUT_SECONDS
        )
        try:
            status = self._read_status()
            if not self._claim_redis(status.identity):
                return
            self._forget_in_new_master()
            if not status.outbox_is_empty:
                self._empty_outbox()
            self._set_origin(status)
        except _UnusableError as error:
            trouble = f"The cache is not used: {error}"
        except RedisUnavailable as error:
            trouble = f"The outbox cannot be emptied: {error.__cause__ or 'no Redis'}"
        except SQLAlchemyError as error:
            trouble = f"The outbox cannot be read: {getattr(error, 'orig', error)}"
            # Without a database nobody writes. If it is gone so soon after a check that passed, no
            # write that this check would have found is acknowledged.
            if self._is_redis_ours() and is_database_gone(error) and self.is_fresh():
                self._last_passed = began
        else:
            self._last_passed = began
        if trouble and trouble != self._logged_trouble:
            logger.warning("%s", trouble)
        self._logged_trouble = trouble

    def _read_status(self) -> InstallationStatus:
        try:
            status = self._installation.status(self._outbox)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # A new connection shows whether only the old one was lost, or the database is gone.
            status = self._installation.status(self._outbox)
        if status.life is None:
            raise _UnusableError("the database is a standby, which may be behind")
        return status

    def _claim_redis(self, identity: str) -> bool:
        """Tell whether Redis is this installation's; a known owner stays so while Redis is gone."""
        connection = self._connection
        try:
            connection.claim(identity)
        except RedisUnavailable as error:
            if not connection.ownership.is_known:
                reason = f"it is not known whose Redis this is: {error.__cause__ or 'no Redis'}"
                raise _UnusableError(reason) from error
        return not connection.ownership.is_foreign

    def _is_redis_ours(self) -> bool:
        """Tell whether Redis is this installation's, by the identity of an earlier check."""
        connection = self._connection
        with suppress(RedisUnavailable):
            connection.claim()
        return not connection.ownership.is_foreign

    def _set_origin(self, status: InstallationStatus) -> None:
        """Make every entry of another installation, or of another life of the database, a miss."""
        if self._origin not in {b"", status.origin}:
            logger.warning("The database is not the one of before: the cache begins anew")
        self.database, self._origin = status.database, status.origin
        self._connection.set_origin(status.origin)

    def _empty_outbox(self) -> None:
        if not self._connection.available:
            raise RedisUnavailable
        if replayed := self._outbox.replay(self._protocol.release):
            logger.info("Invalidated %s names from the outbox", replayed)

    def _forget_in_new_master(self) -> None:
        """Forget all entries of a new master: others may fill it while we write to the old one."""
        connection = self._connection
        self._master_changed = connection.follow_master() or self._master_changed
        if self._master_changed:
            self._protocol.release(self._generations())
            self._master_changed = False

    def start(self, app: Flask) -> threading.Event:
        """Check all the time in a thread, until the returned event is set."""
        stop = threading.Event()
        if self._connection.enabled:
            self._has_thread = True
            threading.Thread(
                target=self._check_forever, args=[app, stop], name="outbox-watcher", daemon=True
            ).start()
        return stop

    def _check_forever(self, app: Flask, stop: threading.Event) -> None:
        while True:
            try:
                with app.app_context():
                    self.check()
            except Exception:  # the thread must go on after any error
                logger.exception("The outbox could not be checked")
            if stop.wait(CHECK_PAUSE_SECONDS):
                self._has_thread = False
                return
