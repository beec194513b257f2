"""Traces by OpenTelemetry, as an option: only a worker that has a collector imports this package.

The edge makes the span of each request (`shop/edge/traced.py`). Calls of Redis and PostgreSQL that
are made for a traced request are its children; all others, such as looks at the outbox, make none.

The instrumentations that OpenTelemetry has for Flask, SQLAlchemy and redis-py are not used. They
would see no cached read, because the loop answers it; no script, because scripts have connections
of their own; each look at the outbox; and they tell client addresses and queries.
"""

from .collector import Collector
from .spans import current, trace_flask, trace_redis, tracer

__all__ = ["Collector", "current", "trace_flask", "trace_redis", "tracer"]
