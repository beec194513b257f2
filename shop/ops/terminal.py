"""What operators' commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable


def call_redis(command: Callable[[Any], Any]) -> Any:
    """Call Redis, or end the program with one line that says why it cannot be called."""
    connection = redis_connection()
    if not connection.enabled:
        raise click.ClickException("Redis is switched off: REDIS_ENABLED=false")
    try:
        return connection.call(command)
    except RedisUnavailable as error:
        raise click.ClickException(
            f"Redis cannot be reached: {error.__cause__ or 'see the log'}"
        ) from None
