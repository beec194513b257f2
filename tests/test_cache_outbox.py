"""Writes that Redis could not be told: the outbox forgets what they changed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from cached_product import KEY, outbox, outcome, stock
from conftest import await_true
from faults import before_commit, before_statement, engine_of

from shop.cache.outbox import ADD_NAME
from shop.cache.protocol import new_token
from shop.extensions import cache, db
from shop.products import service as products
from shop.redis import redis_connection

if TYPE_CHECKING:
    from conftest import Make, MakeRelay, Relay, Shop

    from dev.embedded.servers import Redis


@pytest.fixture
def two(make_shop: Make, relay: MakeRelay, redis_server: Redis) -> tuple[Shop, Shop, Relay]:
    """A shop whose way to Redis can be cut, and another, which has cached a product."""
    way = relay(redis_server.socket)
    cut, other = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}"), make_shop()
    cut.create_product(stock=3)
    for shop in (cut, other):
        assert stock(shop) == 3
        shop.get("/products")
    assert outcome(other) == "HIT"
    return cut, other, way


@pytest.mark.hurried
def test_workers_answer_a_write_of_a_worker_without_redis(
    two: tuple[Shop, Shop, Relay],
) -> None:
    cut, other, way = two
    way.close()
    for number in range(10, 13):
        assert cut.patch("/products/1", stock=number).status_code == 200
        assert stock(other) == number
        assert stock(cut) == number
    created = cut.create_product(name="Broom")
    assert created in other.get("/products").get_json()["items"]
    assert outbox(cut) == 0  # the other has forgotten and deleted everything
    assert outcome(other) == "HIT"


def test_a_write_without_redis_is_answered_with_what_it_wrote(
    two: tuple[Shop, Shop, Relay],
) -> None:
    """The worker reads nothing back: another write may have changed or deleted the row by then."""
    cut, _, way = two
    way.close()
    with cut.statements() as sent:
        assert cut.patch("/products/1", stock=10).get_json()["stock"] == 10
    assert [statement.split()[0] for statement in sent] == ["WITH", "SELECT"]
    assert "FOR UPDATE" in sent[0]
    assert "pg_sleep" in sent[1]


def test_a_breaker_that_closes_while_a_read_begins_makes_no_entry_valid(
    two: tuple[Shop, Shop, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, other, way = two
    way.close()
    assert cut.patch("/products/1", stock=10).status_code == 200
    closing = iter([False])  # then it is closed
    monkeypatch.setattr(
        type(redis_connection(other.app)), "available", property(lambda _: next(closing, True))
    )
    with other.app.app_context():
        assert b'"stock":10' in products.product(1)


@pytest.mark.hurried
def test_entries_that_a_write_without_redis_changed_are_not_found_when_it_is_back(
    two: tuple[Shop, Shop, Relay], redis_cli: Any
) -> None:
    cut, _, way = two
    way.close()
    assert cut.patch("/products/1", stock=10).status_code == 200
    assert outbox(cut) == 1
    assert '"stock":3,' in redis_cli.get(KEY)
    way.open()
    await_true(lambda: redis_connection(cut.app).available)
    assert stock(cut) == 10
    assert outbox(cut) == 0
    assert outcome(cut) == "HIT"


@pytest.mark.hurried
@pytest.mark.parametrize("lost", ["suspend", "release"])
def test_a_redis_that_is_lost_during_a_write_gets_the_invalidation_later(
    two: tuple[Shop, Shop, Relay], redis_cli: Any, lost: str
) -> None:
    """Redis may have lost the note meanwhile, and an older entry was stored."""
    cut, other, way = two
    with other.app.app_context():
        others = cache.backend.protocol

    def lose_the_note() -> None:
        assert redis_cli.get(KEY).startswith("writers ")
        way.close()
        redis_cli.flushall()
        [entry] = others.read(["products:id:generation"], [KEY])
        others.fill({KEY: (entry.lease, 100, b'{"id":1,"stock":3}')})

    moment = (
        before_statement(engine_of(cut), "UPDATE products", way.close)
        if lost == "suspend"
        else before_commit(engine_of(cut), lose_the_note)
    )
    with moment:
        assert cut.patch("/products/1", stock=10).status_code == 200
    assert stock(other) == 10
    assert outbox(other) == 0


@pytest.mark.hurried
def test_a_redis_that_hung_answers_nothing_stale(
    two: tuple[Shop, Shop, Relay], redis_cli: Any
) -> None:
    """The other shop is idle while Redis hangs, and asks it the moment that it goes on."""
    cut, other, way = two
    process = redis_cli.info("server")["process_id"]
    for number in range(20, 23):
        assert outcome(other) in {"HIT", "MISS"}
        os.kill(process, signal.SIGSTOP)
        try:
            way.close()  # so that it never hears what it was told meanwhile
            assert cut.patch("/products/1", stock=number).status_code == 200
        finally:
            os.kill(process, signal.SIGCONT)
        assert stock(other) == number
        way.open()
        await_true(lambda: redis_connection(cut.app).available)


def test_a_write_with_redis_switched_off_is_forgotten_before_redis_is_used(
    make_shop: Make,
) -> None:
    shop, off = make_shop(), make_shop(REDIS_ENABLED="false")
    shop.create_product(stock=3)
    for path in ("/products/1", "/products"):
        shop.get(path)
    for number in range(10):
        off.patch("/products/1", stock=number)
        off.create_product(name=f"Broom {number}", category_id=1)
    assert outbox(off) == 8  # one row for each family, and for each scope of a tag
    later = make_shop()
    assert stock(later) == 9
    assert len(later.get("/products?limit=100").get_json()["items"]) == 11
    assert outbox(later) == 0


def test_a_replay_waits_for_no_writer_and_loses_nothing(a_shop: Shop) -> None:
    a_shop.create_product()
    with a_shop.app.app_context():
        with db.engine.begin() as connection:
            connection.execute(ADD_NAME, [{"name": KEY, "writer": ""}])
        with db.engine.connect() as writer:
            writer.execute(ADD_NAME, [{"name": KEY, "writer": ""}])  # relies on the same row
            assert cache.replay() == 1
            assert len(cache.outbox) == 1
            writer.commit()
        assert cache.replay() == 1
        assert len(cache.outbox) == 0


def test_the_replay_command_empties_the_outbox(
    make_shop: Make, relay: MakeRelay, redis_server: Redis, redis_cli: Any
) -> None:
    way = relay(redis_server.socket)
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}")
    shop.create_product()
    shop.get("/products/1")
    way.close()
    shop.patch("/products/1", stock=10)
    result = shop.command("cache", "replay")
    assert (result.exit_code, outbox(shop)) == (1, 1)
    assert "Redis does not answer" in result.stderr
    way.open()
    await_true(lambda: redis_connection(shop.app).available)
    assert shop.command("cache", "replay").output == "forgot 1 names\n"
    assert not redis_cli.exists(KEY)
    assert shop.command("cache", "replay").output == "forgot 0 names\n"


def test_a_command_that_redis_refuses_does_not_blame_the_database(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop()
    redis_cli.config_set("min-replicas-to-write", 1)
    try:
        result = shop.command("cache", "replay")
    finally:
        redis_cli.config_set("min-replicas-to-write", 0)
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: Redis does not tell whose it is: see the log\n")


def test_an_outbox_of_any_length_is_emptied(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    with a_shop.app.app_context():
        with db.engine.begin() as connection:
            rows = [{"name": f"products:id:{n}", "writer": new_token()} for n in range(1200)]
            connection.execute(ADD_NAME, rows)
        assert cache.replay() == 1200
        assert len(cache.outbox) == 0
