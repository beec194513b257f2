"""The edge on a Redis Cluster of three masters: what it answers, and what it leaves to Flask."""

from __future__ import annotations

import os
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import records
from clustered import Cluster, a_cluster
from conftest import await_true
from sqlalchemy import text
from test_edge import counting

from shop.extensions import cache, db
from shop.limits.records import key as record_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Service, Shop, StartRedis
    from werkzeug.test import TestResponse

READS = [
    "/products/3",
    "/products",
    "/products?skip=2&limit=4",
    "/categories/1",
    "/categories",
    "/categories?include=counts",
    "/products?sort=-price&total=true&facets=price",
    "/products?id=3,1&sku=RAKE-4,RAKE-9&include=category",
    "/products?max_price=14&limit=2",
    "/search/suggest?q=ra",
]
ADDRESS = record_key("127.0.0.1")
COUNTED = ("X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit", "Retry-After")
ASKED = {"X-Request-ID": "one"}


@pytest.fixture(scope="module")
def masters(start_redis: StartRedis) -> Iterator[Cluster]:
    """Three masters that tests share: no test ends them, and each leaves them as they were."""
    with a_cluster(start_redis) as made:
        yield made


@pytest.fixture
def cluster(masters: Cluster) -> Cluster:
    masters.flush()
    return masters


@pytest.fixture
def own_cluster(start_redis: StartRedis) -> Iterator[Cluster]:
    """Three masters to hang, to kill, and to move names between."""
    with a_cluster(start_redis) as made:
        yield made


def open_shop(make_shop: Make, cluster: Cluster, **changes: str) -> Shop:
    """A shop with ten products on a cluster that answers, however busy the machine."""
    settings = {"REDIS_URL": cluster.url, "REDIS_TIMEOUT": "60000"}
    shop = make_shop(**settings | changes)
    for number in range(10):
        shop.create_product(name=f"Rake {number}", price=10 + number, sku=f"RAKE-{number}")
    return shop


@pytest.fixture
def shop(make_shop: Make, cluster: Cluster) -> Shop:
    return open_shop(make_shop, cluster)


def learn(shop: Shop, path: str, **options: Any) -> TestResponse:
    """Read until the edge has answered: it has to connect to all nodes, and to learn the path."""
    for _ in range(6):
        answer = shop.get(path, **options)
        assert answer.status_code == 200
    with counting(hit=1):
        return shop.get(path, **options)


def told(answer: TestResponse) -> Any:
    """Return what an answer says, but for what is left of a quota."""
    headers = [(name, value) for name, value in answer.headers if name not in COUNTED]
    return answer.status_code, headers, answer.data


@pytest.mark.parametrize("path", READS)
def test_a_cached_read_is_answered_on_the_loop_as_flask_does(
    shop: Shop, make_shop: Make, cluster: Cluster, path: str
) -> None:
    flask = make_shop(REDIS_URL=cluster.url, REDIS_TIMEOUT="60000", EDGE_ENABLED="false")
    answer = learn(shop, path)
    etag = answer.headers["ETag"]
    for more in ({}, {"If-None-Match": etag}, {"If-None-Match": '"other"'}):
        before = answer
        expected = flask.get(path, headers=ASKED | more)
        with counting(**{"not_modified" if expected.status_code == 304 else "hit": 1}):
            answer = shop.get(path, headers=ASKED | more)
        assert told(answer) == told(expected)
        left = [int(one.headers["X-RateLimit-Remaining"]) for one in (before, expected, answer)]
        assert left[0] - left[1] == left[1] - left[2] > 0
    assert expected.headers["X-Cache"] == "HIT"


