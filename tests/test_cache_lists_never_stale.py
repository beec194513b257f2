"""Every way to leave a stale list that depends on tags or on a family."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cached_product import outbox
from conftest import await_true
from faults import before_commit, engine_of, holding_relay, locked
from test_cache_never_stale import STEPS, die_writing  # noqa: F401  (a fixture)

from shop.extensions import cache
from shop.products.lists import prices
from shop.redis import redis_connection

if TYPE_CHECKING:
    from conftest import Make, MakeRelay, Relay, Shop
    from test_cache_never_stale import Die

    from dev.embedded.servers import Postgres, Redis

# What is read, and the ids that it has before and after the write: product 1 is renamed from Zinc
# rake to New, its price falls from 30 to 1, and it is in stock again. Product 2 costs 20.
WRITTEN = {"name": "New", "price": 1, "stock": 77, "category_id": 1}
LISTS = {
    "/products?sort=price": ([2, 1], [1, 2]),
    "/products?category_id=1&sort=-price": ([1, 2], [2, 1]),
    "/products?max_price=10": ([], [1]),
    "/products?in_stock=true": ([2], [1, 2]),
    "/products?sort=name": ([2, 1], [1, 2]),
    "/products?q=new": ([], [1]),
}
BEFORE, AFTER = ([ids[i] for ids in LISTS.values()] for i in (0, 1))


def stock(shop: Shop) -> Shop:
    shop.create_product(name="Zinc rake", price=30, stock=0)
    shop.create_product(name="Rake", price=20)
    for path in LISTS:
        assert [shop.get(path).headers["X-Cache"] for _ in range(2)] == ["MISS", "HIT"]
    assert lists(shop) == BEFORE
    return shop


def lists(shop: Shop) -> list[list[int]]:
    answers = [shop.get(path).get_json() for path in LISTS]
    return [[row["id"] for row in answer["items"]] for answer in answers]


def price(postgres: Postgres) -> Any:
    with locked(postgres, "SELECT price FROM products WHERE id = 1") as cursor:
        [[found]] = cursor.fetchall()
        return found


def outcomes(shop: Shop) -> set[str]:
    return {shop.get(path).headers["X-Cache"] for path in LISTS}


@pytest.mark.parametrize("step", STEPS)
def test_a_writer_that_dies_leaves_no_stale_list(
    a_shop: Shop,
    die_writing: Die,  # noqa: F811
    redis_cli: Any,
    step: str,
) -> None:
    stock(a_shop)
    die_writing(step, "PUT", "/products/1")
    for _ in range(3):
        assert lists(a_shop) == (AFTER if step.startswith("after") else BEFORE)
    for name in ("products:id:1", *redis_cli.scan_iter("products:*:generation")):
        if (redis_cli.get(name) or "").startswith("writers"):
            redis_cli.pexpire(name, 1)  # as it will by itself
    await_true(lambda: outcomes(a_shop) == {"HIT"})


def test_a_list_that_is_computed_while_a_writer_commits_is_not_stored(
    a_shop: Shop, make_shop: Make, postgres: Postgres
) -> None:
    """The answer to COMMIT is on its way, so the writer has not released its names so far."""
    stock(a_shop)
    with ThreadPoolExecutor(1) as pool, holding_relay(postgres.socket) as way:
        writer = make_shop(DATABASE_URL=f"postgresql://shop@127.0.0.1:{way.port}/shop")
        with before_commit(engine_of(writer), way.hold):
            write = pool.submit(writer.put, "/products/1", **WRITTEN)
            await_true(lambda: price(postgres) == WRITTEN["price"])
            assert outcomes(a_shop) == {"MISS"}
            way.let_go()
            assert write.result().status_code == 200
    assert lists(a_shop) == AFTER
    assert outcomes(a_shop) == {"HIT"}


@pytest.fixture
def two(make_shop: Make, relay: MakeRelay, redis_server: Redis) -> tuple[Shop, Shop, Relay]:
    """A shop whose way to Redis can be cut, and another, which has cached the lists."""
    way = relay(redis_server.socket)
    cut, other = make_shop(REDIS_URL=f"redis://127.0.0.1:{way.port}"), make_shop()
    return cut, stock(other), way


@pytest.mark.hurried
def test_a_write_of_a_worker_without_redis_is_in_the_lists_of_others(
    two: tuple[Shop, Shop, Relay],
) -> None:
    cut, other, way = two
    way.close()
    assert cut.put("/products/1", **WRITTEN).status_code == 200
    assert lists(other) == lists(cut) == AFTER
    assert outbox(cut) == 0  # the other has forgotten and deleted everything
    assert outcomes(other) == {"HIT"}


@pytest.mark.hurried
def test_lists_that_were_changed_without_redis_are_not_found_when_it_is_back(
    two: tuple[Shop, Shop, Relay], redis_cli: Any
) -> None:
    cut, _, way = two
    way.close()
    assert cut.put("/products/1", **WRITTEN).status_code == 200
    with cut.app.app_context():
        assert prices.generation_key("all") in _names(cut)
    assert redis_cli.exists(prices.generation_key("all"))
    way.open()
    await_true(lambda: redis_connection(cut.app).available)
    assert lists(cut) == AFTER
    assert outbox(cut) == 0
    assert outcomes(cut) == {"HIT"}


def _names(shop: Shop) -> list[str]:
    with shop.app.app_context(), cache.session.begin():
        return list(
            cache.session.scalars(
                cache.outbox.table.select().with_only_columns(cache.outbox.table.c.name)
            )
        )


def test_lists_that_are_changed_with_redis_switched_off_are_forgotten_before_it_is_used(
    make_shop: Make,
) -> None:
    shop, off = make_shop(), make_shop(REDIS_ENABLED="false")
    stock(shop)
    for price in (5, 3, 1):
        assert off.put("/products/1", **WRITTEN | {"price": price}).status_code == 200
    kept = outbox(off)
    assert off.put("/products/1", **WRITTEN | {"price": 2}).status_code == 200
    assert outbox(off) == kept  # one row for each generation, however many writes there are
    later = make_shop()
    assert lists(later) == AFTER
    assert outbox(later) == 0
