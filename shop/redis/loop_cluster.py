"""Calls of a Redis Cluster on an event loop: a pipeline to each node, behind its breaker.

A call does not wait for a connection, follow a name that moves, or ask for the topology. It raises
NotAskedError then, and a thread, which may do all that, answers the request.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from redis.exceptions import SlotNotCoveredError

from .breaker import is_out_of_service
from .connection import RedisUnavailable
from .pipeline import Pipeline
from .shards import MOVING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .connection import RedisConnection
    from .pool import Key

LIFE = re.compile(rb"role:master\r\n.*master_replid:([0-9a-f]{16})", re.DOTALL)


class NotAskedError(Exception):
    """The call was not sent: there is no open connection to a node that has the name."""


class Value(NamedTuple):
    """The value of a name, with the epoch and the clock of its node."""

    data: bytes
    epoch: bytes  # of the node
    clock: int  # milliseconds


class LoopCluster:
    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._pipelines: dict[str, Pipeline] = {}  # by the host and port of a node
        self._opening: dict[str, asyncio.Task[None]] = {}

    def stop(self) -> None:
        for task in self._opening.values():
            task.cancel()
        for pipeline in self._pipelines.values():
            pipeline.close(redis.ConnectionError("this process ends"))

    @property
    def is_ready(self) -> bool:
        """True if the next call will be tried, should its node have a pipeline."""
        return self._connection.is_ready

    @property
    def is_opening(self) -> bool:
        """True while a pipeline is being opened."""
        return bool(self._opening)

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Return the answer of a script, which runs once at most. Its names are in one slot.

        Raises NotAskedError and RedisUnavailable.
        """
        keys = self._connection.prefixed(keys)
        node = self._node_of(keys[0])
        pipeline = self._pipeline(node, keys[0])
        if pipeline is None:
            raise NotAskedError
        guarded = self._connection.shards.guarded(node, keys[0])
        with self._connection.counted(), guarded, suppress(*MOVING):
            return await pipeline.evaluate(script, keys, arguments)
        raise NotAskedError

    async def read(self, keys: Sequence[str]) -> dict[str, Value | None]:
        """Return the values of names; None without a value, or without a node to ask.

        The names have no prefix, as those of `evaluate`.
        """
        nodes: dict[str, tuple[Any, list[str]]] = {}
        for key in keys:
            if node := self._node_of(self._connection.prefix + key):
                nodes.setdefault(node.name, (node, []))[1].append(key)
        reads = [self._read_at(*some) for some in nodes.values()]
        found = await asyncio.gather(*reads) if len(reads) > 1 else [await one for one in reads]
        values: dict[str, Value | None] = dict.fromkeys(keys)
        for some in found:
            values.update(some)
        return values

    async def _read_at(self, node: Any, keys: Sequence[str]) -> dict[str, Value]:
        """Read names from a node, and after them its epoch and its clock.

        The node had this epoch when it answered the names: an epoch never comes back, and a replica
        answers nothing. docs/cache.md says more.
        """
        names = self._connection.prefixed(keys)
        pipeline = self._pipeline(node, names[0])
        if pipeline is None:
            return {}
        guarded = self._connection.shards.guarded(node, names[0])
        with suppress(RedisUnavailable), self._connection.counted(), guarded:
            commands = [*(("MGET", name) for name in names), ("INFO", "replication"), ("TIME",)]
            *found, life, time = await pipeline.call_each(commands)
            for answer in (*found, life, time):
                if isinstance(answer, redis.RedisError) and is_out_of_service(answer):
                    raise answer
            is_answered = isinstance(life, bytes) and isinstance(time, list)
            if is_answered and (master := LIFE.search(life)):
                clock = int(time[0]) * 1000 + int(time[1]) // 1000
                return {
                    key: Value(answer[0], master[1], clock)
                    for key, answer in zip(keys, found, strict=True)
                    if isinstance(answer, list) and answer[0] is not None
                }
        return {}

    def _node_of(self, key: Key) -> Any:
        """Return the node that has the slot of a name; None if no node has it."""
        try:
            return self._connection.shards.node_of(key)
        except SlotNotCoveredError:
            return None

    def _pipeline(self, node: Any, key: Key) -> Pipeline | None:
        """Return the open pipeline to a node. If there is none, begin to open it."""
        if node is None or self._connection.shards.is_lost(node):
            return None
        pipeline = self._pipelines.get(node.name)
        if pipeline is None:
            pipeline = self._pipelines[node.name] = Pipeline(
                partial(self._connection.shards.connect, node),
                self._connection.timeout,
                when_lost=_ignore,
                when_pushed=_ignore,
            )
        if pipeline.is_open:
            return pipeline
        if node.name not in self._opening:
            self._opening[node.name] = asyncio.create_task(self._open(pipeline, node, key))
        return None

    async def _open(self, pipeline: Pipeline, node: Any, key: Key) -> None:
        try:
            guarded = self._connection.shards.guarded(node, key)
            with suppress(RedisUnavailable), self._connection.counted(), guarded:
                await pipeline.open()
        finally:
            del self._opening[node.name]


def _ignore(_: object) -> None:
    """Do nothing: the next call opens the pipeline again."""
