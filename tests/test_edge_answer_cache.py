"""The answer cache of a worker: as fresh as Redis, with the same round trip."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from conftest import await_true
from inprocess import event_loop
from test_edge import READS, counting, open_session, paused, round_trips, stock

from shop.edge import answer_cache
from shop.edge.incoming_request import IncomingRequest
from shop.extensions import cache

if TYPE_CHECKING:
    from conftest import Make, Shop

    from shop.answers import Answer
    from shop.edge.hits import Hits

PAGE = "/products?skip=0&limit=2"


@pytest.fixture(autouse=True)
def _lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a copy serve for longer than any pause of the machine."""
    monkeypatch.setattr(answer_cache, "COPY_SECONDS", 600)
    monkeypatch.setattr("shop.edge.hits.COPY_SECONDS", 600)


@pytest.fixture
def stocked(make_shop: Make) -> Shop:
    return stock(make_shop())


def hits_of(shop: Shop) -> Hits:
    hits: Hits = shop.app.extensions["served"].edge.hits
    return hits


def copies(shop: Shop) -> int:
    return len(hits_of(shop)._answer_cache._copies)


def keys_read(redis_cli: Any) -> int:
    calls: int = redis_cli.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]
    return calls


@pytest.mark.parametrize("path", READS)
def test_a_copy_is_answered_without_reading_anything(
    stocked: Shop, redis_cli: Any, path: str
) -> None:
    before = stocked.get(path)
    assert copies(stocked) > 0
    redis_cli.config_resetstat()
    with counting(hit=3, not_modified=1):
        answers = [stocked.get(path) for _ in range(3)]
        stocked.get(path, headers={"If-None-Match": before.headers["ETag"]})
    assert (round_trips(redis_cli), keys_read(redis_cli)) == (4, 0)
    for answer in answers:
        assert (answer.data, answer.headers["X-Cache"]) == (before.data, "HIT")
    left = [int(answer.headers["X-RateLimit-Remaining"]) for answer in answers]
    assert left == [left[0], left[0] - 1, left[0] - 2]


def test_a_copy_answers_every_session(stocked: Shop, redis_cli: Any) -> None:
    session = open_session(stocked, redis_cli)
    stocked.get(PAGE)
    redis_cli.config_resetstat()
    with counting(hit=1):
        stocked.get(PAGE, headers=session)
    assert keys_read(redis_cli) == 1  # the session


def test_a_write_is_seen_by_the_next_read(stocked: Shop) -> None:
    for number in range(20):
        assert stocked.patch("/products/2", stock=number).status_code == 200
        assert [row["stock"] for row in stocked.get(PAGE).get_json()["items"]] == [3, number]
        assert stocked.get("/products/2").get_json()["stock"] == number


def test_a_suspended_name_ends_a_copy_before_the_commit(stocked: Shop) -> None:
    """A reader that finds it computes; what it has computed is not kept."""
    stocked.get(PAGE)
    with stocked.app.app_context():
        cache.backend.protocol.suspend(["products:id:2"], "a")
    for _ in range(2):
        with counting(miss=1):
            assert stocked.get(PAGE).headers["X-Cache"] == "MISS"
    with stocked.app.app_context():
        cache.backend.protocol.release(["products:id:2"], "a")
    with counting(miss=1, hit=1):
        assert [stocked.get(PAGE).headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize(
    "name", ["products:id:2", "products:list:generation", "products:list:skip:0:limit:2"]
)
def test_a_key_that_is_deleted_by_hand_ends_a_copy(
    stocked: Shop, redis_cli: Any, name: str
) -> None:
    stocked.get(PAGE)
    assert redis_cli.delete(name)
    with counting(miss=1):
        assert stocked.get(PAGE).headers["X-Cache"] == "MISS"


def test_a_flush_ends_all_copies(stocked: Shop, redis_cli: Any) -> None:
    stocked.get(PAGE)
    redis_cli.flushall()
    with counting(miss=1):
        stocked.get(PAGE)


def test_changes_of_other_keys_leave_a_copy(stocked: Shop, redis_cli: Any) -> None:
    stocked.get(PAGE)
    assert stocked.patch("/products/3", stock=9).status_code == 200
    redis_cli.config_resetstat()
    with counting(hit=1):
        stocked.get(PAGE)
    assert keys_read(redis_cli) == 0


def test_an_entry_that_changes_while_its_copy_is_read_is_read_again(
    stocked: Shop, redis_cli: Any
) -> None:
    """Its request has been charged by then, and is not charged twice."""
    left = int(stocked.get("/products/2").headers["X-RateLimit-Remaining"])
    entry = redis_cli.get("products:id:2")
    redis_cli.config_resetstat()
    redis_cli.client_pause(60_000, all=False)
    with ThreadPoolExecutor(2) as pool, counting(hit=1):
        try:
            change = pool.submit(redis_cli.set, "products:id:2", entry, keepttl=True)
            await_true(lambda: paused(redis_cli) == {"set"})
            read = pool.submit(stocked.get, "/products/2")
            await_true(lambda: paused(redis_cli) > {"set"})
        finally:
            redis_cli.client_unpause()
        assert change.result()
        answer = read.result()
    assert int(answer.headers["X-RateLimit-Remaining"]) == left - 1
    assert (round_trips(redis_cli), keys_read(redis_cli)) == (2, 1)


def together(shop: Shop, *clients: str) -> list[Answer]:
    """Ask for the page in one turn of the loop, in this order."""
    edge = shop.app.extensions["served"].edge
    path, _, query = PAGE.partition("?")

    def incoming(client: str) -> IncomingRequest:
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(b"host", b"localhost")], "server": ("localhost", 80),
            "client": (client, 50_000),
        }  # fmt: skip
        return IncomingRequest.of(scope, edge.network)

    async def ask() -> list[Answer]:
        answers: list[Answer] = await asyncio.gather(
            *(edge.answer(incoming(one), None) for one in clients)
        )
        return answers

    return asyncio.run_coroutine_threadsafe(ask(), event_loop()).result(10)


