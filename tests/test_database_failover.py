"""Failovers of PostgreSQL: connections to a standby are left, and lost writes are reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from shop.categories import service as categories
from shop.console import health
from shop.database.connections import is_read_only
from shop.database.failures import is_database_gone
from shop.extensions import db
from shop.products import service as products

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Make, MakeRelay, Relay, Shop
    from replication import Replicated

    from dev.embedded.servers import Postgres

READ_ONLY = "/problems/database-read-only"


@pytest.fixture
def way(replicated: Replicated, relay: MakeRelay) -> Relay:
    """A relay to the primary, as a proxy is."""
    return relay(replicated.primary.socket)


@pytest.fixture
def shop(make_shop: Make, way: Relay) -> Shop:
    shop = make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
    shop.create_product(stock=3)
    return shop


@pytest.fixture
def read_only(make_shop: Make, migrated: object) -> Iterator[Shop]:
    """A shop whose new connections to PostgreSQL take no writes."""
    shop = make_shop()
    shop.create_product(stock=3)
    administer("ALTER DATABASE shop SET default_transaction_read_only = on", shop)
    with shop.app.app_context():
        db.engine.dispose()
    yield shop
    administer("ALTER DATABASE shop RESET default_transaction_read_only", shop)


def administer(statement: str, shop: Shop) -> None:
    with shop.app.app_context():
        connection = psycopg2.connect(
            db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
    connection.set_session(readonly=False, autocommit=True)
    connection.cursor().execute(statement)
    connection.close()


def assert_read_only(shop: Shop) -> None:
    for answer in (
        shop.patch("/products/1", stock=4),
        shop.post("/categories", name="Kitchen"),
        shop.post("/sessions"),
        shop.request("POST", "/orders/1/pay", headers={"Idempotency-Key": "once"}),
    ):
        assert answer.status_code == 503, answer.text
        assert answer.get_json()["type"] == READ_ONLY
        assert answer.headers["Retry-After"] == "1"


def test_a_promoted_standby_has_the_commits_that_it_received(replicated: Replicated) -> None:
    primary, standby = replicated
    add = "INSERT INTO categories (name) VALUES ('{}')"
    primary.ask(add.format("kept"))
    standby.catch_up()
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        standby.ask(add.format("refused"))
    standby.stop_receiving()
    primary.ask(add.format("lost"))
    primary.kill()
    standby.promote()
    standby.ask(add.format("new"))
    assert standby.ask("SELECT string_agg(name, ',' ORDER BY name) FROM categories") == "kept,new"


def test_a_write_through_a_connection_to_a_standby_finds_the_primary(
    shop: Shop, replicated: Replicated, way: Relay
) -> None:
    """Pooled connections lead to the former primary; new ones do not."""
    way.close()
    way.target = replicated.standby.socket
    way.open()
    replicated.standby.catch_up()
    assert_read_only(shop)
    assert shop.get("/products/1").get_json()["stock"] == 3
    way.target = replicated.primary.socket
    assert shop.patch("/products/1", stock=5).status_code == 200
    assert shop.get("/products/1").get_json()["stock"] == 5


def test_every_pooled_connection_to_a_standby_is_left(
    shop: Shop, replicated: Replicated, way: Relay
) -> None:
    replicated.standby.catch_up()
    way.close()
    way.target = replicated.standby.socket
    way.open()
    with shop.app.app_context():
        held = [db.engine.connect() for _ in range(4)]
        for connection in held:
            connection.close()
    way.target = replicated.primary.socket
    for stock in range(4, 9):
        assert shop.patch("/products/1", stock=stock).status_code == 200


def test_a_shop_writes_to_a_standby_that_is_promoted(
    shop: Shop, replicated: Replicated, way: Relay
) -> None:
    replicated.standby.catch_up()
    replicated.primary.kill()
    way.close()
    way.target = replicated.standby.socket
    way.open()
    assert_read_only(shop)
    replicated.standby.promote()
    assert shop.patch("/products/1", stock=6).status_code == 200
    assert shop.get("/products/1").get_json()["stock"] == 6


def test_a_standby_serves_reads_and_health_reports_it(
    shop: Shop, replicated: Replicated, way: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RESULT_SECONDS", 0)
    assert shop.get("/health_check").get_json()["database"] == "ok"
    replicated.standby.catch_up()
    way.close()
    way.target = replicated.standby.socket
    way.open()
    assert shop.get("/readyz").status_code == 200
    told = shop.get("/health_check")
    assert (told.status_code, told.get_json()["status"]) == (200, "degraded")
    assert told.get_json()["database"] == "read-only"


def test_a_read_only_database_is_reported(
    read_only: Shop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "RESULT_SECONDS", 0)
    assert_read_only(read_only)
    assert read_only.get("/products/1").get_json()["stock"] == 3
    assert read_only.get("/health_check").get_json()["database"] == "read-only"
    lines = [line for line in caplog.records if line.levelname == "ERROR"]
    assert lines
    assert not any(line.exc_info for line in lines)
    command = read_only.command("keys", "create", "--name", "x")
    assert command.exit_code == 1
    [line] = command.stderr.splitlines()
    assert "25006" in line


def test_the_first_write_after_the_cure_works(read_only: Shop) -> None:
    """None of the pooled connections takes writes."""
    with read_only.app.app_context():
        held = [db.engine.connect() for _ in range(4)]
        assert all(is_read_only(one.connection.driver_connection) for one in held)
        for connection in held:
            connection.close()
    administer("ALTER DATABASE shop RESET default_transaction_read_only", read_only)
    assert read_only.patch("/products/1", stock=7).status_code == 200


@pytest.mark.parametrize(
    ("state", "status", "kind"),
    [
        ("25006", 503, "database-read-only"), ("25P03", 503, "database-unavailable"),
        ("57P01", 503, "database-unavailable"), ("57P03", 503, "database-unavailable"),
        ("57P05", 503, "database-unavailable"), ("53100", 503, "database-unavailable"),
        ("53200", 503, "database-unavailable"), ("53300", 503, "database-unavailable"),
        ("53400", 503, "database-unavailable"), ("08006", 503, "database-unavailable"),
        ("55P03", 503, "database-busy"), ("40001", 503, "database-busy"),
        ("40P01", 503, "database-busy"), ("57014", 503, "database-busy"),
        ("28000", 500, "internal"), ("3D000", 500, "internal"), ("42501", 500, "internal"),
        ("58030", 500, "internal"), ("XX001", 500, "internal"),
    ],
)  # fmt: skip
def test_an_error_of_postgresql_is_classified_by_its_sqlstate(
    a_shop: Shop, state: str, status: int, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    a_shop.create_product()
    fail = f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE SQLSTATE '{state}' USING MESSAGE = 'БАЗА'; END $$;
        CREATE TRIGGER fail BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION fail()
    """
    administer(fail, a_shop)
    try:
        answer = a_shop.patch("/products/1", stock=4)
    finally:
        administer("DROP FUNCTION fail CASCADE", a_shop)
    assert (answer.status_code, answer.get_json()["type"]) == (status, f"/problems/{kind}")
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert state in caplog.text
    assert "Traceback" not in caplog.text
    assert a_shop.patch("/products/1", stock=4).status_code == 200


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_write_that_failed_by_a_conflict_is_repeated_once(a_shop: Shop, state: str) -> None:
    a_shop.create_product(stock=3)
    fail = f"""
        CREATE SEQUENCE tries;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('tries') = 1 THEN RAISE SQLSTATE '{state}'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER fail BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION fail()
    """
    administer(fail, a_shop)
    try:
        answer = a_shop.request("PATCH", "/products/1/stock", json={"delta": 2})
    finally:
        administer("DROP FUNCTION fail CASCADE; DROP SEQUENCE tries", a_shop)
    assert answer.status_code == 200, answer.text
    assert a_shop.stock_of(1) == 5


