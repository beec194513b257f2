"""The memory and the connections of the Redis servers, as these tell of themselves."""

from __future__ import annotations

from typing import Any, NamedTuple


class ServerInfo(NamedTuple):
    server: str  # its address
    memory_bytes: int
    memory_max_bytes: int | None  # None: without a bound
    evicted_keys: int
    clients: int
    keys: int  # of its database


def masters(client: Any) -> list[Any]:
    """Return a client of each server that holds keys: all masters of a cluster, or the one."""
    if hasattr(client, "get_primaries"):
        return [client.get_redis_connection(node) for node in client.get_primaries()]
    return [client]


def server_infos(client: Any) -> list[ServerInfo]:
    return [_read(server) for server in masters(client)]


def _read(server: Any) -> ServerInfo:
    options, info = server.connection_pool.connection_kwargs, server.info()
    database = info.get(f"db{options.get('db', 0)}", {})
    return ServerInfo(
        server=options.get("path") or f"{options['host']}:{options['port']}",
        memory_bytes=info["used_memory"],
        memory_max_bytes=info["maxmemory"] or None,
        evicted_keys=info["evicted_keys"],
        clients=info["connected_clients"],
        keys=database.get("keys", 0),
    )
