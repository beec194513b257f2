"""Limits over several workers: bursts, the edges of windows, and outages of Redis.

What several processes count, they count alike with the edge and without it.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import records
import redis
import requests
from conftest import await_true

from shop.keys import service as keys
from shop.limits import counter, fallback
from shop.limits.window import SECOND
from shop.quotas import CLIENT, Charge, Payers, Usage
from shop.redis import redis_connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conftest import Make, MakeRelay, Relay, Service, Shop

    from dev.embedded.servers import Redis
    from shop.limits.counter import Counter as LimitCounter

WORKERS = 4
# How many credentials were looked up in the database.
MISSES = re.compile(
    r'^shop_cache_reads_total\{function="(?:keys|sessions)\.\w+",result="miss"\} (\S+)$',
    re.MULTILINE,
)
Serve = Any  # Callable[..., Service]


@pytest.fixture(params=["true", "false"], ids=["with the edge", "without it"])
def edge(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"EDGE_ENABLED": request.param}


@pytest.fixture
def serve(serve: Serve, edge: dict[str, str]) -> Serve:
    return partial(serve, **edge)


class Shot(NamedTuple):
    """A request, and when it can have been counted: between `sent` and `received`."""

    client: str
    status: int
    sent: float
    received: float


def shoot(service: Service, client: str = "127.0.0.1", path: str = "/products/1") -> Shot:
    sent = time.monotonic()
    answer = service.get(path, headers={"X-Forwarded-For": client})
    return Shot(client, answer.status_code, sent, time.monotonic())


def most_in_a_period(shots: Iterable[Shot], seconds: float) -> int:
    """Return how many requests have surely passed within one period, at the worst moment."""
    passed = [shot for shot in shots if shot.status != 429]
    return max(
        sum(first.sent <= shot.sent and shot.received < first.sent + seconds for shot in passed)
        for first in passed
    )


def passed(shots: Iterable[Shot]) -> Counter[str]:
    return Counter(shot.client for shot in shots if shot.status != 429)


def test_the_quota_of_100_passes_of_150_requests_over_four_workers(serve: Serve) -> None:
    service = serve(RATE_LIMIT_CALLS="100", WEB_CONCURRENCY=str(WORKERS))
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: service.get("/products"), range(150)))
    assert Counter(answer.status_code for answer in answers) == {200: 100, 429: 50}
    left = sorted(int(a.headers["X-RateLimit-Remaining"]) for a in answers if a.ok)
    assert left == list(range(100))


def test_hundreds_of_clients_at_once_have_each_their_quota(serve: Serve) -> None:
    service = serve(RATE_LIMIT_CALLS="5", TRUSTED_PROXIES="1", WEB_CONCURRENCY=str(WORKERS))
    clients = [f"192.0.2.{n}" for n in range(250)]
    with ThreadPoolExecutor(60) as pool:
        shots = list(pool.map(lambda client: shoot(service, client), clients * 7))
    assert passed(shots) == dict.fromkeys(clients, 5)


def test_the_sessions_of_an_address_over_four_workers_have_its_quota_together(
    serve: Serve, a_shop: Shop
) -> None:
    """No session exceeds its own quota: 10 sessions have 40 each, and all together 150."""
    service = serve(RATE_LIMIT_CALLS="40", ADDRESS_LIMIT_CALLS="150", WEB_CONCURRENCY=str(WORKERS))
    a_shop.create_product()
    sessions = [a_shop.open_session() for _ in range(10)]
    for session in sessions:
        assert service.get("/rate_limit", headers=session).ok

    def use(n: int) -> tuple[int, int]:
        one = n % 10 if n % 3 else 0  # the first session sends a third of all, besides its own
        path = ("/products/1", "/cart", "/categories")[n // 10 % 3]
        return one, service.get(path, headers=sessions[one]).status_code

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(use, range(400)))
    passed = Counter(one for one, status in answers if status == 200)
    assert {status for _, status in answers} == {200, 429}
    assert (passed.total(), passed[0]) == (150, 40)
    left = service.get("/rate_limit", headers=sessions[1]).json()["policies"]
    assert {one["policy"]: one["remaining"] for one in left}["address"] == 0


def test_random_credentials_over_four_workers_cost_no_more_lookups_than_the_quota(
    serve: Serve, a_shop: Shop
) -> None:
    service = serve(
        RATE_LIMIT_CALLS="50", UNKNOWN_KEY_LIMIT_CALLS="20", WEB_CONCURRENCY=str(WORKERS)
    )

    def guess(n: int) -> int:
        prefix = "session" if n % 2 else f"shop_{secrets.token_hex(6)}"
        headers = {"Authorization": f"Bearer {prefix}_{secrets.token_urlsafe(32)}"}
        answer = service.get("/products", headers=headers)
        status: int = answer.status_code
        return status

    with ThreadPoolExecutor(30) as pool:
        statuses = Counter(pool.map(guess, range(300)))
    assert statuses == {200: 50, 429: 250}
    misses = MISSES.findall(service.get("/metrics").text)
    assert sum(float(number) for number in misses) == 50


def test_a_request_passes_only_if_both_limits_allow_it(serve: Serve, a_shop: Shop) -> None:
    service = serve(RATE_LIMIT_CALLS="50", WRITE_LIMIT_CALLS="30", WEB_CONCURRENCY=str(WORKERS))
    with a_shop.app.app_context():
        headers = {"Authorization": f"Bearer {keys.create_key('tests', ['catalog:write'])}"}

    def use(n: int) -> int:
        body = {"name": f"Category {n}"}
        method = "POST" if n % 2 else "GET"
        answer = requests.request(
            method, service.url + "/categories", json=body, headers=headers, timeout=120
        )
        return answer.status_code

    with ThreadPoolExecutor(30) as pool:
        writes = Counter(pool.map(use, range(1, 120, 2)))
        reads = Counter(pool.map(use, range(0, 60, 2)))
    assert writes == {201: 30, 429: 30}
    assert reads == {200: 20, 429: 10}


def test_no_more_than_the_quota_passes_around_the_edge_of_a_window(serve: Serve) -> None:
    """Bursts half a period apart, each of more than the quota."""
    quota, period = 40, 2
    service = serve(
        RATE_LIMIT_CALLS=str(quota), RATE_LIMIT_PERIOD=str(period), WEB_CONCURRENCY=str(WORKERS)
    )
    shots: list[Shot] = []
    with ThreadPoolExecutor(20) as pool:
        for burst in range(7):
            started = time.monotonic()
            shots += pool.map(lambda _: shoot(service), range(60))
            if burst % 2:
                time.sleep(max(0.0, started + period / 2 - time.monotonic()))
    assert most_in_a_period(shots, period) <= quota
    assert len([shot for shot in shots if shot.status != 429]) >= 2 * quota


@pytest.fixture
def workers(
    make_shop: Make, relay: MakeRelay, own_redis: Redis, edge: dict[str, str]
) -> Iterator[Workers]:
    """Two workers that reach a Redis of their own by one way, which can be cut."""
    way = relay(own_redis.socket)
    shops = [
        make_shop(
            REDIS_URL=f"redis://127.0.0.1:{way.port}/0",
            RATE_LIMIT_CALLS="10",
            WEB_CONCURRENCY="2",
            **edge,
        )
        for _ in range(2)
    ]
    with redis.Redis(unix_socket_path=str(own_redis.socket), decode_responses=True) as client:
        yield Workers(way, shops, client)


def counter_of(shop: Shop) -> LimitCounter:
    found: LimitCounter = shop.app.extensions["shop.limits"].counter
    return found


class Workers(NamedTuple):
    way: Relay
    shops: list[Shop]
    redis: Any

    def get(self, worker: int) -> int:
        return self.shops[worker].get("/products").status_code

    def until_429(self, worker: int) -> int:
        """Send requests until one is refused, and return how many passed."""
        return next(n for n in range(99) if self.get(worker) == 429)

    def used(self) -> str:
        used = records.used(self.redis.get("rate_limit:127.0.0.1"))
        return used.get("default", "0/10")

    def await_shared(self) -> None:
        """Wait until Redis, which is back, counts for both."""
        await_true(lambda: not any(counter_of(shop).in_fallback for shop in self.shops))

    def cut(self) -> None:
        """Cut the way, and wait until the event loops know: they notice it without a request."""
        self.way.close()
        served = [shop.app for shop in self.shops if "served" in shop.app.extensions]
        loops = [app for app in served if app.config["SETTINGS"].edge_enabled]
        await_true(lambda: not any(redis_connection(app).available for app in loops))

    def mend(self) -> None:
        """Open the way again, and wait until both reach Redis, which counts for both."""
        self.way.open()
        reached = [redis_connection(shop.app) for shop in self.shops]
        await_true(lambda: all(one.available and one.is_ready for one in reached))
        self.await_shared()


def test_a_client_does_not_get_its_quota_again_when_redis_goes(workers: Workers) -> None:
    assert [workers.get(n % 2) for n in range(6)] == [200] * 6
    workers.cut()
    assert [workers.until_429(0), workers.until_429(1)] == [2, 2]


def test_a_client_does_not_get_its_quota_again_when_redis_returns(workers: Workers) -> None:
    workers.cut()
    assert [workers.until_429(0), workers.until_429(1)] == [5, 5]
    workers.mend()
    await_true(lambda: workers.used() == "10/10", "both workers have paid")
    assert [workers.get(0), workers.get(1)] == [429, 429]
    assert workers.used() == "10/10"


def test_counts_before_and_during_an_outage_add_up(workers: Workers) -> None:
    assert workers.get(0) == 200
    workers.cut()
    assert [workers.get(0), workers.get(1), workers.get(1)] == [200] * 3
    workers.mend()
    await_true(lambda: workers.used() == "4/10")
    assert workers.shops[0].get("/products").headers["X-RateLimit-Remaining"] == "5"
    workers.cut()  # and what was paid is not paid again
    workers.mend()
    assert workers.shops[1].get("/products").headers["X-RateLimit-Remaining"] == "4"


def test_the_first_worker_that_finds_redis_waits_for_the_others(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker may have counted a client that this one has not seen."""
    monkeypatch.setattr(counter, "PROBE_SECONDS", 3)
    workers.cut()
    assert [workers.get(0), workers.until_429(1)] == [200, 5]
    workers.way.open()
    await_true(lambda: workers.used() == "6/10", "both have paid")
    assert [counter_of(shop).in_fallback for shop in workers.shops] == [True, True]
    assert [workers.get(1), workers.get(0)] == [429, 200]
    answer = workers.shops[0].get("/products", environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.headers["X-RateLimit-Limit"] == "5"
    workers.await_shared()
    await_true(lambda: workers.used() == "7/10", "what was allowed while it waited is paid")
    assert [workers.get(1) for _ in range(4)] == [200, 200, 200, 429]


def test_counts_that_redis_refuses_stay_owed(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    workers.cut()
    assert [workers.get(0) for _ in range(3)] == [200] * 3
    workers.redis.config_set("maxmemory-policy", "noeviction")
    workers.redis.config_set("maxmemory", "1")
    workers.way.open()
    await_true(lambda: redis_connection(workers.shops[0].app).available)
    assert [workers.get(0) for _ in range(4)] == [200, 200, 429, 429]
    await_true(lambda: "Redis was not told what 127.0.0.1 has used: " in caplog.text)
    workers.redis.config_set("maxmemory", "0")
    await_true(lambda: not counter_of(workers.shops[0]).in_fallback)
    assert workers.used() == "5/10"
    assert workers.shops[0].get("/products").headers["X-RateLimit-Remaining"] == "4"


def test_no_policy_is_forgotten_for_another(workers: Workers) -> None:
    """A read after writes and guesses, and an outage after that."""
    other = {"REMOTE_ADDR": "192.0.2.1"}
    wrong = {"Authorization": "Bearer wrong"}

    def use() -> list[int]:
        shop = workers.shops[0]
        shop.key = None
        write = shop.request("POST", "/products", environ_base=other).status_code
        guess = shop.get("/products", headers=wrong, environ_base=other).status_code
        assert shop.get("/products", environ_base=other).status_code == 200
        return [write, guess]

    for shop in workers.shops:
        shop.app.config["SETTINGS"] = dataclasses.replace(
            shop.app.config["SETTINGS"],
            rate_limit_calls=1000,
            write_limit_calls=2,
            unknown_key_limit_calls=2,
        )
    assert [use() for _ in range(3)] == [[401, 200], [401, 200], [429, 429]]
    for _ in range(2):
        workers.cut()
        assert use() == [429, 429]
        workers.mend()
        assert use() == [429, 429]


def test_the_clocks_of_hosts_do_not_matter(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [workers.get(0) for _ in range(6)] == [200] * 6
    ahead = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: ahead)
    monkeypatch.setattr(time, "time_ns", lambda: int(ahead * 1e9))
    assert workers.until_429(1) == 4


def test_a_redis_that_is_killed_and_returns_in_a_burst_costs_no_answer(
    serve: Serve, own_redis: Redis
) -> None:
    """Its data are lost, so that a client has at most its quota thrice: before, alone, after."""
    service = serve(
        REDIS_URL=own_redis.url,
        RATE_LIMIT_CALLS="20",
        TRUSTED_PROXIES="1",
        WEB_CONCURRENCY=str(WORKERS),
    )
    clients = [f"192.0.2.{n}" for n in range(8)]
    shots: dict[str, list[Shot]] = defaultdict(list)
    over = threading.Event()

    def use(client: str) -> None:
        while not over.is_set():
            shots[client].append(shoot(service, client, "/categories"))

    def wait_for_more() -> None:
        seen = {client: len(shots[client]) for client in clients}
        await_true(lambda: all(len(shots[client]) > seen[client] + 30 for client in clients))

    threads = [threading.Thread(target=use, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        wait_for_more()
        own_redis.stop()
        wait_for_more()
        own_redis.start()
        with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
            await_true(lambda: len(client.keys("rate_limit:*")) == len(clients), "counts again")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert {shot.status for some in shots.values() for shot in some} == {200, 429}
    for client in clients:
        assert 20 <= passed(shots[client])[client] <= 60


@pytest.mark.parametrize("denied", ["maxmemory", "readonly", "off", "gone"])
def test_without_counts_in_redis_threads_of_a_worker_count_together(
    make_shop: Make, own_redis: Redis, denied: str
) -> None:
    """Redis refuses to count, is switched off, or is not there."""
    url = "redis://127.0.0.1:1/0" if denied == "gone" else own_redis.url
    shop = make_shop(
        REDIS_URL=url,
        REDIS_ENABLED="false" if denied == "off" else "true",
        RATE_LIMIT_CALLS="40",
        WEB_CONCURRENCY="2",
    )
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        if denied == "maxmemory":
            client.config_set("maxmemory-policy", "noeviction")
            client.config_set("maxmemory", "1")
        if denied == "readonly":
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        with ThreadPoolExecutor(8) as pool:
            statuses = Counter(
                pool.map(lambda _: shop.app.test_client().get("/nothing").status_code, range(300))
            )
        client.config_set("maxmemory", "0")
    assert statuses == {404: 20, 429: 280}


def test_a_redis_that_comes_and_goes_gives_no_new_share(workers: Workers) -> None:
    passed = 0
    for _ in range(4):
        workers.cut()
        passed += workers.until_429(0)
        workers.mend()
        await_true(lambda: workers.used() == "5/10")
    assert passed == 5


def test_a_foreign_value_under_the_key_of_a_record_is_replaced(
    make_shop: Make, relay: MakeRelay, own_redis: Redis
) -> None:
    way = relay(own_redis.socket)
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}/0", TRUSTED_PROXIES="1")
    way.close()
    clients = [f"192.0.2.{n}" for n in range(3)]
    for client in clients:
        shop.get("/products", headers={"X-Forwarded-For": client})
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as server:
        server.rpush(f"rate_limit:{clients[0]}", "x")
        way.open()
        await_true(lambda: not counter_of(shop).in_fallback)
        assert [server.type(f"rate_limit:{client}") for client in clients] == [b"string"] * 3


def test_a_payment_whose_answer_is_lost_is_made_once(workers: Workers) -> None:
    workers.cut()
    assert workers.get(0) == 200
    fallback = counter_of(workers.shops[0])._fallback
    payment = fallback.payment("127.0.0.1")
    workers.mend()
    assert workers.used() == "1/10"
    workers.cut()
    assert workers.get(0) == 200
    fallback._clients["127.0.0.1"].payment = payment  # as if it had not heard
    workers.mend()
    assert workers.used() == "2/10"


def test_a_repaid_charge_keeps_its_time(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    workers.cut()
    assert workers.get(0) == 200
    for debt in counter_of(workers.shops[0])._fallback._clients["127.0.0.1"].debts.values():
        moment, cost = debt.window.entries.pop()
        debt.window.entries.append((moment - 40 * SECOND, cost))
    workers.mend()
    assert 10 < workers.redis.pttl("rate_limit:127.0.0.1") / 1000 <= 20.6


def test_debts_of_a_day_are_paid_in_a_hundred_entries(workers: Workers) -> None:
    limits = counter_of(workers.shops[0])
    charge = Charge("default", 1_000_000, 60, 1, CLIENT)
    for _ in range(50_000):
        limits._fallback.decide(Payers("x", "x"), [charge])
    assert limits._pay()
    stored = workers.redis.get("rate_limit:x")
    assert records.used(stored) == {"default": "50000/1000000"}
    assert len(stored) < 4000


def test_the_fallback_of_a_worker_is_bounded_and_keeps_the_latest_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fallback, "CLIENTS_MAX", 2)
    counted = fallback.Fallback(1)
    charge = [Charge("default", 5, 60, 1, CLIENT)]
    for client in ("a", "b", "a", "c"):
        counted.decide(Payers(client, client), charge)
    assert counted.debtors() == ["c", "a"]
    assert [counted.decide(Payers(client, client), charge)[0].used for client in ("a", "b")] == [
        3,
        1,
    ]


def test_the_fallback_uses_the_last_known_usage_for_one_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = fallback.Fallback(4)
    charge = Charge("default", 100, 60, 1, CLIENT)
    a = Payers("a", "a")
    monkeypatch.setattr(fallback, "_now", lambda: 0)
    seen = Usage("default", 100, 60, used=90, reset=1, cost=1, passes=True, wait=0)
    counted.remember(a, [charge], [seen])
    for second, used in ((59, 24), (60, 2), (119, 2)):
        monkeypatch.setattr(fallback, "_now", lambda: second * SECOND)  # noqa: B023
        assert counted.decide(a, [charge])[0].used == used


def test_a_worker_owes_the_whole_cost_of_a_request() -> None:
    counted = fallback.Fallback(4)
    assert counted.decide(Payers("a", "a"), [Charge("default", 8, 60, 5, CLIENT)])[0].used == 2
    payment = counted.payment("a")
    assert payment
    assert payment.debts["default"].window.used == 5


def test_nothing_is_owed_when_redis_is_switched_off(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.get("/products")
    assert counter_of(shop)._fallback.debtors() == []
