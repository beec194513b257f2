"""The migration to ids of eight bytes: beside the version before, again after a failure."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import flask_migrate
import pytest
from conftest import await_true
from migrating import MIGRATIONS, execute, rows
from sqlalchemy import event, text

from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask

# What the version before does, as far as it names ids.
SESSION, ORDER = "currval('sessions_id_seq')", "currval('orders_id_seq')"
SELL = (
    "INSERT INTO sessions (token_hash, expires_at) VALUES (gen_random_uuid(), now())",
    f"INSERT INTO cart_items (session_id, product_id, quantity) VALUES ({SESSION}, 1, 1)",
    f"""INSERT INTO orders (total, currency, customer_name, customer_email, customer_address,
        session_id) VALUES (1, 'EUR', 'A', 'a@example.com', '', {SESSION})""",
    f"""INSERT INTO order_lines (order_id, product_id, position, name, price, quantity)
        VALUES ({ORDER}, 1, 0, 'a', 1, 1)""",
    f"""INSERT INTO idempotency_keys (client, key, fingerprint, row_id, body)
        VALUES ('c', gen_random_uuid(), '', {ORDER}, '')""",
)
END_SESSION = "DELETE FROM sessions WHERE id = (SELECT min(id) FROM sessions)"
SOLD = """
    SELECT orders.id, order_lines.order_id, sessions.id, cart_items.session_id, row_id
    FROM orders JOIN order_lines ON order_lines.order_id = orders.id
    LEFT JOIN sessions ON sessions.id = orders.session_id
    LEFT JOIN cart_items ON cart_items.session_id = orders.session_id
    LEFT JOIN idempotency_keys ON row_id = orders.id ORDER BY orders.id
"""
LEFT = """
    SELECT column_name::name FROM information_schema.columns WHERE column_name LIKE 'wide%'
    UNION ALL SELECT relname FROM pg_class WHERE relname LIKE 'wide%'
    UNION ALL SELECT conname FROM pg_constraint WHERE conname LIKE '%wide%' OR NOT convalidated
    UNION ALL SELECT proname FROM pg_proc WHERE proname LIKE '%widen%'
"""
EXCHANGE = "LOCK TABLE idempotency_keys"  # and all others; then the columns change their names


@pytest.fixture
def before(empty: Flask) -> Flask:
    """A database of the version before, in which two orders were placed."""
    flask_migrate.upgrade(MIGRATIONS, revision="0009")
    execute(
        "INSERT INTO categories (name) VALUES ('Garden')",
        "INSERT INTO products (name, price, stock, category_id) VALUES ('a', 1, 1, 1)",
        *SELL,
        *SELL,
    )
    return empty


@contextmanager
def before_each(action: Callable[[str], None]) -> Iterator[None]:
    """Do something before each statement of this thread's connections, but for its own."""
    busy: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not busy:
            busy.append(statement)
            try:
                action(statement)
            finally:
                busy.clear()

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_the_version_before_sells_while_ids_are_widened(before: Flask) -> None:
    """The version before sells at each step, and does not wait for it."""
    steps: list[str] = []

    def sell(statement: str) -> None:
        if not any(EXCHANGE in step for step in steps):
            steps.append(statement)
            execute("SET LOCAL lock_timeout = '5s'", *SELL)
            if "wide" in statement and len(steps) % 3 == 0:
                execute("SET LOCAL lock_timeout = '5s'", END_SESSION)

    with before_each(sell):
        flask_migrate.upgrade(MIGRATIONS, revision="0010")
    assert len(steps) > 40
    execute(*SELL)
    sold = rows(SOLD)
    assert [order for order, *_ in sold] == list(range(1, len(steps) + 4))
    for order, line, session, cart, kept in sold:
        assert order == line == kept
        assert session in {order, None}
        assert session == cart
    assert any(session is None for _, _, session, *_ in sold)
    assert rows(LEFT) == []


def test_ids_are_widened_without_new_files_of_the_tables(before: Flask) -> None:
    """Rewriting a table would block all requests meanwhile."""
    files = "SELECT relname, relfilenode FROM pg_class WHERE relname = ANY ("
    files += "ARRAY['sessions', 'cart_items', 'orders', 'order_lines', 'idempotency_keys'])"
    files += " AND relkind = 'r' ORDER BY relname"
    were = rows(files)
    flask_migrate.upgrade(MIGRATIONS, revision="0010")
    assert rows(files) == were


