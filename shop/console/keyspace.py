"""Look at what is in Redis: entries by family with their ages, and the records of clients.

It looks at a sample of the keys: a few calls of SCAN, however many keys there are.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from shop.config import current_settings
from shop.extensions import cache
from shop.limits import records
from shop.redis import redis_connection
from shop.redis.server_info import ServerInfo, masters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shop.cache import Memoized

SCAN_COUNT = 500  # keys of one call
SCANS = 20  # calls for each server
AGED_MAX = 20  # entries of a function whose age is looked at
HEAD_BYTES = 250  # in which the first line of an entry ends
ENTRY_HEAD = re.compile(rb"[0-9a-f:.]+ \d{13}\n.")  # of an entry with a document


class Ages(NamedTuple):
    """The ages of some entries of a family, in seconds."""

    oldest: int
    median: int


@dataclass
class Keyspace:
    """A sample of the keys in Redis."""

    is_whole: bool = True
    share: float = 1.0  # of all keys, that were looked at
    entries: Counter[str] = field(default_factory=Counter)  # in all, by family; an estimate
    ages: dict[str, Ages] = field(default_factory=dict)
    client_keys: list[bytes] = field(default_factory=list)  # of the sample
    servers: list[ServerInfo] = field(default_factory=list)

    @property
    def clients(self) -> int:
        """The number of clients in all; an estimate."""
        return round(len(self.client_keys) / self.share)


def read() -> Keyspace:
    """Sample the keys of Redis. Raises RedisUnavailable."""
    connection = redis_connection()
    sampled, servers = connection.call(_sample)
    total = sum(server.keys for server in servers)
    found = Keyspace(
        is_whole=len(sampled) >= total,
        share=min(1.0, len(sampled) / total) if total else 1.0,
        servers=servers,
    )
    prefix = connection.prefix.encode()
    names = [key.removeprefix(prefix) for key in sampled if key.startswith(prefix)]
    found.client_keys = [one for one in names if one.startswith(records.PREFIX.encode())]
    ages: dict[str, list[int]] = {}
    for function in cache.memoized:
        entries = list(_entries_of(function, names))
        found.entries[function.family_root] += round(len(entries) / found.share)
        ages.setdefault(function.family_root, []).extend(_ages(function, entries[:AGED_MAX]))
    found.ages = {
        root: Ages(max(some), round(statistics.median(some))) for root, some in ages.items() if some
    }
    return found


def _sample(client: Any) -> tuple[list[bytes], list[ServerInfo]]:
    """Return some keys, each once, and what the servers say of themselves."""
    keys: set[bytes] = set()
    servers = masters(client)
    for server, _ in servers:
        keys.update(islice(server.scan_iter(count=SCAN_COUNT), SCANS * SCAN_COUNT))
    return sorted(keys), [info for _, info in servers]


def _entries_of(function: Memoized, names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the names of a function's entries, valid or not."""
    pattern = re.compile(re.escape(function.pattern).replace(r"\*", ".*").encode())
    begin = function.pattern.partition("*")[0].encode()
    others = {function.generation_key, function.missing_key, function.admission_key}
    notes = {one.encode() for one in others}
    for name in names:
        if name.startswith(begin) and name not in notes and pattern.fullmatch(name):
            yield name


def _ages(function: Memoized, names: list[bytes]) -> list[int]:
    """Return the ages of those of these entries that hold a document, in seconds."""
    if not names:
        return []
    connection = redis_connection()
    keys = connection.prefixed(names)

    def read_heads(client: Any) -> tuple[list[bytes], list[int]]:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.getrange(key, 0, HEAD_BYTES)
            pipeline.ttl(key)
        answered = pipeline.execute()
        return answered[::2], answered[1::2]

    heads, left = connection.call(read_heads)
    settings = current_settings()
    lives = getattr(settings, function.ttl) + settings.cache_stale_if_error
    return [
        max(0, lives - seconds)
        for head, seconds in zip(heads, left, strict=True)
        if ENTRY_HEAD.match(head) and seconds > 0
    ]
