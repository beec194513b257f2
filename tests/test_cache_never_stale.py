"""Every way to leave a stale entry, step by step, with the whole service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from conftest import ADMIN_KEY, ROOT, await_true, waits_for_a_lock
from faults import before_commit, before_statement, engine_of, holding_relay, lose_all_connections
from sqlalchemy import create_engine, insert, select, text, update
from sqlalchemy.exc import OperationalError
from test_database_locks import locked

from shop.cache import protocol as protocol_module
from shop.cache import reader as reader_module
from shop.cache.outbox import ADD_NAME
from shop.cache.protocol import EntryState, new_token
from shop.categories import service as categories
from shop.categories.models import Category
from shop.database.failures import is_database_gone
from shop.extensions import cache, db
from shop.products import service as products
from shop.products.models import Product
from shop.redis import redis_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, MakeRelay, Relay, Service, Shop

    from dev.embedded.servers import Postgres, Redis

    Die = Callable[[str, str, str], None]

KEY, PAGES = "products:id:1", "products:list:generation"


def stock(shop: Shop) -> Any:
    return shop.get("/products/1").get_json()["stock"]


def outcome(shop: Shop, path: str = "/products/1") -> str | None:
    return shop.get(path).headers["X-Cache"]


def outbox(shop: Shop) -> int:
    with shop.app.app_context():
        return len(cache.outbox)


def execute(shop: Shop, statement: str) -> None:
    with engine_of(shop).begin() as connection:
        connection.execute(text(statement))


# A writer that dies.

STEPS = ("before it suspends", "before the commit", "after the commit", "after the release")
WRITE = """
import sys, time
import shop.config
shop.config.FILES.clear()
from shop import create_app

method, path, key = sys.argv[1:]
create_app().test_client().open(path, method=method, json={"stock": 77, "name": "New",
    "price": 1, "category_id": 1}, headers={"Authorization": f"Bearer {key}"})
print("written", flush=True)
time.sleep(600)
"""


@pytest.fixture
def die_writing(settings: dict[str, str], postgres: Postgres) -> Die:
    """Kill a process that writes when it has come to a step."""

    def die(step: str, method: str, path: str) -> None:
        change = b"UPDATE products" if method == "PUT" else b"INSERT INTO products"
        with holding_relay(postgres.socket) as way:
            if step == "before it suspends":
                way.stop_after(change)
            elif step == "before the commit":
                way.stop_before(change, b"COMMIT")
            elif step == "after the commit":
                way.stop_after(change, b"COMMIT")
            url = f"postgresql://shop@127.0.0.1:{way.port}/shop"
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITE, method, path, ADMIN_KEY],
                cwd=ROOT,
                env=os.environ | settings | {"DATABASE_URL": url},
                stdout=subprocess.PIPE,
            )
            with writer:
                try:
                    if step == "after the release":
                        assert writer.stdout
                        assert writer.stdout.readline() == b"written\n"
                    else:
                        assert way.reached.wait(120)
                finally:
                    writer.kill()
        await_true(lambda: not others(settings["DATABASE_URL"]), "its transaction has ended")

    return die


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_writer_that_dies_leaves_nothing_stale(
    a_shop: Shop, die_writing: Die, redis_cli: Any, step: str, method: str
) -> None:
    a_shop.create_product(stock=3)
    for path in ("/products/1", "/products"):
        a_shop.get(path)
        assert outcome(a_shop, path) == "HIT"
    path = "/products/1" if method == "PUT" else "/products"
    die_writing(step, method, path)
    assert_suspended(redis_cli, step)
    committed = step.startswith("after")
    for _ in range(3):
        if method == "PUT":
            assert stock(a_shop) == (77 if committed else 3)
        else:
            assert len(a_shop.get("/products").get_json()["items"]) == (2 if committed else 1)
    for name in redis_cli.scan_iter("products:*"):
        if redis_cli.get(name).startswith("writers"):
            redis_cli.pexpire(name, 1)  # as it will by itself
    await_true(lambda: outcome(a_shop, path) == "HIT")


def assert_suspended(redis_cli: Any, step: str) -> None:
    """Assert that Redis has a writer's notes if it died between suspension and release."""
    values = [redis_cli.get(name) for name in redis_cli.scan_iter("products:*")]
    notes = [value for value in values if value.startswith("writers")]
    assert bool(notes) == (step in {"before the commit", "after the commit"})


