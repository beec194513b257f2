"""A circuit breaker (Nygard, Release It!, 2018).

While it is open nobody waits for Redis: every call is refused at once, and a thread tries to reach
Redis twice a second until it answers, which closes the breaker.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from shop.prometheus import Gauge

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("shop.redis")

PROBE_SECONDS = 0.5
BREAKER_OPEN = Gauge(
    "shop_redis_breaker_open",
    "Workers that do not try Redis now, because they could not reach it.",
    multiprocess_mode="livesum",
)


class Breaker:
    """The breaker of one server."""

    def __init__(self, probe: Callable[[], None], when_closed: Callable[[], None]) -> None:
        self._probe = probe  # raises while the server does not answer
        self._when_closed = when_closed
        self._open = threading.Event()
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def trip(self, reason: object) -> None:
        """Open, until the server answers a probe."""
        with self._lock:
            if self._open.is_set():
                return
            self._open.set()
            BREAKER_OPEN.set(1)
        logger.warning("Redis cannot be reached, reads go to the database: %.200s", reason)
        threading.Thread(target=self.await_answer, name="redis-probe", daemon=True).start()

    def await_answer(self) -> None:
        """Close as soon as the server answers a probe."""
        pause = threading.Event()
        while not self._answers():
            pause.wait(PROBE_SECONDS)
        self._open.clear()
        BREAKER_OPEN.set(0)
        logger.warning("Redis answers again")
        self._when_closed()

    def _answers(self) -> bool:
        try:
            self._probe()
        except Exception as error:  # noqa: BLE001  (whatever it is, the thread must go on)
            logger.debug("Redis does not answer: %s", error)
            return False
        return True
