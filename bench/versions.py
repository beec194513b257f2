"""The versions of the measured servers."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import redis


def of_servers(database_url: str, redis_url: str | None) -> dict[str, str]:
    """Return the version of PostgreSQL, and of Redis or what is in its place, if there is one."""
    with closing(psycopg2.connect(database_url)) as connection:
        number = connection.server_version
    found = {"PostgreSQL": f"{number // 10_000}.{number % 10_000}"}
    if redis_url:
        with redis.Redis.from_url(redis_url) as client:
            info = client.info("server")
        name = info.get("server_name", "redis")
        found[name.capitalize()] = info.get(f"{name}_version", info["redis_version"])
    return found
