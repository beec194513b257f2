"""The health of the service: the state of the database, of Redis and of its sentinels."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from flask import current_app
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shop.database.connections import is_read_only
from shop.extensions import db
from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from flask import Flask

RESULT_SECONDS = 1.0  # a result answers everybody for so long
PAUSE_SECONDS = 0.005  # of an event loop that waits for a check
CHECK_TIMEOUT_SECONDS = 2.0  # after it, a server counts as unreachable


class Health(NamedTuple):
    """The result of a check."""

    database: str  # ok, read-only, or unreachable
    redis: str  # ok, unreachable, foreign, or disabled
    silent_sentinels: int | None  # None without sentinels

    @property
    def can_serve(self) -> bool:
        return self.database in {"ok", "read-only"}

    @property
    def is_healthy(self) -> bool:
        return self.database == "ok" and self.redis in {"ok", "disabled"}


class HealthCheck:
    """One check of both servers. Redis comes first, because it is never waited for."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.done = threading.Event()
        self._database = self._redis = "unreachable"
        self._silent: int | None = None

    def run(self, app: Flask) -> None:
        try:
            with app.app_context():
                self._silent = _silent_sentinels()
                self._redis = _redis()
                self._database = _database()
        finally:
            self.done.set()

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    @property
    def seconds_left(self) -> float:
        """Return the seconds until the timeout."""
        return max(0, CHECK_TIMEOUT_SECONDS - self.age)

    def result(self) -> Health:
        """Wait for the end or the timeout, and return the states known then."""
        self.done.wait(self.seconds_left)
        return Health(self._database, self._redis, self._silent)


class HealthMonitor:
    """Checks once a second at most, in one thread at most, for any number of requests.

    A database that hangs holds that thread, and no thread that answers requests: these answer
    `unreachable` after the timeout.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._current: HealthCheck | None = None

    def health(self) -> Health:
        return self._latest().result()

    async def await_health(self) -> Health:
        """Return `health` without blocking the event loop."""
        check = self._latest()
        while check.seconds_left and not check.done.is_set():  # noqa: ASYNC110  (a thread sets it)
            await asyncio.sleep(PAUSE_SECONDS)
        return check.result()

    def _latest(self) -> HealthCheck:
        with self._lock:
            check = self._current
            if check and (not check.done.is_set() or check.age < RESULT_SECONDS):
                return check
            self._current = check = HealthCheck()
            threading.Thread(target=check.run, args=[self._app], daemon=True).start()
            return check


def health_monitor() -> HealthMonitor:
    """Return the monitor of the current application."""
    found: HealthMonitor = current_app.extensions["shop.health"]
    return found


def _database() -> str:
    try:
        with db.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            read_only = is_read_only(connection.connection.driver_connection)
    except SQLAlchemyError:
        return "unreachable"
    return "read-only" if read_only else "ok"


def _redis() -> str:
    connection = redis_connection()
    if not connection.enabled:
        return "disabled"
    if connection.ownership.is_foreign:
        return "foreign"
    try:
        connection.ping()
    except RedisUnavailable:
        return "unreachable"
    return "ok"


def _silent_sentinels() -> int | None:
    sentinels = redis_connection().sentinels
    return None if sentinels is None else sentinels.silent
