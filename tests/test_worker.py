"""`flask worker`: what is done by the clock, by one of several, through outages and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import CUSTOMER, ROOT, await_true, changed
from sqlalchemy import text

from shop.extensions import db
from shop.ops.worker import AT_WORK, STANDS_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MakeRelay, Shop

    from dev.embedded.servers import Postgres, Redis

    Work = Callable[..., "Worker"]

LATE = "UPDATE orders SET expires_at = now() - interval '1 s' WHERE status = 'pending'"
TURNS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"


class Worker:
    """A worker in a process of its own."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        program = str(Path(sys.executable).with_name("flask"))
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [program, "worker"], cwd=ROOT, env=environment, stdout=output, stderr=output
            )

    def said(self, message: str) -> int:
        """Return how often it has logged a message that begins so."""
        return sum(line["message"].startswith(message) for line in self.lines())

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines that are whole."""
        written = self.log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in written if line.endswith("\n")]

    def await_said(self, message: str, times: int = 1) -> None:
        await_true(lambda: self.said(message) >= times, self.log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(120)


@pytest.fixture
def work(settings: dict[str, str], tmp_path: Path) -> Iterator[Work]:
    """Start workers."""
    started: list[Worker] = []

    def start(**changes: str) -> Worker:
        environment = {**os.environ, **changed(settings, {"LOG_LEVEL": "INFO", **changes})}
        started.append(Worker(environment, tmp_path / f"worker-{len(started)}.log"))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with ten rakes (1)."""
    a_shop.create_product(name="Rake", stock=10)
    return a_shop


def sql(shop: Shop, statement: str) -> list[Any]:
    with shop.app.app_context(), db.engine.begin() as connection:
        found = connection.execute(text(statement))
        return [tuple(row) for row in found] if found.returns_rows else []


def pending(shop: Shop) -> int:
    [(count,)] = sql(shop, "SELECT count(*) FROM orders WHERE status = 'pending'")
    assert isinstance(count, int)
    return count


def let_all_expire(shop: Shop) -> None:
    """Let the time of all orders be over, and wait until the worker has ended them."""
    sql(shop, LATE)
    await_true(lambda: not pending(shop), "no order is pending")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_works_until_it_is_told_to_stop(
    shop: Shop, work: Work, number: signal.Signals
) -> None:
    worker = work()
    worker.await_said(AT_WORK)
    for _ in range(3):
        shop.place_order(1)
    let_all_expire(shop)
    assert shop.stock_of(1) == 10
    assert worker.stop(number) == 0
    assert worker.said("Order ") == 3
    assert sql(shop, TURNS) == []


def test_a_worker_purges_old_rows_and_builds_the_leaderboard(
    shop: Shop, work: Work, redis_cli: Any
) -> None:
    old = {"Idempotency-Key": "old"}
    shop.place_order(1)
    shop.move_order(1, "pay", **old)
    for _ in range(3):
        shop.open_session()
    sql(shop, "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE id < 3")
    sql(shop, "UPDATE idempotency_keys SET created_at = now() - interval '2 days'")
    worker = work()
    worker.await_said("Purged 2 sessions, 1 idempotency keys")
    assert sql(shop, "SELECT id FROM sessions") == [(3,)]
    await_true(lambda: redis_cli.keys("products:trending:*"), "a board")


def test_one_of_several_workers_works_and_another_takes_over(shop: Shop, work: Work) -> None:
    first = work()
    first.await_said(AT_WORK)
    second = work()
    second.await_said(STANDS_BY)
    for _ in range(5):
        shop.place_order(1)
    let_all_expire(shop)
    first.await_said("Order ", times=5)
    assert (first.said("Order "), second.said("Order ")) == (5, 0)
    first.stop(signal.SIGKILL)
    second.await_said(AT_WORK)
    shop.place_order(1)
    let_all_expire(shop)
    second.await_said("Order ")
    assert second.said("Order ") == 1
    assert shop.stock_of(1) == 10


def test_a_worker_that_loses_its_turn_does_not_work(shop: Shop, work: Work) -> None:
    """PostgreSQL ends the connection of a worker that hangs."""
    first = work()
    first.await_said(AT_WORK)
    second = work()
    second.await_said(STANDS_BY)
    os.kill(first.process.pid, signal.SIGSTOP)
    [(turn,)] = sql(shop, TURNS)
    [(timeout,)] = sql(shop, f"SELECT pg_terminate_backend({turn})")
    assert timeout
    second.await_said(AT_WORK)
    os.kill(first.process.pid, signal.SIGCONT)
    first.await_said(STANDS_BY)
    assert first.stop() == second.stop() == 0


