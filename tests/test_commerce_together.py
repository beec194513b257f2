"""Many buyers at once, over several workers that also die: stock is neither oversold nor lost."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import redis
import requests
from conftest import ADMIN_KEY, CUSTOMER, ROOT, await_true

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from conftest import Service

    from dev.embedded.servers import Postgres, Redis

    Serve = Callable[..., Service]

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
REFUSED = {"status": 409, "detail": "Not all lines can be had."}


class Buyers:
    """Requests of many clients at once, each with its own connection."""

    def __init__(self, service: Service, database: str) -> None:
        self.url = service.url
        self.service = service
        self._database = database

    def make_products(self, *stocks: int) -> None:
        assert self.send("POST", "/categories", {"name": "Garden"}).status_code == 201
        for stock in stocks:
            product = {"name": "Rake", "price": "19.90", "stock": stock, "category_id": 1}
            assert self.send("POST", "/products", product).status_code == 201

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        return requests.request(
            method, self.url + path, json=body, headers=ADMIN | headers, timeout=120
        )

    def order(self, *product_ids: int, **headers: str) -> requests.Response:
        lines = [{"product_id": one, "quantity": 1} for one in product_ids]
        return self.send("POST", "/orders", {"customer": CUSTOMER, "lines": lines}, **headers)

    def at_once(
        self, requests_: Sequence[Callable[[], requests.Response]]
    ) -> list[requests.Response]:
        """Send all when all are ready to be sent."""
        barrier = threading.Barrier(len(requests_))

        def send(request: Callable[[], requests.Response]) -> requests.Response:
            barrier.wait()
            return request()

        with ThreadPoolExecutor(len(requests_)) as pool:
            return list(pool.map(send, requests_))

    def stock(self, product_id: int) -> int:
        stock: int = requests.get(f"{self.url}/products/{product_id}", timeout=120).json()["stock"]
        return stock

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg2.connect(self._database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            rows = cursor.fetchall() if cursor.description else []
        connection.close()
        return rows


@pytest.fixture
def buyers(serve: Serve, postgres: Postgres) -> Buyers:
    return Buyers(serve(WEB_CONCURRENCY="4"), postgres.url)


def statuses(answers: list[requests.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_fifty_of_two_hundred_buyers_get_the_stock_of_fifty(buyers: Buyers) -> None:
    buyers.make_products(50)
    sold_out = threading.Event()
    seen: list[int] = []

    def look() -> None:
        while not sold_out.is_set():
            seen.append(buyers.stock(1))

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    answers = buyers.at_once([lambda: buyers.order(1)] * 200)
    sold_out.set()
    for watcher in watchers:
        watcher.join()

    assert statuses(answers) == {201: 50, 409: 150}
    for answer in answers:
        if answer.status_code == 409:
            problem = answer.json()
            assert REFUSED.items() <= problem.items()
            assert problem["errors"] == [
                {
                    "field": "lines.0.quantity",
                    "detail": "Product 1 has a stock of 0.",
                    "product_id": 1,
                    "available": 0,
                }
            ]
    assert [buyers.stock(1) for _ in range(40)] == [0] * 40
    page = requests.get(f"{buyers.url}/products", timeout=120).json()
    assert [row["stock"] for row in page["items"]] == [0]
    assert set(seen) <= set(range(51))
    assert buyers.sql("SELECT count(*), sum(quantity) FROM order_lines") == [(50, 50)]
    assert buyers.sql("SELECT stock FROM products") == [(0,)]


def test_orders_that_collide_in_opposite_orders_do_not_deadlock(buyers: Buyers) -> None:
    count = 12
    buyers.make_products(*[1000] * count)
    chance = random.Random(1)
    carts = [chance.sample(range(1, count + 1), count) for _ in range(120)]
    answers = buyers.at_once([partial(buyers.order, *cart) for cart in carts])
    assert statuses(answers) == {201: 120}
    moves = [partial(buyers.send, "POST", f"/orders/{number}/cancel") for number in range(1, 61)]
    moves += [partial(buyers.order, *cart) for cart in carts[:60]]
    assert statuses(buyers.at_once(moves)) == {200: 60, 201: 60}
    assert [buyers.stock(number) for number in range(1, count + 1)] == [1000 - 120] * count
    assert buyers.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = 'shop'") == [(0,)]


def test_one_key_sent_fifty_times_at_once_makes_one_order(buyers: Buyers) -> None:
    buyers.make_products(100)
    key = {"Idempotency-Key": "one"}
    answers = buyers.at_once([lambda: buyers.order(1, **key)] * 50)
    assert set(statuses(answers)) <= {201, 409}
    made = [answer for answer in answers if answer.status_code == 201]
    assert {answer.json()["id"] for answer in made} == {1}
    assert [answer.headers.get("Idempotent-Replayed") for answer in made].count(None) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert "under way" in answer.json()["detail"]
    assert buyers.sql("SELECT count(*) FROM orders") == [(1,)]
    assert buyers.stock(1) == 99


def test_a_repeated_checkout_makes_one_order(buyers: Buyers) -> None:
    buyers.make_products(100)
    token = buyers.send("POST", "/sessions").json()["token"]
    session = {"Authorization": f"Bearer {token}"}
    buyers.send("PUT", "/cart/items/1", {"quantity": 2}, **session)
    body = {"customer": CUSTOMER}
    answers = buyers.at_once([lambda: buyers.send("POST", "/cart/checkout", body, **session)] * 20)
    assert statuses(answers) == {201: 1, 409: 19}
    assert buyers.stock(1) == 98


def test_one_of_a_racing_cancellation_and_payment_comes_first(buyers: Buyers) -> None:
    count = 40
    buyers.make_products(count)
    for _ in range(count):
        assert buyers.order(1).status_code == 201
    assert buyers.stock(1) == 0
    moves = [
        partial(buyers.send, "POST", f"/orders/{number}/{action}")
        for number in range(1, count + 1)
        for action in ("cancel", "pay", "ship", "cancel")
    ]
    answers = buyers.at_once(moves)
    assert set(statuses(answers)) == {200, 409}
    kept = 0
    for number, status in buyers.sql("SELECT id, status FROM orders ORDER BY id"):
        cancel, pay, ship, again = answers[4 * (number - 1) : 4 * number]
        cancelled = [cancel.status_code, again.status_code].count(200)
        assert cancelled <= 1
        if status == "cancelled":
            assert (cancelled, ship.status_code) == (1, 409)
        else:
            assert (cancelled, pay.status_code) == (0, 200)
            kept += 1
    assert buyers.stock(1) == count - kept


# Orders expire, in processes of their own, while they are paid and cancelled.

EXPIRE = """
import select, sys
from shop import create_app
from shop.orders import expiry
app, expired = create_app(), 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    with app.app_context():
        expired += expiry.expire_orders(3)
