"""The kinds of requests as a worker sees them, and what the simulation makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import CARTS, CHECKOUTS, KINDS, MISSES, Demand, plan
from .queueing import Kind, Times, mean_cpu, simulate
from .validation import MISSES as MISSED
from .validation import WRITES as WRITTEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .costs import Costs
    from .hits import Expected

UTILISATIONS = (0.6, 0.7, 0.8)
REQUESTS = 20_000
WRITING = frozenset({"write", "cart", "checkout"})
MICRO = 1e-6
TYPICAL = Demand(1_000_000, 10_000)
REDIS_CALLS = {"miss": 2, "write": 2, "cart": 2, "checkout": 2}


def at_utilisations(costs: Costs) -> Iterator[tuple[float, float, Times]]:
    """Yield how busy a worker is, its requests a second, and its response times."""
    hits = plan(TYPICAL, costs).hit_rates
    for busy in UTILISATIONS:
        kinds = _mixed(costs, hits, busy)
        yield busy, busy / mean_cpu(kinds), simulate(kinds, busy, REQUESTS)


def _mixed(costs: Costs, hits: Mapping[str, Expected], busy: float) -> list[Kind]:
    shares = {"cart": CARTS, "checkout": CHECKOUTS}
    for kind, share in TYPICAL.mix.items():
        rate = hits[kind].hit_rate
        shares[f"{KINDS[kind]} hit"] = shares.get(f"{KINDS[kind]} hit", 0) + share * rate
        shares[f"{MISSES[kind]} miss"] = share * (1 - rate)
    return [_kind(costs, kind, share, busy) for kind, share in shares.items()]


def _kind(costs: Costs, kind: str, share: float, busy: float = 0.6) -> Kind:
    """Return a kind of requests, with the CPU times and the waits that were measured."""
    alone = costs.kinds(TYPICAL.products)[kind]
    cpu = costs.request(kind, TYPICAL.products, busy).worker
    calls = REDIS_CALLS.get(kind.rpartition(" ")[2], 1)
    redis = alone["redis"] * MICRO / calls
    waits = (redis, alone["postgresql"] * MICRO, redis) if calls > 1 else (redis,)
    return Kind(share, cpu, waits, alone["quantiles"], calls > 1, kind in WRITING)


def beside_a_worker(costs: Costs) -> Iterator[tuple[dict[str, Any], Times]]:
    """Yield what a real worker did at a rate, and what the simulation says of it.

    A request costs as much CPU time as it cost the real worker on average.
    """
    shares = {"item hit": 1 - MISSED - WRITTEN, "item miss": MISSED, "write": WRITTEN}
    kinds = [_kind(costs, kind, share) for kind, share in shares.items()]
    for real in costs.measured["response times"]:
        scale = real["cpu"] * MICRO / mean_cpu(kinds)
        scaled = [one._replace(cpu=one.cpu * scale) for one in kinds]
        yield real, simulate(scaled, min(0.97, real["busy"]), REQUESTS)
