"""Connections that are kept for scripts, and how a script is run."""

from __future__ import annotations

import os
import time
from functools import cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any, TypeVar

import hiredis
import redis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TRUSTED_SECONDS = 0.01  # that a connection is taken to be whole after its last use

Key = TypeVar("Key", str, bytes)


class ScriptPool:
    """Connections of a client's pool, kept for calls of scripts.

    Around each command the client notes events, counts attempts and keeps the books of its pool,
    which costs as much again as to send it and to read the answer.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        # Each with the time of its last use, the latest first. `pop` and `append` are atomic.
        self._idle: list[tuple[Any, float]] = []
        os.register_at_fork(after_in_child=self._idle.clear)

    def call(self, *command: str | bytes | float) -> Any:
        """Return what Redis answers; raise what the client would."""
        connection = self._take() or self._pool.get_connection()
        try:
            packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # it takes any length
            connection.send_packed_command([packed], check_health=False)
            answer = connection.read_response()
        except redis.ResponseError:
            self._keep(connection)
            raise
        except BaseException:  # its answer may still come, and must not be taken for another's
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._keep(connection)
        return answer

    def disconnect(self) -> None:
        """Begin anew with every connection that is idle now."""
        while connection := self._take():
            self._pool.release(connection)
        self._pool.disconnect(inuse_connections=False)

    def _keep(self, connection: Any) -> None:
        self._idle.append((connection, time.monotonic()))

    def _take(self) -> Any:
        """Return an idle connection, if there is one. Redis may have ended it meanwhile."""
        try:
            connection, last_used = self._idle.pop()
        except IndexError:
            return None
        if time.monotonic() > last_used + TRUSTED_SECONDS and _has_ended(connection):
            connection.disconnect()  # the next command connects
        return connection


def _has_ended(connection: Any) -> bool:
    """Tell whether there is something to read, which is no answer: the end, after a restart."""
    try:
        return bool(connection.can_read())
    except (redis.RedisError, OSError):
        return True


@cache
def _digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def evaluate(
    run: Callable[..., Any], script: str, keys: Sequence[Key], arguments: Sequence[object]
) -> Any:
    try:
        return run("EVALSHA", _digest(script), len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:
        return run("EVAL", script, len(keys), *keys, *arguments)
