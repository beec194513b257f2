"""On a cluster the loop and the scripts agree on a hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from shop.cache.scripts import PEEK_ENTRY
from shop.cache.stamps import current_generations, hit_document
from shop.redis.loop_cluster import LIFE, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.embedded.servers import Redis

KEY = "products:id:7"
GENERATION = "0123456789abcdef"
GENERATIONS = f"{'e' * 16}:{GENERATION}"
ORIGIN = "7000000000000000000"
HOUR = 3_600_000  # milliseconds


@pytest.fixture
def server(redis_server: Redis) -> Iterator[Any]:
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.flushall()
        yield client


def read(server: Any, key: str) -> Value | None:
    life = LIFE.search(server.eval("return redis.call('INFO', 'replication')", 0))
    seconds, micros = server.time()
    data = server.get(key)
    assert life
    return None if data is None else Value(data, life[1], seconds * 1000 + micros // 1000)


def entries(epoch: str, now: int) -> Iterator[str]:
    stamp = f"{epoch}:{ORIGIN}:{GENERATIONS}"
    whole = f"{stamp} {now + HOUR:013d}\n" + '{"id":7}'
    yield whole
    yield f"{stamp} {now + HOUR:013d}\n"  # there is no such row
    yield f"{stamp} {now - HOUR:013d}\n[]"
    yield f"{stamp} 0\n[]"
    yield f"{stamp} {now + HOUR:014d}\n[]"
    yield f"{stamp} {str(now + HOUR)[:12]}\n[]"
    yield f"{stamp}.{GENERATIONS} {now + HOUR:013d}\n[]"
    yield f"{epoch}:{ORIGIN}:{'f' * 16}:{GENERATION} {now + HOUR:013d}\n[]"
    yield f"{epoch}:{ORIGIN}:{'e' * 16}:{'f' * 16} {now + HOUR:013d}\n[]"
    yield f"{'0' * 16}:{ORIGIN}:{GENERATIONS} {now + HOUR:013d}\n[]"
    yield f"{epoch}:8{ORIGIN[1:]}:{GENERATIONS} {now + HOUR:013d}\n[]"
    yield f"lease {stamp} {'a' * 16} {now + HOUR:013d}\n[]"
    yield f"writers {'a' * 16}={now + HOUR}"
    yield from (whole[:length] for length in range(len(stamp) + 16))


def test_the_loop_and_the_script_agree_on_a_hit(server: Any) -> None:
    server.set(KEY, "")
    empty = read(server, KEY)
    assert empty
    hits = 0
    for entry in entries(empty.epoch.decode(), empty.clock):
        server.set(KEY, entry)
        expected = server.eval(PEEK_ENTRY, 1, KEY, ORIGIN, GENERATIONS)
        found = hit_document(read(server, KEY), ORIGIN.encode(), GENERATIONS.encode())
        assert found == expected, entry
        hits += found is not None
    assert hits == 3  # one is cut after its first line


def test_generations_are_read_all_or_none() -> None:
    one, other = Value(b"1" * 16, b"a" * 16, 0), Value(b"2" * 16, b"b" * 16, 0)
    stamp = b"aaaaaaaaaaaaaaaa:1111111111111111"
    assert current_generations(["x"], {"x": one}) == stamp
    both = current_generations(["x", "y"], {"x": one, "y": other})
    assert both == stamp + b".bbbbbbbbbbbbbbbb:2222222222222222"
    suspended = one._replace(data=b"writers aaaaaaaaaaaaaaaa=1")
    for lost in (None, suspended, one._replace(data=b"")):
        assert current_generations(["x", "y"], {"x": one, "y": lost}) is None
    assert hit_document(one, b"", None) is None


@pytest.mark.parametrize(
    ("said", "epoch"),
    [
        (b"# Replication\r\nrole:master\r\nmaster_replid:" + b"a1" * 20 + b"\r\n", b"a1" * 8),
        (b"# Replication\r\nrole:slave\r\nmaster_replid:" + b"a1" * 20 + b"\r\n", None),
    ],
)
def test_a_replica_has_no_epoch(said: bytes, epoch: bytes | None) -> None:
    found = LIFE.search(said)
    assert (found and found[1]) == epoch