def test_postgresql_ends_the_turn_of_a_hanging_worker(shop: Shop, work: Work) -> None:
    worker = work()
    worker.await_said(AT_WORK)
    os.kill(worker.process.pid, signal.SIGSTOP)
    await_true(lambda: not sql(shop, TURNS), "the turn is free")


def test_a_worker_that_is_killed_loses_and_repeats_nothing(shop: Shop, work: Work) -> None:
    shop.place_order(1, quantity=4)
    with shop.app.app_context(), db.engine.begin() as other:
        other.execute(text("SELECT FROM products FOR UPDATE"))
        first = work()
        sql(shop, LATE)
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await_true(lambda: sql(shop, waiting), "the worker waits for the product")
        first.stop(signal.SIGKILL)
    await_true(lambda: not sql(shop, waiting), "nobody waits")
    assert pending(shop) + shop.stock_of(1) // 10 == 1  # PostgreSQL may have come to no end
    second = work()
    await_true(lambda: not pending(shop), second.log)
    assert shop.stock_of(1) == 10
    assert sql(shop, "SELECT status FROM orders") == [("cancelled",)]


def test_a_worker_goes_on_when_postgresql_is_back(
    shop: Shop, work: Work, postgres: Postgres, relay: MakeRelay
) -> None:
    path = relay(postgres.socket)
    worker = work(DATABASE_URL=f"postgresql://shop@127.0.0.1:{path.port}/shop")
    worker.await_said(AT_WORK)
    shop.place_order(1)
    path.close()
    worker.await_said("The database cannot be reached")
    sql(shop, LATE)
    path.open()
    await_true(lambda: not pending(shop), worker.log)
    worker.await_said(AT_WORK, 2)
    assert worker.said("The database cannot be reached") == 1
    assert worker.stop() == 0


def test_a_worker_starts_before_postgresql(
    shop: Shop, work: Work, postgres: Postgres, relay: MakeRelay
) -> None:
    path = relay(postgres.socket)
    path.close()
    worker = work(DATABASE_URL=f"postgresql://shop@127.0.0.1:{path.port}/shop")
    worker.await_said("The database cannot be reached")
    path.open()
    worker.await_said(AT_WORK)


@pytest.mark.hurried  # the shop has to look at the outbox, too
def test_orders_expire_while_redis_is_away(shop: Shop, work: Work, own_redis: Redis) -> None:
    worker = work(REDIS_URL=own_redis.url)
    worker.await_said(AT_WORK)
    own_redis.stop()
    shop.place_order(1)
    let_all_expire(shop)
    assert worker.said("Redis cannot be reached") == 1
    await_true(lambda: shop.stock_of(1) == 10)  # when the worker has acknowledged it
    own_redis.start()
    worker.await_said("Redis answers again")
    assert worker.stop() == 0


def test_a_worker_notices_that_redis_was_claimed(shop: Shop, work: Work, redis_cli: Any) -> None:
    """No task of the worker asks whose Redis it is meanwhile."""
    worker = work()
    worker.await_said(AT_WORK)
    await_true(lambda: redis_cli.keys("products:trending:*"))
    redis_cli.set("shop:owner", "another")
    worker.await_said("Redis belongs to another installation")
    assert worker.stop() == 0


def test_a_worker_needs_no_redis(shop: Shop, work: Work) -> None:
    worker = work(REDIS_ENABLED="false")
    worker.await_said(AT_WORK)
    shop.place_order(1)
    let_all_expire(shop)
    assert [line["level"] for line in worker.lines()].count("WARNING") == 0


def test_an_error_of_one_task_is_logged_once_and_stops_no_other_task(
    shop: Shop, work: Work
) -> None:
    sql(shop, "ALTER TABLE sessions RENAME TO elsewhere")
    try:
        worker = work()
        worker.await_said("Task purge has failed")
        shop.place_order(1)
        let_all_expire(shop)
    finally:
        sql(shop, "ALTER TABLE elsewhere RENAME TO sessions")
    assert worker.said("Task purge has failed") == 1
    assert worker.stop() == 0


def test_the_log_of_a_worker_has_no_customer_data(shop: Shop, work: Work) -> None:
    worker = work(LOG_LEVEL="DEBUG")
    worker.await_said(AT_WORK)
    shop.place_order(1)
    let_all_expire(shop)
    worker.await_said("Order 1 ")
    assert worker.stop() == 0
    assert not any(part in worker.log.read_text() for part in CUSTOMER.values())
