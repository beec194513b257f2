"""The calls of an event loop in a Redis Cluster: a pipeline to each node, behind its breaker.

No call waits for a connection, follows a name that moves, or asks for the topology: it is not
carried out then, and whoever goes on in a thread does all that.
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
    """A call was not carried out; a thread finds or opens the way to the node."""


class Value(NamedTuple):
    """What a node has under a name, and what is true of that node."""

    data: bytes
    epoch: bytes  # of the life that the node is in
    clock: int  # milliseconds


class LoopCluster:
    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._pipelines: dict[str, Pipeline] = {}  # by the address of a node
        self._opening: dict[str, asyncio.Task[None]] = {}

    def stop(self) -> None:
        for task in self._opening.values():
            task.cancel()
        for pipeline in self._pipelines.values():
            pipeline.close(redis.ConnectionError("this process ends"))

    @property
    def is_ready(self) -> bool:
        """Whether a call will be tried now, if its node has a pipeline."""
        return self._connection.is_ready

    @property
    def is_opening(self) -> bool:
        """Whether a pipeline that was wanted will soon be open."""
        return bool(self._opening)

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[object]) -> Any:
        """Return what a script answers, whose names are in one slot, and which is not tried twice.

        Raises NotAskedError and RedisUnavailable.
        """
        keys = self._connection.named(keys)
        node = self._node_of(keys[0])
        pipeline = self._pipeline(node, keys[0])
        if pipeline is None:
            raise NotAskedError
        guarded = self._connection.shards.guarded(node, keys[0])
        with self._connection.counted(), guarded, suppress(*MOVING):
            return await pipeline.evaluate(script, keys, arguments)
        raise NotAskedError

    async def read(self, keys: Sequence[str]) -> dict[str, Value | None]:
        """Return what is under names; None where there is nothing, or nobody to ask.

        The names of the keys are those without a prefix, here as in `evaluate`.
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
        """Read names at a node, and after them its epoch and its clock.

        So the epoch was that of the node when it answered: it never has one again, and a replica
        answers nothing. docs/cache.md says more.
        """
        names = self._connection.named(keys)
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
            is_told = isinstance(life, bytes) and isinstance(time, list)
            if is_told and (master := LIFE.search(life)):
                clock = int(time[0]) * 1000 + int(time[1]) // 1000
                return {
                    key: Value(answer[0], master[1], clock)
                    for key, answer in zip(keys, found, strict=True)
                    if isinstance(answer, list) and answer[0] is not None
                }
        return {}

    def _node_of(self, key: Key) -> Any:
        """Return the node that has a name; None if nobody has."""
        try:
            return self._connection.shards.node_of(key)
        except SlotNotCoveredError:
            return None

    def _pipeline(self, node: Any, key: Key) -> Pipeline | None:
        """Return the open pipeline to the node of a name; open it if there is none."""
        if node is None or self._connection.shards.is_lost(node):
            return None
        pipeline = self._pipelines.get(node.name)
        if pipeline is None:
            pipeline = self._pipelines[node.name] = Pipeline(
                partial(self._connection.shards.connect, node),
                self._connection.timeout,
                when_lost=_ignore,
                when_told=_ignore,
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
    """Leave it to the next call."""
