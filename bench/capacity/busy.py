"""The cost of one call for a Redis that is asked by one worker, by many, or by one all at once.

A Redis that is busy serves several connections each time that it wakes up, which costs it less.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from bench.redis_alone import recorded
from bench.wrk import Request

from .tracking import redis_cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .ground import Ground

ITEMS = 50
CONNECTIONS = (1, 32)
CALLS = 6400


def measure(this: Ground) -> list[dict[str, Any]]:
    """Return the microseconds of Redis for the call of a cached product, by connections."""
    requests = [Request("GET", f"/products/{1 + n}") for n in range(ITEMS)]
    this.ask(requests * 2)
    calls = [_encoded(one) for one in recorded(this.served, requests)]
    store: Any = this.served.store
    path = store.connection_pool.connection_kwargs["path"]
    return [
        {"connections": number, "redis": round(_cost(store, path, calls, number), 1)}
        for number in CONNECTIONS
    ]


def _cost(store: Any, path: str, calls: Sequence[bytes], number: int) -> float:
    """Return what a call costs if each connection sends one, and then each reads its answer."""
    connections = [socket.socket(socket.AF_UNIX) for _ in range(number)]
    for one in connections:
        one.connect(path)
    before = redis_cpu(store)
    for turn in range(CALLS // number):
        for place, one in enumerate(connections):
            one.sendall(calls[(turn * number + place) % len(calls)])
        for one in connections:
            one.recv(1 << 16)
    used = redis_cpu(store) - before
    for one in connections:
        one.close()
    return 1e6 * used / (CALLS // number * number)


def _encoded(call: Sequence[str]) -> bytes:
    words = [word.encode("latin-1") for word in call]
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(one), one) for one in words)]
    return b"".join(parts)