print(expired)
"""


@contextmanager
def expiring(settings: dict[str, str], processes: int) -> Iterator[Callable[[], int]]:
    """Let processes look for what has expired, again and again; return how many they found."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", EXPIRE],
            cwd=ROOT,
            env={**os.environ, **settings, "LOG_LEVEL": "WARNING"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]

    def stop() -> int:
        found = [process.communicate("stop", timeout=60)[0] for process in started]
        assert all(process.returncode == 0 for process in started)
        return sum(map(int, found))

    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        yield stop
    finally:
        for process in started:
            with process:  # which closes its pipes, and waits for it
                process.kill()


NO_DEADLOCK = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'shop'"


def test_one_of_a_racing_payment_and_expiry_comes_first(
    buyers: Buyers, settings: dict[str, str]
) -> None:
    """A third of the orders is late, a third is not, and the time of the others is just over."""
    count = 90
    buyers.make_products(count)
    assert statuses([buyers.order(1) for _ in range(count)]) == {201: count}
    before = buyers.sql(NO_DEADLOCK)
    with expiring(settings, 3) as stop:
        ends = dict(
            buyers.sql(
                "UPDATE orders SET expires_at = clock_timestamp() + CASE mod(id, 3) "
                "WHEN 0 THEN interval '-1 s' WHEN 1 THEN interval '1 h' "
                "ELSE interval '20 ms' * mod(id, 30) END RETURNING id, expires_at"
            )
        )
        answers = buyers.at_once(
            [partial(buyers.send, "POST", f"/orders/{number}/pay") for number in ends]
        )
        pending = "SELECT count(*) FROM orders WHERE status = 'pending'"
        await_true(lambda: buyers.sql(pending) == [(0,)], "every order is paid or has expired")
        expired = stop()
    found = buyers.sql("SELECT id, status, paid_at, cancelled_at FROM orders")
    paid = {number: at for number, status, at, _ in found if status == "paid"}
    ended = {number: at for number, status, _, at in found if status == "cancelled"}
    assert {n for n, one in zip(ends, answers, strict=True) if one.status_code == 200} == {*paid}
    refused = {one.json()["type"] for one in answers if one.status_code != 200}
    assert refused == {"/problems/order-expired"}
    assert all(paid[number] < ends[number] for number in paid)
    assert all(ended[number] >= ends[number] for number in ended)
    assert {n for n in ends if n % 3 == 1} <= {*paid}
    assert {n for n in ends if n % 3 == 0} <= {*ended}
    assert (len(paid) + len(ended), expired) == (count, len(ended))
    assert buyers.stock(1) == len(ended)
    assert buyers.sql(NO_DEADLOCK) == before


