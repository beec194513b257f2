"""Make the client for a REDIS_URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from .sentinels import Sentinels, connection_class

if TYPE_CHECKING:
    from .urls import HostPort, RedisUrl

SENTINEL_SECONDS = 1  # to connect to a sentinel and to read its answer; no request waits for it


def connect(url: RedisUrl, *, timeout: float, max_connections: int) -> Any:
    """Return a client. It connects with its first command; the client of a cluster connects now.

    `timeout`: seconds, to connect and to wait for an answer.
    """
    options = {
        **_options(url, timeout),
        **url.login,
        "max_connections": max_connections,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if url.kind == "cluster":
        nodes = [ClusterNode(*server) for server in url.servers]  # type: ignore[no-untyped-call]
        # A slot without a node does not stop the calls of other slots.
        return redis.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    options["db"] = url.database
    if url.kind == "unix":
        return redis.Redis(unix_socket_path=url.path, **options)
    if url.kind == "sentinel":
        return _behind_sentinels(url, options)
    [(host, port)] = url.servers
    return redis.Redis(host, port, **options)


def _options(url: RedisUrl, timeout: float) -> dict[str, Any]:
    return {
        **url.options,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }


def _behind_sentinels(url: RedisUrl, options: dict[str, Any]) -> Any:
    """Return a client that connects to the current master."""
    own = {**_options(url, SENTINEL_SECONDS), **url.sentinel_login}

    def ask(server: HostPort) -> Any:
        return redis.Redis(*server, **own, max_connections=1)

    sentinels = Sentinels(url.service, {server: ask(server) for server in url.servers})
    client = redis.Redis(**options)
    pool: Any = client.connection_pool
    pool.connection_class = connection_class(pool.connection_class, sentinels)
    client.sentinels = sentinels  # type: ignore[attr-defined]
    return client
