"""A fixed window for each client and policy: a counter in Redis that expires.

`rate_limit:CLIENT` counts the default policy, `rate_limit:CLIENT:POLICY` another. The window
begins with a client's first request. One script counts and reads it, in one round trip; a
refused request is not counted.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from flask import g
from limits.strategies import STRATEGIES, FixedWindowRateLimiter

from shop.config import current_settings
from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from limits import RateLimitItem

logger = logging.getLogger(__name__)

SHARED_WINDOW = "shared-window"

# KEYS: the counter. ARGV: quota, period in milliseconds, cost.
# Returns whether the request passes, the count, and the milliseconds until it starts anew.
COUNT = """
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
local passes = count + ARGV[3] <= tonumber(ARGV[1])
if passes then
  count = redis.call('INCRBY', KEYS[1], ARGV[3])
end
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  left = tonumber(ARGV[2])
end
return {passes and 1 or 0, count, left}
"""


class Usage(NamedTuple):
    """What a policy decided on a request."""

    policy: str
    quota: int
    period: int  # seconds
    remaining: int
    reset: float  # seconds until the window starts anew
    passed: bool


def usages() -> list[Usage]:
    """Return what each policy has decided on this request so far."""
    found: list[Usage] = g.setdefault("rate_limit_usages", [])
    return found


def counter_key(client: str, policy: str) -> str:
    suffix = "" if policy == "default" else f":{policy}"
    return f"rate_limit:{client}{suffix}"


class SharedWindowRateLimiter(FixedWindowRateLimiter):
    """Count in Redis, for all workers together.

    Without Redis each worker counts alone, and allows its share of the quota.
    """

    _alone = threading.Lock()

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        client, policy = identifiers
        quota, period = item.amount, item.get_expiry()
        try:
            passed, count, reset = _count(counter_key(client, policy), quota, period, cost)
        except RedisUnavailable as error:
            if error.__cause__:
                logger.warning("Redis did not count %s: %s", client, error.__cause__)
            quota = max(1, item.amount // current_settings().web_concurrency)
            key = counter_key(client, policy)
            with self._alone:  # the library's own locks let two first requests count as one
                count = self.storage.incr(key, period, amount=cost)
            passed, reset = count <= quota, max(0.0, self.storage.get_expiry(key) - time.time())
        remaining = max(0, quota - count)
        usages().append(Usage(policy, quota, period, remaining, reset, passed))
        return passed


STRATEGIES[SHARED_WINDOW] = SharedWindowRateLimiter


def _count(key: str, quota: int, period: int, cost: int) -> tuple[bool, int, float]:
    connection = redis_connection()
    passed, count, left = connection.eval(COUNT, [key], (quota, period * 1000, cost))
    return bool(passed), int(count), left / 1000
