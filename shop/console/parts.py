"""The parts of the document that are made of the reports of hosts, and of the keys in Redis."""

from __future__ import annotations

import math
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shop.extensions import cache
from shop.limits.policies import POLICIES

from .counts import quantile_milliseconds
from .history import MINUTE, MINUTES_MAX
from .notable import FAILED_MAX, SLOW_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shop.limits.records import RecordLine

    from .clients import TopClients
    from .counts import Counts
    from .fleet import Seen
    from .keyspace import Keyspace

ANSWERS_MAX = {"failed": FAILED_MAX, "slow": SLOW_MAX}
DECISIONS = ("allowed", "refused", "would_refuse")


def time_of(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def counts_of_hour(reports: Iterable[Seen]) -> Counts:
    return _sum(_minutes_of_hour(reports).values())


def traffic(reports: Iterable[Seen]) -> dict[str, Any]:
    """Return the requests of the last minute, of the hosts that are there."""
    there = [one.report for one in reports if one.is_there]
    counts = _sum(one.recent for one in there)
    return {
        "seconds": max((one.recent_seconds for one in there), default=0.0),
        **_answered(counts),
        "refused": counts["refused"],
        "p50_ms": quantile_milliseconds(counts, 0.5),
        "p95_ms": quantile_milliseconds(counts, 0.95),
        "p99_ms": quantile_milliseconds(counts, 0.99),
    }


def minutes(reports: Iterable[Seen]) -> list[dict[str, Any]]:
    """Return each minute of the last hour in which anything was counted."""
    return [_minute(at, counts) for at, counts in sorted(_minutes_of_hour(reports).items())]


def _minutes_of_hour(reports: Iterable[Seen]) -> dict[int, Counts]:
    """Add up the minutes of the last hour; a host that is gone has older ones, too."""
    found: dict[int, Counts] = {}
    for one in reports:
        for at, counts in one.report.minutes:
            if at > time.time() - MINUTES_MAX * MINUTE:
                found.setdefault(at, Counter()).update(counts)
    return found


def _minute(at: int, counts: Counts) -> dict[str, Any]:
    return {
        "at": time_of(at),
        **_answered(counts),
        "p95_ms": quantile_milliseconds(counts, 0.95),
        "reads": sum(count for name, count in counts.items() if name.startswith("reads:")),
        "hits": sum(count for name, count in counts.items() if name.startswith("hits:")),
    }


def _answered(counts: Counts) -> dict[str, int]:
    return {"requests": counts["requests"], "server_errors": counts["server_errors"]}


def families(hour: Counts, found: Keyspace | None) -> list[dict[str, Any]]:
    return [_family(root, hour, found) for root in cache.family_roots]


def _family(root: str, hour: Counts, found: Keyspace | None) -> dict[str, Any]:
    reads, hits = hour[f"reads:{root}"], hour[f"hits:{root}"]
    ages = found and found.ages.get(root)
    return {
        "family": root,
        "reads": reads,
        "hits": hits,
        "hit_rate": round(hits / reads, 4) if reads else None,
        "entries": found and found.entries[root],
        "oldest_seconds": ages and ages.oldest,
        "median_seconds": ages and ages.median,
    }


def policies(hour: Counts) -> list[dict[str, Any]]:
    return [
        {"policy": policy, **{one: hour[f"{one}:{policy}"] for one in DECISIONS}}
        for policy in POLICIES
    ]


def clients(count: int | None, top: TopClients | None) -> dict[str, Any]:
    return {
        "clients": count,
        "near": top and [_client(*one) for one in top.used],
        "refused": top and [_client(*one) for one in top.refused],
    }


def _client(client: str, line: RecordLine) -> dict[str, Any]:
    return {
        "client": client,
        "policy": line.policy,
        "used": line.used,
        "quota": line.quota,
        "window": line.period,
        "reset": math.ceil(line.reset),
        "refused": line.refused,
    }


def hosts(reports: Iterable[Seen]) -> list[dict[str, Any]]:
    return [
        {
            "host": one.report.host,
            "is_answering": one.is_own,
            "seen_seconds_ago": one.seconds_ago,
            "version": one.report.version,
            "started_at": time_of(one.report.started_at),
            "workers": one.report.workers,
            "requests_per_second": _rate(one),
            **one.report.gauges,
        }
        for one in reports
    ]


def _rate(one: Seen) -> float | None:
    seconds = one.report.recent_seconds
    return round(one.report.recent.get("requests", 0) / seconds, 2) if seconds else None


def sum_gauge(reports: Iterable[Seen], name: str) -> int:
    """Return the sum of a gauge over the hosts that are there."""
    return sum(one.report.gauges.get(name, 0) for one in reports if one.is_there)


def answers(reports: Iterable[Seen], kind: str) -> list[dict[str, Any]]:
    """Return the notable answers of all hosts, the newest first."""
    found = [
        {**answer, "host": one.report.host, "at": time_of(answer["at"])}
        for one in reports
        for answer in getattr(one.report, kind)
    ]
    found.sort(key=lambda answer: answer["at"], reverse=True)
    return found[: ANSWERS_MAX[kind]]


def _sum(counts: Iterable[Mapping[str, int]]) -> Counts:
    total: Counts = Counter()
    for one in counts:
        total.update(one)
    return total
