"""Serve the product, and load it with people who look for something while it sells.

Writes `bench/load-search.json`, and the section `load-search` of `docs/performance.md`.

python -m bench.load.browse [USERS [SECONDS]]
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from bench import machine, versions
from bench.document import replace_section
from bench.figures import table

from . import BROWSE_RESULT, DOCUMENT
from .command import command, numbers
from .driver import SPAWN_RATE, drive
from .sampler import documents_by_function
from .service import serve
from .summary import PERCENTILES, hit_rate, percentiles, totals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .summary import Request

PRODUCTS = 10_000
KINDS = ("Browser", "Seller", "Pricer")
TRADERS = 25  # Sellers and Pricers, beside the people
LOOKED_FOR = {
    "pages of a category": "GET /products?category_id",
    "... sorted, filtered or counted by price": "GET /products?category_id by price",
    "searches": "GET /products?q",
    "next pages": "GET /products?after",
}
OTHERS = {
    "suggestions": "GET /search/suggest?q",
    "plain pages": "GET /products?skip&limit",
    "single products": "GET /products/[id]",
    "sales": "POST /orders",
    "changes of a price": "PATCH /products/[id] price",
}
FOUND, ALL = "all pages that were found", "all requests"
TARGETS = {  # what is to be reached: of which requests, the figure, at least, at most
    f"hit rate of {FOUND}: at least 85 %": (FOUND, "hit_rate", 0.85, 1),
    "p95 of all requests: at most 50 ms": (ALL, "p95", 0, 50),
    "failures: none": (ALL, "failures", 0, 0),
}
SECTION = """
`make load-search` makes this section: it serves a fresh catalogue and loads it with the Browsers \
of `locustfile.py`, while Sellers sell 20 products a second and Pricers change 5 prices a second. \
The figures are in `bench/load-search.json`.

*Asked first* is the share of reads whose address nobody had asked for before in this run: \
no cache has an answer for them.

{requests}

{targets}

A page is from the cache if everything in it is: its ids, its total, its facets, and each of its \
rows, of which a new price forgets one. Documents that the cache was asked for, by the function \
that makes them:

{documents}

Measured on {measured}: {users} users, {spawn_rate} more each second until all are there, for \
{seconds} s; {products:,} products; {workers} workers; the default limits. All of it, the load \
too, shared one machine: {cores} cores of {cpu}, {kernel}, Python {python}, {servers}. Other \
programs of the machine kept {others:.2f} cores busy meanwhile, on average. {verdict}
"""


def main(users: str = "400", seconds: str = "300") -> None:
    with command("load-search"):
        result = _measure(*numbers(users, seconds))
        BROWSE_RESULT.write_text(f"{json.dumps(result, indent=1)}\n", encoding="utf-8")
        text = section(result)
        print(f"\n{text}\n")
        replace_section(DOCUMENT, "load-search", text)


def _measure(users: int, seconds: int) -> dict[str, Any]:
    print(f"starting the servers, with {PRODUCTS:,} products", flush=True)
    with serve(PRODUCTS, with_redis=True) as service:
        requests, samples = drive(service, "load", KINDS, users + TRADERS, seconds)
        return {
            "measured": time.strftime("%Y-%m-%d"),
            "machine": machine.describe([Path(sys.prefix)]),
            "servers": versions.of_servers(service.database_url, service.redis_url),
            "parameters": {
                "users": users,
                "seconds": seconds,
                "spawn_rate": SPAWN_RATE,
                "products": PRODUCTS,
                "workers": os.cpu_count(),
            },
            "requests": figures(requests),
            "documents": documents_by_function(service.url),
            "totals": totals(requests, samples),
        }


def figures(requests: Sequence[Request]) -> dict[str, dict[str, Any]]:
    """Return the figures of each kind of requests; a conditional one is of the same kind."""
    calls = {**LOOKED_FOR, **OTHERS}
    kinds = {
        name: [one for one in requests if one.call.removesuffix(" If-None-Match") == call]
        for name, call in calls.items()
    }
    found = [one for name in LOOKED_FOR for one in kinds[name]]
    first = _first_asked(requests)
    return {
        name: {
            "requests": len(of_it),
            "failures": sum(one.failed for one in of_it),
            "hit_rate": hit_rate(of_it),
            "first_asked": _share_of_first(of_it, first),
            **percentiles(of_it),
        }
        for name, of_it in (kinds | {FOUND: found, ALL: requests}).items()
    }


def _first_asked(requests: Sequence[Request]) -> set[Request]:
    """Return the reads that nobody had asked for before: no cache has an answer for them."""
    by_address = {one.address: one for one in reversed(requests) if one.outcome}
    return set(by_address.values())


def _share_of_first(requests: Sequence[Request], first: set[Request]) -> float | None:
    reads = [one in first for one in requests if one.outcome]
    return round(mean(reads), 4) if reads else None


def section(result: dict[str, Any]) -> str:
    totals = result["totals"]
    return SECTION.strip().format(
        requests=table(
            [*("", "requests", "failures", "p50", "p95", "p99"), "asked first", "from the cache"],
            map(_cells, *zip(*result["requests"].items(), strict=True)),
        ),
        targets=table(["target", "", "reached"], _targets(result["requests"])),
        documents=table(["", "documents", "from the cache"], _documents(result["documents"])),
        measured=result["measured"],
        **result["parameters"],
        **result["machine"],
        servers=", ".join(f"{name} {version}" for name, version in result["servers"].items()),
        others=totals["others_cores"],
        verdict=machine.verdict(totals["others_cores"]),
    )


def _cells(name: str, figures: dict[str, Any]) -> list[str]:
    times = ("" if (one := figures[part]) is None else f"{one:.1f} ms" for part in PERCENTILES)
    counts = (f"{figures[one]:,}" for one in ("requests", "failures"))
    return [name, *counts, *times, *(_share(figures[one]) for one in ("first_asked", "hit_rate"))]


def _targets(requests: dict[str, dict[str, Any]]) -> Iterable[list[str]]:
    for target, (kind, figure, least, most) in TARGETS.items():
        value = requests[kind][figure]
        shown = _share(value) if figure == "hit_rate" else f"{value:g}"
        reached = value is not None and least <= value <= most
        yield [target, shown, "yes" if reached else "**no**"]


def _documents(documents: dict[str, dict[str, float]]) -> Iterable[list[str]]:
    for name, results in sorted(documents.items()):
        asked = sum(results.values())
        yield [f"`{name}`", f"{asked:,.0f}", _share(results.get("hit", 0) / asked)]


def _share(part: float | None) -> str:
    return "" if part is None else f"{part:.1%}".replace("%", " %")


if __name__ == "__main__":
    main(*sys.argv[1:3])
