"""The shards of a Redis Cluster: which node has a name, and a breaker for each node.

No call waits for a lost shard, and other shards go on. Only the probe of the lost shard's breaker
asks the other nodes who has taken its place. The client of the cluster would ask for each call that
fails.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import redis
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    MovedError,
    RedisClusterException,
    SlotNotCoveredError,
    TryAgainError,
)

from .breaker import UNREACHABLE, Breaker, is_out_of_service
from .pool import PROBE, ScriptPool, evaluate, evaluate_again, renewed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .pool import Key

Result = TypeVar("Result")

MOVING = (AskError, TryAgainError)  # errors of nodes while a slot moves
MOVES = 5  # of a name, which one call follows
NOBODY = "of a slot"  # in place of a node's host and port


def is_whole_cluster_lost(error: Exception) -> bool:
    """Return whether no node could be asked for the topology."""
    lost = isinstance(error, RedisClusterException)
    return lost and not isinstance(error, SlotNotCoveredError)


class ShardLostError(Exception):
    """The breaker of a shard is open. The cause is the error that has just opened it."""


class Node(NamedTuple):
    """The client and the script connections of one node, apart from those of the cluster."""

    client: redis.Redis
    scripts: ScriptPool


class Shards:
    def __init__(self, client: Any, when_closed: Callable[[], None]) -> None:
        self._client = client
        self._nodes = client.nodes_manager
        self._when_closed = when_closed
        self._breakers: dict[str, Breaker] = {}  # by the host and port of a node
        self._called: dict[str, Node] = {}
        self._wanted: dict[str, Any] = {}  # a name for which a breaker has opened
        self._lock = threading.Lock()

    def call(self, key: Key, command: Callable[[Any], Result]) -> Result:
        """Run `command(client)` at the node that has a name.

        Raises ShardLostError, or the errors of Redis.
        """
        return self._run(key, lambda node: command(node.client), command)

    def _run(
        self, key: Key, at_node: Callable[[Node], Result], moving: Callable[[Any], Result]
    ) -> Result:
        """Run `at_node` at the node of a name, or `moving` by the cluster's client if it moves."""
        for _ in range(MOVES):
            try:
                node = self.node_of(key)
            except SlotNotCoveredError as error:
                raise self._lost(NOBODY, key, error) from error
            if self.is_lost(node):
                raise ShardLostError
            try:
                with self.guarded(node, key):
                    return at_node(self._node(node))
            except MovedError as error:
                self._nodes.move_slot(error)
            except MOVING:
                return moving(self._client)
        raise redis.ResponseError("the nodes of the cluster do not agree who has a slot")

    def evaluate(
        self,
        script: str,
        keys: Sequence[Key],
        arguments: Sequence[object],
        again: Sequence[object] | None,
    ) -> Any:
        """Run a script at the node that has its names, which are all in one slot."""
        return self._run(
            keys[0],
            lambda node: evaluate_again(node.scripts, script, keys, arguments, again),
            lambda client: evaluate(client.execute_command, script, keys, arguments),
        )

    def ping(self) -> None:
        """Raise an error unless every shard answers."""
        if any(breaker.is_open for breaker in list(self._breakers.values())):
            raise ShardLostError
        for node in self._client.get_primaries():
            self._node(node).client.ping()

    def refresh(self, lost: str | None = None) -> None:
        """Ask the nodes for the topology, and the lost one after all others."""
        self._nodes.initialize(disconnect_startup_nodes_pools=False, last_failed_node_name=lost)

    def _lost(self, name: str, key: Key, error: Exception) -> ShardLostError:
        self._wanted[name] = key
        self._breaker(name).trip(error)
        return ShardLostError()

    def node_of(self, key: Key) -> Any:
        """Return the node of a name, by the known topology. Raises SlotNotCoveredError."""
        name = key.encode() if isinstance(key, str) else key
        slot = key_slot(name)
        holders = self._nodes.slots_cache.get(slot)  # the master first
        if not holders:
            raise SlotNotCoveredError(f"nobody has slot {slot}")
        return holders[0]

    def is_lost(self, node: Any) -> bool:
        """Return whether the breaker of a node is open."""
        return self._breaker(node.name).is_open

    @contextmanager
    def guarded(self, node: Any, key: Key) -> Iterator[None]:
        """Open the breaker of a node that the block, which calls it for a name, finds lost.

        Raises ShardLostError, or the errors of Redis.
        """
        try:
            yield
        except UNREACHABLE as error:
            raise self._lost(node.name, key, error) from error
        except redis.ResponseError as error:
            if is_out_of_service(error):
                raise self._lost(node.name, key, error) from error
            raise

    def connect(self, node: Any) -> Any:
        """Return a new connection to a node. Raises the errors of redis-py."""
        pool = self._node(node).client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        connection.connect()
        return connection

    def _breaker(self, name: str) -> Breaker:
        with self._lock:
            if name not in self._breakers:
                self._breakers[name] = Breaker(
                    lambda: self._probe(name), self._when_closed, f" (node {name})"
                )
            return self._breakers[name]

    def _node(self, node: Any) -> Node:
        with self._lock:
            if node.name not in self._called:
                like = self._client.get_redis_connection(node).connection_pool
                pool = redis.ConnectionPool(
                    connection_class=renewed(like.connection_class),
                    max_connections=like.max_connections,
                    **like.connection_kwargs,
                )
                self._called[node.name] = Node(redis.Redis.from_pool(pool), ScriptPool(pool))
            return self._called[node.name]

    def _probe(self, name: str) -> None:
        """Raise an error unless a node answers for the name that was wanted."""
        self.refresh(lost=name)
        key = self._wanted[name]
        node = self.node_of(key)
        if node.name != name:
            return  # another has taken its place
        scripts = self._node(node).scripts
        scripts.disconnect()
        try:
            evaluate(scripts.call, PROBE, [key], [])
        except MovedError as error:
            self._nodes.move_slot(error)
