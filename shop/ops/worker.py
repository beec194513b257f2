"""`flask worker`: runs the tasks that are due by the clock, with or without requests.

One of several workers holds the lock and runs all tasks; the others stand by. This only saves
work: two active workers, when the lock changes hands, do no harm.
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
from shop.console import worker_tasks
from shop.database.failures import DATABASE_UNAVAILABLE, database_problem, is_busy
from shop.database.locks import try_lock
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
STOP_SECONDS = 5  # a task may end its transaction in that time
RETRY_SECONDS = 1
LOCK_IDLE_SECONDS = 30  # a worker that hangs loses the lock after that


class WorkerLock:
    """An advisory lock of PostgreSQL, which one worker holds as long as its transaction lasts.

    PostgreSQL ends the transaction of a worker that hangs; then another worker gets the lock.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def acquire(self) -> bool:
        """Try to take the lock; tell whether it is held. Raises SQLAlchemy's errors."""
        if self._connection:
            try:
                return self._try(self._connection)
            except DBAPIError:
                self._connection.invalidate()
                self._connection.close()
                self._connection = None
        self._connection = db.engine.connect()
        return self._try(self._connection)

    @staticmethod
    def _try(connection: Connection) -> bool:
        is_held = try_lock(connection, "shop worker", idle_seconds=LOCK_IDLE_SECONDS)
        if not is_held:
            connection.rollback()
        return is_held


class Worker:
    """Runs each task when it is due, and goes on after any failure of PostgreSQL and Redis."""

    def __init__(self, app: Flask, stop: threading.Event) -> None:
        self._app = app
        self._stop = stop
        self._lock = WorkerLock()
        self._due = dict.fromkeys(TASKS, 0.0)  # times of the monotonic clock
        self._last_messages: dict[str, str] = {}  # by subject

    def run(self) -> None:
        """Run tasks until `stop` is set."""
        while not self._stop.is_set():
            self._stop.wait(self._run_once())

    def _run_once(self) -> float:
        """Run the due tasks if this worker holds the lock; return the seconds to pause."""
        try:
            with self._app.app_context():
                is_held = self._lock.acquire()
            self._log_change("turn", AT_WORK if is_held else STANDS_BY)
            return self._run_due_tasks() if is_held else RETRY_SECONDS
        except DATABASE_UNAVAILABLE as error:
            message = f"The database cannot be reached: {_error_text(error)}"
            self._log_change("turn", message, logging.WARNING)
        except Exception as error:  # noqa: BLE001  (the worker goes on after any error)
            self._log_change(
                "turn", f"The worker has no turn: {_error_text(error)}", logging.ERROR, error
            )
        return RETRY_SECONDS

    def _run_due_tasks(self) -> float:
        for task, due in self._due.items():
            if due <= time.monotonic() and not self._stop.is_set():
                pause = self._run_task(task)
                self._due[task] = time.monotonic() + pause
        return min(PAUSE_SECONDS, max(0, min(self._due.values()) - time.monotonic()))

    def _run_task(self, task: Task) -> float:
        """Run one task, and return the seconds until it is due again."""
        name, began = task.__name__, time.monotonic()
        try:
            with self._app.app_context():
                pause = task()
                worker_tasks.count_success(name, time.monotonic() - began)
        except RedisUnavailable as error:
            reason = error.__cause__ or "it cannot be reached"
            self._log_change(name, f"Task {name} waits for Redis: {reason}", logging.WARNING)
        except Exception as error:
            # After any other error the other tasks go on.
            if isinstance(error, DATABASE_UNAVAILABLE) and not is_busy(error):
                raise
            is_foreseen = isinstance(error, DBAPIError) and database_problem(error)
            message = f"Task {name} has failed: {_error_text(error)}"
            self._log_change(name, message, logging.ERROR, None if is_foreseen else error)
        else:
            self._last_messages.pop(name, None)
            return pause
        with self._app.app_context():
            worker_tasks.count_failure(name)
        return RETRY_SECONDS

    def _log_change(
        self,
        subject: str,
        message: str,
        level: int = logging.INFO,
        error: Exception | None = None,
    ) -> None:
        """Log a message about a subject, unless it was the last one logged."""
        if self._last_messages.get(subject) != message:
            self._last_messages[subject] = message
            logger.log(level, message, exc_info=error)


def _error_text(error: Exception) -> object:
    """Return the driver's error, without the statement that SQLAlchemy adds."""
    return getattr(error, "orig", None) or error


@click.command()
@with_appcontext
def worker() -> None:
    """Run the tasks that are due by the clock, until SIGTERM or Ctrl-C.

    Cancels orders that were not paid in time, deletes what has ended, makes the leaderboard anew
    each hour. Run one beside the service; of several, one works and the others stand by.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # in all threads; `sigwait` takes them below
    write_in_background(dropped_line)
    settings = current_settings()
    logging.config.dictConfig(logging_config(settings.log_level))
    for remark in settings.remarks():
        logger.info(remark)
    stop = threading.Event()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    work = threading.Thread(target=Worker(app, stop).run, name="worker", daemon=True)
    watcher_stop = cache.start_watcher(app)
    work.start()
    signal.sigwait(SIGNALS)
    stop.set()
    watcher_stop.set()
    work.join(STOP_SECONDS)
