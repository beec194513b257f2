"""The memory and the connections of the Redis servers, as these tell of themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

from .breaker import UNREACHABLE


class ServerInfo(NamedTuple):
    server: str  # its address
    memory_bytes: int
    memory_max_bytes: int | None  # None: without a bound
    evicted_keys: int
    clients: int
    keys: int  # of its database


def masters(client: Any) -> list[tuple[Any, ServerInfo]]:
    """Return a client of each server that holds keys and answers, and what it says of itself.

    Those are the masters of a cluster, or the one server. Raises the error if none answers.
    """
    servers = [client]
    if hasattr(client, "get_primaries"):
        servers = [client.get_redis_connection(node) for node in client.get_primaries()]
    found, error = [], None
    for server in servers:
        try:
            found.append((server, _read(server)))
        except UNREACHABLE as one:
            error = one
    if error and not found:
        raise error
    return found


def server_infos(client: Any) -> list[ServerInfo]:
    return [info for _, info in masters(client)]


def _read(server: Any) -> ServerInfo:
    info, database = server.info(), server.connection_pool.connection_kwargs.get("db", 0)
    return ServerInfo(
        server=_address(server),
        memory_bytes=info["used_memory"],
        memory_max_bytes=info["maxmemory"] or None,
        evicted_keys=info["evicted_keys"],
        clients=info["connected_clients"],
        keys=info.get(f"db{database}", {}).get("keys", 0),
    )


def _address(server: Any) -> str:
    options = server.connection_pool.connection_kwargs
    sentinels = getattr(server, "sentinels", None)
    if sentinels and sentinels.master:
        host, port = sentinels.master
        return f"{host}:{port}"
    return options.get("path") or f"{options['host']}:{options['port']}"
