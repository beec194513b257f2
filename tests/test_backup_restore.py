"""A dump is one moment of the shop, and what is restored from it is all that anybody sees."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, Self

import dumps
import psycopg2
import pytest
import requests
from conftest import ADMIN_KEY, CUSTOMER, await_true
from faults import execute
from replication import Primary

from dev.embedded.home import Home
from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Make, Service, Shop

    from dev.embedded.servers import Postgres, Redis

    Restore = Callable[[Path, Shop, str], None]

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
STOCK = 1000
PRODUCTS = 5
# Stock and what is sold of it, an order and the answer that is kept for its key.
UNITS = """
    SELECT stock + coalesce((
        SELECT sum(quantity) FROM order_lines JOIN orders ON orders.id = order_id
        WHERE product_id = products.id AND status <> 'cancelled'
    ), 0) FROM products
"""
ORDERS = "SELECT array_agg(id ORDER BY id) FROM orders"
ANSWERED = "SELECT array_agg(row_id ORDER BY row_id) FROM idempotency_keys"


# A restore into the server that goes on


def restore_beside(dump: Path, shop: Shop, url: str) -> None:
    with shop.app.app_context():
        db.engine.dispose()
    dumps.restore(dump, url)


def restore_in_place(dump: Path, _shop: Shop, url: str) -> None:
    options = ("--clean", "--if-exists", "--single-transaction")
    dumps.run("pg_restore", *options, "--dbname=copy", dump, url=url)


def restore_rows(dump: Path, shop: Shop, url: str) -> None:
    tables = ", ".join(table.name for table in db.metadata.sorted_tables)
    execute(shop, f"TRUNCATE {tables}, alembic_version")
    options = ("--data-only", "--disable-triggers", "--single-transaction")
    dumps.run("pg_restore", *options, "--dbname=copy", dump, url=url)


def trending(shop: Shop) -> dict[int, float]:
    found = shop.get("/products/trending").get_json()["items"]
    return {one["product"]["id"]: one["score"] for one in found}


@pytest.mark.hurried
@pytest.mark.parametrize("restore", [restore_beside, restore_in_place, restore_rows])
def test_a_restore_makes_the_cache_and_the_leaderboard_begin_anew(
    make_shop: Make, database_copy: str, tmp_path: Path, restore: Restore
) -> None:
    shop = make_shop(DATABASE_URL=database_copy)
    product = shop.create_product(price="1.00", stock=9)["id"]
    shop.place_order(product)
    dump = dumps.backup(database_copy, tmp_path)
    assert shop.patch(f"/products/{product}", price="2.00").status_code == 200
    shop.place_order(product, quantity=3)
    session = shop.open_session()
    assert shop.get("/cart", headers=session).status_code == 200
    assert shop.get(f"/products/{product}").get_json()["price"] == "2.00"
    assert shop.get(f"/products/{product}").headers["X-Cache"] == "HIT"
    assert trending(shop)[product] > 3

    restore(dump, shop, database_copy)

    def is_restored() -> bool:
        return bool(shop.get(f"/products/{product}").get_json()["price"] == "1.00")

    await_true(is_restored, seconds=5)  # a process looks at the database every 0.25 s
    assert shop.stock_of(product) == 8
    assert shop.get(f"/products/{product}").headers["X-Cache"] == "HIT"
    assert trending(shop)[product] < 2
    assert shop.get("/cart", headers=session).status_code == 401


@pytest.mark.hurried
def test_a_copy_of_files_that_is_put_back_makes_the_cache_begin_anew(
    make_shop: Make, database_copy: str, settings: dict[str, str]
) -> None:
    """Within one server it has the identity, the transactions and the life of the original."""

    def command(sql: str) -> None:
        with shop.app.app_context():
            db.engine.dispose()
        dumps.run("psql", "--command", sql, url=settings["DATABASE_URL"])

    shop = make_shop(DATABASE_URL=database_copy)
    product = shop.create_product(price="1.00")["id"]
    command("CREATE DATABASE copy_kept TEMPLATE copy")
    assert shop.patch(f"/products/{product}", price="2.00").status_code == 200
    assert shop.get(f"/products/{product}").get_json()["price"] == "2.00"
    command("DROP DATABASE copy WITH (FORCE)")
    command("ALTER DATABASE copy_kept RENAME TO copy")

    def is_restored() -> bool:
        answer = shop.get(f"/products/{product}")
        return answer.status_code == 200 and answer.get_json()["price"] == "1.00"

    await_true(is_restored, seconds=5)  # a process looks at the database every 0.25 s


# A dump under load, restored into another installation


class Load:
    """Buyers and readers; each answered order is kept with its key."""

    def __init__(self, service: Service, products: list[int]) -> None:
        self._service = service
        self._products = products
        self.ordered: list[tuple[str, dict[str, Any]]] = []  # key, and the order
        self.sessions: list[str] = []
        self.failures: list[str] = []
        self._stop = threading.Event()
        work = (self._buy, self._buy, self._buy, self._visit, self._read, self._price)
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in work]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def await_orders(self, count: int) -> None:
        wanted = len(self.ordered) + count
        await_true(lambda: len(self.ordered) >= wanted or self.failures, self.failures, seconds=60)

    def _repeat(self, work: Callable[[int], requests.Response]) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            answer = work(turn)
            if not answer.ok:
                self.failures.append(answer.text)

    def _buy(self, turn: int) -> requests.Response:
        key = uuid.uuid4().hex
        answer = order(self._service, key, self._products[turn % PRODUCTS])
        self.ordered.append((key, answer.json()))
        return answer

    def _visit(self, _turn: int) -> requests.Response:
        answer = self._service.write("POST", "/sessions")
        token = answer.json()["token"]
        self.sessions.append(token)
        return self._service.get("/cart", headers={"Authorization": f"Bearer {token}"})

    def _read(self, turn: int) -> requests.Response:
        return self._service.get(f"/products/{self._products[turn % PRODUCTS]}")

    def _price(self, turn: int) -> requests.Response:
        path = f"/products/{self._products[turn % PRODUCTS]}"
        return self._service.write("PATCH", path, price=f"{turn % 90 + 1}.00")


def order(service: Service, key: str, product: int) -> requests.Response:
    body = {"customer": CUSTOMER, "lines": [{"product_id": product, "quantity": 1}]}
    headers = {**ADMIN, "Idempotency-Key": key}
    return requests.post(f"{service.url}/orders", json=body, headers=headers, timeout=120)


def ask(url: str, statement: str) -> list[Any]:
    connection = psycopg2.connect(url)
    with connection.cursor() as cursor:
        cursor.execute(statement)
        found = [row[0] for row in cursor.fetchall()]
    connection.rollback()
    connection.close()
    return found


def test_a_dump_under_load_restores_to_one_moment(
    serve: Callable[..., Service],
    postgres: Postgres,
    own_redis: Redis,
    home: Home,
    tmp_path: Path,
) -> None:
    service = serve()
    category = service.write("POST", "/categories", name="Garden").json()["id"]
    fields = {"name": "Rake", "price": "1.00", "stock": STOCK, "category_id": category}
    products = [service.write("POST", "/products", **fields).json()["id"] for _ in range(PRODUCTS)]
    with Load(service, products) as load:
        load.await_orders(30)
        dump = dumps.backup(postgres.url, tmp_path)
        load.await_orders(30)
    assert load.failures == []
    for product in products:  # now the cache has entries that the dump knows nothing of
        service.get(f"/products/{product}")
    service.get("/products/trending")
    service.program.stop()

    place = Home(home.directory(f"{tmp_path.name}-fresh"), home.account)
    place.path.chmod(0o755)
    fresh = Primary(place)
    try:
        fresh.start()
        dumps.restore(dump, fresh.url)
        assert ask(fresh.url, UNITS) == [STOCK] * PRODUCTS
        [[*restored]] = ask(fresh.url, ORDERS)
        assert ask(fresh.url, ANSWERED) == [restored]
        assert 30 <= len(restored) < len(load.ordered)
        fresh.ask("INSERT INTO cache_outbox (name, writer) VALUES ('products:id:1', '')")
        check(serve(DATABASE_URL=fresh.url), fresh, load, products)  # on the Redis of before
        with_other_redis = serve(DATABASE_URL=fresh.url, REDIS_URL=own_redis.url)
        check(with_other_redis, fresh, load, products)
    finally:
        fresh.stop()


def check(service: Service, database: Primary, load: Load, products: list[int]) -> None:
    """Compare what a service answers with its database."""
    [trending] = [service.get("/products/trending").json()["items"]]
    sold = "SELECT sum(quantity) FROM order_lines"
    units = float(database.ask(sold))
    assert sum(one["score"] for one in trending) == pytest.approx(units, rel=0.01)

    for product in products:
        row = f"SELECT price || ' ' || stock FROM products WHERE id = {product}"
        for _ in range(2):
            answer = service.get(f"/products/{product}")
            assert "{price} {stock}".format(**answer.json()) == database.ask(row)
        assert answer.headers["X-Cache"] == "HIT"
    assert database.ask("SELECT count(*) FROM cache_outbox") == 0

    statuses = [
        service.get("/cart", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in load.sessions
    ]
    assert statuses.count(200) == database.ask("SELECT count(*) FROM sessions")
    assert set(statuses) == {200, 401}

    known = set(ask(database.url, "SELECT id FROM orders WHERE created_at < now()"))
    first, last = load.ordered[0], load.ordered[-1]
    assert first[1]["id"] in known
    again = order(service, first[0], first[1]["lines"][0]["product_id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first[1]
    anew = order(service, last[0], last[1]["lines"][0]["product_id"])
    assert anew.status_code == 201
    assert ask(database.url, UNITS) == [STOCK] * PRODUCTS