def test_a_request_without_quota_is_refused_on_the_loop_as_flask_does(
    make_shop: Make, cluster: Cluster
) -> None:
    shop = open_shop(make_shop, cluster, RATE_LIMIT_CALLS="9")
    flask = make_shop(
        REDIS_URL=cluster.url,
        REDIS_TIMEOUT="60000",
        RATE_LIMIT_CALLS="9",
        EDGE_ENABLED="false",
    )
    learn(shop, "/products")
    for path in ("/products", "/products"):
        while (expected := flask.get(path, headers=ASKED)).status_code == 200:
            pass
        with counting(refused=1):
            answer = shop.get(path, headers=ASKED)
        assert answer.status_code == 429
        assert told(answer) == told(expected)


def test_a_page_is_read_from_all_nodes_in_two_steps(shop: Shop, cluster: Cluster) -> None:
    """The first step has limits, entry and all generations; the second has the rows."""
    learn(shop, "/products")
    scripts, names, asked = (cluster.calls(one) for one in ("eval", "mget", "time"))
    with counting(hit=1):
        shop.get("/products")
    assert cluster.calls("eval") - scripts == 1  # the limits, which ask for the time
    assert cluster.calls("mget") - names == 3 + 10
    assert 2 <= cluster.calls("time") - asked - 1 <= 2 * 3


def test_a_quota_is_exact_for_requests_that_come_together(
    make_shop: Make, cluster: Cluster
) -> None:
    quota = 40
    shop = open_shop(make_shop, cluster, RATE_LIMIT_CALLS=str(quota))
    learn(shop, "/products/3")
    learn_page = shop.get("/products")
    left = int(learn_page.headers["X-RateLimit-Remaining"])
    with ThreadPoolExecutor(16) as pool:
        paths = ["/products/3", "/products"] * 40
        statuses = [one.status_code for one in pool.map(shop.get, paths)]
    assert statuses.count(200) == left
    assert statuses.count(429) == len(paths) - left


def test_a_write_is_seen_by_the_next_read(shop: Shop) -> None:
    for path in READS[:3]:
        learn(shop, path)
    for number in range(20):
        assert shop.patch("/products/3", stock=number).status_code == 200
        assert shop.get("/products/3").get_json()["stock"] == number
        for path, at in (("/products", 2), ("/products?skip=2&limit=4", 0)):
            for _ in range(2):
                assert shop.get(path).get_json()["items"][at]["stock"] == number
    with counting(hit=3):
        for path in READS[:3]:
            shop.get(path)


def test_no_read_is_older_than_what_was_acknowledged_before_it(
    serve: Callable[..., Service], cluster: Cluster
) -> None:
    """Two workers write and read a product all the time."""
    service = serve(REDIS_URL=cluster.url, REDIS_TIMEOUT="60000")
    service.write("POST", "/categories", name="Garden")
    product = {"name": "Rake", "price": "1.00", "stock": 0, "category_id": 1}
    assert service.write("POST", "/products", **product).status_code == 201
    acknowledged, is_over = 0, threading.Event()

    def read() -> int:
        reads = 0
        while not is_over.is_set():
            for path in ("/products/1", "/products"):
                least = acknowledged
                found = service.get(path).json()
                assert found.get("items", [found])[0]["stock"] >= least
                reads += 1
        return reads

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        try:
            for number in range(1, 101):
                assert service.write("PATCH", "/products/1", stock=number).status_code == 200
                acknowledged = number
        finally:
            is_over.set()
        assert all(reader.result() > 0 for reader in readers)
    hits = re.search(r'shop_edge_requests_total{result="hit"} (\S+)', service.get("/metrics").text)
    assert hits
    assert float(hits[1]) > 0


