"""The Redis client of a process, behind a circuit breaker (Nygard, Release It!, 2018).

A call that cannot reach Redis opens the breaker. While it is open nobody waits for Redis: every
call is refused at once, and a thread tries to reach Redis twice a second until it answers, which
closes the breaker. So a Redis that hangs costs a request one timeout, and most requests nothing.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import cache, cached_property
from hashlib import sha1
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import hiredis
import redis
from flask import current_app
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from .config import REDIS_TIMEOUT, SettingError
from .prometheus import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask

    from .config import Settings

logger = logging.getLogger(__name__)

PROBE_SECONDS = 0.5
TRUSTED_SECONDS = 0.01  # that a connection is taken to be whole after its last use
SENTINEL_PORT = 26379
BREAKER_OPEN = Gauge(
    "shop_redis_breaker_open",
    "Workers that do not try Redis now, because they could not reach it.",
    multiprocess_mode="livesum",
)
LATENCY = Histogram(
    "shop_redis_seconds",
    "Time of a call of Redis, failed ones included.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
ERRORS = Counter("shop_redis_errors", "Calls that Redis did not carry out, by reason.", ["reason"])
UNREACHABLE = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.RedisClusterException,
    OSError,
    UnicodeError,  # a name that no host can have
)

Answer = TypeVar("Answer")
Key = TypeVar("Key", str, bytes)


class RedisUnavailable(Exception):  # noqa: N818  (a state, always caught)
    """Redis is switched off, cannot be reached now, or refused a command (its cause says why)."""


class RedisConnection:
    """Calls that Redis answers soon, or that raise RedisUnavailable."""

    def __init__(self, settings: Settings) -> None:
        check(settings.redis_url)
        self.enabled = settings.redis_enabled
        self.is_cluster = settings.redis_url.startswith("redis+cluster:")
        self._settings = settings
        self.when_back: list[Callable[[], None]] = []  # called each time that it answers again
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._master: object = None  # the address that sentinels told last

    @cached_property
    def client(self) -> Any:
        """The client; to make that of a cluster already needs the cluster."""
        return connect(self._settings.redis_url, self._settings.redis_max_connections)

    @cached_property
    def _scripts(self) -> ScriptPool | None:
        """None where the client has more to do for a command than to send it."""
        pool = None if self.is_cluster else self.client.connection_pool
        return ScriptPool(pool) if type(pool) is redis.ConnectionPool else None

    @property
    def available(self) -> bool:
        """Whether the next call will be tried: Redis is enabled and the breaker closed."""
        return self.enabled and not self._open.is_set()

    def call(self, command: Callable[[Any], Answer]) -> Answer:
        """Return `command(client)`; raise RedisUnavailable if Redis does not carry it out."""
        if not self.available:
            raise RedisUnavailable
        started = time.perf_counter()
        try:
            return command(self.client)
        except UNREACHABLE as error:
            ERRORS.labels("unreachable").inc()
            self._trip(error)
            raise RedisUnavailable from error
        except redis.RedisError as error:
            ERRORS.labels("refused").inc()
            raise RedisUnavailable from error
        finally:
            LATENCY.observe(time.perf_counter() - started)

    def eval(
        self,
        script: str,
        keys: Sequence[Key],
        arguments: Sequence[object],
        *,
        again: Sequence[object] | None = None,
    ) -> Any:
        """Return what `script` answers; raise RedisUnavailable if Redis does not carry it out.

        On a cluster all keys are in one slot. `again`: arguments of a second attempt, over another
        connection, if the first one breaks or leads to a replica. Both may run, in any order.
        """

        def command(client: Any) -> Any:
            pool = self._scripts
            run = pool.call if pool else client.execute_command
            try:
                return _eval(run, script, keys, arguments)
            except (redis.ConnectionError, redis.ReadOnlyError):
                if again is None:
                    raise
                if pool:
                    pool.disconnect()
                elif not self.is_cluster:  # whose client does the like by itself
                    client.connection_pool.disconnect(inuse_connections=False)
                return _eval(run, script, keys, again)

        return self.call(command)

    def together(self, keys: Sequence[Key]) -> list[Sequence[Key]]:
        """Divide keys into those that one script can have; on a cluster that is one each."""
        return [[key] for key in keys] if self.is_cluster else [keys] if keys else []

    def follow_master(self) -> bool:
        """Behind sentinels: leave a master that was replaced; tell whether that has happened."""
        pool = None if self.is_cluster else self.client.connection_pool
        if not isinstance(pool, SentinelConnectionPool):
            return False
        try:
            address = pool.proxy.get_master_address()  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError):
            return False  # sentinels that do not know are no reason to leave it
        before, self._master = self._master, address
        return before not in {None, address}

    def _trip(self, reason: object) -> None:
        with self._lock:
            if self._open.is_set():
                return
            self._open.set()
            BREAKER_OPEN.set(1)
        logger.warning("Redis cannot be reached, reads go to the database: %.200s", reason)
        threading.Thread(target=self._probe, name="redis-probe", daemon=True).start()

    def _probe(self) -> None:
        pause = threading.Event()
        while not self._answers():
            pause.wait(PROBE_SECONDS)
        self._open.clear()
        BREAKER_OPEN.set(0)
        logger.warning("Redis answers again")
        for work in self.when_back:
            work()

    def _answers(self) -> bool:
        try:
            if self._scripts:  # which may have all the connections that there can be
                self._scripts.disconnect()
            return bool(self.client.eval("return 1", 0))  # which waits where writes have to
        except Exception as error:  # noqa: BLE001  (whatever it is, the probe must go on)
            logger.debug("Redis does not answer: %s", error)
            return False


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


def _eval(
    run: Callable[..., Any], script: str, keys: Sequence[Key], arguments: Sequence[object]
) -> Any:
    try:
        return run("EVALSHA", _digest(script), len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:
        return run("EVAL", script, len(keys), *keys, *arguments)


def redis_connection(app: Flask | None = None) -> RedisConnection:
    """Return the connection of `app`, or of the current one."""
    connection: RedisConnection = (app or current_app).extensions["shop.redis"]
    return connection


def check(url: str) -> None:
    """Raise SettingError, which does not tell the password, for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"redis", "rediss"}:
            int(parts.path.strip("/") or 0)  # which the client would take for 0
        if parts.scheme in {"redis", "rediss", "redis+cluster"}:
            _ = parts.port
        if parts.scheme != "redis+cluster":
            connect(url, 1).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise SettingError(
            "REDIS_URL is not valid: redis://[USER:PASSWORD@]HOST[:PORT][/DB][?OPTION=VALUE], "
            "unix://PATH[?db=DB] or redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,...]/SERVICE[/DB]"
        ) from None


def connect(url: str, max_connections: int) -> Any:
    """Return a client for a redis, rediss, unix, redis+sentinel or redis+cluster URL.

    Nothing is connected before the first command, except to a cluster.
    """
    options: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT,
        "socket_connect_timeout": REDIS_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": max_connections,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if url.startswith("redis+cluster://"):
        return redis.RedisCluster.from_url(url.replace("redis+cluster", "redis", 1), **options)
    if url.startswith("redis+sentinel://"):
        return _sentinel(url, options)
    return redis.Redis.from_url(url, **options)


def _sentinel(url: str, options: dict[str, Any]) -> Any:
    """Follow the master of redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST…]/SERVICE[/DB]."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("no service is named")
    sentinels = [
        (host, int(port or SENTINEL_PORT))
        for host, _, port in (
            place.rpartition(":") if ":" in place else (place, "", "") for place in hosts.split(",")
        )
    ]
    options |= {
        "db": int(database or 0),
        "username": unquote(user) or None,
        "password": unquote(password) or None,
    }
    sentinel = Sentinel(sentinels, **options)  # type: ignore[no-untyped-call]
    return sentinel.master_for(service)  # type: ignore[no-untyped-call]
