"""Functions that the commands of `flask` share."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from sqlalchemy.exc import DBAPIError

from shop.redis import ForeignError, RedisUnavailable, UnknownOwnerError, redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shop.redis import RedisConnection

SCAN_COUNT = 500  # keys of one call

P = ParamSpec("P")
R = TypeVar("R")


class LateChoice(click.Choice[str]):
    """A choice whose names are found when the command runs."""

    def __init__(self, find: Callable[[], Iterable[str]]) -> None:
        self._find = find
        self.case_sensitive = True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self._find())


def needs_database(command: Callable[P, R]) -> Callable[P, R]:
    """End the program with one line if the database cannot be used."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except DBAPIError as error:
            raise click.ClickException(f"the database cannot be used: {error.orig}") from None

    return guarded


@contextmanager
def needs_redis() -> Iterator[RedisConnection]:
    """End the program with one line if Redis cannot be called."""
    connection = redis_connection()
    if not connection.enabled:
        raise click.ClickException("Redis is switched off: REDIS_ENABLED=false")
    try:
        yield connection
    except RedisUnavailable as error:
        raise click.ClickException(_explanation(error.__cause__)) from None


def _explanation(reason: BaseException | None) -> str:
    if isinstance(reason, UnknownOwnerError) and not reason.is_identified:
        return "the database cannot be used: see the log"
    if isinstance(reason, UnknownOwnerError):
        return f"{reason}: see the log"
    if isinstance(reason, ForeignError):
        return f"{reason}: set REDIS_KEY_PREFIX, or take it with `flask cache claim`"
    return f"Redis does not answer: {reason or 'see the log'}"


def call_redis(command: Callable[[Any], Any]) -> Any:
    with needs_redis() as connection:
        return connection.call(command)


def scan(pattern: str) -> list[bytes]:
    """Scan all of Redis, and return the names that match, without REDIS_KEY_PREFIX."""
    prefix = redis_connection().prefix
    found = call_redis(
        lambda client: set(client.scan_iter(match=f"{prefix}{pattern}", count=SCAN_COUNT))
    )
    return sorted(key[len(prefix) :] for key in found)
