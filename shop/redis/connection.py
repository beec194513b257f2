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
from .pool import ScriptPool, evaluate, keep_well
from .urls import parse_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
# Does nothing. It is refused where writes are, but for want of memory: reads go on then.
PROBE = """#!lua flags=allow-oom
return 1
"""

Answer = TypeVar("Answer")


class RedisUnavailable(Exception):  # noqa: N818  (a state, always caught)
    """Redis is switched off, cannot be reached now, or refused a command (its cause says why)."""


class RedisConnection:
    """Calls that Redis answers soon, or that raise RedisUnavailable."""

    def __init__(self, settings: Settings) -> None:
        self._url = parse_redis_url(settings.redis_url)
        self.enabled = settings.redis_enabled
        self.is_cluster = self._url.kind == "cluster"
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
        if not self.is_cluster:
            keep_well(client.connection_pool)
        return client

    @property
    def sentinels(self) -> Sentinels | None:
        """The sentinels that name the master, if Redis is behind some."""
        return self.client.sentinels if self._url.kind == "sentinel" else None

    @cached_property
    def _scripts(self) -> ScriptPool | None:
        """None where the client has more to do for a command than to send it."""
        pool = None if self.is_cluster else self.client.connection_pool
        return ScriptPool(pool) if type(pool) is redis.ConnectionPool else None

    @property
    def available(self) -> bool:
        """Whether the next call will be tried: Redis is enabled, the breaker closed, it is ours."""
        self._ask_owner()
        return self._is_reachable and not self.ownership.is_foreign

    @property
    def _is_reachable(self) -> bool:
        return self.enabled and not self._breaker.is_open

    def call(self, command: Callable[[Any], Answer]) -> Answer:
        """Return `command(client)`; raise RedisUnavailable if Redis does not carry it out."""
        if not self._is_introduced() and self._is_reachable:
            raise RedisUnavailable from UnknownOwnerError()
        if self.ownership.is_foreign:
            raise RedisUnavailable from ForeignError()
        return self._carry_out(command)

    @property
    def origin(self) -> bytes:
        """Whose documents are computed now (`cache/installation.py`); empty if nobody knows."""
        self._is_introduced()
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
        self._carry_out(lambda client: client.ping())

    def claim(self, identity: str = "", *, by_force: bool = False) -> None:
        """Find out whether Redis is of an installation, by default of the one known so far.

        Raises RedisUnavailable.
        """
        was_foreign = self.ownership.is_foreign

        def ask(script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
            return self._carry_out(self._evaluating(script, keys, arguments, again=arguments))

        self.ownership.claim(ask, identity, by_force=by_force)
        if was_foreign and not self.ownership.is_foreign:
            self._come_back()

    def _carry_out(self, command: Callable[[Any], Answer]) -> Answer:
        if not self._is_reachable:
            raise RedisUnavailable
        started = time.perf_counter()
        try:
            return command(self.client)
        except UNREACHABLE as error:
            ERRORS.labels("unreachable").inc()
            self._breaker.trip(error)
            raise RedisUnavailable from error
        except redis.RedisError as error:
            ERRORS.labels("refused").inc()
            if is_out_of_service(error):
                self._breaker.trip(error)
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

        The names of the keys are those without a prefix. On a cluster all are in one slot. `again`:
        arguments of a second attempt, over another connection, if the first one breaks or leads to
        a replica. Both may run, in any order.
        """
        return self.call(self._evaluating(script, self.named(keys), arguments, again=again))

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
        *,
        again: Sequence[object] | None,
    ) -> Callable[[Any], Any]:
        def command(client: Any) -> Any:
            pool = self._scripts
            run = pool.call if pool else client.execute_command
            try:
                return evaluate(run, script, keys, arguments)
            except (redis.ConnectionError, redis.ReadOnlyError):
                if again is None:
                    raise
                if pool:
                    pool.disconnect()
                elif not self.is_cluster:  # whose client does the like by itself
                    client.connection_pool.disconnect(inuse_connections=False)
                return evaluate(run, script, keys, again)

        return command

    def together(self, keys: Sequence[Key]) -> list[Sequence[Key]]:
        """Divide keys into those that one script can have; on a cluster that is one each."""
        return [[key] for key in keys] if self.is_cluster else [keys] if keys else []

    def follow_master(self) -> bool:
        """Tell whether sentinels have named another master since they were asked last."""
        if not self.sentinels:
            return False
        before, self._master = self._master, self.sentinels.master
        return before not in {None, self._master}

    def _probe(self) -> None:
        """Raise whatever comes up while Redis does not answer."""
        run = self.client.execute_command
        if self._scripts:  # which may have all the connections that there can be
            self._scripts.disconnect()
        elif not self.is_cluster:
            self.client.connection_pool.disconnect(inuse_connections=False)
        evaluate(run, PROBE, [], [])
        self.ownership.claim(partial(evaluate, run))

    def _come_back(self) -> None:
        for work in self.when_back:
            work()


def redis_connection(app: Flask | None = None) -> RedisConnection:
    """Return the connection of `app`, or of the current one."""
    connection: RedisConnection = (app or current_app).extensions["shop.redis"]
    return connection
