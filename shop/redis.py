"""The Redis client of a process, behind a circuit breaker (Nygard, Release It!, 2018).

A call that cannot reach Redis opens the breaker. While it is open nobody waits for Redis: every
call is refused at once, and a thread tries to reach Redis each second until it answers, which
closes the breaker. So a Redis that hangs costs a request one timeout, and most requests nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from functools import cached_property
from hashlib import sha1
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import redis
from flask import current_app
from prometheus_client import Counter, Gauge, Histogram
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from .config import REDIS_TIMEOUT, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flask import Flask

    from .config import Settings

logger = logging.getLogger(__name__)

PROBE_SECONDS = 1.0
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


class RedisUnavailable(Exception):  # noqa: N818  (a state, always caught)
    """Redis is switched off, cannot be reached now, or refused a command (its cause says why)."""


class RedisConnection:
    """Calls that Redis answers soon, or that raise RedisUnavailable."""

    def __init__(self, settings: Settings) -> None:
        check(settings.redis_url)
        self.enabled = settings.redis_enabled
        self.is_cluster = settings.redis_url.startswith("redis+cluster:")
        self.made = 0  # connections so far; a new one may be of a Redis that was away
        self.recover: Callable[[], object] = lambda: None  # what must succeed first, after that
        self._settings = settings
        self._open = threading.Event()
        self._lock = threading.Lock()
        self._unanswered: list[tuple[Any, Any]] = []  # connections that timed out, their pools
        self._doubts = 0  # blocks of `doubted` that have begun and not ended
        self._doubted = 0  # that have ended

    @cached_property
    def client(self) -> Any:
        """The client; to make that of a cluster already needs the cluster."""
        url, most = self._settings.redis_url, self._settings.redis_max_connections
        return connect(url, most, self._note_made if self.is_cluster else self._make)

    def _make(self, connection: Any) -> None:
        connection.on_connect()
        self._note_made(connection)

    def _note_made(self, _connection: Any) -> None:
        with self._lock:
            self.made += 1

    @property
    def available(self) -> bool:
        """Whether the next call will be tried: Redis is enabled and the breaker closed."""
        return self.enabled and not self._open.is_set()

    def call(self, command: Callable[[Any], Answer]) -> Answer:
        """Return `command(client)`; raise RedisUnavailable if Redis does not carry it out."""
        if not self.available:
            raise RedisUnavailable
        return self._try(lambda: command(self.client))

    def eval(
        self,
        script: str,
        keys: Sequence[str],
        arguments: Sequence[object],
        *,
        retry: bool = True,
        insist: bool = False,
    ) -> Any:
        """Return what `script` answers; raise RedisUnavailable if Redis does not carry it out.

        On a cluster all keys are in one slot. `retry`: if the connection breaks, try another once;
        the script may then have run twice. `insist`: try even while the breaker is open.
        """
        if not (self.available or (insist and self.enabled)):
            raise RedisUnavailable

        def command() -> Any:
            try:
                return self._eval(script, keys, arguments)
            except (redis.ConnectionError, redis.exceptions.MovedError) as error:
                if not retry:
                    raise
                if isinstance(error, redis.exceptions.MovedError):
                    self.client.nodes_manager.initialize()
                return self._eval(script, keys, arguments)

        return self._try(command)

    def _eval(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        pool = self._pool(keys[0])
        connection = pool.get_connection()
        digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            try:
                answer = _ask(connection, "EVALSHA", digest, len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                answer = _ask(connection, "EVAL", script, len(keys), *keys, *arguments)
        except redis.TimeoutError:
            # Left open: what Redis was asked, it will do when it goes on, before what it is
            # asked later. See `post`.
            self._unanswered.append((connection, pool))
            raise
        except redis.ResponseError:
            pool.release(connection)
            raise
        except BaseException:
            connection.disconnect()
            pool.release(connection)
            raise
        pool.release(connection)
        return answer

    def _pool(self, key: str) -> Any:
        if self.is_cluster:
            node = self.client.get_node_from_key(key)
            return self.client.get_redis_connection(node).connection_pool
        return self.client.connection_pool

    def together(self, keys: Sequence[str]) -> list[Sequence[str]]:
        """Divide keys into those that one script can have; on a cluster that is one each."""
        return [[key] for key in keys] if self.is_cluster else [keys] if keys else []

    def follow_master(self) -> None:
        """Behind sentinels: leave the idle connections to a master that is no longer one."""
        pool = None if self.is_cluster else self.client.connection_pool
        if isinstance(pool, SentinelConnectionPool):
            self._try(pool.proxy.get_master_address)

    def post(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> bool:
        """Send a script to a Redis that hangs, without waiting; tell whether that could be done.

        Redis carries out what has arrived in the order of arrival: when it goes on, this comes
        before whatever anyone sends from now on. A Redis that does not hang is not sent anything.
        """
        with self._lock:
            while self._unanswered:
                connection, pool = self._unanswered[0]
                try:
                    connection.send_command("EVAL", script, len(keys), *keys, *arguments)
                except (redis.RedisError, OSError):
                    self._unanswered.pop(0)
                    pool.release(connection)
                else:
                    return True
        return False

    @contextmanager
    def doubted(self, reason: object) -> Iterator[None]:
        """Keep the breaker open during the block, and after it until `recover` has succeeded."""
        with self._lock:
            self._doubts += 1
        self._trip(reason)
        try:
            yield
        finally:
            with self._lock:
                self._doubts -= 1
                self._doubted += 1

    def _try(self, command: Callable[[], Answer]) -> Answer:
        started = time.perf_counter()
        try:
            return command()
        except UNREACHABLE as error:
            ERRORS.labels("unreachable").inc()
            self._trip(error)
            raise RedisUnavailable from error
        except redis.RedisError as error:
            ERRORS.labels("refused").inc()
            raise RedisUnavailable from error
        finally:
            LATENCY.observe(time.perf_counter() - started)

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
        while not self._recovered():
            pause.wait(PROBE_SECONDS)
        logger.warning("Redis answers again")

    def _recovered(self) -> bool:
        """Close the breaker, if Redis answers and nothing came in doubt meanwhile."""
        doubted = self._doubted
        try:
            self.client.ping()
            self.recover()
        except (redis.RedisError, RedisUnavailable, *UNREACHABLE):
            return False
        with self._lock:
            if self._doubts or self._doubted != doubted:
                return False
            unanswered, self._unanswered = self._unanswered, []
            self._open.clear()
            BREAKER_OPEN.set(0)
        for connection, pool in unanswered:
            connection.disconnect()
            pool.release(connection)
        return True


def _ask(connection: Any, *command: object) -> Any:
    connection.send_command(*command)
    return connection.read_response(disconnect_on_error=False)


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


def connect(url: str, max_connections: int, on_connect: Callable[[Any], None] | None = None) -> Any:
    """Return a client for a redis, rediss, unix, redis+sentinel or redis+cluster URL.

    Nothing is connected before the first command, except to a cluster. `on_connect` prepares
    each new connection; for a cluster it is called when that is done.
    """
    options: dict[str, Any] = {
        "socket_timeout": REDIS_TIMEOUT,
        "socket_connect_timeout": REDIS_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "max_connections": max_connections,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "redis_connect_func": on_connect,
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
