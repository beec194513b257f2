"""With the edge and without it, every answer is the same, but for dates, ids and counters.

What is sent follows from DIFFERENTIAL_SEED; DIFFERENTIAL_ROUNDS makes it so many times as long.
"""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
from clustered import a_cluster
from conftest import PATIENCE
from differential.compare import difference
from differential.history import History
from differential.twins import PERIOD, Twin, Twins
from differential.wire import Client, read_answer

if TYPE_CHECKING:
    from conftest import Service, StartRedis
    from differential.arrivals import Arrivals, Step

    from dev.embedded.servers import Postgres, Redis

SEED = os.environ.get("DIFFERENTIAL_SEED", "1")
ROUNDS = os.environ.get("DIFFERENTIAL_ROUNDS", "1")
if not (ROUNDS.isascii() and ROUNDS.isdigit()):
    pytest.fail(f"DIFFERENTIAL_ROUNDS must be a whole number, not {ROUNDS}", pytrace=False)
STEPS = 120  # of an episode
CLUSTERS = "with a cluster of Redis"
EDGE = re.compile(r'shop_edge_requests_total\{.*result="(\w+)"')

SETTINGS = {
    "TRUSTED_PROXIES": "1",
    "PYTHONHASHSEED": "0",  # which decides the order of the methods in Allow
    "WEB_CONCURRENCY": "1",  # so that what a worker counts alone is the same, too
    "RATE_LIMIT_CALLS": "30",
    "ADDRESS_LIMIT_CALLS": "40",  # which a client and its sessions reach together
    "RATE_LIMIT_PERIOD": str(PERIOD),
    "WRITE_LIMIT_CALLS": "4",
    "PARTNER_RATE_LIMIT_CALLS": "10",
    "PARTNER_WRITE_LIMIT_CALLS": "5",
    "UNKNOWN_KEY_LIMIT_CALLS": "3",
    "REDIS_CACHE_TTL": "86400",
    "CATEGORY_CACHE_TTL": "86400",
}

Episode = Callable[..., "Iterator[Step]"]
MakeTwins = Callable[..., Twins]
Histories = tuple[list[History], dict[str, str]]


@pytest.fixture(scope="session")
def histories(postgres: Postgres, settings: dict[str, str]) -> Iterator[Histories]:
    """Two databases, and the keys that both know."""
    one, other = (History(postgres.url, name, settings) for name in ("with_edge", "without_edge"))
    keys = one.make_keys()
    other.copy_keys(one)
    yield [one, other], keys
    for history in (one, other):
        history.close()


@pytest.fixture
def redis_urls(
    request: pytest.FixtureRequest, own_redis: Redis, start_redis: StartRedis
) -> Iterator[list[str]]:
    """A Redis for each of two shops: two databases of one server, or two clusters."""
    if request.node.callspec.params.get("name") != CLUSTERS:
        yield [own_redis.url.replace("?db=0", f"?db={number}") for number in (1, 2)]
        return
    with a_cluster(start_redis) as one, a_cluster(start_redis) as other:
        yield [one.url, other.url]


def client_of(url: str) -> Any:
    if not url.startswith("redis+cluster:"):
        return redis.Redis.from_url(url)
    return redis.RedisCluster.from_url(url.replace("redis+cluster:", "redis:"))


@pytest.fixture
def make_twins(
    serve: Callable[..., Service],
    histories: Histories,
    redis_urls: list[str],
    own_redis: Redis,
) -> Iterator[MakeTwins]:
    """Serve two shops that differ only by the edge, each with a Redis of its own."""
    made: list[Twins] = []

    def twin(history: History, url: str, **changes: str) -> Twin:
        service = serve(DATABASE_URL=history.url, REDIS_URL=url, REDIS_TIMEOUT=PATIENCE, **changes)
        return Twin(service, history, client_of(url), url, Client(service.url))

    def make(**changes: str) -> Twins:
        (one, other), keys = histories
        settings = SETTINGS | changes
        with ThreadPoolExecutor() as pool:
            both = [
                pool.submit(twin, one, redis_urls[0], **settings, EDGE_ENABLED="true"),
                pool.submit(twin, other, redis_urls[1], **settings, EDGE_ENABLED="false"),
            ]
        twins = Twins(
            both[0].result(),
            both[1].result(),
            keys,
            proxies=int(settings["TRUSTED_PROXIES"]),
            server=own_redis,
        )
        made.append(twins)
        return twins

    yield make
    for twins in made:
        twins.close()


def usual(arrivals: Arrivals, twins: Twins) -> Iterator[Step]:
    return arrivals.steps(STEPS)


