"""Redis, which may be away at any time: one client for each process, behind a circuit breaker."""

from .connection import PROBE_SECONDS, RedisConnection, RedisUnavailable, redis_connection
from .ownership import ForeignError, UnknownOwnerError
from .urls import connect

__all__ = [
    "PROBE_SECONDS",
    "ForeignError",
    "RedisConnection",
    "RedisUnavailable",
    "UnknownOwnerError",
    "connect",
    "redis_connection",
]
