"""Redis, which may be away at any time: one client for each process, behind a circuit breaker."""

from .breaker import PROBE_SECONDS
from .connection import CountedCall, RedisConnection, RedisUnavailable, redis_connection
from .ownership import ForeignError, UnknownOwnerError
from .urls import parse_redis_url

__all__ = [
    "PROBE_SECONDS",
    "CountedCall",
    "ForeignError",
    "RedisConnection",
    "RedisUnavailable",
    "UnknownOwnerError",
    "parse_redis_url",
    "redis_connection",
]
