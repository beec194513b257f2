"""The mode of the limits: the setting RATE_LIMIT_MODE, or what an operator has set for a time.

What an operator has set is in Redis, with an end. Each process reads it every few seconds, so a
decision asks nobody. A Redis that was emptied has forgotten it: then the setting counts again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shop.redis import RedisUnavailable

if TYPE_CHECKING:
    from shop.redis import RedisConnection

ENFORCE, SHADOW = MODES = ("enforce", "shadow")
KEY = "ops:rate_limit_mode"


class LimitMode:
    """The mode of one process."""

    def __init__(self, connection: RedisConnection, configured: str) -> None:
        self.configured = configured
        self.current = configured
        self.ends_at: float | None = None  # UNIX time at which `configured` counts again
        self.enforced = configured == ENFORCE  # each decision reads it
        self._connection = connection
        self._ends = 0.0  # the same by the monotonic clock

    def set(self, mode: str, seconds: int) -> None:
        """Set the mode of the whole service for a time. Raises RedisUnavailable."""
        [key] = self._connection.prefixed([KEY])
        self._connection.call(lambda client: client.set(key, mode, ex=seconds), key=key)
        self._use(mode, seconds)

    def reset(self) -> None:
        """Let the setting count again, for the whole service. Raises RedisUnavailable."""
        [key] = self._connection.prefixed([KEY])
        self._connection.call(lambda client: client.unlink(key), key=key)
        self._use_configured()

    def refresh(self) -> None:
        """Read what is set; keep it until its end while Redis cannot be asked."""
        [key] = self._connection.prefixed([KEY])
        try:
            value, seconds = self._connection.call(
                lambda client: (client.get(key), client.ttl(key)), key=key
            )
        except RedisUnavailable:
            if self.ends_at is not None and time.monotonic() >= self._ends:
                self._use_configured()
            return
        mode = (value or b"").decode(errors="replace")
        if mode in MODES and seconds > 0:
            self._use(mode, seconds)
        else:
            self._use_configured()

    def _use(self, mode: str, seconds: int) -> None:
        self.current, self.enforced = mode, mode == ENFORCE
        self.ends_at, self._ends = time.time() + seconds, time.monotonic() + seconds

    def _use_configured(self) -> None:
        self.current, self.enforced = self.configured, self.configured == ENFORCE
        self.ends_at = None
