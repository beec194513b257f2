"""The clients that use most of a quota, and those that are refused most."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from shop.limits import records, scripts
from shop.logs import printable
from shop.redis import redis_connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shop.limits.records import RecordLine

BATCH = 500  # records that are read together

ClientLine = tuple[str, "RecordLine"]  # a client, and its usage of a policy


class TopClients(NamedTuple):
    used: list[ClientLine]
    refused: list[ClientLine]


def top_clients(keys: Sequence[bytes], count: int) -> TopClients:
    """Return the first of the clients with these records. Raises RedisUnavailable."""
    used: list[ClientLine] = []
    refused: list[ClientLine] = []
    for start in range(0, len(keys), BATCH):
        found = read_records(keys[start : start + BATCH])
        rows = [(client, line) for client, lines in found for line in lines]
        used = nlargest(count, used + rows, key=lambda row: row[1].used / row[1].quota)
        refused = nlargest(count, refused + rows, key=lambda row: row[1].refused)
    return TopClients(
        [row for row in used if row[1].used],
        [row for row in refused if row[1].refused],
    )


def read_records(keys: Sequence[bytes]) -> Iterator[tuple[str, list[RecordLine]]]:
    """Read records, and yield each client with its usage by policy. Raises RedisUnavailable."""
    connection = redis_connection()
    for some in connection.script_batches(keys):
        now, *values = connection.eval(scripts.LOOK, some, [])
        for key, found in zip(some, values, strict=True):
            client = key.decode(errors="backslashreplace").removeprefix(records.PREFIX)
            yield printable(client), records.read(found, int(now))
