"""Drills: pgbouncer in front of PostgreSQL, and proxies that cut what is idle."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask_migrate
import pytest
from conftest import CUSTOMER, ROOT
from drilling import note
from proxies import cutting, pgbouncer

from shop import create_app
from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service
    from load import Load
    from proxies import Proxy
    from replication import Replicated

    from dev.embedded.home import Home
    from dev.embedded.servers import Postgres, Redis

    Serve = Callable[..., Service]
    Loads = Callable[[Sequence[str]], Load]

MODES = pytest.mark.parametrize("mode", ["session", "transaction"])

ROUNDS = 3
PAUSE = 3  # seconds, longer than the proxy keeps a connection that is idle
BURST = 12  # requests at a time


@pytest.fixture
def pooler(home: Home, replicated: Replicated, mode: str) -> Iterator[Proxy]:
    made = pgbouncer(home, replicated.primary.socket.parent, mode)
    yield made
    made.stop()


def url_of(pooler: Proxy) -> str:
    return f"postgresql://shop@127.0.0.1:{pooler.port}/shop"


@MODES
def test_pgbouncer_restarted(
    pooler: Proxy, replicated: Replicated, serve: Serve, load: Loads
) -> None:
    one = load([serve(DATABASE_URL=url_of(pooler)).url])
    with one:
        pooler.stop()
        pooler.start()
        one.await_well()
        replicated.primary.stop()
        replicated.primary.start()
        one.await_well()
    assert one.saw.stale == []


@MODES
def test_pgbouncer_carries_all_that_a_shop_does(pooler: Proxy, serve: Serve) -> None:
    app = create_app({"DATABASE_URL": url_of(pooler)})
    with app.app_context():
        flask_migrate.upgrade(str(ROOT / "migrations"))
        db.engine.dispose()
    service = serve(DATABASE_URL=url_of(pooler))
    service.write("POST", "/categories", name="Garden")
    service.write("POST", "/products", name="Rake", price=1, stock=9, category_id=1)
    assert service.get("/products?q=rake&facets=price").json()["items"]
    lines = [{"product_id": 1, "quantity": 2}]
    placed = service.write("POST", "/orders", customer=CUSTOMER, lines=lines)
    assert placed.status_code == HTTPStatus.CREATED
    assert service.get("/products/1").json()["stock"] == 7
    refused = service.write("POST", "/products", name="Rake", price=1, stock=1, category_id=99)
    assert refused.status_code < HTTPStatus.INTERNAL_SERVER_ERROR


def test_idle_connections_cut(
    request: pytest.FixtureRequest,
    home: Home,
    postgres: Postgres,
    redis_server: Redis,
    serve: Serve,
) -> None:
    """Requests after a pause get new connections, and none is delayed."""
    ways = [cutting(home, server.socket) for server in (postgres, redis_server)]
    database, redis = ways
    try:
        service = serve(
            DATABASE_URL=f"postgresql://shop@127.0.0.1:{database.port}/shop",
            REDIS_URL=f"redis://127.0.0.1:{redis.port}/0",
        )
        service.write("POST", "/categories", name="Garden")
        seen: Counter[str] = Counter()
        for _ in range(ROUNDS):
            time.sleep(PAUSE)
            with ThreadPoolExecutor(BURST) as pool:
                hits = pool.map(lambda _: service.get("/categories/1"), range(BURST))
                misses = pool.map(lambda one: service.get(f"/categories/{one}"), range(2, BURST))
                seen.update(
                    f"{one.status_code} {one.headers.get('X-Cache')}" for one in (*hits, *misses)
                )
    finally:
        for way in ways:
            way.stop()
    wrong = {what: n for what, n in seen.items() if "BYPASS" in what or what.startswith("5")}
    note(request.node.name, f"{seen.total()}", f"{wrong or 0}")
    assert not wrong
