"""The records of clients as a storage of the library `limits`: for the calls of Flask-Limiter.

The library reads and clears records here. Only the scripts charge, all policies of a request
together, so the storage's calls that would charge refuse.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click
from flask import current_app
from limits.storage import MovingWindowSupport, Storage

from shop.facts import current_facts
from shop.redis import RedisUnavailable, redis_connection

from . import records
from .clients import record_name
from .policies import OF_ADDRESS, POLICIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .counter import Counter

SCHEME = "shop-records"
# The library's strategy that keeps the time of each request, as the records do (`window.py`).
STRATEGY = "moving-window"


class RefusedError(click.ClickException):
    """A call is refused, because its answer would be wrong. A command shows one line."""


class RecordStorage(Storage, MovingWindowSupport):
    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012  (the library's form)
    base_exceptions = RedisUnavailable
    storage = f"{records.PREFIX}* in Redis"  # as `flask limiter config` shows it

    def check(self) -> bool:
        """Return whether Redis counts now, for all workers together."""
        return _counter().is_shared()

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the window began, in seconds since 1970, and the usage of `limit`.

        Raises RefusedError for a client that has other quotas than the current caller.
        """
        client, policy = _parts(key)
        _check_quota(client, policy)
        counter = _counter()
        if counter.in_fallback:
            usage = counter.usage_of(client, policy, limit, expiry)
        else:
            with _needs_redis():
                usage = counter.usage_of(client, policy, limit, expiry)
        return time.time() + usage.reset - expiry, limit - usage.remaining

    def clear(self, key: str) -> None:
        """Forget a client's usage of a policy."""
        client, policy = _parts(key)
        with _needs_redis():
            _counter().clear(client, policy)

    def reset(self) -> int:
        """Delete the records of all clients, and return their number."""
        with _needs_redis():
            return _counter().reset()

    def acquire_entry(self, *_: object, **__: object) -> NoReturn:
        raise RefusedError(
            "requests are charged by the scripts of shop.limits, all policies together: "
            "declare a policy on the view with shop.limits.limit"
        )

    incr = acquire_entry

    def get(self, *_: object, **__: object) -> NoReturn:
        raise RefusedError("there are no fixed windows: get_moving_window tells what is used")

    get_expiry = get


def _parts(key: str) -> tuple[str, str]:
    """Return the client and the policy of a key that `RateLimitItem.key_for` made.

    Raises RefusedError for any other key.
    """
    # A namespace, the client, which may have slashes, the policy, and three parts of its numbers.
    client, policy, *_ = *key.partition("/")[2].rsplit("/", 4), ""
    if policy not in POLICIES:
        raise RefusedError(f"{key} names none of the policies {', '.join(POLICIES)}")
    try:
        return record_name(client), policy
    except ValueError as error:
        raise RefusedError(str(error)) from None


def _check_quota(client: str, policy: str) -> None:
    """Raise RefusedError for a client whose quota is not that of the current declarations."""
    known = current_facts().caller
    if known and known.client == client:
        return
    if client.startswith("key:"):
        reason = f"the quotas of {client} are those of its tier"
    elif client.startswith("session:") and policy in OF_ADDRESS:
        reason = f"{client} shares {policy} with its address"
    else:
        return
    raise RefusedError(
        f"{reason}: use `flask limits show {client}` or `flask limits reset {client}`"
    )


@contextmanager
def _needs_redis() -> Iterator[None]:
    """Raise RefusedError without Redis: other workers count in their own memory then."""
    if not redis_connection().enabled:
        raise RefusedError("Redis is switched off: each worker counts for itself")
    try:
        yield
    except RedisUnavailable as error:
        raise RefusedError(f"Redis does not answer: {error.__cause__ or 'see the log'}") from None


def _counter() -> Counter:
    counter: Counter = current_app.extensions["shop.limits"].counter
    return counter
