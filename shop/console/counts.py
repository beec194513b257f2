"""Counts of requests, of the workers of one gunicorn together, taken from their metrics.

Counts are added up by name, so those of minutes and of hosts are added in the same way:

    requests, server_errors, refused     answers: all, 500 and more, 429
    le:0.005                             answers in so many seconds or fewer
    reads:products, hits:products        documents of a family, asked of the cache and found there
    refused:write, allowed:write, …      decisions of a policy
"""

from __future__ import annotations

import os
from collections import Counter
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from shop import shared_counts
from shop.extensions import cache

from .notable import FAILED_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.samples import Sample

Counts = Counter[str]

BUCKET = "le:"
GAUGES = {
    "shop_requests_waiting": "requests_waiting",
    "shop_redis_breaker_open": "breakers_open",
    "shop_rate_limit_fallback": "counted_alone",
}


def current_counts() -> tuple[Counts, dict[str, int]]:
    """Return the counts since gunicorn started, and the gauges as they are now.

    Raises OSError if the counts of the other workers cannot be read.
    """
    registry: CollectorRegistry | None = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = shared_counts.registry()
    if registry is None:
        raise OSError("the counts of the workers cannot be read")
    samples = [one for metric in registry.collect() for one in metric.samples]
    counts: Counts = Counter()
    for sample in samples:
        for name in _names(sample):
            counts[name] += int(sample.value)
    gauges = dict.fromkeys(GAUGES.values(), 0)
    gauges |= {GAUGES[one.name]: int(one.value) for one in samples if one.name in GAUGES}
    return counts, gauges


def _names(sample: Sample) -> Iterator[str]:
    """Yield the names of the counts that a sample is added to."""
    labels = sample.labels
    match sample.name:
        case "shop_http_requests_total":
            yield "requests"
            if int(labels["status"]) >= FAILED_STATUS:
                yield "server_errors"
            elif labels["status"] == str(int(HTTPStatus.TOO_MANY_REQUESTS)):
                yield "refused"
        case "shop_http_request_seconds_bucket":
            yield BUCKET + labels["le"]
        case "shop_cache_reads_total":
            if root := _family_roots().get(labels["function"]):
                yield f"reads:{root}"
                if labels["result"] == "hit":
                    yield f"hits:{root}"
        case "shop_rate_limit_requests_total":
            yield f"{labels['result']}:{labels['policy']}"


def _family_roots() -> dict[str, str]:
    return {function.name: function.family_root for function in cache.memoized}


def quantile_milliseconds(counts: Mapping[str, float], share: float) -> float | None:
    """Return the time that a share of the answers took at most, as Prometheus estimates it.

    None without answers.
    """
    bounds = sorted(
        (float(name.removeprefix(BUCKET)), count)
        for name, count in counts.items()
        if name.startswith(BUCKET)
    )
    total = bounds[-1][1] if bounds else 0
    if not total:
        return None
    rank = share * total
    for (low, below), (high, count) in pairwise([(0.0, 0.0), *bounds]):
        if count >= rank:
            if high == float("inf"):
                return low * 1000
            return round(1000 * (low + (high - low) * (rank - below) / (count - below)), 2)
    return None