@pytest.mark.parametrize("name", ["products:list:generation", "products:id:generation"])
def test_a_suspended_generation_ends_hits(shop: Shop, name: str) -> None:
    learn(shop, "/products")
    with shop.app.app_context():
        cache.backend.protocol.suspend([name], "a")
    for _ in range(2):
        with counting(miss=1):
            assert shop.get("/products").headers["X-Cache"] == "MISS"
    with shop.app.app_context():
        cache.backend.protocol.release([name], "a")
    with counting(miss=1, hit=1):
        assert [shop.get("/products").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize(
    "name", ["products:list:generation", "products:id:generation", "products:id:3"]
)
def test_an_entry_of_an_earlier_epoch_of_a_node_is_no_hit(
    shop: Shop, cluster: Cluster, name: str
) -> None:
    """A generation that comes back with older data comes back in a new life of its node."""
    learn(shop, "/products")
    cluster.renew_life(cluster.holder(name))
    with counting(miss=1):
        assert shop.get("/products").headers["X-Cache"] == "MISS"
    with counting(hit=1):
        assert shop.get("/products").headers["X-Cache"] == "HIT"


def session_of(shop: Shop, cluster: Cluster, place: int) -> tuple[dict[str, str], str]:
    """Open sessions until one has its record on this master; return it, and the record's name."""
    while True:
        session = shop.open_session()
        name = record_key(shop.get("/rate_limit", headers=session).get_json()["client"])
        if cluster.holder(name) == place:
            learn(shop, "/products", headers=session)
            return session, name


def used(cluster: Cluster, name: str, policy: str) -> int:
    with cluster.client(cluster.holder(name)) as client:
        found = records.used((client.get(name) or b"").decode())
    return int(found.get(policy, "0/").partition("/")[0])


@pytest.mark.parametrize("place", range(3))
def test_a_session_reads_on_the_loop_as_in_flask(
    shop: Shop, make_shop: Make, cluster: Cluster, place: int
) -> None:
    """Its own record, on each of the masters, and that of its address, on one, are charged."""
    flask = make_shop(REDIS_URL=cluster.url, REDIS_TIMEOUT="60000", EDGE_ENABLED="false")
    session, name = session_of(shop, cluster, place)
    for path in READS[:4]:
        learn(shop, path, headers=session)
        expected = told(flask.get(path, headers=ASKED | session))
        before = used(cluster, name, "default"), used(cluster, ADDRESS, "address")
        with counting(hit=1):
            answer = shop.get(path, headers=ASKED | session)
        assert told(answer) == expected
        assert used(cluster, name, "default") == before[0] + 1
        assert used(cluster, ADDRESS, "address") == before[1] + 1
        assert int(answer.headers["X-RateLimit-Remaining"]) == 100_000 - before[0] - 1


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize(
    ("refusing", "quotas"), [("default", ("30", "1000")), ("address", ("1000", "300"))]
)
def test_a_session_without_quota_is_refused_on_the_loop_and_charges_nothing(
    make_shop: Make, cluster: Cluster, place: int, refusing: str, quotas: tuple[str, str]
) -> None:
    shop = open_shop(make_shop, cluster, RATE_LIMIT_CALLS=quotas[0], ADDRESS_LIMIT_CALLS=quotas[1])
    session, name = session_of(shop, cluster, place)
    while shop.get("/products", headers=session).status_code == 200:
        pass
    before = used(cluster, name, "default"), used(cluster, ADDRESS, "address")
    with counting(refused=1):
        answer = shop.get("/products", headers=session)
    assert answer.status_code == 429
    assert answer.get_json()["violated-policies"] == [refusing]
    assert (used(cluster, name, "default"), used(cluster, ADDRESS, "address")) == before


@pytest.mark.parametrize("place", range(3))
def test_quotas_are_exact_for_sessions_of_one_address_that_come_together(
    make_shop: Make, cluster: Cluster, place: int
) -> None:
    """No request passes beyond a quota, and a refused one is charged to no client."""
    shop = open_shop(make_shop, cluster, RATE_LIMIT_CALLS="60", ADDRESS_LIMIT_CALLS="300")
    sessions = [session_of(shop, cluster, place), session_of(shop, cluster, (place + 1) % 3)]
    left = [60 - used(cluster, name, "default") for _, name in sessions]
    learn(shop, "/products/3")
    spent = used(cluster, ADDRESS, "address")
    requests = [session for session, _ in sessions for _ in range(70)]
    with ThreadPoolExecutor(16) as pool:
        found = pool.map(lambda session: shop.get("/products/3", headers=session), requests)
        statuses = [one.status_code for one in found]
    assert [statuses[:70].count(200), statuses[70:].count(200)] == left
    assert statuses.count(429) == 140 - sum(left)
    assert used(cluster, ADDRESS, "address") == spent + sum(left)
    assert [used(cluster, name, "default") for _, name in sessions] == [60, 60]


@pytest.mark.parametrize(
    "end",
    ["DELETE FROM sessions", "UPDATE sessions SET expires_at = now() + interval '1 hour'"],
    ids=["that has ended", "that is to be renewed"],
)
def test_a_session_near_or_past_its_end_is_passed_to_flask(
    shop: Shop, cluster: Cluster, end: str
) -> None:
    session, name = session_of(shop, cluster, 0)
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text(end))
    cluster.flush()
    learn(shop, "/products")
    before = used(cluster, ADDRESS, "address")
    with counting(passed=1):
        assert shop.get("/products", headers=session).status_code == 200
    assert used(cluster, ADDRESS, "address") == before + 1
    assert used(cluster, name, "default") == int("1 hour" in end)


