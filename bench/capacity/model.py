"""From products and requests a second to workers, memory, shards and connections.

Each figure of a Plan has its formula in words, in FORMULAS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf
from typing import TYPE_CHECKING, NamedTuple

from .costs import Cost
from .hits import Expected, expected
from .popularity import Zipf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .costs import Costs

# Of all requests: people look at products, plain pages, pages of a category, searches and what
# completes their words about as often as the Visitors and Browsers of locustfile.py do. One request
# in two hundred checks out, after three that fill a cart.
MIX = {"item": 0.43, "page": 0.27, "found": 0.16, "search": 0.04, "suggestion": 0.08}
CARTS, CHECKOUTS = 0.015, 0.005
SOLD = 2  # products of an order
SOLD_OUT = 0.02  # of what is sold: its stock crosses zero
# The shop's own work grows with its catalogue. A day has twice as much of it in its busiest hour.
DAILY_WRITES, DAILY_CREATIONS = 0.05, 0.001  # of the products
PEAK = 2 / 86_400
CATEGORY = 1000  # products
CATEGORY_PAGES = 12  # of a category: orders, filters, first and second pages
BY_STOCK = 0.2  # of these pages: forgotten when a stock crosses zero
BUCKETS = 64  # that keep categories apart (docs/cache.md)
PAGES, PREFIXES = 300, 5000  # plain pages, and beginnings of words, that are asked for
ADMITTED = 2000 / 60  # entries a second of pages that are found, and of suggestions, at most
CHANGES = {"miss": 3, "write": 4, "checkout": 4 * SOLD}  # names that Redis sees change
CLIENT_REQUESTS = 10  # of a client in a period
PERIOD = 60
SESSION_SHARE = 0.1  # of the clients have a session
ROOM = 1.5  # of maxmemory over the entries: what expired, fragments, copies of pages at a fork
KEPT_BYTES = 32 << 20  # of answers that a worker keeps, at most
CONNECTIONS = 6  # of a worker to PostgreSQL, at its peak
SERVER_BYTES = 64 << 30  # of one Redis, which still has to start and to copy itself to replicas
PRIMARY_CORES = 64  # of the largest PostgreSQL that is supposed here


@dataclass(frozen=True)
class Demand:
    """The demand: the size of the catalogue, and the load at its peak."""

    products: int
    rate: float  # requests a second
    exponent: float = 1.0  # of the popularity: the n-th product n ** -exponent as often
    ttl: float = 300.0  # seconds, REDIS_CACHE_TTL
    utilisation: float = 0.6  # of a core, at the peak
    cores: int = 16  # of a host of the API
    memory: float = inf  # bytes of entries that all of Redis has room for
    mix: Mapping[str, float] = field(default_factory=lambda: dict(MIX))


class Plan(NamedTuple):
    """The servers that a demand takes, and what each has to do."""

    hit_rates: dict[str, Expected]
    hit_rate: float
    cpu: Cost  # of a request, on average
    changes: float  # names that Redis sees change in a second
    workers: int
    hosts: int
    masters: int  # of Redis; 1 is a Redis without a cluster; 0: no number of them is enough
    redis_busy: float  # of a core: of the busiest master
    redis_bytes: float  # of the entries, all masters together
    postgresql_cores: float  # that are busy
    postgresql_bytes: float
    connections: int  # of all workers to PostgreSQL, at the peak
    redis_connections: int
    worker_bytes: float  # of all workers
    network: float  # bytes a second to clients
    ends: tuple[str, ...]  # limits of the design that this passes


FORMULAS = {
    "hit rate": "the hit rate of each kind of read (`bench/capacity/hits.py`), by its share",
    "workers": "requests a second x CPU seconds of a request / (utilisation - CPU seconds a second"
    " of a worker at rest - changes a second x CPU seconds of a worker to hear of one)",
    "hosts": "workers / cores of a host, and one more, so that one may fail",
    "masters": "1, if it is not busier than the utilisation and has the memory; else so many that"
    " the busiest is not",
    "Redis, busy": "requests a second x CPU seconds of Redis + workers x what a worker asks at rest"
    " + changes a second x workers x CPU seconds to tell one; of a cluster's busiest master:"
    " requests a second x (what it does of each read + its share of the rest)",
    "Redis, memory": "for each kind of entry, how many are stored at a time x bytes of one; and"
    " clients of a period x bytes of their records; `maxmemory` is 1.5 times as much",
    "PostgreSQL, cores": "(misses, writes and checkouts a second x CPU seconds of each + workers x"
    " CPU seconds of their looks at the outbox) / utilisation",
    "PostgreSQL, size": "products x bytes of a row with its indexes",
    "connections": "workers x 6 (`DATABASE_POOL`); a pooler is needed from 100 on",
    "connections to Redis": "workers x masters x connections of a worker",
    "memory of workers": "workers x (memory at rest, shared pages in parts + 32 MiB of answers)",
    "network": "requests a second x bytes of an answer",
}


def plan(demand: Demand, costs: Costs) -> Plan:
    """Return what a demand takes."""
    hits = _hit_rates(demand, costs)
    reads = sum(demand.mix.values())
    hit_rate = sum(share * hits[kind].hit_rate for kind, share in demand.mix.items()) / reads
    cpu = _cpu(demand, costs, hits)
    changes = _changes(demand, hits)
    entries = _redis_bytes(demand, costs, hits)
    masters, workers, busy = _one_redis(demand, costs, cpu, changes)
    if not workers or busy > demand.utilisation or entries * ROOM > SERVER_BYTES:
        masters, workers, busy = _cluster(demand, costs, cpu, entries)
    looks = workers * costs.at_rest["postgresql"]
    postgresql = (demand.rate * cpu.postgresql + looks) / demand.utilisation
    connections = workers * CONNECTIONS
    found = Plan(
        hit_rates=hits,
        hit_rate=hit_rate,
        cpu=cpu,
        changes=changes,
        workers=workers,
        hosts=ceil(workers / demand.cores) + 1,
        masters=masters,
        redis_busy=busy,
        redis_bytes=entries,
        postgresql_cores=postgresql,
        postgresql_bytes=demand.products * costs.product_bytes(),
        connections=connections,
        redis_connections=ceil(workers * max(1, masters) * costs.redis_connections),
        worker_bytes=workers * (costs.worker_bytes + KEPT_BYTES),
        network=demand.rate * cpu.sent,
        ends=(),
    )
    return found._replace(ends=_ends(found))


def _hit_rates(demand: Demand, costs: Costs) -> dict[str, Expected]:
    """Return what the cache answers of each kind of read."""
    sold = SOLD * demand.rate * CHECKOUTS
    written = demand.products * DAILY_WRITES * PEAK + sold
    created = demand.products * DAILY_CREATIONS * PEAK
    items = Zipf(demand.products, demand.exponent)
    lists = Zipf(max(CATEGORY_PAGES, demand.products * CATEGORY_PAGES // CATEGORY), demand.exponent)
    admitted = ADMITTED * demand.ttl

    def asked(kind: str, popularity: Zipf, **more: float) -> Expected:
        return expected(popularity, demand.rate * demand.mix[kind], demand.ttl, **more)

    return {
        "item": asked(
            "item", items, writes=written, capacity=demand.memory / costs.entry("product")
        ),
        "page": asked("page", Zipf(PAGES), forgets=created),
        # One family, which the two share.
        "found": asked(
            "found", lists, forgets=sold * SOLD_OUT * BY_STOCK / BUCKETS, capacity=admitted / 2
        ),
        "search": asked("search", items, forgets=created, capacity=admitted / 2),
        "suggestion": asked("suggestion", Zipf(PREFIXES), forgets=created, capacity=admitted),
    }


KINDS = {
    "item": "item",
    "page": "page",
    "found": "found",
    "search": "found",
    "suggestion": "suggestion",
}
MISSES = KINDS | {"search": "search"}


def _cpu(demand: Demand, costs: Costs, hits: Mapping[str, Expected]) -> Cost:
    """Return what a request costs, on average."""

    def request(kind: str) -> Cost:
        return costs.request(kind, demand.products, demand.utilisation)

    parts: list[tuple[float, Cost]] = [
        (demand.products * DAILY_WRITES * PEAK / demand.rate, request("write")),
        (CARTS, request("cart")),
        (CHECKOUTS, request("checkout")),
    ]
    for kind, share in demand.mix.items():
        rate = hits[kind].hit_rate
        parts.append((share * rate, request(f"{KINDS[kind]} hit")))
        parts.append((share * (1 - rate), request(f"{MISSES[kind]} miss")))
    return Cost(
        *(sum(share * one[place] for share, one in parts) for place in range(len(Cost._fields)))
    )


def _changes(demand: Demand, hits: Mapping[str, Expected]) -> float:
    misses = sum(share * (1 - hits[kind].hit_rate) for kind, share in demand.mix.items())
    a_request = misses * CHANGES["miss"] + CHECKOUTS * CHANGES["checkout"]
    return demand.rate * a_request + demand.products * DAILY_WRITES * PEAK * CHANGES["write"]


def _redis_bytes(demand: Demand, costs: Costs, hits: Mapping[str, Expected]) -> float:
    clients = demand.rate * PERIOD / CLIENT_REQUESTS
    entries = {
        "product": hits["item"].entries,
        "plain page": hits["page"].entries,
        "found page": hits["found"].entries + hits["search"].entries,
        "suggestions": hits["suggestion"].entries,
        f"client, {CLIENT_REQUESTS} in a period": clients,
        # Its record besides, and its entry for as long as it is asked for.
        "session": clients * SESSION_SHARE * demand.ttl / PERIOD,
    }
    return sum(number * costs.entry(kind) for kind, number in entries.items())


def _one_redis(demand: Demand, costs: Costs, cpu: Cost, changes: float) -> tuple[int, int, float]:
    """Return one master, the workers, and how busy it is; no workers if they hear of too much."""
    told_redis, told_worker = costs.change
    free = demand.utilisation - costs.at_rest["worker"] - changes * told_worker
    workers = ceil(demand.rate * cpu.worker / free) if free > 0 else 0
    told = workers * (costs.at_rest["redis"] + changes * told_redis)
    return 1, workers, demand.rate * cpu.redis + told


def _cluster(demand: Demand, costs: Costs, cpu: Cost, entries: float) -> tuple[int, int, float]:
    """Return the masters of a cluster, the workers, and how busy the busiest master is."""
    worker, redis, own = costs.on_cluster
    free = demand.utilisation - costs.at_rest["worker"]
    workers = ceil(demand.rate * cpu.worker * worker / free)
    divided = demand.rate * max(0.0, cpu.redis * redis - own)
    alone = demand.rate * own
    by_memory = max(2, ceil(entries * ROOM / SERVER_BYTES))
    if alone >= demand.utilisation:
        return 0, workers, alone
    masters = max(3, by_memory, ceil(divided / (demand.utilisation - alone)))
    return masters, workers, alone + divided / masters


def _ends(found: Plan) -> tuple[str, ...]:
    ends = []
    if not found.masters:
        ends.append("the master with the generation of the products")
    if found.postgresql_cores > PRIMARY_CORES:
        ends.append(f"one primary of {PRIMARY_CORES} cores")
    return tuple(ends)
