"""CPU time and bytes of each kind of request, sent one after the other."""

from __future__ import annotations

import json
import time
from statistics import fmean
from typing import TYPE_CHECKING, Any

import psycopg2

from bench import BenchError
from bench.contenders import WRITE_KEY
from bench.wrk import Request

from .ground import POSTGRES, REDIS, WORKER, Cost, Ground, rest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMES = 400
HOT = 50
OK = range(200, 305)
KEY = {"Authorization": f"Bearer {WRITE_KEY}"}
QUANTILES = 100  # of the CPU time of a worker that are kept


def measure(this: Ground, products: int) -> list[dict[str, Any]]:
    """Return for each kind what a request costs the worker, Redis and PostgreSQL."""
    background = rest(5, this)
    words = _words(this)
    found = []
    for kind, requests in _kinds(products, words).items():
        print(f"  {kind}", flush=True)
        if kind.endswith("hit"):
            this.ask(requests[:HOT] * 2)
        found.append(_cost(this, kind, requests, background))
    found += _checkouts(this, background)
    return found


def _kinds(products: int, words: Sequence[str]) -> dict[str, list[Request]]:
    """Return the requests of each kind; those that miss ask for what nobody has asked for."""
    ids = range(1, products)

    def cycle(make: Callable[[int], str]) -> list[Request]:
        return [Request("GET", make(number % HOT)) for number in range(TIMES)]

    def each(make: Callable[[int], str], times: int = TIMES) -> list[Request]:
        return [Request("GET", make(number)) for number in range(times)]

    return {
        "item hit": cycle(lambda n: f"/products/{ids[n]}"),
        "page hit": cycle(lambda n: f"/products?skip={10 * n}&limit=10"),
        "found hit": cycle(lambda n: f"/products?category_id={1 + n % 20}&sort=name&limit=20"),
        "suggestion hit": cycle(lambda n: f"/search/suggest?q={words[n % 20][:3]}"),
        "item miss": each(lambda n: f"/products/{ids[n + HOT + 10 * HOT]}"),
        "page miss": each(lambda n: f"/products?skip={5000 + 10 * n}&limit=10"),
        "found miss": each(
            lambda n: f"/products?category_id={1 + n % 20}&sort=name&limit={30 + n // 20}"
        ),
        "search miss": each(lambda n: f"/products?q={words[n]}&limit=20"),
        "suggestion miss": each(lambda n: f"/search/suggest?q={words[n + TIMES]}"),
        "write": [
            Request("PATCH", f"/products/{ids[n]}", KEY, json.dumps({"stock": 100 + n}))
            for n in range(TIMES)
        ],
    }


def _words(this: Ground) -> list[str]:
    """Return words of the catalogue's names, no two alike."""
    connection = psycopg2.connect(this.stage.database_url)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT lower(word)"
            " FROM (SELECT unnest(regexp_matches(name, '[a-z]{4,}', 'g')) AS word"
            " FROM products ORDER BY id LIMIT 20000) AS words ORDER BY 1 LIMIT 2000"
        )
        found = [word for (word,) in cursor.fetchall()]
    connection.close()
    if len(found) < 2 * TIMES:
        raise BenchError(f"the names of the catalogue have {len(found)} words only")
    step = len(found) // (2 * TIMES)
    return found[:: step or 1]


def _cost(
    this: Ground, kind: str, requests: list[Request], background: dict[str, float]
) -> dict[str, Any]:
    began, before = time.monotonic(), this.cpu()
    costs = this.ask(requests)
    took, after = time.monotonic() - began, this.cpu()
    wrong = [one.status for one in costs if one.status not in OK]
    if wrong:
        raise BenchError(f"{kind}: {len(wrong)} answers were {wrong[0]}")
    used = {
        name: max(0.0, (after[name] - before[name] - background[name] * took) / len(costs))
        for name in after
    }
    return {
        "kind": kind,
        "requests": len(costs),
        "worker": round(used[WORKER], 1),
        "redis": round(used[REDIS], 1),
        "postgresql": round(used[POSTGRES], 1),
        "bytes": round(fmean(one.sent for one in costs)),
        "hits": round(sum(one.outcome == "HIT" for one in costs) / len(costs), 3),
        "quantiles": _quantiles(costs),
    }


def _quantiles(costs: Sequence[Cost]) -> list[float]:
    """Return the CPU times of the worker from the least to the most, so many of them."""
    ordered = sorted(one.worker for one in costs)
    return [
        round(ordered[(2 * n + 1) * len(ordered) // (2 * QUANTILES)], 1) for n in range(QUANTILES)
    ]


def _checkouts(this: Ground, background: dict[str, float]) -> list[dict[str, Any]]:
    """Return what it costs to check out a cart of two products that `write` has given stock."""
    opened = tokens(this, TIMES // 2)
    puts = [
        Request(
            "PUT",
            f"/cart/items/{1 + (7 * n + k) % TIMES}",
            {"Authorization": f"Bearer {token}"},
            '{"quantity":1}',
        )
        for n, token in enumerate(opened)
        for k in (0, 3)
    ]
    cart = _cost(this, "cart", puts, background)
    customer = json.dumps(
        {"customer": {"name": "Bench", "email": "bench@example.com", "address": "1 Street"}}
    )
    outs = [
        Request(
            "POST",
            "/cart/checkout",
            {"Authorization": f"Bearer {token}", "Idempotency-Key": f"bench-{n}"},
            customer,
        )
        for n, token in enumerate(opened)
    ]
    return [cart, _cost(this, "checkout", outs, background)]


def tokens(this: Ground, number: int) -> list[str]:
    """Open so many sessions."""
    answers = this.served.ask([Request("POST", "/sessions")] * number)
    return [json.loads(answer.body)["token"] for answer in answers]
