"""`flask worker`: what has to be done by the clock, whether anybody calls the service or not.

Of several workers one has its turn and does all, and the others stand by. Nothing but thrift relies
on that: two at once, where a turn changes hands, do no harm.
"""

from __future__ import annotations

import logging
import logging.config
import signal
import threading
import time
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import DBAPIError

from shop.config import current_settings
from shop.database.failures import DATABASE_UNAVAILABLE, is_held_up, meaning
from shop.database.locks import take_lock
from shop.extensions import cache, db
from shop.logs import dropped_line, logging_config
from shop.output import write_in_background
from shop.redis import RedisUnavailable

from .tasks import PAUSE_SECONDS, TASKS

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Connection

    from .tasks import Task

logger = logging.getLogger(__name__)

AT_WORK = "The worker is at work"
STANDS_BY = "Another worker is at work: this one stands by"
SIGNALS = {signal.SIGTERM, signal.SIGINT}
STOP_SECONDS = 5  # that a task has to come to the end of a transaction
RETRY_SECONDS = 1
TURN_SECONDS = 30  # without a sign of life, until a turn passes to another worker


class Turn:
    """An advisory lock of PostgreSQL, which one worker holds as long as its transaction is there.

    PostgreSQL ends the transaction of a worker that hangs: so the next one takes its turn.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def is_mine(self) -> bool:
        """Tell whether this worker has its turn. Raises what SQLAlchemy does without a database."""
        if self._connection:
            try:
                return self._ask(self._connection)
            except DBAPIError:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
        self._connection = db.engine.connect()
        return self._ask(self._connection)

    @staticmethod
    def _ask(connection: Connection) -> bool:
        is_mine = take_lock(connection, "shop worker", idle_seconds=TURN_SECONDS)
        if not is_mine:
            connection.rollback()
        return is_mine


class Worker:
    """Does each task when it is due, and goes on whatever happens to PostgreSQL and Redis."""

    def __init__(self, app: Flask, stop: threading.Event) -> None:
        self._app = app
        self._stop = stop
        self._turn = Turn()
        self._due = dict.fromkeys(TASKS, 0.0)  # by the monotonic clock
        self._said: dict[str, str] = {}  # last, of each subject

    def run(self) -> None:
        """Work until it is told to stop."""
        while not self._stop.is_set():
            self._stop.wait(self._round())

    def _round(self) -> float:
        """Do what is due, if it is this worker's turn, and return the seconds to pause."""
        try:
            with self._app.app_context():
                is_mine = self._turn.is_mine()
            self._say("turn", AT_WORK if is_mine else STANDS_BY)
            return self._do_what_is_due() if is_mine else RETRY_SECONDS
        except DATABASE_UNAVAILABLE as error:
            message = f"The database cannot be reached: {_told(error)}"
            self._say("turn", message, logging.WARNING)
        except Exception as error:  # noqa: BLE001  (whatever it is, the worker goes on)
            self._say("turn", f"The worker has no turn: {_told(error)}", logging.ERROR, error)
        return RETRY_SECONDS

    def _do_what_is_due(self) -> float:
        for task, due in self._due.items():
            if due <= time.monotonic() and not self._stop.is_set():
                pause = self._do(task)
                self._due[task] = time.monotonic() + pause
        return min(PAUSE_SECONDS, max(0, min(self._due.values()) - time.monotonic()))

    def _do(self, task: Task) -> float:
        """Do one task, and return the seconds until it is due again."""
        name = task.__name__
        try:
            with self._app.app_context():
                pause = task()
        except RedisUnavailable as error:
            reason = error.__cause__ or "it cannot be reached"
            self._say(name, f"Task {name} waits for Redis: {reason}", logging.WARNING)
        except Exception as error:
            # Whatever else it is, the other tasks go on.
            if isinstance(error, DATABASE_UNAVAILABLE) and not is_held_up(error):
                raise
            is_foreseen = isinstance(error, DBAPIError) and meaning(error)
            message = f"Task {name} has failed: {_told(error)}"
            self._say(name, message, logging.ERROR, None if is_foreseen else error)
        else:
            self._said.pop(name, None)
            return pause
        return RETRY_SECONDS

    def _say(
        self,
        subject: str,
        message: str,
        level: int = logging.INFO,
        error: Exception | None = None,
    ) -> None:
        """Log what is new of a subject."""
        if self._said.get(subject) != message:
            self._said[subject] = message
            logger.log(level, message, exc_info=error)


def _told(error: Exception) -> object:
    """Return what an error says, without the statement that SQLAlchemy adds."""
    return getattr(error, "orig", None) or error


@click.command()
@with_appcontext
def worker() -> None:
    """Do what has to be done by the clock, until SIGTERM or Ctrl-C.

    Cancels orders that were not paid in time, deletes what has ended, makes the leaderboard anew
    each hour. Run one beside the service; of several, one works and the others stand by.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # of all threads: they are waited for below
    write_in_background(dropped_line)
    settings = current_settings()
    logging.config.dictConfig(logging_config(settings.log_level))
    for remark in settings.remarks():
        logger.info(remark)
    stop = threading.Event()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    work = threading.Thread(target=Worker(app, stop).run, name="worker", daemon=True)
    watch = cache.start_watcher(app)
    work.start()
    signal.sigwait(SIGNALS)
    stop.set()
    watch.set()
    work.join(STOP_SECONDS)