def test_orders_expire_once_with_several_expiry_runs_at_once(
    buyers: Buyers, settings: dict[str, str]
) -> None:
    """Meanwhile orders are cancelled, and others are placed of the same products."""
    count = 60
    buyers.make_products(*[2 * count] * 3)
    baskets = [random.Random(n).sample([1, 2, 3], 3) for n in range(count)]
    assert statuses([buyers.order(*basket) for basket in baskets]) == {201: count}
    before = buyers.sql(NO_DEADLOCK)
    with expiring(settings, 4) as stop:
        buyers.sql("UPDATE orders SET expires_at = clock_timestamp() - interval '1 s'")
        moves = [partial(buyers.send, "POST", f"/orders/{n}/cancel") for n in range(1, count, 3)]
        moves += [partial(buyers.order, *basket) for basket in baskets[:20]]
        answers = buyers.at_once(moves)
        pending = f"SELECT count(*) FROM orders WHERE status = 'pending' AND id <= {count}"
        await_true(lambda: buyers.sql(pending) == [(0,)], "no order is pending")
        expired = stop()
    by_hand = statuses(answers[:-20])[200]
    assert statuses(answers[-20:]) == {201: 20}
    assert expired + by_hand == count
    assert [buyers.stock(number) for number in (1, 2, 3)] == [2 * count - 20] * 3
    assert buyers.sql(NO_DEADLOCK) == before


class Visitors:
    """Sessions, each with a cart of one rake."""

    def __init__(self, buyers: Buyers, count: int) -> None:
        self.buyers = buyers
        self.sessions = []
        for _ in range(count):
            token = buyers.send("POST", "/sessions").json()["token"]
            self.sessions.append({"Authorization": f"Bearer {token}"})
            self.fill(self.sessions[-1])

    def fill(self, session: dict[str, str]) -> None:
        filled = self.buyers.send("PUT", "/cart/items/1", {"quantity": 1}, **session)
        assert filled.status_code == 200

    def check_out(self, session: dict[str, str]) -> requests.Response:
        return self.buyers.send("POST", "/cart/checkout", {"customer": CUSTOMER}, **session)

    def end(self, session: dict[str, str]) -> requests.Response:
        return self.buyers.send("DELETE", "/sessions/current", **session)

    def fill_and_check_out(self, session: dict[str, str]) -> requests.Response:
        self.fill(session)
        return self.check_out(session)