def outage(arrivals: Arrivals, twins: Twins) -> Iterator[Step]:
    """Send requests before, during and after an outage; the edge notices it first."""
    yield from arrivals.steps(STEPS // 3)
    known = arrivals.plain()
    yield from (known, known, twins.lose_redis, known)
    yield from arrivals.steps(STEPS // 3)
    yield twins.find_redis
    yield from arrivals.steps(STEPS // 3)


def everything_odd(arrivals: Arrivals, twins: Twins) -> Iterator[Step]:
    return arrivals.sweep()


# What is served, and the episodes of a round.
SERVICES: dict[str, tuple[dict[str, str], list[Episode]]] = {
    "without a proxy": (
        {"TRUSTED_PROXIES": "0", "RATE_LIMIT_CALLS": "100", "ADDRESS_LIMIT_CALLS": "90"},
        [*4 * [usual], outage],
    ),
    "behind a proxy, for pages of another origin": (
        {"TRUSTED_PROXIES": "1", "CORS_ORIGINS": "https://other.test"},
        [*6 * [usual], *2 * [outage], everything_odd],
    ),
    "behind two proxies": ({"TRUSTED_PROXIES": "2"}, 4 * [usual]),
    "with limits that refuse nothing": ({"RATE_LIMIT_MODE": "shadow"}, 3 * [usual]),
    "without limits": ({"RATE_LIMIT_ENABLED": "false"}, 3 * [usual]),
    CLUSTERS: ({}, [*10 * [usual], everything_odd]),
}


def answers_of_the_edge(twin: Twin) -> Counter[str]:
    """Return how many requests were answered by the edge, and how."""
    found: Counter[str] = Counter()
    for sample, number in twin.metrics().items():
        if match := EDGE.match(sample):
            found[match[1]] += number
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_with_the_edge_every_answer_is_the_same(make_twins: MakeTwins, name: str) -> None:
    """Any request of any caller, also while Redis is away; the edge has answered many of them."""
    settings, episodes = SERVICES[name]
    twins = make_twins(**settings)
    for number, episode in enumerate(episodes * int(ROUNDS), 1):
        found = twins.play(f"{SEED}/{name}/{number}", partial(episode, twins=twins))
        print(  # noqa: T201  (the progress of a long run)
            f"DIFFERENTIAL_SEED={SEED}, {name}: episode {number} of {len(episodes) * int(ROUNDS)}, "
            f"{twins.sent} requests, {twins.repeated} episodes again",
            flush=True,
        )
        if found:
            pytest.fail(found, pytrace=False)
    with_edge, without = map(answers_of_the_edge, twins.both)
    answered = ["hit", "not_modified"]
    if not {"RATE_LIMIT_MODE", "RATE_LIMIT_ENABLED"} & set(settings):
        answered.append("refused")
    assert sum(without.values()) == 0
    assert min(with_edge[result] for result in answered) > twins.sent / 15
    assert sum(with_edge[result] for result in answered) > twins.sent / 3


SENT = b"GET /products/1 HTTP/1.1\r\nHost: shop.test\r\n\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: gunicorn\r\n"
    b"Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 8\r\n"
    b'ETag: "0123"\r\n'
    b"X-Cache: HIT\r\n"
    b"X-RateLimit-Remaining: 9\r\n"
    b"X-RateLimit-Reset: 30\r\n"
    b'RateLimit: "default";r=9;t=30\r\n'
    b"X-Request-ID: 0123456789abcdef0123456789abcdef\r\n"
    b"\r\n"
    b'{"id":1}'
)


def planted(change: tuple[bytes, bytes], sent: bytes = SENT) -> str | None:
    """Return the difference between an answer and the same with a change."""
    assert change[0] in ANSWER
    one, other = (
        read_answer(io.BytesIO(raw), to_head=False) for raw in (ANSWER, ANSWER.replace(*change))
    )
    return difference(one, other, sent, slack=0.1)


@pytest.mark.parametrize(
    "change",
    [
        (b"200 OK", b"203 OK"),
        (b"200 OK", b"200 Ok"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"X-Cache: HIT\r\n", b""),
        (b"X-Cache: HIT\r\n", b"X-Cache: HIT\r\nX-Cache: HIT\r\n"),
        (b"X-Cache", b"x-cache"),
        (b"HIT", b"MISS"),
        (b"HIT", b"HIT "),
        (b'ETag: "0123"\r\nX-Cache: HIT\r\n', b'X-Cache: HIT\r\nETag: "0123"\r\n'),
        (b"0123456789abcdef0123456789abcdef", b"0123456789ABCDEF0123456789ABCDEF"),
        (b"0123456789abcdef0123456789abcdef", b"0123456789abcdef"),
        (b"Remaining: 9", b"Remaining: 8"),
        (b";r=9;", b";r=8;"),
        (b";t=30", b""),
        (b";t=30", b";t=32"),
        (b"Reset: 30", b"Reset: 28"),
        (b"Date: Tue, 01 Jan 2030 00:00:00 GMT", b"Date: 2030-01-01"),
        (b"Date: Tue, 01 Jan 2030 00:00:00 GMT\r\n", b""),
        (b"Server: gunicorn\r\n", b"Server: gunicorn\r\nConnection: close\r\n"),
        (b'{"id":1}', b'{"id":2}'),
        (b'{"id":1}', b'{"id":1'),
        (b"Length: 8", b"Length: 9"),
    ],
)  # fmt: skip
def test_the_comparison_finds_each_difference(change: tuple[bytes, bytes]) -> None:
    assert planted(change)


@pytest.mark.parametrize(
    "change",
    [
        (b"01 Jan 2030 00:00:00", b"02 Jan 2030 00:00:09"),
        (b"0123456789abcdef0123456789abcdef", b"f" * 32),
        (b"t=30", b"t=29"),
        (b"Reset: 30", b"Reset: 31"),
    ],
)
def test_the_comparison_ignores_differences_of_time_and_chance(change: tuple[bytes, bytes]) -> None:
    assert not planted(change)


def test_an_id_that_was_given_must_be_answered() -> None:
    given = b"0123456789abcdef0123456789abcdef"
    assert planted((given, b"f" * 32), SENT.replace(b"\r\n\r\n", b"\r\nX-Request-ID: " + given))
