"""Reduce the requests and the samples of a run to the figures of the report."""

from __future__ import annotations

from itertools import pairwise
from math import ceil
from statistics import mean
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from .sampler import Sample

INTERVALS_MAX = 60  # points of a series
INTERVAL_MIN = 2  # seconds; there is a sample in each
SAMPLES_MIN = 10
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Request(NamedTuple):
    end: float  # seconds since the epoch
    milliseconds: float
    failed: bool
    outcome: str  # X-Cache; "" where there is none
    call: str  # method and name
    address: str


def read_record(path: Path) -> list[Request]:
    """Return the requests in the order of their ends; none if there is no record."""
    requests = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        end, milliseconds, failed, *rest = line.split(",", maxsplit=5)
        requests.append(Request(float(end), float(milliseconds), failed == "1", *rest))
    return sorted(requests)


def totals(requests: Sequence[Request], samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the figures of a whole run.

    What the servers did is compared with the requests that ended between the first sample and the
    last, because their counts are known only then.
    """
    during = [one for one in samples if requests[0].end <= one.time <= requests[-1].end]
    if len(during) < SAMPLES_MIN:
        raise BenchError("the load ended too soon to be measured: more SECONDS are needed")
    first, last = during[0], during[-1]
    sampled = sum(first.time < one.end <= last.time for one in requests)

    def per_1000(amount: float) -> float:
        return round(1000 * amount / sampled, 3)

    return {
        "requests": len(requests),
        "throughput": round(len(requests) / (requests[-1].end - requests[0].end), 1),
        "failures": sum(one.failed for one in requests),
        **percentiles(requests),
        "hit_rate": hit_rate(requests),
        "document_hit_rate": _document_hit_rate(first, last),
        "connections_max": max(one.connections for one in during),
        "active_mean": round(mean(one.active for one in during), 2),
        "transactions_per_1000": per_1000(last.transactions - first.transactions),
        "rows_per_1000": per_1000(last.rows - first.rows),
        "cpu_per_1000": {part: per_1000(last.cpu[part] - first.cpu[part]) for part in last.cpu},
        "others_cores": round(_others_cores(first, last), 2),
        "locust_cores_max": max(
            round(_cores(one, other)["locust"], 2) for one, other in pairwise(during[::5])
        ),
    }


def series(requests: Sequence[Request], samples: Sequence[Sample]) -> dict[str, list[float | None]]:
    """Return one list for each measure: its value in each interval of the run, in order."""
    begin, length = requests[0].end, requests[-1].end - requests[0].end
    width = max(INTERVAL_MIN, ceil(length / INTERVALS_MAX))
    points = []
    for start in range(0, ceil(length), width):
        end = min(start + width, length)
        ended = [one for one in requests if start <= one.end - begin <= end]
        earlier = [one for one in samples if one.time - begin < start]
        taken = [one for one in samples if start <= one.time - begin < end]
        points.append(
            {
                "seconds": round(end, 1),
                "throughput": round(len(ended) / (end - start), 1),
                "failures": sum(one.failed for one in ended),
                **percentiles(ended),
                "hit_rate": hit_rate(ended),
                **_server_side(earlier[-1:] + taken),
            }
        )
    names = dict.fromkeys(name for point in points for name in point)
    return {name: [point.get(name) for point in points] for name in names}


def percentiles(requests: Sequence[Request]) -> dict[str, float | None]:
    """Return the nearest-rank percentiles, in milliseconds."""
    times = sorted(one.milliseconds for one in requests)
    return {
        name: round(times[ceil(part * len(times)) - 1], 2) if times else None
        for name, part in PERCENTILES.items()
    }


def hit_rate(requests: Iterable[Request]) -> float | None:
    """Return the share of hits among the answers that have X-Cache."""
    reads = [one.outcome == "HIT" for one in requests if one.outcome]
    return round(mean(reads), 4) if reads else None


def _document_hit_rate(first: Sample, last: Sample) -> float | None:
    reads = last.reads - first.reads
    return round((last.hits - first.hits) / reads, 4) if reads else None


def _server_side(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Return what the servers did since the first of the samples; nothing of fewer than two."""
    if len(samples) < 2:  # noqa: PLR2004
        return {}
    cores = _cores(samples[0], samples[-1])
    return {
        "document_hit_rate": _document_hit_rate(samples[0], samples[-1]),
        "connections": max(one.connections for one in samples[1:]),
        "active": round(mean(one.active for one in samples[1:]), 2),
        **{f"cores_{part}": round(cores[part], 3) for part in cores},
    }


def _cores(first: Sample, last: Sample) -> dict[str, float]:
    """Return how many cores each part kept busy."""
    passed = last.time - first.time
    return {part: (last.cpu[part] - first.cpu[part]) / passed for part in last.cpu}


def _others_cores(first: Sample, last: Sample) -> float:
    """Return how many cores were busy with something else than the test."""
    busy = (last.busy - first.busy) / (last.time - first.time)
    return max(0, busy - sum(_cores(first, last).values()))
