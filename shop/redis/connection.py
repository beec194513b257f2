"""The Redis client of a process, behind a circuit breaker.

A call that cannot reach Redis opens the breaker. So when Redis hangs, one request waits for a
timeout, and most requests wait for nothing.
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
from .pool import PROBE, ScriptPool, evaluate, evaluate_again, renew_idle_connections
from .shards import ShardLostError, Shards, is_whole_cluster_lost
from .urls import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from flask import Flask

    from shop.config import Settings

    from .pool import Key
    from .sentinels import Sentinels
    from .urls import HostPort

    OnError = Callable[[Exception], None]

LATENCY = Histogram(
    "shop_redis_seconds",
    "Time of a call of Redis, failed ones included.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
)
ERRORS = Counter("shop_redis_errors", "Calls that Redis did not carry out, by reason.", ["reason"])

Result = TypeVar("Result")


class RedisUnavailable(Exception):  # noqa: N818  (a state, always caught)
    """Redis is switched off, cannot be reached now, or refused a command (its cause says why)."""


class RedisConnection:
    """Calls of Redis: each is answered within the timeout, or raises RedisUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._url = parse_redis_url(settings.redis_url)
        self.enabled = settings.redis_enabled
        self._has_shards = self._url.kind == "cluster"
        self.is_cluster = self._has_shards  # a script can have names of one slot alone
        self.prefix = settings.redis_key_prefix  # of every name in Redis
        self.ownership = Ownership(self.prefix)
        self._origin = b""
        # Finds out which installation this is, unless that is known.
        self.find_installation: Callable[[], None] | None = None
        self._settings = settings
        self.when_back: list[Callable[[], None]] = []  # called each time that it answers again
        self._breaker = Breaker(self._probe, self._come_back)
        self._master: HostPort | None = None  # that the sentinels named last
        # Makes what `counted` returns, of what is to be done with an error.
        self.make_counted: Callable[[OnError], AbstractContextManager[None]] = CountedCall

    @cached_property
    def client(self) -> Any:
        """The client. The client of a cluster connects when it is made."""
        timeout, most = self._settings.redis_timeout / 1000, self._settings.redis_max_connections
        client = connect(self._url, timeout=timeout, max_connections=most)
        if not self._has_shards:
            renew_idle_connections(client.connection_pool)
        return client

    @property
    def sentinels(self) -> Sentinels | None:
        """The sentinels that name the master, if Redis is behind some."""
        return self.client.sentinels if self._url.kind == "sentinel" else None

    @cached_property
    def _scripts(self) -> ScriptPool:
        """The connections for scripts, of one server."""
        return ScriptPool(self.client.connection_pool)

    @cached_property
    def shards(self) -> Shards:
        """The shards of a cluster, made when it first answers."""
        return Shards(self.client, self._come_back)

    @property
    def available(self) -> bool:
        """True if the next call will be tried: Redis is enabled, reachable, and not foreign."""
        self._ask_owner()
        return self._is_reachable and not self.ownership.is_foreign

    @property
    def is_ready(self) -> bool:
        """True if `available` is, and the owner of Redis is known. Waits for nothing."""
        return self._is_reachable and self.ownership.is_known and not self.ownership.is_foreign

    @property
    def _is_reachable(self) -> bool:
        return self.enabled and not self._breaker.is_open

    def call(self, command: Callable[[Any], Result], *, key: Key | None = None) -> Result:
        """Return `command(client)`; raise RedisUnavailable if Redis does not carry it out.

        `key`: one of the command's names, with its prefix. The command is not tried while the shard
        of that name is lost.
        """
        if not self._is_owner_known() and self._is_reachable:
            owner = UnknownOwnerError(is_identified=self.ownership.is_identified)
            raise RedisUnavailable from owner
        if self.ownership.is_foreign:
            raise RedisUnavailable from ForeignError()
        if self._has_shards and key is not None:
            return self._carry_out(lambda _: self.shards.call(key, command))
        return self._carry_out(command)

    @property
    def origin(self) -> bytes:
        """The origin of documents (`cache/installation.py`); empty while it is not known."""
        self._is_owner_known()
        return self._origin

    @property
    def known_origin(self) -> bytes:
        """`origin` as far as it is known. Waits for nothing."""
        return self._origin

    def set_origin(self, origin: bytes) -> None:
        """Set the origin of documents: those of another origin are no hits from now on."""
        self._origin = origin

    def _is_owner_known(self) -> bool:
        """Return whether the owner of Redis is known, or there is no way to find it out."""
        self._ask_owner()
        return self.ownership.is_known or not self.find_installation

    def _ask_owner(self) -> None:
        if self.find_installation and self._is_reachable:
            self.find_installation()

    def ping(self) -> None:
        """Raise RedisUnavailable unless Redis answers, also a foreign one."""
        self._carry_out(lambda client: self.shards.ping() if self._has_shards else client.ping())

    def claim(self, identity: str = "", *, by_force: bool = False) -> None:
        """Claim Redis for an installation, by default for the one known so far.

        Raises RedisUnavailable.
        """
        was_foreign = self.ownership.is_foreign

        def ask(script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
            return self._carry_out(self._evaluation(script, keys, arguments, arguments))

        self.ownership.claim(ask, identity, by_force=by_force)
        if was_foreign and not self.ownership.is_foreign:
            self._come_back()

    def _carry_out(self, command: Callable[[Any], Result]) -> Result:
        if not self._is_reachable:
            raise RedisUnavailable
        with self.counted():
            return command(self.client)

    def counted(self) -> AbstractContextManager[None]:
        """Time the call of Redis in the block, and open the breaker if it reaches nobody.

        Raises RedisUnavailable for a call that Redis does not carry out.
        """
        return self.make_counted(self._fail)

    def _fail(self, error: Exception) -> None:
        """Count the error of a call, and raise RedisUnavailable for it."""
        if isinstance(error, ShardLostError):
            ERRORS.labels("unreachable").inc(error.__cause__ is not None)
            raise RedisUnavailable from error.__cause__
        if isinstance(error, UNREACHABLE):
            ERRORS.labels("unreachable").inc()
            if not self._has_shards or is_whole_cluster_lost(error):
                self._breaker.trip(error)
            raise RedisUnavailable from error
        if isinstance(error, redis.RedisError):
            ERRORS.labels("out_of_memory" if _is_full(error) else "refused").inc()
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
        """Return the answer of `script`; raise RedisUnavailable if Redis does not carry it out.

        The keys have no prefix. On a cluster all are in one slot. `again`: arguments of a second
        attempt, over another connection, if the first one breaks or leads to a replica. Both
        attempts may run, in any order.
        """
        return self.call(self._evaluation(script, self.prefixed(keys), arguments, again))

    def prefixed(self, keys: Sequence[Key]) -> Sequence[Any]:
        """Return names with the prefix that all names in Redis have."""
        if not self.prefix:
            return keys
        ahead = self.prefix.encode()
        return [self.prefix + key if isinstance(key, str) else ahead + key for key in keys]

    def _evaluation(
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

    def script_batches(self, keys: Sequence[Key]) -> list[Sequence[Key]]:
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
        """Return whether a connection leads to the master that sentinels name, if there are any."""
        sentinels = self.sentinels
        return not sentinels or (connection.host, connection.port) == sentinels.master

    @property
    def timeout(self) -> float:
        """Seconds that an answer may take."""
        return self._settings.redis_timeout / 1000

    def follow_master(self) -> bool:
        """Return whether the sentinels have named another master since the last call of this."""
        if not self.sentinels:
            return False
        before, self._master = self._master, self.sentinels.master
        return before not in {None, self._master}

    def _probe(self) -> None:
        """Raise an error unless Redis answers."""
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


def _is_full(error: redis.RedisError) -> bool:
    """Return whether Redis has no memory for a command, or for one of a script."""
    return isinstance(error, redis.exceptions.OutOfMemoryError) or str(error).startswith("OOM ")


class CountedCall:
    """Times a block. The same by `contextmanager` takes three times as long."""

    __slots__ = ("_fail", "_started")

    def __init__(self, fail: OnError) -> None:
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
