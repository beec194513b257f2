"""The owner of Redis: one installation reads and writes it, under a prefix of its own or none.

The owner's key names the installation. An installation sets the key if it is absent, and reads it
again and again, so that its loss is noticed. An installation that finds the key of another one does
not use Redis: to ignore the other's notes and leases would open names that its writers need closed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from shop.prometheus import Gauge

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("shop.redis")

OWNER = "shop:owner"
VACANT_SECONDS = 0.5  # for an owner to put its key back, before another one takes Redis
FOREIGN = Gauge(
    "shop_redis_foreign",
    "Workers that leave Redis alone, because it belongs to another installation.",
    multiprocess_mode="livesum",
)

# KEYS: the owner's key. ARGV: the installation that asks, and how (the three below).
# Returns the owner, if there is one. A full Redis does this, too.
CLAIM = """#!lua flags=allow-oom
local owner = redis.pcall('GET', KEYS[1])
if owner and owner.err then
  owner = '?'
end
if ARGV[2] == '2' or (ARGV[2] == '1' and not owner) then
  redis.call('SET', KEYS[1], ARGV[1])
  owner = ARGV[1]
end
return owner
"""
ASK, TAKE_VACANT, TAKE = range(3)


class ForeignError(Exception):
    """Redis belongs to another installation."""

    def __init__(self) -> None:
        super().__init__("Redis belongs to another installation")


class UnknownOwnerError(Exception):
    """The database has not told yet which installation this is, or Redis not whose it is."""

    def __init__(self, *, is_identified: bool) -> None:
        super().__init__(
            "Redis does not tell whose it is"
            if is_identified
            else "the database does not tell which installation this is"
        )
        self.is_identified = is_identified


class Ownership:
    """The owner of Redis, as far as this process knows it."""

    def __init__(self, prefix: str) -> None:
        self._key = f"{prefix}{OWNER}"
        self._identity = ""  # of the installation, which is not known at first
        self._owner = ""
        self._is_logged = False  # whether the log says that Redis is foreign
        self._lock = threading.Lock()

    @property
    def is_identified(self) -> bool:
        """True if the database has told which installation this is."""
        return bool(self._identity)

    @property
    def is_known(self) -> bool:
        return bool(self._owner)

    @property
    def is_foreign(self) -> bool:
        return self._owner not in {"", self._identity}

    def claim(
        self, evaluate: Callable[..., Any], identity: str = "", *, by_force: bool = False
    ) -> None:
        """Read the owner's key, or set it. Raises the errors of Redis.

        An owner puts its key back at once. Another installation waits for it to do so.
        """
        self._identity = identity or self._identity
        if not self._identity:
            return
        how = TAKE if by_force else TAKE_VACANT if self._owner == self._identity else ASK
        if not self._ask(evaluate, how):
            time.sleep(VACANT_SECONDS)
            self._ask(evaluate, TAKE_VACANT)

    def _ask(self, evaluate: Callable[..., Any], how: int) -> bool:
        """Ask once, and return whether there is an owner. One thread asks at a time."""
        with self._lock:
            answer = evaluate(CLAIM, [self._key], [self._identity, how])
            if answer is None:
                return False
            self._owner = answer.decode(errors="replace") or "?"
            if self.is_foreign != self._is_logged:
                self._log()
            return True

    def _log(self) -> None:
        self._is_logged = self.is_foreign
        FOREIGN.set(int(self.is_foreign))
        if self.is_foreign:
            logger.warning(
                "Redis belongs to another installation, and is neither read nor written: set "
                "REDIS_KEY_PREFIX to share it, or take it with `flask cache claim`"
            )
        else:
            logger.warning("Redis is this installation's again")
