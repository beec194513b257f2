"""The tables of docs/capacity.md, and the answer for one shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.figures import table

from . import ends, measurements
from .hits import expected
from .latency import at_utilisations, beside_a_worker
from .measurements import size, size_of
from .model import FORMULAS, Demand, Plan, plan
from .popularity import Zipf

if TYPE_CHECKING:
    from .costs import Costs

PRODUCTS = (1_000_000, 10_000_000, 100_000_000)
RATES = (1_000, 10_000, 100_000)
EXPONENTS = (1.0, 0.8)
TTLS = (300, 3600)  # seconds, REDIS_CACHE_TTL
DEFAULT = Demand(1_000_000, 1000)


def section(costs: Costs) -> str:
    """Return everything that is between the marks of docs/capacity.md."""
    parts = [
        _head(costs),
        "### How much of everything",
        _plans(costs),
        "### What is stored",
        measurements.sizes(costs),
        "### What a request costs",
        measurements.requests(costs),
        "### Hit rates",
        _hit_rates(costs),
        "### Response times",
        _utilisations(costs),
        "### Beside real servers",
        _validated_hits(costs),
        _validated_times(costs),
        "### What grows faster than the load",
        _ends(costs),
        measurements.shards(costs),
        measurements.tracking(costs),
        measurements.looks(costs),
        measurements.at_rest(costs),
        measurements.catalogues(costs),
    ]
    return "\n\n".join(parts)


def one(demand: Demand, found: Plan) -> str:
    """Return what one shop takes, each figure with its formula."""
    figures = {
        "hit rate": f"{found.hit_rate:.1%}: "
        + ", ".join(f"{kind} {hits.hit_rate:.1%}" for kind, hits in found.hit_rates.items()),
        "workers": f"{found.workers:,}",
        "hosts": f"{found.hosts:,} of {demand.cores} cores",
        "Redis, busy": f"{found.redis_busy:.0%} of a core",
        "masters": str(found.masters or "no number is enough"),
        "Redis, memory": size(found.redis_bytes),
        "PostgreSQL, cores": f"{found.postgresql_cores:,.1f}",
        "PostgreSQL, size": size(found.postgresql_bytes),
        "connections": f"{found.connections:,}",
        "connections to Redis": f"{found.redis_connections:,}",
        "memory of workers": size(found.worker_bytes),
        "network": f"{size(found.network)} a second",
    }
    lines = [f"{demand.products:,} products, {demand.rate:,g} requests a second", ""]
    for name, figure in figures.items():
        lines += [f"{name}: {figure}", f"    {FORMULAS[name]}"]
    lines += [f"\nThe design ends here: {end}. docs/capacity.md says why." for end in found.ends]
    return "\n".join(lines)


def _head(costs: Costs) -> str:
    measured = costs.measured
    machine, servers = measured["machine"], measured["catalogues"]["servers"]
    return (
        f"Measured on {measured['measured']}, on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['kernel']}, Python {machine['python']}, "
        f"{', '.join(f'{name} {version}' for name, version in servers.items())}; other programs "
        "used the same cores, so all figures are CPU times, bytes and shares, but for response "
        "times. `make capacity` makes these tables, `make bench-capacity` measures anew."
    )


def _plans(costs: Costs) -> str:
    rows = []
    for products in PRODUCTS:
        for rate in RATES:
            found = plan(Demand(products, rate), costs)
            rows.append(
                [
                    f"{products // 1_000_000} M",
                    f"{rate:,}",
                    f"{found.hit_rate:.0%}",
                    f"{found.workers:,}",
                    str(found.hosts),
                    size(found.redis_bytes),
                    str(found.masters) if found.masters else "**none is enough**",
                    f"{found.redis_busy:.0%}",
                    f"{found.postgresql_cores:,.1f}"
                    if not _passes(found)
                    else f"**{found.postgresql_cores:,.0f}**",
                    size(found.postgresql_bytes),
                    f"{found.connections:,}",
                    f"{8 * found.network / 1e6:,.0f} Mbit/s",
                ]
            )
    head = ["products", "requests/s", "hits", "workers", "hosts", "Redis, entries", "masters"]
    head += ["busiest master", "PostgreSQL, cores", "its tables", "connections", "network"]
    return table(head, rows)


def _passes(found: Plan) -> bool:
    return any("primary" in end for end in found.ends)


def _hit_rates(costs: Costs) -> str:
    """Return the hit rates of single products, and what their entries take."""
    entry, rows = costs.entry("product"), []
    for exponent in EXPONENTS:
        for products in PRODUCTS:
            popularity = Zipf(products, exponent)
            asked = [
                expected(popularity, rate * DEFAULT.mix["item"], ttl)
                for ttl in TTLS
                for rate in RATES
            ]
            cells = [f"{one.hit_rate:.0%}, {size(one.entries * entry)}" for one in asked]
            rows.append([f"{exponent:g}", size_of(products), *cells])
    head = [f"{rate:,} requests/s, {ttl} s" for ttl in TTLS for rate in RATES]
    return table(["exponent", "products", *head], rows)


def _utilisations(costs: Costs) -> str:
    rows = [
        [f"{busy:.0%}", f"{rate:,.0f}", *(f"{1000 * value:.1f} ms" for value in times[:3])]
        for busy, rate, times in at_utilisations(costs)
    ]
    return table(["worker busy", "requests/s", "p50", "p95", "p99"], rows)


def _validated_hits(costs: Costs) -> str:
    rows = [
        [
            f"{one['memory']} MiB" if one["memory"] else "no bound",
            f"{one['rate']:,}",
            f"{one['entries']:,}",
            *(f"{one[who]:.1%}" for who in ("redis", "simulation", "formula")),
        ]
        for one in costs.measured["hit rates"]
    ]
    return table(["memory", "requests/s", "entries", "Redis", "simulation", "formula"], rows)


def _validated_times(costs: Costs) -> str:
    rows = []
    for real, played in beside_a_worker(costs):
        rows.append(
            [
                f"{real['rate']:,}",
                f"{real['busy']:.0%}",
                f"{real['cpu']:,}",
                " / ".join(f"{real[part]:.1f}" for part in ("p50", "p95", "p99")),
                " / ".join(f"{1000 * value:.1f}" for value in played[:3]),
                f"{real['waited']:.2f}",
            ]
        )
    head = ["requests/s", "worker busy", "CPU of a request, µs", "p50 / p95 / p99, ms", "simulated"]
    return table([*head, "waited for a core, s/s"], rows)


def _ends(costs: Costs) -> str:
    rows = []
    for products in (PRODUCTS[0], PRODUCTS[-1]):
        found = ends.rates(products, costs)
        rows.append([size_of(products), *(f"{two_digits(rate):,}" for rate in found)])
    head = ["products", "one Redis is full at, requests/s", "a cluster", "one PostgreSQL"]
    return table(head, rows)


def two_digits(number: float) -> int:
    """Return a number of which only the first two digits mean anything."""
    return int(float(f"{number:.1e}"))