def left(answer: Answer) -> int:
    return int(dict(answer.headers)["X-RateLimit-Remaining"])


def test_requests_that_miss_one_copy_together_read_it_once(stocked: Shop, redis_cli: Any) -> None:
    whole = stocked.get(PAGE)
    hits_of(stocked)._answer_cache.clear()
    redis_cli.config_resetstat()
    stocked.get(PAGE)
    for_one = keys_read(redis_cli)
    hits_of(stocked)._answer_cache.clear()
    redis_cli.config_resetstat()
    with counting(hit=20):
        answers = together(stocked, *["127.0.0.1"] * 20)
    assert keys_read(redis_cli) == for_one
    assert {answer.body for answer in answers} == {whole.data}
    assert len({left(answer) for answer in answers}) == 20  # each is charged once


def test_requests_that_wait_for_a_read_without_a_hit_are_answered(
    stocked: Shop, redis_cli: Any
) -> None:
    whole = stocked.get(PAGE)
    redis_cli.delete("products:id:2")
    answers = together(stocked, *["127.0.0.1"] * 5)
    assert {answer.body for answer in answers} == {whole.data}
    assert len({left(answer) for answer in answers}) == 5


def test_requests_that_wait_for_a_refused_request_read_for_themselves(make_shop: Make) -> None:
    shop = stock(make_shop(RATE_LIMIT_CALLS="100"))
    shop.get(PAGE)
    while shop.get("/categories").status_code == 200:
        pass
    hits_of(shop)._answer_cache.clear()
    answers = together(shop, "127.0.0.1", "192.0.2.1", "192.0.2.2")
    assert [answer.status for answer in answers] == [429, 200, 200]


def test_no_copy_outlives_its_entry(make_shop: Make) -> None:
    shop = stock(make_shop(REDIS_CACHE_TTL="10"))
    shop.get("/products/1")
    ends = {copy.until for copy in hits_of(shop)._answer_cache._copies.values()}
    assert max(ends) <= time.monotonic() + 10


def test_no_copy_is_kept_without_invalidations_from_redis(make_shop: Make, redis_cli: Any) -> None:
    """A user who may not ask for them reads as before."""
    path = redis_cli.connection_pool.connection_kwargs["path"]
    rules = {"enabled": True, "nopass": True, "keys": ["*"], "commands": ["+@all"]}
    redis_cli.acl_setuser("untold", **rules | {"commands": ["+@all", "-client|tracking"]})
    try:
        shop = stock(make_shop(REDIS_URL=f"unix://untold:x@{path}"))
        with counting(hit=2):
            assert [shop.get(PAGE).headers["X-Cache"] for _ in range(2)] == ["HIT", "HIT"]
        assert copies(shop) == 0
    finally:
        redis_cli.acl_deluser("untold")


def test_a_lost_connection_ends_all_copies(stocked: Shop, redis_cli: Any) -> None:
    stocked.get(PAGE)
    assert copies(stocked)
    redis_cli.client_kill_filter(_type="normal", skipme=True)
    stocked.get("/livez")  # when there is another connection
    stocked.get("/categories/1")
    assert copies(stocked) <= 1


def test_a_new_epoch_of_the_database_ends_all_copies(stocked: Shop) -> None:
    stocked.get(PAGE)
    hits_of(stocked)._connection.set_origin(b"0123456789abcdef")
    assert stocked.get(PAGE).headers["X-Cache"] == "MISS"


def test_a_copy_ends_when_too_many_changes_were_received(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked.get(PAGE)
    held = hits_of(stocked)._answer_cache
    held.invalidate(
        [b"products:id:%d" % number for number in range(1000, 1000 + answer_cache.CHANGES_MAX + 1)]
    )
    assert not any(held.is_whole(copy) for copy in held._copies.values())
