"""Settings of PostgreSQL are those of a transaction: a pooler gives the session to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from shop.cache.statements import autocommit
from shop.database.locks import try_lock
from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Make, Shop

SETTINGS = {
    "transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "10s",
    "client_min_messages": "error",
    "jit": "off",
}
OF_REQUESTS = {"lock_timeout": "1234ms", "statement_timeout": "5678ms"}
NAMES = [*SETTINGS, *OF_REQUESTS]


@pytest.fixture
def shop(make_shop: Make) -> Shop:
    return make_shop(DATABASE_LOCK_TIMEOUT="1234", DATABASE_STATEMENT_TIMEOUT="5678")


def settings(connection: Any) -> dict[str, str]:
    return {name: connection.scalar(text(f"SELECT current_setting('{name}')")) for name in NAMES}


def settings_of_session(connection: Any) -> dict[str, str]:
    """Ask past the engine."""
    with autocommit(connection), connection.connection.cursor() as cursor:
        found = {}
        for name in NAMES:
            cursor.execute(f"SHOW {name}")
            [found[name]] = cursor.fetchone()
        return found


def test_each_transaction_of_a_request_has_its_settings_and_the_session_has_none(
    shop: Shop,
) -> None:
    with shop.app.test_request_context(), db.engine.connect() as connection:
        before = settings_of_session(connection)
        for end in (connection.commit, connection.rollback):
            assert settings(connection) == SETTINGS | OF_REQUESTS
            end()
        with autocommit(connection):
            assert settings(connection) == SETTINGS | OF_REQUESTS  # a transaction for each
        assert settings_of_session(connection) == before


def test_statements_of_a_command_may_wait_for_long(shop: Shop) -> None:
    with shop.app.app_context(), db.engine.connect() as connection:
        found = settings(connection)
    assert found == SETTINGS | dict.fromkeys(OF_REQUESTS, "0")


def test_a_command_can_send_what_may_not_be_in_a_transaction(shop: Shop) -> None:
    with shop.app.app_context(), db.engine.connect() as connection, autocommit(connection):
        connection.execute(text("REINDEX INDEX CONCURRENTLY pk_products"))


def test_only_the_first_statement_of_a_transaction_sends_its_settings(shop: Shop) -> None:
    """The settings take no round trip, and the answer is that of the statement."""
    with shop.app.test_request_context(), shop.statements() as sent:
        assert db.session.scalar(text("SELECT 7")) == 7
        assert db.session.scalar(text("SELECT 8")) == 8
        db.session.rollback()
    assert len(sent) == 2
    with shop.app.app_context(), db.engine.connect() as connection:
        asked = text("SELECT current_query()")
        query = connection.scalar(asked)
        assert query.startswith("SET LOCAL ")
        assert query.endswith(";SELECT current_query()")
        assert connection.scalar(asked) == "SELECT current_query()"


def test_a_statement_of_many_rows_sends_the_settings(shop: Shop) -> None:
    shop.create_product()
    shop.create_product()
    change = text("UPDATE products SET name = current_setting('jit') || :n WHERE id = :id")
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(change, [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}])
        names = connection.scalars(text("SELECT name FROM products ORDER BY id")).all()
    assert names == ["offa", "offb"]


def test_an_error_of_a_statement_shows_no_settings(shop: Shop) -> None:
    with (
        shop.app.app_context(),
        pytest.raises(ProgrammingError) as raised,
        db.engine.connect() as connection,
    ):
        connection.execute(text("SELECT nothing"))
    assert "SET LOCAL" not in str(raised.value)


def test_a_streamed_result_sends_the_settings(shop: Shop) -> None:
    shop.create_product()
    shop.create_product()
    with shop.app.app_context():
        found = db.session.scalars(text("SELECT id FROM products ORDER BY id")).yield_per(1)
        assert list(found) == [1, 2]
        assert db.session.scalar(text("SELECT current_setting('jit')")) == "off"


def test_a_lock_is_held_by_one_transaction_until_it_ends(shop: Shop) -> None:
    with shop.app.app_context(), db.engine.connect() as one, db.engine.connect() as other:
        assert try_lock(one, "a name", idle_seconds=30)
        assert try_lock(one, "a name", idle_seconds=30)
        assert not try_lock(other, "a name")
        assert try_lock(other, "another name")
        one.rollback()
        other.rollback()
        assert try_lock(other, "a name")


def test_the_end_of_autocommit_sends_nothing(shop: Shop) -> None:
    """A look at the outbox and a read that misses are one round trip each."""
    last = text("SELECT query FROM pg_stat_activity WHERE pid = :pid")
    with shop.app.app_context(), db.engine.connect() as one, db.engine.connect() as other:
        with autocommit(one):
            pid = one.scalar(text("SELECT pg_backend_pid()"))
        assert other.scalar(last, {"pid": pid}).endswith("SELECT pg_backend_pid()")
