"""The Redis client of a process, behind a circuit breaker.

A call that cannot reach Redis opens the breaker. So a Redis that hangs costs a request one timeout,
and most requests nothing.
"""

from __future__ import annotations

import time
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from flask import current_app

from shop.prometheus import Counter, Histogram

from .breaker import UNREACHABLE, Breaker, is_out_of_service
from .client import connect
from .ownership import ForeignError, Ownership, UnknownOwnerError
from .pool import PROBE, ScriptPool, evaluate, evaluate_again, keep_well
from .shards import ShardLostError, Shards, is_whole_cluster_lost
from .urls import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from flask import Flask

    from shop.config import Settings

    from .pool import Key
    from .sentinels import Sentinels
    from .urls import Place

LATENCY = Histogram(
    "shop_redis_seconds",
    "Time of a call of Redis, failed ones included.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
ERRORS = Counter("shop_redis_errors", "Calls that Redis did not carry out, by reason.", ["reason"])

Answer = TypeVar("Answer")


class RedisUnavailable(Exception):  # noqa: N818  (a state, always caught)
    """Redis is switched off, cannot be reached now, or refused a command (its cause says why)."""


class RedisConnection:
    """Calls that Redis answers soon, or that raise RedisUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._url = parse_redis_url(settings.redis_url)
        self.enabled = settings.redis_enabled
        self._has_shards = self._url.kind == "cluster"
        self.is_cluster = self._has_shards  # a script can have names of one slot alone
        self.prefix = settings.redis_key_prefix  # of every name in Redis
        self.ownership = Ownership(self.prefix)
        self._origin = b""
        # Finds out whose Redis this is, unless that is known.
        self.introduce: Callable[[], None] | None = None
        self._settings = settings
        self.when_back: list[Callable[[], None]] = []  # called each time that it answers again
        self._breaker = Breaker(self._probe, self._come_back)
        self._master: Place | None = None  # that sentinels told last

    @cached_property
    def client(self) -> Any:
        """The client; to make that of a cluster already needs the cluster."""
        timeout, most = self._settings.redis_timeout / 1000, self._settings.redis_max_connections
        client = connect(self._url, timeout=timeout, max_connections=most)
        if not self._has_shards:
            keep_well(client.connection_pool)
        return client

    @property
    def sentinels(self) -> Sentinels | None:
        """The sentinels that name the master, if Redis is behind some."""
        return self.client.sentinels if self._url.kind == "sentinel" else None

    @cached_property
    def _scripts(self) -> ScriptPool:
        """Those of one server."""
        return ScriptPool(self.client.connection_pool)

    @cached_property
    def shards(self) -> Shards:
        """Those of a cluster, made when it first answers."""
        return Shards(self.client, self._come_back)

    @property
    def available(self) -> bool:
        """Whether the next call will be tried: Redis is enabled, the breaker closed, it is ours."""
        self._ask_owner()
        return self._is_reachable and not self.ownership.is_foreign

    @property
    def is_ready(self) -> bool:
        """The same without waiting for anything: not so while it is not known whose Redis it is."""
        return self._is_reachable and self.ownership.is_known and not self.ownership.is_foreign

    @property
    def _is_reachable(self) -> bool:
        return self.enabled and not self._breaker.is_open

    def call(self, command: Callable[[Any], Answer], *, key: Key | None = None) -> Answer:
        """Return `command(client)`; raise RedisUnavailable if Redis does not carry it out.

        `key`: a name, as Redis has it, of those that the command is about. Then it is not tried
        while that shard of a cluster is lost.
        """
        if not self._is_introduced() and self._is_reachable:
            raise RedisUnavailable from UnknownOwnerError()
        if self.ownership.is_foreign:
            raise RedisUnavailable from ForeignError()
        if self._has_shards and key is not None:
            return self._carry_out(lambda _: self.shards.call(key, command))
        return self._carry_out(command)

    @property
    def origin(self) -> bytes:
        """Whose documents are computed now (`cache/installation.py`); empty if nobody knows."""
        self._is_introduced()
        return self._origin

    @property
    def known_origin(self) -> bytes:
        """The same as far as it is known, without waiting for anything."""
        return self._origin

    def begin(self, origin: bytes) -> None:
        """From here on what is of another origin counts for nothing."""
        self._origin = origin

    def _is_introduced(self) -> bool:
        """Tell whether it is known whose Redis this is, or nobody finds that out."""
        self._ask_owner()
        return self.ownership.is_known or not self.introduce

    def _ask_owner(self) -> None:
        if self.introduce and self._is_reachable:
            self.introduce()

    def ping(self) -> None:
        """Raise RedisUnavailable unless Redis answers, whoever it belongs to."""
        self._carry_out(lambda client: self.shards.ping() if self._has_shards else client.ping())

    def claim(self, identity: str = "", *, by_force: bool = False) -> None:
        """Find out whether Redis is of an installation, by default of the one known so far.

        Raises RedisUnavailable.
        """
        was_foreign = self.ownership.is_foreign

        def ask(script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
            return self._carry_out(self._evaluating(script, keys, arguments, arguments))

        self.ownership.claim(ask, identity, by_force=by_force)
        if was_foreign and not self.ownership.is_foreign:
            self._come_back()

    def _carry_out(self, command: Callable[[Any], Answer]) -> Answer:
        if not self._is_reachable:
            raise RedisUnavailable
        with self.counted():
            return command(self.client)

    def counted(self) -> AbstractContextManager[None]:
        """Count a call of Redis that the block makes, and open the breaker if it finds nobody.

        Raises RedisUnavailable for what Redis does not carry out.
        """
        return _Counted(self._fail)

    def _fail(self, error: Exception) -> None:
        """Raise RedisUnavailable for what Redis has not carried out."""
        if isinstance(error, ShardLostError):
            ERRORS.labels("unreachable").inc(error.__cause__ is not None)
            raise RedisUnavailable from error.__cause__
        if isinstance(error, UNREACHABLE):
            ERRORS.labels("unreachable").inc()
            if not self._has_shards or is_whole_cluster_lost(error):
                self._breaker.trip(error)
            raise RedisUnavailable from error
        if isinstance(error, redis.RedisError):
            ERRORS.labels("refused").inc()
            if is_out_of_service(error) and not self._has_shards:
                self._breaker.trip(error)
            raise RedisUnavailable from error

    def eval(
        self,
        script: str,
        keys: Sequence[Key],
        arguments: Sequence[object],
        *,
        again: Sequence[object] | None = None,
    ) -> Any:
        """Return what `script` answers; raise RedisUnavailable if Redis does not carry it out.

        The names of the keys are those without a prefix. On a cluster all are in one slot. `again`:
        arguments of a second attempt, over another connection, if the first one breaks or leads to
        a replica. Both may run, in any order.
        """
        return self.call(self._evaluating(script, self.named(keys), arguments, again))

    def named(self, keys: Sequence[Key]) -> Sequence[Any]:
        """Return names as Redis has them."""
        if not self.prefix:
            return keys
        ahead = self.prefix.encode()
        return [self.prefix + key if isinstance(key, str) else ahead + key for key in keys]

    def _evaluating(
        self,
        script: str,
        keys: Sequence[Key],
        arguments: Sequence[object],
        again: Sequence[object] | None,
    ) -> Callable[[Any], Any]:
        def command(_: Any) -> Any:
            if self._has_shards:
                return self.shards.evaluate(script, keys, arguments, again)
            return evaluate_again(self._scripts, script, keys, arguments, again)

        return command

    def together(self, keys: Sequence[Key]) -> list[Sequence[Key]]:
        """Divide keys into those that one script can have; on a cluster that is one each."""
        return [[key] for key in keys] if self.is_cluster else [keys] if keys else []

    def connect(self) -> Any:
        """Return a new connection of one server, for the caller alone.

        Raises what redis-py does.
        """
        pool = self.client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        return connection

    def leads_to_master(self, connection: Any) -> bool:
        """Tell whether sentinels, if there are some, name no other master than it leads to."""
        sentinels = self.sentinels
        return not sentinels or (connection.host, connection.port) == sentinels.master

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take."""
        return self._settings.redis_timeout / 1000

    def follow_master(self) -> bool:
        """Tell whether sentinels have named another master since they were asked last."""
        if not self.sentinels:
            return False
        before, self._master = self._master, self.sentinels.master
        return before not in {None, self._master}

    def _probe(self) -> None:
        """Raise whatever comes up while Redis does not answer."""
        if self._has_shards:
            self.shards.refresh()  # the shards have breakers of their own
            return
        run = self.client.execute_command
        self._scripts.disconnect()  # they may have all the connections that there can be
        evaluate(run, PROBE, [], [])
        self.ownership.claim(partial(evaluate, run))

    def _come_back(self) -> None:
        for work in self.when_back:
            work()


class _Counted:
    """Times a block; what `contextmanager` makes of a generator takes three times as long."""

    __slots__ = ("_fail", "_started")

    def __init__(self, fail: Callable[[Exception], None]) -> None:
        self._fail = fail

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        LATENCY.observe(time.perf_counter() - self._started)
        if isinstance(error, Exception):
            self._fail(error)


def redis_connection(app: Flask | None = None) -> RedisConnection:
    """Return the connection of `app`, or of the current one."""
    connection: RedisConnection = (app or current_app).extensions["shop.redis"]
    return connection
