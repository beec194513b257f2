"""The cost of a sale for the leaderboard, which is one name, and so on one master."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from .tracking import redis_cpu

if TYPE_CHECKING:
    from .ground import Ground

BOARD = "{products:trending:2026-01-01T00}:bench"
MEMBERS, SALES, BATCH = 10_000, 10_000, 20


def measure(this: Ground) -> dict[str, Any]:
    """Return the microseconds of Redis for a product that is sold."""
    store: Any = this.served.store
    chance = random.Random(1)  # noqa: S311  (to be repeated)
    store.zadd(BOARD, {str(n): 100 * chance.random() for n in range(MEMBERS)})
    before = redis_cpu(store)
    for _ in range(0, SALES, BATCH):
        with store.pipeline(transaction=False) as pipeline:
            for _ in range(BATCH):
                pipeline.zincrby(BOARD, chance.random(), str(chance.randrange(MEMBERS)))
            pipeline.execute()
    return {"members": MEMBERS, "redis": round(1e6 * (redis_cpu(store) - before) / SALES, 1)}
