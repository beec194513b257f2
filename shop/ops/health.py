"""Checks what the service needs: the database to answer, and Redis to be fast."""

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

FRESH_SECONDS = 1.0  # that what was found is told to everybody who asks
PAUSE_SECONDS = 0.005  # of an event loop, between two looks whether it is done
PATIENCE_SECONDS = 2.0  # that a look may take; after it a server counts as unreachable


class Health(NamedTuple):
    database: str  # ok, read-only, or unreachable
    redis: str  # ok, unreachable, foreign, or disabled
    silent_sentinels: int | None  # None without sentinels

    @property
    def serves(self) -> bool:
        return self.database in {"ok", "read-only"}

    @property
    def is_whole(self) -> bool:
        return self.database == "ok" and self.redis in {"ok", "disabled"}


class Look:
    """One look at both servers. Redis comes first, because it is never waited for."""

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
    def patience(self) -> float:
        """Seconds that it may still take."""
        return max(0, self.began + PATIENCE_SECONDS - time.monotonic())

    def found(self) -> Health:
        """Return what has been found in time."""
        self.done.wait(self.patience)
        return Health(self._database, self._redis, self._silent)


class Doctor:
    """Looks once a second at most, with one thread at most, however many ask.

    A database that hangs holds that thread, and none of those that answer requests: they are told
    so when its patience is over.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._look: Look | None = None

    def health(self) -> Health:
        return self._latest().found()

    async def await_health(self) -> Health:
        """Do the same on an event loop, which goes on meanwhile."""
        look = self._latest()
        while look.patience and not look.done.is_set():  # noqa: ASYNC110  (which a thread sets)
            await asyncio.sleep(PAUSE_SECONDS)
        return look.found()

    def _latest(self) -> Look:
        with self._lock:
            look = self._look
            if look and not (look.done.is_set() and self._is_old(look)):
                return look
            self._look = look = Look()
            threading.Thread(target=look.run, args=[self._app], daemon=True).start()
            return look

    @staticmethod
    def _is_old(look: Look) -> bool:
        return time.monotonic() - look.began >= FRESH_SECONDS


def doctor() -> Doctor:
    """Return the one of the current application."""
    found: Doctor = current_app.extensions["shop.health"]
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
