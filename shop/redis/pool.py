"""Run scripts over connections that are kept for them."""

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

TRUSTED_SECONDS = 0.01  # after its last use a connection is taken to be open
IDLE_SECONDS = 3.0  # then a connection is made anew: a firewall may have forgotten it in silence

# Does nothing. It is refused where writes are, but for want of memory: reads go on then.
PROBE = """#!lua flags=allow-oom
return 1
"""

Key = TypeVar("Key", str, bytes)


class RenewedConnection:
    """A mixin of redis-py's connections: one that was idle for long is made anew."""

    used = 0.0

    def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        """Connect. Raises ConnectionError for a server that refuses user, password or database."""
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


def renewed(kind: type) -> type:
    return type(f"Renewed{kind.__name__}", (RenewedConnection, kind), {})


def renew_idle_connections(pool: redis.ConnectionPool) -> None:
    """Let a pool without connections make such as are renewed after idle time."""
    pool.connection_class = renewed(pool.connection_class)


class ScriptPool:
    """Connections of a client's pool that are kept for scripts.

    The client notes events, counts attempts and manages its pool around each command. That costs as
    much again as to send the command and to read the answer.
    """

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool  # of renewed connections
        self._idle: list[Any] = []  # the latest used last; `pop` and `append` are atomic
        os.register_at_fork(after_in_child=self._idle.clear)

    def call(self, *command: str | bytes | float) -> Any:
        """Return the answer of Redis; raise the errors that the client would."""
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
        """Disconnect every idle connection."""
        while connection := self._take():
            self._pool.release(connection)
        self._pool.disconnect(inuse_connections=False)

    def _take(self) -> Any:
        """Return an idle connection, if there is one."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return None
        unused = time.monotonic() - connection.used
        if unused >= IDLE_SECONDS or (unused > TRUSTED_SECONDS and _has_ended(connection)):
            connection.disconnect()  # the next command connects
        return connection


def _has_ended(connection: Any) -> bool:
    """Return whether there is input before any command: the end, after a restart."""
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
    """Run a script. If the connection breaks or leads to a replica, run it over another one."""
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
