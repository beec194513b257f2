"""Idle connections that a firewall on the way has silently dropped."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import redis
from conftest import await_true
from ports import free_cluster_port
from sqlalchemy import event, text

from shop.database import connections
from shop.extensions import db
from shop.redis import pool, redis_connection

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Make, MakeRelay, Relay, Shop, StartRedis
    from sqlalchemy import Engine

    from dev.embedded.home import Home
    from dev.embedded.servers import Postgres, Redis

QUOTA = "1000"


@pytest.fixture
def way(relay: MakeRelay, own_redis: Redis) -> Relay:
    return relay(own_redis.socket)


def url_of(kind: str, way: Relay, start_redis: StartRedis, home: Home) -> str:
    if kind == "server":
        return f"redis://127.0.0.1:{way.port}/0"
    port = free_cluster_port()
    if kind == "cluster":
        way.target = cluster_behind(way, port, start_redis, home)
        return f"redis+cluster://127.0.0.1:{way.port}"
    config = home.directory(f"redis-{port}") / "sentinel.conf"
    config.write_text(f"sentinel monitor main 127.0.0.1 {way.port} 1\n")
    if home.account:
        os.chown(config, *home.account)
    start_redis(str(config), "--sentinel", port=port)
    return f"redis+sentinel://127.0.0.1:{port}/main/0"


def cluster_behind(way: Relay, port: int, start_redis: StartRedis, home: Home) -> Path:
    """Start a cluster of one node, which says that it is at the end of the way."""
    place = home.directory(f"redis-{port}") / "socket"
    announced = ("--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(way.port))
    start_redis("--cluster-enabled", "yes", "--unixsocket", str(place), *announced, port=port)
    with redis.Redis(port=port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await_true(lambda: client.cluster("info")["cluster_state"] == "ok")
    return place


@pytest.fixture(params=["server", "master behind a sentinel", "cluster"])
def shop(
    request: pytest.FixtureRequest,
    make_shop: Make,
    way: Relay,
    start_redis: StartRedis,
    home: Home,
) -> Shop:
    """A shop with a product in the cache, whose connections have been in use.

    Those of its threads: that of the loop is never idle, because it asks for a sign of life.
    """
    url = url_of(request.param, way, start_redis, home)
    shop = make_shop(REDIS_URL=url, RATE_LIMIT_CALLS=QUOTA, EDGE_ENABLED="false")
    shop.create_product()
    in_a_burst(shop)
    assert shop.get("/products/1").headers["X-Cache"] == "HIT"
    redis_connection(shop.app).ping()
    return shop


def silence_sentinel(shop: Shop) -> None:
    """Let a sentinel send no PING of its own, which would count as one of the shop's."""
    url = urlsplit(shop.app.config["SETTINGS"].redis_url)
    if "sentinel" in url.scheme:
        with redis.Redis(port=url.port or 0) as sentinel:
            sentinel.execute_command("SENTINEL", "DEBUG", "PING-PERIOD", 3_600_000)


def in_a_burst(shop: Shop) -> list[Any]:
    """Read by four threads at once."""

    def read(_: int) -> Any:
        return shop.app.test_client().get("/products/1")

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(read, range(4)))


def outbox_of(shop: Shop) -> int:
    with shop.app.app_context(), db.engine.connect() as connection:
        number: int = connection.scalar(text("SELECT count(*) FROM cache_outbox"))
        return number


def engine_of(shop: Shop) -> Engine:
    with shop.app.app_context():
        return db.engine


def test_a_silently_dropped_idle_connection_delays_no_request(
    shop: Shop, way: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    way.forget()
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0)
    for answer in in_a_burst(shop):
        assert (answer.status_code, answer.headers["X-Cache"]) == (200, "HIT")
        assert f";q={QUOTA};" in answer.headers["RateLimit-Policy"]
    assert shop.patch("/products/1", stock=9).status_code == 200
    assert outbox_of(shop) == 0
    assert redis_connection(shop.app).available
    assert not shop.app.extensions["shop.limits"].counter.in_fallback


def test_an_idle_connection_of_the_client_itself_is_replaced(
    shop: Shop, way: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The health check uses this connection, and runs seldom."""
    way.forget()
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0)
    redis_connection(shop.app).ping()
    assert redis_connection(shop.app).available


def test_a_connection_in_use_is_neither_tested_nor_renewed(shop: Shop, way: Relay) -> None:
    silence_sentinel(shop)
    with redis.Redis(unix_socket_path=str(way.target)) as client:
        client.config_resetstat()
        before = client.info("stats")["total_connections_received"]
        for _ in range(100):
            assert shop.get("/products/1").headers["X-Cache"] == "HIT"
        assert client.info("stats")["total_connections_received"] == before
        assert "cmdstat_ping" not in client.info("commandstats")


@pytest.fixture
def shop_behind(make_shop: Make, relay: MakeRelay, postgres: Postgres) -> tuple[Shop, Relay]:
    """A shop that reaches its database by a way of its own, and whose connection was in use."""
    way = relay(postgres.socket)
    shop = make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
    shop.create_product()
    return shop, way


def test_a_silently_dropped_database_connection_delays_no_request(
    shop_behind: tuple[Shop, Relay], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, way = shop_behind
    way.forget()
    monkeypatch.setattr(connections, "DATABASE_IDLE_SECONDS", 0)
    began = time.monotonic()
    assert shop.get("/products?sort=price").status_code == 200
    assert shop.patch("/products/1", stock=9).status_code == 200
    assert time.monotonic() - began < 5


def test_a_connection_to_the_database_that_is_in_use_is_kept(
    shop_behind: tuple[Shop, Relay],
) -> None:
    shop, _ = shop_behind
    made: list[Any] = []

    def note(*_: Any) -> None:
        made.append(1)

    event.listen(engine_of(shop), "do_connect", note)
    try:
        for number in range(20):
            assert shop.patch("/products/1", stock=number).status_code == 200
    finally:
        event.remove(engine_of(shop), "do_connect", note)
    assert made == []
