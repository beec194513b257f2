"""The costs that were measured: bench/capacity.json, and of words bench/search.json."""

from __future__ import annotations

import math
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.figures import read

from . import RESULT

if TYPE_CHECKING:
    from pathlib import Path

FOUND = RESULT.with_name("search.json")
# What people search for, by kinds of bench/search: six in ten one word, one in ten mistyped.
SEARCHES = {
    "one word": 0.54,
    "two words": 0.36,
    "one word with a typo": 0.06,
    "two words, one with a typo": 0.04,
}
MICRO = 1e-6
LOAD = {"item hit": 0.93, "item miss": 0.05, "write": 0.02}  # of the load of `validation`


class Cost(NamedTuple):
    """Of one request: seconds of CPU time, and bytes of the answer."""

    worker: float
    redis: float
    postgresql: float
    sent: float


class Costs:
    """The costs of requests, entries, rows, workers and changes."""

    def __init__(self, measured: dict[str, Any], words: dict[str, float]) -> None:
        """`words` has the CPU time of PostgreSQL for what is searched, in the largest catalogue."""
        self._measured = measured
        self._words = words

    @classmethod
    def load(cls, measured: Path = RESULT, found: Path = FOUND) -> Costs:
        return cls(read(measured), _of_words(read(found)))

    @property
    def measured(self) -> dict[str, Any]:
        return self._measured

    def request(self, kind: str, products: float, utilisation: float) -> Cost:
        """Return what a request costs, of a worker that is busy for this share of the time."""
        alone = self._alone(kind, products)
        postgresql = alone["postgresql"]
        if kind in self._words:
            # The words of the demo data are few, so each finds many: `make bench-search` has a
            # catalogue like that of a large shop.
            postgresql *= self._words[kind] / self.kinds(self._sizes[-1])[kind]["postgresql"]
        return Cost(
            alone["worker"] * self.spread(utilisation) * MICRO,
            alone["redis"] * self.together * MICRO,
            postgresql * MICRO,
            alone["bytes"],
        )

    def spread(self, utilisation: float) -> float:
        """Return the cost for a worker that is so busy over that of requests one after another.

        Requests that come at random moments find the caches of the core cold.
        """
        kinds = self.kinds(self._sizes[-1])
        alone: float = sum(share * kinds[kind]["worker"] for kind, share in LOAD.items())
        known = sorted(self._measured["response times"], key=lambda one: float(one["busy"]))
        return _between(known, utilisation, "cpu") / alone

    @property
    def together(self) -> float:
        """Return the cost of a call for a Redis that many ask, over that for one that one asks."""
        calls = self._measured["busy"]
        return float(calls[-1]["redis"] / calls[0]["redis"])

    @cached_property
    def _sizes(self) -> list[int]:
        return sorted(map(int, self._requests))

    @property
    def _requests(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = self._measured["catalogues"]["requests"]
        return found

    def kinds(self, products: int) -> dict[str, dict[str, Any]]:
        """Return what was measured of each kind, in one of the catalogues."""
        return {one["kind"]: one for one in self._requests[str(products)]}

    def _alone(self, kind: str, products: float) -> dict[str, float]:
        """Return the costs of requests that come one by one, by a power law of the products.

        Its exponent is that between the smallest and the largest catalogue; what became cheaper is
        taken as it is in the largest one.
        """
        small, large = (self.kinds(size)[kind] for size in (self._sizes[0], self._sizes[-1]))
        span = math.log(self._sizes[-1] / self._sizes[0])
        far = math.log(max(products, self._sizes[0]) / self._sizes[-1])

        def at(name: str) -> float:
            least, most = max(small[name], 0.1), max(large[name], 0.1)
            exponent = max(0.0, math.log(most / least) / span)
            return float(most * math.exp(exponent * far))

        return {name: at(name) for name in ("worker", "redis", "postgresql")} | {
            "bytes": large["bytes"]
        }

    def entry(self, kind: str) -> float:
        """Return the bytes of Redis for an entry."""
        [found] = [one for one in self._measured["entries"] if one["kind"] == kind]
        return float(max(found["bytes"].values()))

    def product_bytes(self) -> float:
        """Return the bytes of PostgreSQL for a product, in the largest catalogue."""
        tables = self._measured["catalogues"]["tables"]
        [row] = [one for one in tables[str(self._sizes[-1])]["rows"] if one["table"] == "products"]
        return float(row["bytes"])

    @cached_property
    def at_rest(self) -> dict[str, float]:
        """Return what a worker that nobody asks uses of each, in seconds of CPU time a second."""
        last = self._measured["idle"]["at rest"][-1]
        return {name: last[name] * MICRO for name in ("worker", "redis", "postgresql")}

    @property
    def worker_bytes(self) -> float:
        return float(self._measured["idle"]["at rest"][-1]["bytes"])

    @property
    def redis_connections(self) -> float:
        return float(self._measured["idle"]["at rest"][-1]["redis connections"])

    @cached_property
    def change(self) -> tuple[float, float]:
        """Return the seconds of a change: of Redis, for each worker that it tells; of a worker."""
        told = self._measured["tracking"]
        first, last = told[0], told[-1]
        redis = (last["redis"] - first["redis"]) / last["clients"]
        return redis * MICRO, fmean(one["worker"] for one in told[:2]) * MICRO

    @cached_property
    def on_cluster(self) -> tuple[float, float, float]:
        """Return what a cluster does to a cached read.

        The CPU time of a worker over that without a cluster; that of all masters together over that
        of one Redis; and the seconds of the busiest master that do not become less with more of
        them.
        """
        by = {one["masters"]: one for one in self._measured["shards"] if one["kind"] == "item hit"}
        few, many = sorted(by)[-2:]
        alone = by[1]
        # The busiest master has a part that is its own and a share of what all divide:
        # own + shared / masters.
        shared = (by[few]["redis"][0] - by[many]["redis"][0]) / (1 / few - 1 / many)
        own = by[many]["redis"][0] - shared / many
        return (
            by[few]["worker"] / alone["worker"],
            sum(by[few]["redis"]) / sum(alone["redis"]),
            max(0.0, own) * MICRO,
        )


def _of_words(found: dict[str, Any]) -> dict[str, float]:
    """Return the microseconds of PostgreSQL for a search, and for suggestions."""

    def of(kind: str) -> float:
        samples = [one for one in found["samples"]["cold"] if one["kind"] == kind]
        asked = sum(len(one["milliseconds"]) for one in samples)
        return float(sum(one["cpu"]["postgresql"] for one in samples) / asked / MICRO)

    search = sum(share * of(kind) for kind, share in SEARCHES.items())
    return {"search miss": search, "suggestion miss": of("suggestions")}


def _between(known: list[dict[str, Any]], busy: float, who: str) -> float:
    """Return a figure of a worker that is so busy, between two that were measured."""
    below = [one for one in known if one["busy"] <= busy] or known[:1]
    above = [one for one in known if one["busy"] >= busy] or known[-1:]
    low, high = below[-1], above[0]
    span = high["busy"] - low["busy"]
    part = (busy - low["busy"]) / span if span else 0.0
    return float(low[who] + part * (high[who] - low[who]))