@pytest.mark.parametrize(
    "step",
    [
        "CREATE OR REPLACE TRIGGER widen BEFORE INSERT OR UPDATE ON orders", "DO $$ DECLARE block",
        "CREATE INDEX CONCURRENTLY wide_ix_orders_status", "VALIDATE CONSTRAINT wide_fk_orders",
        "SET NOT NULL", "ANALYZE", "ADD CONSTRAINT pk_order_lines", "api_keys ALTER COLUMN",
    ],
)  # fmt: skip
def test_widening_that_stopped_in_the_middle_can_be_run_again(before: Flask, step: str) -> None:
    def stop(statement: str) -> None:
        if step in statement:
            raise InterruptedError

    with before_each(stop), pytest.raises(InterruptedError):
        flask_migrate.upgrade(MIGRATIONS, revision="0010")
    assert rows("SELECT version_num FROM alembic_version") == [("0009",)]
    execute(*SELL, END_SESSION)
    flask_migrate.upgrade(MIGRATIONS, revision="0010")
    assert rows(SOLD) == [(1, 1, None, None, 1), (2, 2, 2, 2, 2), (3, 3, 3, 3, 3)]
    assert rows(LEFT) == []


def test_a_row_that_another_holds_is_widened_when_it_is_free(before: Flask) -> None:
    """Later rows are filled meanwhile."""
    holder = db.engine.connect()
    watcher: list[Thread] = []

    def free_it_after_the_next() -> None:
        with before.app_context():
            filled = "SELECT id FROM orders WHERE wide_id IS NOT NULL"
            await_true(lambda: rows(filled) == [(2,)])
        holder.close()

    def hold(statement: str) -> None:
        if "DO $$ DECLARE block" in statement and not watcher:
            holder.execute(text("SELECT FROM orders WHERE id = 1 FOR UPDATE"))
            watcher.append(Thread(target=free_it_after_the_next))
            watcher[0].start()

    with before_each(hold):
        flask_migrate.upgrade(MIGRATIONS, revision="0010")
    watcher[0].join()
    assert rows(SOLD) == [(1, 1, 1, 1, 1), (2, 2, 2, 2, 2)]


@pytest.mark.parametrize("step", ["SHARE ROW EXCLUSIVE MODE", EXCHANGE])
def test_no_request_is_ended_as_deadlocked_by_the_locks_of_widening(
    before: Flask, step: str
) -> None:
    """A request that has locked a later table waits for an earlier one."""
    request = db.engine.connect()
    ended: list[Thread] = []

    def go_on() -> None:
        with before.app_context():
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            await_true(lambda: rows(waits) == [(1,)], "the migration waits for orders")
        request.execute(text("DELETE FROM sessions WHERE id = 1"))
        request.commit()
        request.close()

    def hold(statement: str) -> None:
        if step in statement and "orders" in statement and not ended:
            request.execute(text("UPDATE orders SET updated_at = now() WHERE id = 1"))
            ended.append(Thread(target=go_on))
            ended[0].start()

    with before_each(hold):
        flask_migrate.upgrade(MIGRATIONS, revision="0010")
    ended[0].join()
    assert rows("SELECT id FROM sessions") == [(2,)]
    assert rows("SELECT session_id FROM orders ORDER BY id") == [(None,), (2,)]


TYPES = """
    SELECT table_name, column_name, data_type FROM information_schema.columns
    WHERE column_name IN ('id', 'session_id', 'order_id', 'row_id') AND table_schema = 'public'
    UNION ALL
    SELECT sequencename, 'sequence', data_type::text FROM pg_sequences ORDER BY 1, 2
"""


def test_ids_of_tables_that_grow_with_traffic_have_eight_bytes(empty: Flask) -> None:
    flask_migrate.upgrade(MIGRATIONS)
    narrow = {(table, name) for table, name, kind in rows(TYPES) if kind != "bigint"}
    catalogue = {
        (f"{name}{suffix}", kind)
        for name in ("products", "categories")
        for suffix, kind in (("", "id"), ("_id_seq", "sequence"))
    }
    assert narrow == catalogue | {("installation", "id")}


def test_the_downgrade_makes_ids_as_they_were(before: Flask) -> None:
    were = rows(TYPES), rows(SOLD)
    flask_migrate.upgrade(MIGRATIONS, revision="0010")
    flask_migrate.downgrade(MIGRATIONS, revision="0009")
    assert (rows(TYPES), rows(SOLD)) == were
    execute(*SELL)
    assert rows(SOLD)[-1] == (3, 3, 3, 3, 3)


@pytest.mark.parametrize("sequence", ["sessions_id_seq", "orders_id_seq"])
def test_ids_that_four_bytes_cannot_hold_stop_the_downgrade(
    before: Flask, caplog: pytest.LogCaptureFixture, sequence: str
) -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0010")
    execute(f"SELECT setval('{sequence}', 2147483647)", *SELL)
    were = rows(TYPES), rows(SOLD)
    arguments = ["db", "downgrade", "0009", "--directory", MIGRATIONS]
    assert before.test_cli_runner().invoke(args=arguments).exit_code == 1
    assert caplog.messages[-1].startswith("Error: Ids that four bytes cannot hold: ")
    assert f"{sequence} (2147483648)" in caplog.messages[-1]
    assert (rows(TYPES), rows(SOLD)) == were