def others(url: str) -> int:
    """Count the transactions that are open."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE xact_start IS NOT NULL"
            " AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        [[count]] = cursor.fetchall()
        return int(count)


def test_a_commit_with_an_unknown_outcome_leaves_its_names_suspended(
    a_shop: Shop, postgres: Postgres, redis_cli: Any
) -> None:
    a_shop.create_product(stock=3)
    with before_commit(engine_of(a_shop), lambda: lose_all_connections(postgres)):
        assert a_shop.patch("/products/1", stock=9).status_code == 503
    assert redis_cli.get(KEY).startswith("writers ")
    assert stock(a_shop) == 3
    assert outcome(a_shop) == "MISS"  # nothing is stored
    assert a_shop.patch("/products/1", stock=9).status_code == 200
    assert redis_cli.get(KEY).startswith("writers ")  # of the first
    assert stock(a_shop) == 9


REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE unique_violation; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON products DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse()
"""


def test_a_write_that_is_refused_at_its_commit_releases_its_names(
    a_shop: Shop, redis_cli: Any
) -> None:
    a_shop.create_product(stock=3)
    execute(a_shop, REFUSE)
    try:
        assert a_shop.patch("/products/1", stock=9).status_code == 409
    finally:
        execute(a_shop, "DROP FUNCTION refuse CASCADE")
    assert not redis_cli.exists(KEY)
    assert stock(a_shop) == 3
    assert outcome(a_shop) == "HIT"


