"""What REDIS_URL says."""

from __future__ import annotations

from urllib.parse import urlsplit

import redis

from shop.environment import SettingError

from .client import connect


def check(url: str) -> None:
    """Raise SettingError, which does not tell the password, for a URL that cannot be used."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"redis", "rediss"}:
            int(parts.path.strip("/") or 0)  # which the client would take for 0
        if parts.scheme in {"redis", "rediss", "redis+cluster"}:
            _ = parts.port
        if parts.scheme != "redis+cluster":
            connect(url, 1).connection_pool.make_connection()
    except (ValueError, TypeError, redis.RedisError):
        raise SettingError(
            "REDIS_URL is not valid: redis://[USER:PASSWORD@]HOST[:PORT][/DB][?OPTION=VALUE], "
            "unix://PATH[?db=DB] or redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,...]/SERVICE[/DB]"
        ) from None
