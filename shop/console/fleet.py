"""The reports of all hosts, in Redis.

ops:host:NAME   the last report of a host, for an hour
ops:hosts       the names, each with the time of its last report
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shop.redis import redis_connection

from .host_report import HostReport

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = "ops:hosts"
REPORT_TTL = 3600  # seconds that a host which is gone is told of
HOSTS_MAX = 100


THERE_SECONDS = 30.0  # a host that is there reports more often


class Seen(NamedTuple):
    report: HostReport
    seconds_ago: float  # that it was made
    is_own: bool = False  # of the host that answers

    @property
    def is_there(self) -> bool:
        return self.seconds_ago < THERE_SECONDS


def publish(report: HostReport) -> None:
    """Put a report into Redis. Raises RedisUnavailable."""
    connection = redis_connection()
    names, key = connection.prefixed([NAMES, _key(report.host)])
    document = report.encode()
    connection.call(lambda client: client.set(key, document, ex=REPORT_TTL), key=key)
    connection.call(lambda client: client.zadd(names, {report.host: report.made_at}), key=names)
    connection.call(lambda client: client.zremrangebyrank(names, 0, -HOSTS_MAX - 1), key=names)


def read_all() -> list[Seen]:
    """Return the last report of each host. Raises RedisUnavailable."""
    return list(_read_all())


def _read_all() -> Iterator[Seen]:
    connection = redis_connection()
    [names] = connection.prefixed([NAMES])
    hosts = connection.call(lambda client: client.zrevrange(names, 0, HOSTS_MAX - 1), key=names)
    for host in hosts:
        [key] = connection.prefixed([_key(host.decode(errors="replace"))])
        document, left = connection.call(
            lambda client: (client.get(key), client.ttl(key)),  # noqa: B023  (called now)
            key=key,
        )
        if report := HostReport.decode(document):
            yield Seen(report, max(0, REPORT_TTL - left))


def _key(host: str) -> str:
    return f"ops:host:{host}"
