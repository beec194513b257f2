"""The parameters and the ends of this package's commands."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import psycopg2
import redis

from bench import BenchError, machine
from dev.embedded import EmbeddedError

from .service import last_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def command(name: str) -> Iterator[None]:
    """Tell in one line what goes wrong in the block, and end through every context of it."""
    for number in ENDINGS:
        signal.signal(number, _end)
    try:
        machine.check()
        yield
    except (BenchError, EmbeddedError, OSError, psycopg2.Error, redis.RedisError) as error:
        raise SystemExit(f"{name}: {last_line(str(error))}") from None


def numbers(users: str, seconds: str) -> tuple[int, int]:
    """Read both. Raises BenchError where one is no such number."""
    return _number("USERS", users, 1, 10_000), _number("SECONDS", seconds, 20, 86_400)


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most):
        raise BenchError(f"{name} must be a whole number from {least} to {most}, not {text}")
    return int(text)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave through every context, which stops what was started; no second signal prevents it."""
    for one in ENDINGS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)