@pytest.fixture
def capped(serve: Serve, postgres: Postgres) -> Buyers:
    """A service with the caps of the defaults."""
    caps = {"SESSION_OPEN_ORDERS": "5", "ADDRESS_OPEN_ORDERS": "20"}
    buyers = Buyers(serve(WEB_CONCURRENCY="4", **caps), postgres.url)
    buyers.make_products(1000)
    return buyers


def test_the_sessions_of_an_address_place_exactly_as_many_orders_as_their_cap(
    capped: Buyers,
) -> None:
    visitors = Visitors(capped, 30)
    answers = capped.at_once([partial(visitors.check_out, one) for one in visitors.sessions])
    assert statuses(answers) == {201: 20, 409: 10}
    refused = {one.json()["type"] for one in answers if one.status_code == 409}
    assert refused == {"/problems/address-open-orders"}
    assert capped.stock(1) == 980


def test_a_session_places_exactly_as_many_orders_as_its_cap(capped: Buyers) -> None:
    visitors = Visitors(capped, 1)
    [session] = visitors.sessions
    while True:
        answers = capped.at_once([partial(visitors.fill_and_check_out, session)] * 20)
        types = {one.json().get("type") for one in answers}
        if "/problems/session-open-orders" in types:
            break
    assert types <= {None, "/problems/cart-empty", "/problems/session-open-orders"}
    assert capped.sql("SELECT count(*) FROM orders") == [(5,)]
    assert capped.stock(1) == 995


def test_checkouts_ends_of_sessions_and_expiries_do_not_deadlock(
    capped: Buyers, settings: dict[str, str]
) -> None:
    before = capped.sql(NO_DEADLOCK)
    visitors = Visitors(capped, 20)
    for session in visitors.sessions[:15]:
        assert visitors.check_out(session).status_code == 201
        visitors.fill(session)
    with expiring(settings, 2) as stop:
        capped.sql("UPDATE orders SET expires_at = now() - interval '1 s' WHERE mod(id, 2) = 0")
        moves = [partial(visitors.end, one) for one in visitors.sessions[:10]]
        moves += [partial(visitors.check_out, one) for one in visitors.sessions]
        moves += [partial(capped.send, "POST", f"/orders/{n}/cancel") for n in range(1, 16)]
        answers = capped.at_once(moves)
        pending = "SELECT count(*) FROM orders WHERE status = 'pending' AND id <= 15"
        await_true(lambda: capped.sql(pending) == [(0,)], "no order of these is pending")
        stop()
    assert set(statuses(answers)) <= {200, 201, 204, 401, 409}
    [(open_orders,)] = capped.sql("SELECT count(*) FROM orders WHERE status = 'pending'")
    assert capped.stock(1) == 1000 - open_orders
    assert capped.sql(NO_DEADLOCK) == before


# A worker is killed at a step of a checkout: at each, the statement or the call of Redis that it
# is in waits for the test.


@contextmanager
def held(database: str, statement: str) -> Iterator[None]:
    """Hold what a statement locks."""
    connection = psycopg2.connect(database)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        yield
        connection.rollback()
    finally:
        connection.close()


COMMIT_WAITS = """
    CREATE FUNCTION wait_for_the_test() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER commit_waits AFTER INSERT ON orders
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_for_the_test()
"""
STEPS = {
    "the session": "SELECT * FROM sessions FOR UPDATE",
    "the products": "SELECT * FROM products FOR UPDATE",
    "the stock": "LOCK TABLE products IN SHARE MODE",
    "the order": "LOCK TABLE orders IN SHARE MODE",
    "its lines": "LOCK TABLE order_lines IN SHARE MODE",
    "the cart": "LOCK TABLE cart_items IN SHARE MODE",
    "the kept answer": "LOCK TABLE idempotency_keys IN SHARE MODE",
    "the commit": "SELECT pg_advisory_xact_lock(42)",
}


