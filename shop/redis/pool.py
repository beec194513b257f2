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
IDLE_SECONDS = 3.0  # after which it is made anew: a firewall may have forgotten it in silence

# Does nothing. It is refused where writes are, but for want of memory: reads go on then.
PROBE = """#!lua flags=allow-oom
return 1
"""

Key = TypeVar("Key", str, bytes)


class Kept:
    """What a connection of a pool needs besides: it is made anew when it was idle for long."""

    used = 0.0

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect; a server that refuses its name, password or database cannot be reached."""
        try:
            super().connect_check_health(*arguments, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            raise redis.ConnectionError(f"refused while connecting: {error}") from error

    def connect(self) -> None:
        if self.is_connected and time.monotonic() >= self.used + IDLE_SECONDS:  # type: ignore[attr-defined]
            self.disconnect()  # type: ignore[attr-defined]
        super().connect()  # type: ignore[misc]

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        self.used = time.monotonic()
        return super().read_response(*arguments, **options)  # type: ignore[misc]


def kept(kind: type) -> type:
    return type(f"Kept{kind.__name__}", (Kept, kind), {})


def keep_well(pool: redis.ConnectionPool) -> None:
    """Let a pool, which has no connection so far, make such connections."""
    pool.connection_class = kept(pool.connection_class)


class ScriptPool:
    """Connections of a client's pool, kept for calls of scripts.

    Around each command the client notes events, counts attempts and keeps the books of its pool,
    which costs as much again as to send it and to read the answer.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool  # whose connections are `Kept`
        self._idle: list[Any] = []  # the latest used last; `pop` and `append` are atomic
        os.register_at_fork(after_in_child=self._idle.clear)

    def call(self, *command: str | bytes | float) -> Any:
        """Return what Redis answers; raise what the client would."""
        connection = self._take() or self._pool.get_connection()
        try:
            packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # it takes any length
            connection.send_packed_command([packed], check_health=False)
            answer = connection.read_response()
        except redis.ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:  # its answer may still come, and must not be taken for another's
            connection.disconnect()
            self._pool.release(connection)
            raise
        self._idle.append(connection)
        return answer

    def disconnect(self) -> None:
        """Begin anew with every connection that is idle now."""
        while connection := self._take():
            self._pool.release(connection)
        self._pool.disconnect(inuse_connections=False)

    def _take(self) -> Any:
        """Return an idle connection, if there is one, which may have ended meanwhile."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        unused = time.monotonic() - connection.used
        if unused >= IDLE_SECONDS or (unused > TRUSTED_SECONDS and _has_ended(connection)):
            connection.disconnect()  # the next command connects
        return connection


def _has_ended(connection: Any) -> bool:
    """Tell whether there is something to read, which is no answer: the end, after a restart."""
    try:
        return bool(connection.can_read())
    except (redis.RedisError, OSError):
        return True


def evaluate_again(
    pool: ScriptPool,
    script: str,
    keys: Sequence[Key],
    arguments: Sequence[object],
    again: Sequence[object] | None,
) -> Any:
    """Run a script; if the connection breaks, or leads to a replica, once more over another."""
    try:
        return evaluate(pool.call, script, keys, arguments)
    except (redis.ConnectionError, redis.ReadOnlyError):
        if again is None:
            raise
        pool.disconnect()
        return evaluate(pool.call, script, keys, again)


@cache
def digest(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def evaluate(
    run: Callable[..., Any], script: str, keys: Sequence[Key], arguments: Sequence[object]
) -> Any:
    try:
        return run("EVALSHA", digest(script), len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:
        return run("EVAL", script, len(keys), *keys, *arguments)
