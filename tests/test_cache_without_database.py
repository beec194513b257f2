"""The cache without PostgreSQL: hits that are known to be fresh, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from cached_product import KEY, outcome
from conftest import await_true, waits_for_a_lock
from faults import before_statement, engine_of, locked
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from shop.database.failures import is_database_gone
from shop.extensions import cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, MakeRelay, Relay, Shop

    from dev.embedded.servers import Postgres, Redis


@pytest.fixture
def way(relay: MakeRelay, postgres: Postgres) -> Relay:
    """A way to the database that can be cut."""
    return relay(postgres.socket)


def shop_by(way: Relay, make_shop: Make, user: str = "shop", **changes: str) -> Shop:
    shop = make_shop(DATABASE_URL=f"postgresql://{user}@127.0.0.1:{way.port}/shop", **changes)
    shop.create_product(stock=3)
    for path in ("/products/1", "/products"):
        assert shop.get(path).status_code == 200
    return shop


def expire(redis_cli: Any) -> None:
    """Wait until the documents that are kept have passed their time to live."""

    def expired() -> bool:
        seconds, _ = redis_cli.time()
        entry = redis_cli.get(KEY)
        return entry is None or int(entry.split("\n")[0].split()[1]) < seconds * 1000

    await_true(expired)


def look(shop: Shop) -> None:
    with shop.app.app_context():
        cache.backend.watcher.check()


def test_without_the_database_a_known_document_is_still_a_hit(make_shop: Make, way: Relay) -> None:
    shop = shop_by(way, make_shop)
    way.close()
    for _ in range(3):
        look(shop)
        assert outcome(shop) == "HIT"
        assert outcome(shop, "/products") == "HIT"
    unknown = shop.get("/products/2")
    assert (unknown.status_code, unknown.headers["Retry-After"]) == (503, "1")
    way.open()
    assert shop.get("/products/2").status_code == 404


def test_without_the_database_an_unknown_document_is_503(make_shop: Make, way: Relay) -> None:
    """Another worker may have written after the last look, before the end of the database."""
    shop = shop_by(way, make_shop)
    with shop.app.app_context():
        cache.backend.watcher._last_passed -= 100
    way.close()
    look(shop)
    assert shop.get("/products/1").status_code == 503


def test_a_slow_outbox_check_that_outlives_the_database_does_not_count(
    make_shop: Make, way: Relay
) -> None:
    shop = shop_by(way, make_shop)
    with shop.app.app_context():
        watcher = cache.backend.watcher

    def lose_the_database() -> None:
        watcher._last_passed -= 100  # so much later it is when the database turns out to be gone
        way.close()

    with before_statement(engine_of(shop), "cache_outbox", lose_the_database):
        look(shop)
    assert shop.get("/products/1").status_code == 503


@pytest.fixture
def guest(postgres: Postgres) -> Iterator[Callable[[str], None]]:
    """Change a role of PostgreSQL."""
    connection = psycopg2.connect(postgres.url)
    connection.autocommit = True

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    execute("CREATE ROLE guest SUPERUSER LOGIN")
    yield execute
    execute("DROP ROLE guest")
    connection.close()


@pytest.mark.hurried
def test_a_database_that_refuses_a_worker_is_not_gone(
    make_shop: Make,
    way: Relay,
    relay: MakeRelay,
    redis_server: Redis,
    guest: Callable[[str], None],
) -> None:
    """Others write to it, and this worker cannot know which writes did not reach Redis."""
    way_of_writer = relay(redis_server.socket)
    writer = make_shop(REDIS_URL=f"redis://127.0.0.1:{way_of_writer.port}")
    shop = shop_by(way, make_shop, user="guest")
    assert outcome(shop) == "HIT"
    way_of_writer.close()
    guest("ALTER ROLE guest NOLOGIN")
    way.close()
    way.open()
    assert writer.patch("/products/1", stock=4).status_code == 200
    for _ in range(3):
        look(shop)
        assert shop.get("/products/1").status_code == 503


def test_without_the_database_an_expired_document_serves_if_that_is_allowed(
    make_shop: Make, way: Relay, redis_cli: Any
) -> None:
    shop = shop_by(way, make_shop, REDIS_CACHE_TTL="1", CACHE_STALE_IF_ERROR="1000")
    expire(redis_cli)
    way.close()
    for path in ("/products/1", "/products"):
        for _ in range(2):
            response = shop.get(path)
            assert (response.status_code, response.headers["X-Cache"]) == (200, "STALE")
            assert response.headers["Warning"] == '110 - "Response is Stale"'
    assert shop.get("/products/2").status_code == 503
    way.open()
    assert outcome(shop) == "MISS"
    assert outcome(shop) == "HIT"


def test_without_the_database_an_expired_document_is_503_by_default(
    make_shop: Make, way: Relay, redis_cli: Any
) -> None:
    shop = shop_by(way, make_shop, REDIS_CACHE_TTL="1")
    expire(redis_cli)
    way.close()
    response = shop.get("/products/1")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")


def test_a_forgotten_document_is_not_served_without_the_database(
    make_shop: Make, way: Relay
) -> None:
    shop = shop_by(way, make_shop, CACHE_STALE_IF_ERROR="1000")
    shop.patch("/products/1", stock=4)
    way.close()
    assert shop.get("/products/1").status_code == 503


@pytest.mark.parametrize(
    ("change", "gone"),
    [({"port": 1, "host": "127.0.0.1"}, True), ({"user": "stranger"}, False)],
)
def test_a_database_that_refuses_a_login_is_not_gone(
    postgres: Postgres, change: dict[str, Any], *, gone: bool
) -> None:
    """Other workers may be writing to it meanwhile."""
    engine = create_engine(
        postgres.url.replace("postgresql:", "postgresql+psycopg2:"), connect_args=change
    )
    with pytest.raises(OperationalError) as error:
        engine.connect()
    assert is_database_gone(error.value) == gone


CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def test_a_statement_that_the_database_refuses_is_not_a_lost_database(
    make_shop: Make, way: Relay, postgres: Postgres, redis_cli: Any
) -> None:
    shop = shop_by(way, make_shop, REDIS_CACHE_TTL="1", CACHE_STALE_IF_ERROR="1000")
    expire(redis_cli)
    with ThreadPoolExecutor(1) as pool, locked(postgres, "LOCK TABLE products") as operator:
        read = pool.submit(shop.get, "/products/1")
        await_true(lambda: waits_for_a_lock(postgres))
        operator.execute(CANCEL)
        assert read.result().status_code == 503
