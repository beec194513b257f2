"""The tables of docs/capacity.md with what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.figures import table

from . import ends

if TYPE_CHECKING:
    from .costs import Costs

BUSY = 0.6  # of a worker, `Demand.utilisation`
UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def size(count: float) -> str:
    """Return bytes with a unit that keeps the number short."""
    for factor, unit in UNITS:
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def size_of(products: int) -> str:
    return f"{products // 1_000_000} M" if products >= 1_000_000 else f"{products // 1000} k"  # noqa: PLR2004


def sizes(costs: Costs) -> str:
    entries = [
        [one["kind"], f"{one['value']:,}", *(f"{count:,}" for count in one["bytes"].values())]
        for one in costs.measured["entries"]
    ]
    copies = costs.measured["entries"][0]["bytes"]
    head = ["Redis, an entry of", "its value", *(f"bytes, of {int(one):,}" for one in copies)]
    rows = [
        [
            one["table"],
            f"{int(products):,}",
            *(f"{one[part]:,}" for part in ("heap", "indexes", "bytes")),
        ]
        for products, tables in costs.measured["catalogues"]["tables"].items()
        for one in tables["rows"]
    ]
    more = ["PostgreSQL, a row of", "products", "the row", "its indexes", "all, bytes"]
    return f"{table(head, entries)}\n\n{table(more, rows)}"


def requests(costs: Costs) -> str:
    catalogues = sorted(map(int, costs.measured["catalogues"]["requests"]))
    by = {products: costs.kinds(products) for products in catalogues}
    last, rows = catalogues[-1], []
    for kind, figures in by[last].items():
        loaded = costs.request(kind, last, BUSY)
        rows.append(
            [
                kind,
                f"{figures['worker']:,.0f}",
                f"{loaded.worker * 1e6:,.0f}",
                f"{figures['redis']:,.0f}",
                f"{loaded.redis * 1e6:,.0f}",
                *(f"{by[products][kind]['postgresql']:,.0f}" for products in catalogues),
                f"{figures['bytes']:,}",
            ]
        )
    head = ["CPU time, µs", "worker, alone", "60 % busy", "Redis, alone", "busy"]
    head += [f"PostgreSQL, {size_of(products)}" for products in catalogues]
    return table([*head, "bytes"], rows)


def shards(costs: Costs) -> str:
    rows = [
        [
            one["kind"],
            str(one["masters"]),
            f"{one['worker']:,.0f}",
            f"{sum(one['redis']):,.0f}",
            " ".join(f"{cpu:,.0f}" for cpu in one["redis"]),
        ]
        for one in costs.measured["shards"]
    ]
    return table(["CPU time, µs", "masters", "worker", "all masters", "each master"], rows)


def tracking(costs: Costs) -> str:
    rows = [
        [f"{one['clients']:,}", f"{one['redis']:,.0f}", f"{max(0, one['worker']):,.1f}"]
        for one in costs.measured["tracking"]
    ]
    return table(["connections that are told", "Redis, µs of a change", "a worker, µs"], rows)


def looks(costs: Costs) -> str:
    looks: list[dict[str, Any]] = costs.measured["idle"]["looks"]
    rows = [
        [
            str(one["connections"]),
            f"{one['postgresql']:.0f}",
            *(f"{ends.cores_of_looks(workers, one):.2f}" for workers in (100, 1000)),
        ]
        for one in looks
    ]
    head = ["connections that look", "PostgreSQL, µs of a look"]
    return table([*head, "cores for 100 workers", "for 1,000 workers"], rows)


def at_rest(costs: Costs) -> str:
    rows = [
        [
            str(one["workers"]),
            *(f"{one[who] / 1000:.1f}" for who in ("worker", "redis", "postgresql")),
            size(one["bytes"]),
            size(one["backend bytes"]),
            f"{one['database connections']:.1f}",
            f"{one['redis connections']:.1f}",
            f"{one['scrape'] / 1000:.1f}",
        ]
        for one in costs.measured["idle"]["at rest"]
    ]
    head = ["workers that nobody asks", "CPU of each, ms/s", "of Redis", "of PostgreSQL", "memory"]
    head += ["memory of a connection", "connections to PostgreSQL", "to Redis", "a scrape, ms"]
    return table(head, rows)


def catalogues(costs: Costs) -> str:
    tables = costs.measured["catalogues"]["tables"]
    names = list(next(iter(tables.values()))["seconds"])
    rows = [[name, *(f"{one['seconds'][name]:,.2f}" for one in tables.values())] for name in names]
    return table(["seconds", *(f"{size_of(int(one))} products" for one in tables)], rows)
