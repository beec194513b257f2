"""Redis, which may be away at any time: one client for each process, behind a circuit breaker."""

from .connection import PROBE_SECONDS, RedisConnection, RedisUnavailable, redis_connection
from .urls import connect

__all__ = ["PROBE_SECONDS", "RedisConnection", "RedisUnavailable", "connect", "redis_connection"]