# A Redis that the writer cannot reach.


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
def test_a_hanging_redis_goes_on_with_nothing_stale(
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


def test_an_outbox_of_any_length_is_emptied(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    with a_shop.app.app_context():
        with db.engine.begin() as connection:
            rows = [{"name": f"products:id:{n}", "writer": new_token()} for n in range(1200)]
            connection.execute(ADD_NAME, rows)
        assert cache.replay() == 1200
        assert len(cache.outbox) == 0


# Forgetting to forget.


def test_a_change_outside_a_transaction_of_the_cache_is_refused(a_shop: Shop) -> None:
    a_shop.create_product()
    changes: list[Callable[[], Any]] = [
        lambda: db.session.add(Category(name="Kitchen")),
        lambda: db.session.delete(db.session.get(Product, 1)),
        lambda: setattr(db.session.get(Product, 1), "stock", 9),
        lambda: db.session.execute(update(Product).values(stock=9)),
        lambda: db.session.execute(insert(Category).values(name="Kitchen")),
        lambda: db.session.execute(text("UPDATE products SET stock = 9")),
        lambda: db.session.execute(text("TRUNCATE TABLE categories, products CASCADE")),
        lambda: db.session.execute(text('DELETE FROM "products" WHERE id = 1')),
        lambda: cache.execute(update(Product).values(stock=9), {}),
    ]

    def commit(change: Callable[[], Any]) -> None:
        change()
        db.session.commit()

    for change in changes:
        with a_shop.app.app_context():
            with pytest.raises(RuntimeError, match=r"only within cache.transaction\(\)"):
                commit(change)
            db.session.rollback()
    with a_shop.app.app_context():
        db.session.execute(text("SELECT * FROM products FOR UPDATE"))
        db.session.get(Product, 1)
        db.session.commit()
    assert stock(a_shop) == 3


def test_a_write_must_forget_something_that_reads_what_it_changes(a_shop: Shop) -> None:
    a_shop.create_product()

    def forget_too_little() -> None:
        with cache.transaction():
            db.session.add(Category(name="Kitchen"))
            cache.delete_memoized(products.page_ids)

    def commit_too_early() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            db.session.commit()

    def nest() -> None:
        with cache.transaction(), cache.transaction():
            pass

    def forget_too_little_alone() -> None:
        with cache.transaction():
            cache.execute(update(Product).values(stock=9), {})
            cache.delete_memoized(categories.page_ids)

    def write_before() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            db.session.flush()
            cache.execute(select(Product.id), {})

    def read_after() -> None:
        with cache.transaction():
            cache.execute(update(Product).values(stock=9), {})
            db.session.get(Product, 1)

    for write, error in (
        (forget_too_little, "nothing that reads categories is forgotten"),
        (forget_too_little_alone, "nothing that reads products is forgotten"),
        (write_before, "the session has a part"),
        (read_after, "the session has no part"),
        (commit_too_early, "commits by itself"),
        (nest, "not to be nested"),
    ):
        with a_shop.app.app_context(), pytest.raises(RuntimeError, match=error):
            write()
    assert stock(a_shop) == 3
    assert len(a_shop.get("/categories").get_json()["items"]) == 1


def test_a_transaction_of_statements_alone_has_one_connection(a_shop: Shop) -> None:
    a_shop.create_product(stock=3)
    with a_shop.app.app_context():
        with cache.transaction():
            assert db.session.get(Product, 1) is not None
            cache.execute(update(Product).values(stock=9), {})
            products.forget_product(1)
            assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        assert db.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert stock(a_shop) == 9


def test_uncommitted_read_of_a_transaction_is_not_cached(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product(stock=3)
    redis_cli.delete(KEY)

    def read_and_fail() -> None:
        with cache.transaction():
            db.session.get_one(Product, 1).stock = 9
            assert b'"stock":9' in products.product(1)
            raise ZeroDivisionError

    with a_shop.app.app_context(), pytest.raises(ZeroDivisionError):
        read_and_fail()
    assert not redis_cli.exists(KEY)
    assert stock(a_shop) == 3


# One reader computes.


def test_two_hundred_concurrent_first_readers_send_one_select(
    serve: Callable[..., Service], a_shop: Shop, postgres: Postgres
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="4", LOG_LEVEL="DEBUG")
    for _ in range(20):
        service.get("/categories")
    answers: list[int] = []
    begin = threading.Barrier(200)

    def read() -> None:
        begin.wait()
        answers.append(service.get("/products/1").json()["stock"])

    threads = [threading.Thread(target=read) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [3] * 200
    assert service.log.read_text().count("Cache MISS: products:id:1") == 1
    assert service.log.read_text().count("Cache BYPASS: products:id:1") == 0


def test_a_dead_reader_delays_others_only_until_its_lease_ends(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_shop.create_product()
    stock(a_shop)
    a_shop.patch("/products/1", stock=4)
    monkeypatch.setattr(protocol_module, "LEASE_SECONDS", 0.3)
    with a_shop.app.app_context():
        dead = cache.backend.protocol.read(["products:id:generation"], [KEY])
    assert dead[0].state is EntryState.LEASED
    assert stock(a_shop) == 4
    assert outcome(a_shop) == "HIT"  # the one that waited has stored it


def test_a_reader_waits_no_longer_than_a_lease(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holder is followed by another one that dies."""
    a_shop.create_product()
    stock(a_shop)
    a_shop.patch("/products/1", stock=4)
    with a_shop.app.app_context():
        cache.backend.protocol.read(["products:id:generation"], [KEY])
    monkeypatch.setattr(reader_module, "LEASE_SECONDS", 0.05)
    assert stock(a_shop) == 4
    assert outcome(a_shop) == "MISS"


def test_a_reader_that_fails_gives_its_lease_back(a_shop: Shop, redis_cli: Any) -> None:
    a_shop.create_product()
    redis_cli.delete(KEY)
    execute(a_shop, "ALTER TABLE products RENAME COLUMN description TO hidden")
    try:
        assert a_shop.get("/products/1").status_code == 500
    finally:
        execute(a_shop, "ALTER TABLE products RENAME COLUMN hidden TO description")
    assert not redis_cli.exists(KEY)


# Ids that do not exist.


def test_an_unknown_id_is_cached_until_it_is_created(
    make_shop: Make, a_shop: Shop, redis_cli: Any
) -> None:
    a_shop.create_category()
    assert a_shop.get("/products/1").status_code == 404
    with a_shop.statements() as sent:
        assert a_shop.get("/products/1").status_code == 404
    assert not sent
    assert 0 < redis_cli.ttl(KEY) <= 30
    with make_shop(CACHE_STALE_IF_ERROR="1000").app.app_context():
        redis_cli.delete(KEY)
        assert products.product_documents([1]) == {}
    assert 0 < redis_cli.ttl(KEY) <= 30
    a_shop.create_product()
    assert a_shop.get("/products/1").status_code == 200
    a_shop.delete("/products/1")
    assert a_shop.get("/products/1").status_code == 404


def test_unknown_ids_cannot_fill_redis(
    a_shop: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "MISSING_IDS_MAX", 5)
    for number in range(1, 21):
        assert a_shop.get(f"/products/{number}").status_code == 404
    assert len(redis_cli.keys("products:id:[0-9]*")) == 5
    with a_shop.statements() as sent:
        assert a_shop.get("/products/20").status_code == 404  # not held up by a lease either
    assert len(sent) == 1


# Without the database.


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
