"""The client for what REDIS_URL says."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import Sentinel

from shop.config import REDIS_TIMEOUT

SENTINEL_PORT = 26379


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
