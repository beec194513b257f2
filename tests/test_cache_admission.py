"""Entries with unbounded numbers of keys fill neither Redis nor a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
import redis
from conftest import await_true
from flask import request
from ports import free_cluster_port
from sqlalchemy import func, select
from test_edge import counting, round_trips

from shop.cache import protocol as protocol_module
from shop.cache.protocol import EntryState, FillResult, Protocol
from shop.config import Settings
from shop.extensions import cache, db
from shop.products.models import Product
from shop.redis import RedisConnection
from shop.responses import cached_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop, StartRedis

    from shop.cache import MemoizedOne

GENERATION, ADMISSION = "things:generation", "things:admission"
TTL = 100.0


def connect(url: str) -> Protocol:
    values = {"DATABASE_URL": "postgresql://", "REDIS_URL": url}
    return Protocol(RedisConnection(Settings.from_environment(values)), 60)


@pytest.fixture(scope="module")
def port(start_redis: StartRedis) -> int:
    return start_redis()


@pytest.fixture
def client(port: int) -> Iterator[Any]:
    with redis.Redis(port=port) as client:
        client.flushall()
        yield client


@pytest.fixture
def protocol(port: int, client: Any) -> Protocol:
    return connect(f"redis://127.0.0.1:{port}")


def ask(protocol: Protocol, number: object) -> EntryState | FillResult:
    """Read and fill an entry as a reader does, and return the result."""
    key = f"things:{number}"
    [entry] = protocol.read([GENERATION], [key])
    if entry.state is not EntryState.LEASED:
        return entry.state
    return protocol.fill_if_admitted(key, entry.lease, TTL, b"1", ADMISSION)


def test_the_first_thousand_entries_are_stored_then_only_repeated_ones(
    protocol: Protocol,
) -> None:
    assert [ask(protocol, number) for number in range(1000)] == [FillResult.STORED] * 1000
    for number in (1000, 1001):
        assert ask(protocol, number) is FillResult.NOT_ADMITTED
    assert [ask(protocol, 1000) for _ in range(2)] == [FillResult.STORED, EntryState.HIT]
    assert ask(protocol, 1002) is FillResult.NOT_ADMITTED


def test_no_more_than_two_thousand_entries_are_stored_in_a_minute(
    protocol: Protocol, client: Any
) -> None:
    asked = [ask(protocol, number) for number in range(2100) for _ in range(2)]
    assert asked.count(FillResult.STORED) == 2000
    assert len(client.keys("things:[0-9]*")) == 2000
    assert client.strlen(ADMISSION) == 16_384 + 8 * 2000
    assert 0 < client.pttl(ADMISSION) <= 60_000
    client.pexpire(ADMISSION, 3_600_000)  # its clock was set back
    assert ask(protocol, 2100) is FillResult.NOT_ADMITTED
    assert 0 < client.pttl(ADMISSION) <= 60_000
    client.delete(ADMISSION)  # the minute is over
    assert [ask(protocol, number) for number in range(3000, 3100)] == [FillResult.STORED] * 100


def test_an_entry_that_is_not_admitted_leaves_nothing_in_redis(
    protocol: Protocol, client: Any
) -> None:
    for number in range(1000):
        ask(protocol, number)
    before, size = set(client.keys("*")), client.memory_usage(ADMISSION)
    for number in range(2000, 3000):
        assert ask(protocol, number) is FillResult.NOT_ADMITTED
    assert set(client.keys("*")) == before
    assert client.memory_usage(ADMISSION) == size


def test_an_admitted_entry_stays_admitted_and_counts_once(protocol: Protocol, client: Any) -> None:
    """A write that forgets it costs it nothing."""
    for number in range(100):
        ask(protocol, number)
    size = client.strlen(ADMISSION)
    protocol.suspend([GENERATION], "a")
    protocol.release([GENERATION], "a")
    assert [ask(protocol, number) for number in range(100)] == [FillResult.STORED] * 100
    assert client.strlen(ADMISSION) == size


def test_a_lost_lease_admits_nothing(protocol: Protocol, client: Any) -> None:
    [entry] = protocol.read([GENERATION], ["things:1"])
    protocol.suspend(["things:1"], "a")
    filled = protocol.fill_if_admitted("things:1", entry.lease, TTL, b"old", ADMISSION)
    assert filled is FillResult.REFUSED
    assert not client.exists(ADMISSION)


def test_an_expired_document_is_kept_when_its_refill_is_not_admitted(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    [entry] = protocol.read([GENERATION], ["things:1"])
    protocol.fill({"things:1": (entry.lease, 0, b"old")})
    monkeypatch.setattr(protocol_module, "ADMITTED_FREELY", 0)
    assert ask(protocol, 1) is FillResult.NOT_ADMITTED
    [entry] = protocol.read([GENERATION], ["things:1"])
    assert (entry.state, entry.document) == (EntryState.LEASED, b"old")


@pytest.mark.parametrize("value", ["", "x", "x" * 16_390, ["a list"]])
def test_any_value_under_the_key_of_the_filter_does_no_harm(
    protocol: Protocol, client: Any, value: str | list[str]
) -> None:
    if isinstance(value, list):
        client.rpush(ADMISSION, *value)
    else:
        client.set(ADMISSION, value)
    assert ask(protocol, 1) is FillResult.STORED
    assert ask(protocol, 1) is EntryState.HIT


def test_a_cluster_admits_as_one_server_does(start_redis: StartRedis) -> None:
    port = free_cluster_port()
    start_redis("--cluster-enabled", "yes", port=port)
    with redis.Redis(port=port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await_true(lambda: client.cluster("info")["cluster_state"] == "ok")
        protocol = connect(f"redis+cluster://127.0.0.1:{port}")
        assert {ask(protocol, number) for number in range(1000)} == {FillResult.STORED}
        asked = [ask(protocol, 1000) for _ in range(3)]
        assert asked == [FillResult.NOT_ADMITTED, FillResult.STORED, EntryState.HIT]
        assert ask(protocol, 1001) is FillResult.NOT_ADMITTED
        assert not client.exists("things:1001")


# The service.


@pytest.fixture
def below(declarations: None, monkeypatch: pytest.MonkeyPatch) -> MemoizedOne[[int]]:
    """Declare a read that needs admission above 10, for the time of a test."""
    monkeypatch.setattr(protocol_module, "ADMITTED_FREELY", 0)

    @cache.memoize(
        key="tried:below:{price}",
        ttl="redis_cache_ttl",
        tables=[Product],
        needs_admission=lambda price: price > 10,
    )
    def below(price: int) -> bytes:
        found = select(func.count(Product.id)).where(Product.price < price)
        return orjson.dumps({"count": db.session.scalar(found)})

    return below


@pytest.fixture
def shop(below: MemoizedOne[[int]], make_shop: Make) -> Shop:
    shop = make_shop()

    def tried() -> Any:
        return cached_document(below(int(request.args["price"])))

    shop.app.add_url_rule("/tried", view_func=tried)
    shop.create_product()
    return shop


def outcomes(shop: Shop, price: int, times: int) -> list[str]:
    return [shop.get(f"/tried?price={price}").headers["X-Cache"] for _ in range(times)]


def test_unadmitted_read_is_answered_as_a_miss(shop: Shop, redis_cli: Any) -> None:
    assert outcomes(shop, 11, 1) == ["MISS"]
    assert not redis_cli.exists("tried:below:11")
    assert outcomes(shop, 11, 3) == ["MISS", "HIT", "HIT"]
    assert outcomes(shop, 10, 2) == ["MISS", "HIT"]  # this is not bounded
    text = 'shop_cache_not_admitted_total{function="test_cache_admission.below"} 1.0'
    assert text in shop.get("/metrics").text


def test_admission_costs_no_extra_round_trip(shop: Shop, redis_cli: Any) -> None:
    outcomes(shop, 11, 2)  # Redis knows the scripts then
    redis_cli.config_resetstat()
    assert outcomes(shop, 12, 2) == ["MISS", "MISS"]
    assert round_trips(redis_cli) == 2 * 3  # the limits, READ, FILL


def test_the_edge_learns_a_bounded_entry_from_a_hit_alone(shop: Shop) -> None:
    with counting(passed=3):
        assert outcomes(shop, 11, 3) == ["MISS", "MISS", "HIT"]
    with counting(hit=1):
        assert outcomes(shop, 11, 1) == ["HIT"]
    with counting(passed=1, hit=1):
        assert outcomes(shop, 10, 2) == ["MISS", "HIT"]


def test_commands_do_not_count_the_admission_filter_as_an_entry(shop: Shop) -> None:
    outcomes(shop, 11, 2)
    lines = shop.command("cache", "stats").output.splitlines()
    [line] = [line for line in lines if line.startswith("tried:below:*")]
    assert line.endswith(" 1 entries")
    assert "cleared all" in shop.command("cache", "clear", "all").output
    assert outcomes(shop, 11, 2) == ["MISS", "HIT"]  # what was admitted stays so
