"""A circuit breaker (Nygard, Release It!, 2018).

While it is open nobody waits for Redis: every call is refused at once, and a thread tries to reach
Redis twice a second until it answers, which closes the breaker.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import redis

from shop.log_throttle import once_a_minute
from shop.prometheus import Gauge

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("shop.redis")

PROBE_SECONDS = 0.5
BREAKER_OPEN = Gauge(
    "shop_redis_breaker_open",
    "Workers that do not try Redis now, or one of its nodes, because they could not reach it.",
    multiprocess_mode="livesum",
)
UNREACHABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.RedisClusterException,
    OSError,
    UnicodeError,  # a name that no host can have
)
# Errors of a server that refuses all useful commands.
OUT_OF_SERVICE = (redis.exceptions.ReadOnlyError, redis.exceptions.ClusterDownError)
BUSY = "BUSY "  # with a script that does not end

_open: set[Breaker] = set()  # those of this process
_counting = threading.Lock()


def is_out_of_service(error: redis.RedisError) -> bool:
    """Return whether Redis refuses all commands now, and not only this one."""
    return isinstance(error, OUT_OF_SERVICE) or str(error).startswith(BUSY)


class Breaker:
    """The breaker of one server."""

    def __init__(
        self, probe: Callable[[], None], when_closed: Callable[[], None], which: str = ""
    ) -> None:
        self._probe = probe  # raises while the server does not answer
        self._when_closed = when_closed
        self._which = which  # names one of several servers in the log
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._is_logged = False

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def trip(self, reason: object) -> None:
        """Open, until the server answers a probe."""
        with self._lock:
            if self._open.is_set():
                return
            self._open.set()
            self._count(_open.add)
        self._log(reason)
        threading.Thread(target=self.await_answer, name="redis-probe", daemon=True).start()

    def await_answer(self) -> None:
        """Probe the server until it answers, then close."""
        while not self._answers():
            if self._end.wait(PROBE_SECONDS):
                return
        with self._lock:
            self._open.clear()
            self._count(_open.discard)
            was_logged, self._is_logged = self._is_logged, False
        if was_logged:
            logger.warning("Redis answers again%s", self._which)
        self._when_closed()

    def stop(self) -> None:
        """Stop probing: the breaker stays as it is."""
        self._end.set()
        self._count(_open.discard)

    def _answers(self) -> bool:
        try:
            self._probe()
        except Exception as error:  # noqa: BLE001  (whatever it is, the thread must go on)
            self._log(error)
            return False
        return True

    def _log(self, reason: object) -> None:
        """Log once a minute that the breaker is open, also if it opens and closes all the time."""
        if once_a_minute(f"breaker {id(self)}"):
            self._is_logged = True
            logger.warning(
                "Redis cannot be reached%s, reads go to the database: %.200s", self._which, reason
            )

    def _count(self, change: Callable[[Breaker], None]) -> None:
        with _counting:
            change(self)
            BREAKER_OPEN.set(int(bool(_open)))