def lost_and_kept(cluster: Cluster, shop: Shop) -> tuple[int, list[str], list[str]]:
    """Return a master without names that all reads need, and products that are on it or not."""
    needed = {cluster.holder(name) for name in ("products:id:generation", "shop:owner")}
    needed.add(cluster.holder(ADDRESS))
    [lost] = {0, 1, 2} - needed
    paths: dict[bool, list[str]] = {True: [], False: []}
    for one in range(1, 11):
        paths[cluster.holder(f"products:id:{one}") == lost].append(f"/products/{one}")
    assert paths[True]
    return lost, paths[True], paths[False]


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_lost_node_affects_only_its_own_keys_and_is_charged_once(
    make_shop: Make, own_cluster: Cluster, how: signal.Signals
) -> None:
    shop = open_shop(make_shop, own_cluster, REDIS_TIMEOUT="500")
    lost, away, there = lost_and_kept(own_cluster, shop)
    for path in (*away, *there):
        learn(shop, path)
    left = int(shop.get(there[0]).headers["X-RateLimit-Remaining"])
    os.kill(own_cluster.process(lost), how)
    for _ in range(3):
        for path in away:
            with counting(miss=1):
                answer = shop.get(path)
            assert answer.headers["X-Cache"] == "BYPASS"
            left -= 1
            assert int(answer.headers["X-RateLimit-Remaining"]) == left
        for path in there:
            with counting(hit=1):
                assert shop.get(path).headers["X-Cache"] == "HIT"
            left -= 1


def test_a_node_that_is_back_is_used_again(make_shop: Make, own_cluster: Cluster) -> None:
    shop = open_shop(make_shop, own_cluster, REDIS_TIMEOUT="500")
    lost, away, _ = lost_and_kept(own_cluster, shop)
    learn(shop, away[0])
    process = own_cluster.process(lost)
    os.kill(process, signal.SIGSTOP)
    assert shop.get(away[0]).headers["X-Cache"] == "BYPASS"
    os.kill(process, signal.SIGCONT)
    await_true(lambda: shop.get(away[0]).headers["X-Cache"] == "HIT")
    learn(shop, away[0])


