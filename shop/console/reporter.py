"""Makes the report of a gunicorn every few seconds, in one of its workers.

Each worker writes its notable answers to a file of the directory that the workers share. The worker
that holds the lock of that directory adds up the counts of all, writes the report of the host to a
file, from which any worker answers, and puts it into Redis, for other hosts. When it ends, another
worker takes the lock, and goes on from the file. While Redis is away nothing is lost: each report
has the whole hour.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import orjson

from shop import exemplars
from shop.database.connections import count_connections
from shop.extensions import db
from shop.limits import limit_mode
from shop.log_throttle import once_a_minute
from shop.redis import RedisUnavailable
from shop.shared_files import replace_file
from shop.version import VERSION

from . import fleet, notable
from .counts import current_counts
from .history import History
from .host_report import HostReport

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("shop.console")

REPORT_SECONDS = 5.0
REPORT = "report.json"
LOCK = "reporter"
ANSWERS = "answers_{}.json"  # of a worker, by its process id


def start(app: Flask, host: str) -> threading.Event:
    """Report in a thread until the returned event is set. `host` names this gunicorn."""
    stop = threading.Event()
    reporter = Reporter(app, host, shared_directory())
    threading.Thread(target=reporter.run, args=[stop], name="reporter", daemon=True).start()
    return stop


def shared_directory() -> Path:
    return Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])


def read_report() -> HostReport | None:
    """Return the last report of this gunicorn; None before the first, and without gunicorn."""
    try:
        return HostReport.decode((shared_directory() / REPORT).read_bytes())
    except (KeyError, OSError):
        return None


class Reporter:
    def __init__(self, app: Flask, host: str, directory: Path) -> None:
        self._app = app
        self._host = host
        self._directory = directory
        self._lock: IO[bytes] | None = None
        self._history: History | None = None
        self._last: HostReport | None = None

    def run(self, stop: threading.Event) -> None:
        while True:
            try:
                with self._app.app_context():
                    self.report()
            except Exception:  # the thread must go on after any error
                if once_a_minute("console.reporter"):
                    logger.exception("The report of this host could not be made")
            if stop.wait(REPORT_SECONDS):
                self.release()
                return

    def report(self) -> None:
        """Write the answers of this worker, and the report of the host if this is its reporter."""
        exemplars.share()
        limit_mode().refresh()
        count_connections(db.engine)
        own = {"failed": list(notable.failed), "slow": list(notable.slow)}
        self._share(ANSWERS.format(os.getpid()), orjson.dumps(own))
        if not self._is_reporter():
            return
        made = self._make()
        self._share(REPORT, made.encode())
        try:
            fleet.publish(made)
        except RedisUnavailable as error:
            if error.__cause__ and once_a_minute("console.publish"):
                logger.info("Other hosts are not told of this one: %s", error.__cause__)

    def _share(self, name: str, content: bytes) -> None:
        """Write a file for the other workers; without room on the disk they do without it."""
        try:
            replace_file(self._directory / name, content)
        except OSError as error:
            if once_a_minute("console.share"):
                logger.warning("Workers are not told of each other: %s", error.strerror)

    def _is_reporter(self) -> bool:
        """Take the lock, or keep it; the system frees it when this process ends."""
        if self._lock is None:
            lock = (self._directory / LOCK).open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._lock = lock
        return True

    def release(self) -> None:
        """Let another worker report."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def _make(self) -> HostReport:
        totals, gauges = current_counts()
        now = time.time()
        if self._history is None or self._last is None:
            self._last = self._report_of_former() or HostReport(
                host=self._host, master=os.getppid(), version=VERSION, started_at=now, made_at=now
            )
            self._history = History(dict(self._last.minutes), self._last.totals)
        self._history.add(totals)
        seconds, recent = self._history.last_minute()
        made = HostReport(
            host=self._host,
            master=os.getppid(),
            version=VERSION,
            started_at=self._last.started_at,
            made_at=now,
            gauges=gauges,
            totals=dict(totals),
            recent=dict(recent),
            recent_seconds=seconds,
            minutes=[(at, dict(counts)) for at, counts in sorted(self._history.minutes.items())],
            failed=self._last.failed,
            slow=self._last.slow,
        )
        made.workers = self._add_answers(made)
        self._last = made
        return made

    def _report_of_former(self) -> HostReport | None:
        """Return the report of the worker that was the reporter before, if there was one."""
        found = read_report()
        return found if found and found.master == os.getppid() else None

    def _add_answers(self, report: HostReport) -> int:
        """Add the answers of all workers; return the number of those that live."""
        workers = 0
        for path in self._directory.glob(ANSWERS.format("*")):
            try:
                written = orjson.loads(path.read_bytes())
            except (OSError, ValueError):  # it is gone, or was written without room on the disk
                continue
            report.add_answers(written["failed"], written["slow"])
            if _is_alive(int(path.stem.rpartition("_")[2])):
                workers += 1
            else:
                path.unlink(missing_ok=True)
        return workers


def _is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()