@pytest.fixture
def commit_waits(postgres: Postgres) -> Iterator[None]:
    """Let the COMMIT of an order wait for the advisory lock 42."""
    for statement in (COMMIT_WAITS, "DROP FUNCTION wait_for_the_test CASCADE"):
        connection = psycopg2.connect(postgres.url)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()
        if statement == COMMIT_WAITS:
            yield


class Checkout:
    """A checkout of one item out of ten, sent to a service with one worker."""

    def __init__(self, buyers: Buyers) -> None:
        self.buyers = buyers
        buyers.make_products(10)
        token = buyers.send("POST", "/sessions").json()["token"]
        self.headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the-one"}
        buyers.send("PUT", "/cart/items/1", {"quantity": 1}, **self.headers)

    def send(self) -> requests.Response:
        return self.buyers.send("POST", "/cart/checkout", {"customer": CUSTOMER}, **self.headers)

    def is_waiting(self) -> bool:
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool(self.buyers.sql(waiting))

    def kill_worker(self) -> None:
        """Kill the worker, and await another."""
        [*_, worker] = self._workers()
        os.kill(worker, signal.SIGKILL)
        await_true(lambda: self._workers()[-1] != worker, self.buyers.service.log)

    def _workers(self) -> list[int]:
        """Return the process ids of the workers so far."""
        log = self.buyers.service.log.read_text()
        return [int(number) for number in re.findall(r"Booting worker with pid: (\d+)", log)]


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_at_any_step_loses_and_repeats_no_order(
    serve: Serve, postgres: Postgres, commit_waits: None, step: str
) -> None:
    checkout = Checkout(Buyers(serve(WEB_CONCURRENCY="1"), postgres.url))
    with ThreadPoolExecutor(1) as pool, held(postgres.url, STEPS[step]):
        answer = pool.submit(checkout.send)
        await_true(checkout.is_waiting)
        checkout.kill_worker()
        with pytest.raises(requests.ConnectionError):
            answer.result()
    # PostgreSQL may still be carrying out what the worker asked for.
    await_true(lambda: checkout.send().status_code != 409)
    again = checkout.send()
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert checkout.buyers.sql("SELECT count(*) FROM orders") == [(1,)]
    assert checkout.buyers.sql("SELECT stock FROM products") == [(9,)]
    assert checkout.buyers.sql("SELECT count(*) FROM cart_items") == [(0,)]
    assert checkout.buyers.stock(1) == 9


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_a_worker_killed_during_its_call_of_redis_leaves_no_stale_product(
    serve: Serve, postgres: Postgres, own_redis: Redis, commit_waits: None, moment: str
) -> None:
    """Redis hangs, as the worker is about to suspend the product, or to release it."""
    service = serve(WEB_CONCURRENCY="1", REDIS_URL=own_redis.url)
    checkout = Checkout(Buyers(service, postgres.url))
    assert checkout.buyers.stock(1) == 10
    with redis.Redis(unix_socket_path=str(own_redis.socket)) as client:
        server = client.info("server")["process_id"]
    place = STEPS["the cart" if moment == "before the commit" else "the commit"]
    with ThreadPoolExecutor(1) as pool:
        with held(postgres.url, place):
            answer = pool.submit(checkout.send)
            await_true(checkout.is_waiting)
            os.kill(server, signal.SIGSTOP)
        checkout.kill_worker()
        os.kill(server, signal.SIGCONT)
        with pytest.raises(requests.ConnectionError):
            answer.result()
    await_true(lambda: checkout.send().status_code != 409)
    assert checkout.send().headers["Idempotent-Replayed"] == "true"
    assert checkout.buyers.sql("SELECT stock FROM products") == [(9,)]
    assert [checkout.buyers.stock(1) for _ in range(10)] == [9] * 10
