"""Bytes of Redis for each kind of entry.

Real entries are copied under other names of the same form, and the memory that Redis uses is
compared with that before.
"""

from __future__ import annotations

import os
import re
import time
from itertools import cycle, islice
from typing import Any

import redis

from bench import BenchError
from bench.stage import stage
from bench.wrk import Request

from .ground import Ground, ground
from .requests import KEY, tokens

PRODUCTS = 10_000
COPIES = (10_000, 100_000)
BATCH = 1000
PERIOD = 5  # seconds of the limits, of which a busy client fills each part
SAMPLES = 200
CLIENT_REQUESTS = (1, 10, 30, 300)
# What the names of each kind are, with the part that is another one in each copy.
KINDS = {
    "product": r"products:id:(\d+)",
    "category": r"categories:id:(\d+)",
    "plain page": r"products:list:skip:(\d+):.*",
    "found page": r"products:found:(.*)",
    "page by price": r"products:priced:(.*)",
    "total": r"products:total:(.*)",
    "suggestions": r"products:suggest:q:(.*)",
    "session": r"session:([0-9a-f]{64})",
    "generation": r"products:members:.*:generation",
}


def measure() -> list[dict[str, Any]]:
    """Return the bytes that an entry of each kind takes, of as many copies as there are figures."""
    with ground(PRODUCTS, RATE_LIMIT_PERIOD=str(PERIOD)) as this:
        found = _samples(this)
    with stage() as servers, servers.databases(os.sched_getaffinity(0)):
        store: Any = redis.from_url(servers.redis_url)
        store.config_set("maxmemory", 0)
        sizes = [_size(store, kind, entries) for kind, entries in found.items()]
        store.close()
    return sizes


def _samples(this: Ground) -> dict[str, list[tuple[str, bytes]]]:
    """Return real entries of each kind, with their names."""
    this.ask(_requests())
    for token in tokens(this, SAMPLES):
        this.ask([Request("GET", "/cart", {"Authorization": f"Bearer {token}"})])
    found = {kind: _entries(this, pattern) for kind, pattern in KINDS.items()}
    missing = [kind for kind, entries in found.items() if not entries]
    if missing:
        raise BenchError(f"no entry of these kinds: {', '.join(missing)}")
    for requests in CLIENT_REQUESTS:
        found[f"client, {requests} in a period"] = _record(this, requests)
    found["session that reads and writes all the time"] = _writer(this)
    return found


def _requests() -> list[Request]:
    gets = [f"/products?skip={10 * n}&limit=10" for n in range(30)]
    gets += [
        f"/products?category_id={1 + n % 20}&limit={10 + n // 20}&sort={sort}&total=true"
        for n in range(60)
        for sort in ("name", "price")
    ]
    gets += [f"/search/suggest?q={a}{b}" for a in "abcdefg" for b in "aeiou"]
    gets += [f"/categories/{1 + n}" for n in range(20)]
    return [Request("GET", address) for address in gets] + [
        Request("PATCH", "/products/1", KEY, '{"stock":7}'),
    ]


def _entries(this: Ground, pattern: str) -> list[tuple[str, bytes]]:
    store: Any = this.served.store
    names = [name.decode() for name in store.scan_iter(count=1000)]
    fitting = [name for name in names if re.fullmatch(pattern, name)][:SAMPLES]
    values = [store.get(name) for name in fitting]
    return [(name, value) for name, value in zip(fitting, values, strict=True) if value]


def _record(this: Ground, requests: int) -> list[tuple[str, bytes]]:
    """Return the record of an address that sends so many requests, spread over a period."""
    store: Any = this.served.store
    store.delete("rate_limit:127.0.0.1")
    for _ in range(requests):
        this.ask([Request("GET", "/products/1")])
        time.sleep(PERIOD / requests)
    return [("rate_limit:127.0.0.1", store.get("rate_limit:127.0.0.1"))]


def _writer(this: Ground) -> list[tuple[str, bytes]]:
    """Return the record of a session that reads and writes all the time of a period."""
    [token] = tokens(this, 1)
    session = {"Authorization": f"Bearer {token}"}
    until = time.monotonic() + 2 * PERIOD
    while time.monotonic() < until:
        this.ask([Request("PUT", "/cart/items/1", session, '{"quantity":1}')])
        time.sleep(PERIOD / 500)
    store: Any = this.served.store
    found = [name.decode() for name in store.scan_iter("rate_limit:session:*")]
    return [max(((name, store.get(name)) for name in found), key=lambda one: len(one[1]))]


def _size(store: Any, kind: str, entries: list[tuple[str, bytes]]) -> dict[str, Any]:
    """Return what copies of these entries take, of each number of copies."""
    sizes = []
    for copies in COPIES:
        store.execute_command("FLUSHALL", "SYNC")
        before = store.info("memory")["used_memory"]
        names = (f"{name[:-6]}{number:06d}" for number, (name, _) in enumerate(cycle(entries)))
        pairs = zip(islice(names, copies), cycle(value for _, value in entries), strict=False)
        while batch := list(islice(pairs, BATCH)):
            with store.pipeline(transaction=False) as pipeline:
                for name, value in batch:
                    pipeline.set(name, value, px=3_600_000)
                pipeline.execute()
        sizes.append(round((store.info("memory")["used_memory"] - before) / copies))
    length = sum(len(value) for _, value in entries) / len(entries)
    return {
        "kind": kind,
        "value": round(length),
        "bytes": dict(zip(map(str, COPIES), sizes, strict=True)),
    }
