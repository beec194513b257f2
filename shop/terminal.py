"""What operators' commands share."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from sqlalchemy.exc import DBAPIError

from shop.redis import RedisUnavailable, redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shop.redis import RedisConnection

P = ParamSpec("P")
R = TypeVar("R")


def needs_database(command: Callable[P, R]) -> Callable[P, R]:
    """End the program with one line where the database cannot be used."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DBAPIError as error:
            raise click.ClickException(f"the database cannot be used: {error.orig}") from None

    return guarded


@contextmanager
def needs_redis() -> Iterator[RedisConnection]:
    """End the program with one line where Redis cannot be called."""
    connection = redis_connection()
    if not connection.enabled:
        raise click.ClickException("Redis is switched off: REDIS_ENABLED=false")
    try:
        yield connection
    except RedisUnavailable as error:
        reason = error.__cause__ or "see the log"
        raise click.ClickException(f"Redis does not answer: {reason}") from None


def call_redis(command: Callable[[Any], Any]) -> Any:
    with needs_redis() as connection:
        return connection.call(command)
