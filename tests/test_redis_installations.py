"""Several installations with one Redis: none sees, counts or forgets data of another."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
import redis
from conftest import CUSTOMER, ROOT, Shop, await_true, close, hung
from faults import holding_relay
from sqlalchemy import make_url, text

from shop import create_app
from shop.cache import outbox_watcher
from shop.config import Settings
from shop.extensions import cache, db
from shop.redis import RedisConnection, redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, MakeRelay
    from faults import HoldingRelay
    from flask import Flask

    from dev.embedded.servers import Postgres, Redis

    Everything = Callable[[], dict[bytes, bytes]]

OWNER = "shop:owner"
PATHS = ("/products/1", "/products", "/products?sort=price&total=true", "/categories")


@pytest.fixture
def other(empty: Flask, settings: dict[str, str]) -> Iterator[Make]:
    """Make shops on a database of their own, with the Redis of the others."""
    made: list[Flask] = []
    flask_migrate.upgrade(str(ROOT / "migrations"))

    def make(**changes: str) -> Shop:
        url = empty.config["SETTINGS"].database_url
        app = create_app(settings | {"DATABASE_URL": url} | changes)
        made.append(app)
        return Shop(app)

    yield make
    close(made)


def command(shop: Shop, *arguments: str) -> Any:
    """Run a command of this shop, whichever application is the current one."""
    with shop.app.app_context():
        return shop.command(*arguments)


def look(shop: Shop) -> None:
    with shop.app.app_context():
        cache.backend.watcher.check()


def identity(shop: Shop) -> str:
    return str(command(shop, "db-identity", "show").output).strip()


@pytest.fixture
def everything(redis_server: Redis) -> Iterator[Callable[[], dict[bytes, bytes]]]:
    """Return all that is in Redis, byte for byte."""
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        yield lambda: {name: client.dump(name) for name in client.scan_iter()}


def use(shop: Shop) -> dict[str, str]:
    """Read, write, buy and count; return the headers of a session."""
    product = shop.create_product(price=10, stock=5)["id"]
    session = shop.open_session()
    answer = shop.request("PUT", f"/cart/items/{product}", json={"quantity": 1}, headers=session)
    assert answer.status_code == 200, answer.text
    assert (
        shop.request(
            "POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=session
        ).status_code
        == 201
    )
    assert shop.get("/products/trending").status_code == 200
    for path in PATHS:
        assert shop.get(path).status_code == 200
    return session


def await_counting(shop: Shop) -> None:
    """Wait until Redis counts again, and has the counts of the fallback."""
    counter = shop.app.extensions["shop.limits"].counter
    await_true(lambda: not counter.in_fallback)


def check_out(shop: Shop, session: dict[str, str]) -> int:
    body = {"customer": CUSTOMER}
    return shop.request("POST", "/cart/checkout", json=body, headers=session).status_code


def outcomes(shop: Shop) -> list[str]:
    return [shop.get(path).headers["X-Cache"] for path in PATHS]


def test_an_installation_names_itself_in_redis(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.get("/products")
    assert redis_cli.get(OWNER) == identity(a_shop)
    assert redis_cli.ttl(OWNER) == -1


def test_another_installation_answers_from_its_own_database(
    a_shop: Shop, other: Make, everything: Everything, caplog: pytest.LogCaptureFixture
) -> None:
    a_shop.create_product(name="Rake")
    session = a_shop.open_session()
    a_shop.get("/cart", headers=session)
    for path in PATHS:
        a_shop.get(path)
    stranger = other()
    before = everything()
    with caplog.at_level(logging.WARNING):
        stranger.create_product(name="Hoe")
        use(stranger)
    assert stranger.get("/products/1").get_json()["name"] == "Hoe"
    assert stranger.get("/cart", headers=session).status_code == 401
    assert set(outcomes(stranger)) == {"BYPASS"}
    assert everything() == before
    told = [one for one in caplog.messages if "neither read nor written" in one]
    assert len(told) == 1
    assert set(outcomes(a_shop)) == {"HIT"}
    assert a_shop.get("/products/1").get_json()["name"] == "Rake"


def test_health_and_metrics_report_a_foreign_redis(a_shop: Shop, other: Make) -> None:
    a_shop.get("/products")
    stranger = other()
    stranger.get("/products")
    health = stranger.get("/health_check")
    assert health.status_code == 200
    assert {"redis": "foreign", "status": "degraded", "database": "ok"}.items() <= (
        health.get_json().items()
    )
    assert "shop_redis_foreign 1.0" in stranger.get("/metrics").text
    assert stranger.get("/readyz").status_code == 200


def test_writes_beside_a_foreign_redis_leave_its_suspended_names_closed(
    a_shop: Shop, other: Make, redis_cli: Any
) -> None:
    a_shop.create_product()
    with a_shop.app.app_context():
        cache.backend.protocol.suspend(["products:id:1"], "a")
    note = redis_cli.get("products:id:1")
    stranger = other()
    stranger.create_product()
    assert stranger.patch("/products/1", stock=9).status_code == 200
    assert stranger.get("/products/1").get_json()["stock"] == 9
    assert redis_cli.get("products:id:1") == note


def test_a_write_beside_a_foreign_redis_is_forgotten_when_it_is_claimed(
    a_shop: Shop, other: Make, redis_cli: Any
) -> None:
    stranger = other()
    stranger.create_product(stock=1)
    assert set(outcomes(stranger)) <= {"MISS", "BYPASS"}
    command(a_shop, "cache", "claim")
    look(stranger)
    assert stranger.patch("/products/1", stock=2).status_code == 200
    assert command(stranger, "cache", "claim").exit_code == 0
    look(stranger)
    assert stranger.get("/products/1").get_json()["stock"] == 2
    with stranger.app.app_context():
        assert len(cache.outbox) == 0
    assert redis_cli.get(OWNER) == identity(stranger)
    await_counting(stranger)


def test_claiming_redis_gives_clients_their_quotas_anew(
    a_shop: Shop, other: Make, redis_cli: Any
) -> None:
    a_shop.get("/products")
    assert redis_cli.keys("rate_limit:*")
    told = command(other(), "cache", "claim")
    assert told.exit_code == 0, told.output
    assert told.output == "claimed; 1 clients have their whole quota again\n"
    assert not redis_cli.keys("rate_limit:*")
    look(a_shop)
    assert a_shop.get("/products").headers["X-Cache"] == "BYPASS"


def test_an_owner_that_was_evicted_is_put_back_at_the_next_look(
    a_shop: Shop, redis_cli: Any
) -> None:
    a_shop.get("/products")
    redis_cli.delete(OWNER)
    look(a_shop)
    assert redis_cli.get(OWNER) == identity(a_shop)
    assert a_shop.get("/products").headers["X-Cache"] == "HIT"


@pytest.fixture
def way(redis_server: Redis) -> Iterator[HoldingRelay]:
    with holding_relay(redis_server.socket) as way:
        yield way


def url_by(way: HoldingRelay) -> str:
    return f"redis://127.0.0.1:{way.port}/0"


@contextmanager
def put_back_meanwhile(owner: Shop, way: HoldingRelay) -> Iterator[None]:
    """Let the owner look after a stranger has found Redis vacant, and before it asks again."""

    def put_back() -> None:
        assert way.reached.wait(60)
        look(owner)
        way.let_go()

    way.stop_after(OWNER.encode())
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(put_back)
        yield
        done.result()


def test_a_foreign_installation_leaves_the_owner_time_to_come_back(
    a_shop: Shop, other: Make, redis_cli: Any, way: HoldingRelay
) -> None:
    a_shop.get("/products")
    stranger = other(REDIS_URL=url_by(way))
    stranger.get("/products")
    redis_cli.delete(OWNER)
    with put_back_meanwhile(a_shop, way):
        look(stranger)
    assert redis_cli.get(OWNER) == identity(a_shop)
    redis_cli.delete(OWNER)
    look(stranger)
    assert redis_cli.get(OWNER) == identity(stranger)
    look(a_shop)
    assert a_shop.get("/products").headers["X-Cache"] == "BYPASS"
    await_counting(stranger)


def test_a_process_that_starts_leaves_the_owner_time_to_come_back(
    a_shop: Shop, other: Make, redis_cli: Any, way: HoldingRelay
) -> None:
    a_shop.create_product()
    a_shop.get("/products/1")
    redis_cli.delete(OWNER)
    stranger = other(REDIS_URL=url_by(way))
    with put_back_meanwhile(a_shop, way):
        assert stranger.get("/products").headers["X-Cache"] == "BYPASS"
    assert redis_cli.get(OWNER) == identity(a_shop)
    assert a_shop.get("/products/1").headers["X-Cache"] == "HIT"


@pytest.mark.hurried
def test_a_process_without_the_watch_notices_that_redis_was_claimed(
    a_shop: Shop, other: Make, redis_cli: Any, everything: Everything
) -> None:
    """The other installation counts nothing, forgets nothing and feeds no leaderboard there."""
    use(a_shop)
    stranger = other()
    command(stranger, "cache", "claim")
    time.sleep(outbox_watcher.FRESHNESS_SECONDS)
    before = everything()
    a_shop.place_order(a_shop.create_product(stock=5)["id"])
    assert a_shop.get("/rate_limit").status_code == 200
    assert command(a_shop, "cache", "clear", "all").exit_code == 1
    assert everything() == before
    assert redis_connection(a_shop.app).ownership.is_foreign


def test_a_claim_is_noticed_while_the_database_is_gone(
    a_shop: Shop, other: Make, relay: MakeRelay, make_shop: Make, postgres: Postgres
) -> None:
    way = relay(postgres.socket)
    name = make_url(a_shop.app.config["SETTINGS"].database_url).database
    shop = make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/{name}")
    shop.create_product()
    assert [shop.get("/products/1").headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    way.close()
    look(shop)
    assert shop.get("/products/1").headers["X-Cache"] == "HIT"
    command(other(), "cache", "claim")
    look(shop)
    assert shop.get("/products/1").status_code == 503


def test_a_renewal_while_redis_is_away_is_reported(
    make_shop: Make, own_redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.get("/products")
    with hung(own_redis):
        assert command(shop, "db-identity", "renew").exit_code == 0
        look(shop)
        assert redis_connection(shop.app).ownership.is_foreign
    await_true(lambda: not redis_connection(shop.app)._breaker.is_open)
    look(shop)
    assert [one for one in caplog.messages if "neither read nor written" in one]


def test_two_processes_that_find_no_identity_agree_on_one(a_shop: Shop, other: Make) -> None:
    """Each process makes one at the same moment, in a transaction of its own."""
    with a_shop.app.app_context(), db.engine.begin() as first:
        first.execute(text("DELETE FROM installation"))
    barrier = threading.Barrier(4)

    def make() -> str:
        with a_shop.app.app_context():
            barrier.wait()
            return cache.installation.identity()

    with ThreadPoolExecutor(4) as threads:
        made = [threads.submit(make) for _ in range(4)]
    assert len({one.result() for one in made}) == 1


@pytest.mark.parametrize("value", ["somebody", "", b"\xff\n"])
def test_any_other_value_of_the_owner_key_is_foreign(
    a_shop: Shop, redis_cli: Any, value: Any
) -> None:
    redis_cli.set(OWNER, value)
    assert a_shop.get("/products").headers["X-Cache"] == "BYPASS"
    assert redis_cli.keys("*") == [OWNER]


def test_a_list_under_the_owner_key_is_foreign(a_shop: Shop, redis_cli: Any) -> None:
    redis_cli.rpush(OWNER, "a")
    assert a_shop.get("/products").headers["X-Cache"] == "BYPASS"
    assert a_shop.get("/health_check").get_json()["redis"] == "foreign"


def test_commands_beside_a_foreign_redis_end_with_one_line(a_shop: Shop, other: Make) -> None:
    a_shop.get("/products")
    stranger = other()
    for arguments in (("cache", "stats"), ("cache", "clear", "all"), ("limits", "top")):
        told = command(stranger, *arguments)
        assert told.exit_code == 1
        assert "Error: Redis belongs to another installation" in told.stderr


def test_an_installation_with_a_prefix_shares_redis(
    a_shop: Shop, other: Make, redis_cli: Any, everything: Everything
) -> None:
    a_shop.create_product(name="Rake")
    for path in PATHS:
        a_shop.get(path)
    before = everything()
    guest = other(REDIS_KEY_PREFIX="guest:")
    guest.create_product(name="Hoe")
    session = use(guest)
    assert set(outcomes(guest)) == {"HIT"}
    assert guest.get("/cart", headers=session).status_code == 200
    assert a_shop.get("/cart", headers=session).status_code == 401
    added = set(everything()) - set(before)
    mine = {name for name in added if name.startswith((b"guest:", b"{guest:"))}
    # The session of the guest is nobody here: that is noted.
    assert all(b"session" in name for name in added - mine)
    assert redis_cli.get("guest:shop:owner") == identity(guest)
    assert redis_cli.get(OWNER) == identity(a_shop)
    assert command(guest, "cache", "show", "products:id:1").output.count("Hoe") == 1
    assert "127.0.0.1" in command(guest, "limits", "top").output
    assert command(guest, "cache", "clear", "all").exit_code == 0
    assert set(outcomes(a_shop)) == {"HIT"}
    assert command(guest, "limits", "reset", "127.0.0.1").output.startswith("reset")


@pytest.mark.parametrize("prefix", ["products:", "rate_limit:", "a:session:", "stats:b", "x.key:"])
def test_a_prefix_that_collides_with_unprefixed_keys_is_refused(
    settings: dict[str, str], prefix: str
) -> None:
    """An installation without one would scan and forget what the other has."""
    with pytest.raises(ValueError, match="REDIS_KEY_PREFIX must not have"):
        create_app(settings | {"REDIS_KEY_PREFIX": prefix})


@pytest.mark.parametrize("prefix", ["products", "shop:", "monkey:", "eu-stats", "a:b:"])
def test_any_other_key_prefix_is_accepted(settings: dict[str, str], prefix: str) -> None:
    assert Settings.from_environment(settings | {"REDIS_KEY_PREFIX": prefix}).redis_key_prefix == (
        prefix
    )


@pytest.mark.parametrize("prefix", ["a b", "a*", "{a}", "a" * 65, "ä", "a\nb"])
def test_an_invalid_key_prefix_is_refused(settings: dict[str, str], prefix: str) -> None:
    with pytest.raises(ValueError, match="REDIS_KEY_PREFIX must have"):
        Settings.from_environment(settings | {"REDIS_KEY_PREFIX": prefix})


def test_an_identity_is_made_where_it_was_lost(a_shop: Shop, redis_cli: Any) -> None:
    with a_shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("DELETE FROM installation"))
    a_shop.get("/products")
    assert redis_cli.get(OWNER) == identity(a_shop)


def test_a_renewed_identity_begins_anew_and_takes_nothing(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    a_shop.get("/products/1")
    owner, entry = redis_cli.get(OWNER), redis_cli.get("products:id:1")
    told = command(a_shop, "db-identity", "renew")
    assert "flask cache claim" in told.stderr
    look(a_shop)
    assert a_shop.get("/products/1").headers["X-Cache"] == "BYPASS"
    assert (redis_cli.get(OWNER), redis_cli.get("products:id:1")) == (owner, entry)
    command(a_shop, "cache", "claim")
    look(a_shop)
    assert a_shop.get("/products/1").headers["X-Cache"] == "MISS"
    assert a_shop.get("/products/1").headers["X-Cache"] == "HIT"


def test_an_entry_of_another_installation_is_a_miss(a_shop: Shop, redis_cli: Any) -> None:
    """Two installations may both take Redis for theirs, until their next look."""
    a_shop.create_product()
    for path in PATHS:
        a_shop.get(path)
    for name in ("products:id:1", "products:list:skip:0:limit:10"):
        epoch, _, rest = redis_cli.get(name).split(":", 2)
        redis_cli.set(name, f"{epoch}:{'0' * 16}:{rest}", keepttl=True)
    assert a_shop.get("/products/1").headers["X-Cache"] == "MISS"
    assert a_shop.get("/products/1").headers["X-Cache"] == "HIT"
    assert a_shop.get("/products").headers["X-Cache"] == "MISS"


def test_a_leaderboard_of_another_installation_is_rebuilt(a_shop: Shop, redis_cli: Any) -> None:
    session = use(a_shop)
    [board] = redis_cli.keys("products:trending:*")
    redis_cli.zadd(board, {"0": -1, "77": 500})
    sold = a_shop.get("/products/trending").get_json()["items"]
    assert [(row["product"]["id"] if "product" in row else row["id"]) for row in sold] == [1]
    redis_cli.zadd(board, {"0": -1, "77": 500})
    a_shop.request("PUT", "/cart/items/1", json={"quantity": 2}, headers=session)
    assert (
        a_shop.request(
            "POST", "/cart/checkout", json={"customer": CUSTOMER}, headers=session
        ).status_code
        == 201
    )
    assert not redis_cli.exists(board)  # its owner would miss this sale
    assert a_shop.get("/products/trending").status_code == 200
    assert redis_cli.zscore(board, "1") == pytest.approx(3, rel=0.1)


def test_without_its_database_a_process_does_not_touch_redis(
    make_shop: Make, redis_cli: Any
) -> None:
    shop = make_shop(DATABASE_URL="postgresql://shop@127.0.0.1:1/none")
    assert shop.get("/products/1").status_code == 503
    assert shop.get("/rate_limit").status_code == 200
    assert redis_cli.keys("*") == []
    connection: RedisConnection = redis_connection(shop.app)
    assert connection.available  # and is asked as soon as the database says who this is