@pytest.mark.parametrize(
    "change",
    [
        lambda: products.change_stock(1, 2, None),  # by statements alone
        lambda: categories.update_category(1, {"name": "Shed"}, None),  # by the session
    ],
)
def test_a_request_that_has_committed_is_not_repeated(
    make_shop: Make, change: Callable[[], bytes]
) -> None:
    shop, calls = make_shop(), []

    @shop.app.post("/changed")
    def view() -> str:
        calls.append(change())
        db.session.execute(sa.text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        raise AssertionError

    shop.create_product(stock=3)
    assert shop.request("POST", "/changed").status_code == 503
    assert len(calls) == 1


@pytest.mark.parametrize("words", ["ВАЖНО", "FATAL", "致命错误", "starting up"])
def test_a_server_that_refuses_only_this_service_is_not_unavailable(
    postgres: Postgres, words: str
) -> None:
    """A server that answers may have other writers."""
    url = postgres.url.replace("postgresql:", "postgresql+psycopg2:")
    engine = sa.create_engine(url, connect_args={"user": words})
    with pytest.raises(DBAPIError) as error:
        engine.connect()
    original = error.value.orig
    assert original is not None
    original.args = (str(original).replace("FATAL", words),)
    assert not is_database_gone(error.value)


def test_a_url_of_several_servers_is_not_unavailable_while_one_answers(postgres: Postgres) -> None:
    for hosts in (("127.0.0.1", None), (None, "127.0.0.1")):
        host = ",".join(one or str(postgres.socket.parent) for one in hosts)
        port = ",".join("1" if one else "5432" for one in hosts)
        engine = sa.create_engine(
            "postgresql+psycopg2://stranger@/shop", connect_args={"host": host, "port": port}
        )
        with pytest.raises(DBAPIError) as error:
            engine.connect()
        assert not is_database_gone(error.value)
