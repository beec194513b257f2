"""A failover of PostgreSQL that lost commits: what the cache has of them goes with them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from conftest import Relay, Shop, await_true
from replication import Replicated

from shop.cache.installation import SELECT_LIFE
from shop.extensions import cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, Service
    from replication import Primary, Standby

LISTS = ("/products?sort=-price", "/products?max_price=500", "/products", "/products?q=rake")


@pytest.fixture
def way(replicated: Replicated) -> Iterator[Relay]:
    """A relay to the current primary, as a proxy is."""
    relay = Relay(replicated.primary.socket)
    yield relay
    relay.close()


@pytest.fixture
def shop(make_shop: Make, way: Relay) -> Shop:
    return make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")


def fail_over(replicated: Replicated, way: Relay) -> None:
    """Let the standby, which lacks what it has not received, be the primary."""
    replicated.primary.kill()
    way.close()
    replicated.standby.promote()
    way.target = replicated.standby.socket
    way.open()


def look(shop: Shop) -> None:
    with shop.app.app_context():
        cache.backend.watcher.check()


def test_rows_that_a_new_primary_lost_are_in_no_answer(
    shop: Shop, replicated: Replicated, way: Relay
) -> None:
    shop.create_product(name="Rake", price=36)
    session = shop.open_session()
    replicated.standby.catch_up()
    replicated.standby.stop_receiving()
    shop.patch("/products/1", price=777)
    shop.create_product(name="Lost rake", price=5)
    lost = shop.open_session()
    for _ in range(2):
        for path in LISTS:
            shop.get(path)
        assert shop.get("/products/1").get_json()["price"] == "777.00"
        assert shop.get("/products/2").status_code == HTTPStatus.OK
        assert shop.get("/cart", headers=lost).status_code == HTTPStatus.OK
        assert shop.get("/cart", headers=session).status_code == HTTPStatus.OK
    fail_over(replicated, way)
    look(shop)
    assert shop.get("/products/1").get_json()["price"] == "36.00"
    assert shop.get("/products/2").status_code == HTTPStatus.NOT_FOUND
    assert shop.get("/cart", headers=lost).status_code == HTTPStatus.UNAUTHORIZED
    assert shop.get("/cart", headers=session).status_code == HTTPStatus.OK
    for path in LISTS:
        assert [row["price"] for row in shop.get(path).get_json()["items"]] == ["36.00"], path
    assert shop.get("/products/1").headers["X-Cache"] == "HIT"


def test_rows_of_a_lost_primary_are_not_in_answers_of_the_next_one(
    shop: Shop, replicated: Replicated, second_standby: Standby, way: Relay
) -> None:
    """Two standbys that are promoted one after the other get the same timeline."""
    shop.create_product(price=36)
    for standby in (replicated.standby, second_standby):
        standby.catch_up()
    fail_over(replicated, way)
    shop.patch("/products/1", price=777)
    for _ in range(2):
        assert shop.get("/products/1").get_json()["price"] == "777.00"
    fail_over(Replicated(replicated.standby, second_standby), way)
    timeline = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
    assert second_standby.ask(timeline) == "00000002"
    look(shop)
    assert shop.get("/products/1").get_json()["price"] == "36.00"


@pytest.mark.parametrize("end", ["a crash", "a restart"])
def test_a_crashed_or_restarted_server_begins_a_new_epoch(
    shop: Shop, replicated: Replicated, end: str
) -> None:
    """PostgreSQL recovers after a crash of one process: commits that were not flushed are lost."""
    shop.create_product(price=36)
    primary = replicated.primary
    primary.ask("CHECKPOINT")
    shop.patch("/products/1", price=777)
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    if end == "a restart":
        primary.stop()
        primary.start()
    else:
        primary.crash()
        await_true(lambda: answers(primary))
    look(shop)
    answer = shop.get("/products/1")
    assert answer.headers["X-Cache"] == "MISS"
    assert answer.get_json()["price"] == str(primary.ask("SELECT price FROM products"))
    assert shop.get("/products/1").headers["X-Cache"] == "HIT"


def answers(server: Primary) -> bool:
    try:
        return bool(server.ask("SELECT NOT pg_is_in_recovery()"))
    except psycopg2.OperationalError:
        return False


def test_the_epoch_is_the_same_in_each_database_session(replicated: Replicated) -> None:
    with replicated.primary.session() as cursor:
        lives = set()
        for zone in ("UTC", "Asia/Tokyo", "America/St_Johns"):
            cursor.execute(f"SET TimeZone = '{zone}'; SET DateStyle = 'SQL, DMY'")
            cursor.execute(str(SELECT_LIFE))
            lives.add(cursor.fetchone())
    assert len(lives) == 1
    assert replicated.standby.ask(str(SELECT_LIFE)) is None


def test_the_leaderboard_of_a_new_primary_has_no_sale_that_was_lost(
    shop: Shop, replicated: Replicated, way: Relay
) -> None:
    shop.create_product(stock=9)
    shop.place_order(1)
    replicated.standby.catch_up()
    replicated.standby.stop_receiving()
    assert sold(shop) == [1]
    shop.place_order(1, quantity=5)
    assert sold(shop) == [6]
    fail_over(replicated, way)
    look(shop)
    assert sold(shop) == [1]
    shop.place_order(1)
    assert sold(shop) == [2]


def sold(shop: Shop) -> list[int]:
    found = shop.get("/products/trending").get_json()["items"]
    return [round(row["score"]) for row in found]


def test_result_of_an_old_primary_is_not_stored(
    shop: Shop, replicated: Replicated, redis_cli: Any
) -> None:
    """A connection to it may live on while the process has looked at the new one."""
    shop.create_product()
    shop.get("/products/1")
    with shop.app.app_context():
        connection = cache.backend.connection
        look(shop)
        connection.set_origin(b"0" * 16)  # as a look at another primary would
    redis_cli.delete("products:id:1")
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "MISS"]
    assert not redis_cli.exists("products:id:1")
    assert not replicated.standby.ask("SELECT NOT pg_is_in_recovery()")


def test_a_standby_answers_reads_and_fills_nothing(
    shop: Shop, replicated: Replicated, make_shop: Make, redis_cli: Any
) -> None:
    shop.create_product()
    replicated.standby.catch_up()
    reader = make_shop(DATABASE_URL=replicated.standby.url)
    before = set(redis_cli.keys("products:*"))
    for path in ("/products/1", "/products"):
        for _ in range(2):
            assert reader.get(path).headers["X-Cache"] == "BYPASS"
    assert set(redis_cli.keys("products:*")) == before
    replicated.standby.promote()
    look(reader)
    assert [reader.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.hurried
def test_workers_notice_a_new_epoch_by_themselves(
    shop: Shop, replicated: Replicated, way: Relay, serve: Callable[..., Service]
) -> None:
    shop.create_product(price=36)
    service = serve(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
    replicated.standby.catch_up()
    replicated.standby.stop_receiving()
    assert service.write("PATCH", "/products/1", price=777).status_code == HTTPStatus.OK
    for _ in range(20):
        assert service.get("/products/1").json()["price"] == "777.00"
    fail_over(replicated, way)
    await_true(lambda: service.write("PATCH", "/products/1", stock=8).status_code == HTTPStatus.OK)
    for _ in range(20):
        assert service.get("/products/1").json()["price"] == "36.00"
    assert "the cache begins anew" in service.log.read_text()