@pytest.mark.parametrize("name", ["products:id:3", "products:id:generation", ADDRESS])
def test_a_key_in_a_moved_slot_is_found_again_and_charged_once(
    make_shop: Make, own_cluster: Cluster, name: str
) -> None:
    """The request that meets it goes into a thread, which follows the name."""
    shop = open_shop(make_shop, own_cluster)
    left = int(learn(shop, "/products/3").headers["X-RateLimit-Remaining"])
    own_cluster.move(name, (own_cluster.holder(name) + 1) % 3)
    for number in range(4):
        answer = shop.get("/products/3")
        assert answer.get_json()["id"] == 3
        left -= 1
        assert int(answer.headers["X-RateLimit-Remaining"]) == left, number
    learn(shop, "/products/3")
    assert shop.patch("/products/3", stock=77).status_code == 200
    assert [shop.get("/products/3").get_json()["stock"] for _ in range(3)] == [77, 77, 77]


@pytest.mark.parametrize("moved", ["own", "address"])
def test_a_session_whose_record_moves_is_charged_once(
    make_shop: Make, own_cluster: Cluster, moved: str
) -> None:
    """The charge of its own record is repaid before Flask decides anew."""
    shop = open_shop(make_shop, own_cluster)
    place = own_cluster.holder(ADDRESS)
    session, name = session_of(shop, own_cluster, (place + 1) % 3)
    before = used(own_cluster, name, "default")
    to = (place + 2) % 3
    own_cluster.move(name if moved == "own" else ADDRESS, to)
    with counting(passed=1):
        answer = shop.get("/products", headers=session)
    left = int(answer.headers["X-RateLimit-Remaining"])
    assert left == 100_000 - before - 1


@pytest.mark.parametrize("edge", ["true", "false"])
def test_a_session_whose_address_is_on_a_lost_node_pays_once(
    make_shop: Make, own_cluster: Cluster, edge: str
) -> None:
    """The charge of its own record is repaid before the worker decides alone."""
    shop = open_shop(make_shop, own_cluster, REDIS_TIMEOUT="2000")
    place = own_cluster.holder(ADDRESS)
    session, name = session_of(shop, own_cluster, (place + 1) % 3)
    if edge == "false":
        shop = make_shop(REDIS_URL=own_cluster.url, REDIS_TIMEOUT="2000", EDGE_ENABLED="false")
        shop.get("/products", headers=session)
    before = used(own_cluster, name, "default")
    process = own_cluster.process(place)
    os.kill(process, signal.SIGSTOP)
    assert shop.get("/products", headers=session).status_code == 200
    assert used(own_cluster, name, "default") == before
    os.kill(process, signal.SIGCONT)
    counter = shop.app.extensions["shop.limits"].counter
    await_true(lambda: not counter.in_fallback)
    assert used(own_cluster, name, "default") == before + 1


def test_a_client_of_a_lost_node_is_counted_by_the_worker(
    make_shop: Make, own_cluster: Cluster
) -> None:
    """The loop still answers it, and the node is told when it is back."""
    shop = open_shop(make_shop, own_cluster, REDIS_TIMEOUT="500", RATE_LIMIT_CALLS="1000")
    lost, _, there = lost_and_kept(own_cluster, shop)
    learn(shop, there[0])
    addresses = (f"10.0.0.{number}" for number in range(1, 255))
    client = next(one for one in addresses if own_cluster.holder(record_key(one)) == lost)
    sender = {"REMOTE_ADDR": client}
    process = own_cluster.process(lost)
    os.kill(process, signal.SIGSTOP)
    with counting(passed=1, hit=5):
        answers = [shop.get(there[0], environ_overrides=sender) for _ in range(6)]
    left = [int(one.headers["X-RateLimit-Remaining"]) for one in answers]
    assert left == [499, 498, 497, 496, 495, 494]  # of the share of one of two workers
    os.kill(process, signal.SIGCONT)
    counter = shop.app.extensions["shop.limits"].counter
    await_true(lambda: not counter.in_fallback)
    shop.get(there[0], environ_overrides=sender)  # which lets the loop connect
    with counting(hit=1):
        answer = shop.get(there[0], environ_overrides=sender)
    assert answer.headers["X-RateLimit-Remaining"] == "992"
