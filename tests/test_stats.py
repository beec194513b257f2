"""Best sellers, the leaderboard and the dashboard."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY, await_true
from faults import after_statement, engine_of, execute

from shop.orders import leaderboard

if TYPE_CHECKING:
    from conftest import Make, Shop

    from dev.embedded.servers import Redis

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
SCORES = "sum(order_lines.quantity * power("  # of the statement that a board is made from


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop with four products, of which there is plenty."""
    for name in ("Rake", "Spade", "Hoe", "Axe"):
        a_shop.create_product(name=name, price="10.00", stock=1000)
    return a_shop


def sell(shop: Shop, product_id: int, quantity: int, *actions: str) -> int:
    order_id: int = shop.place_order(product_id, quantity=quantity)["id"]
    if actions:
        assert shop.move_order(order_id, *actions).status_code == 200
    return order_id


def best_sellers(shop: Shop, query: str = "") -> dict[str, int]:
    answer = shop.get(f"/products/top-selling{query}")
    assert answer.status_code == 200, answer.text
    return {item["product"]["name"]: item["units_sold"] for item in answer.get_json()["items"]}


def test_best_sellers_are_those_of_paid_orders(shop: Shop) -> None:
    sell(shop, 1, 2, "pay")
    sell(shop, 1, 3, "pay", "ship")
    sell(shop, 2, 9, "pay", "ship", "deliver")
    sell(shop, 3, 50)
    sell(shop, 4, 50, "pay", "cancel")
    found = best_sellers(shop)
    assert list(found.items()) == [("Spade", 9), ("Rake", 5)]


def test_best_sellers_are_those_of_a_period(shop: Shop) -> None:
    for product_id, days in ((1, 0.9), (2, 6.9), (3, 29.9), (4, 400)):
        order_id = sell(shop, product_id, product_id, "pay")
        at = datetime.now(UTC) - timedelta(days=days)
        execute(shop, "UPDATE orders SET paid_at = :at WHERE id = :id", at=at, id=order_id)
    names = {"day": 1, "week": 2, "month": 3, "all": 4}
    for period, count in names.items():
        assert len(best_sellers(shop, f"?period={period}")) == count
    assert list(best_sellers(shop, "?limit=2")) == ["Axe", "Hoe"]


def test_best_sellers_are_kept_for_an_hour(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 1, "pay")
    first = shop.get("/products/top-selling?limit=10")
    assert first.headers["X-Cache"] == "MISS"
    shop.get("/products/top-selling?limit=10&period=week")
    for key in (
        "products:top_selling:limit:10",
        "products:top_selling:period:week:limit:10",
    ):
        assert 3600 * 0.9 - 5 <= redis_cli.ttl(key) <= 3600
    sell(shop, 2, 9, "pay")
    with shop.statements() as sent:
        again = shop.get("/products/top-selling")
    assert not any("order_lines" in statement for statement in sent)
    assert again.get_json()["as_of"] == first.get_json()["as_of"]
    assert best_sellers(shop) == {"Rake": 1}
    assert shop.command("cache", "clear", "products").exit_code == 0
    assert best_sellers(shop) == {"Spade": 9, "Rake": 1}


def test_best_sellers_show_the_products_of_now(shop: Shop) -> None:
    for product_id in (1, 2):
        sell(shop, product_id, 1, "pay")
    best_sellers(shop)
    shop.patch("/products/1", price="12.00")
    shop.patch("/products/2", active=False)
    [item] = shop.get("/products/top-selling").get_json()["items"]
    assert item["product"] == shop.get("/products/1").get_json()


def test_a_caller_who_has_the_best_sellers_gets_304(shop: Shop) -> None:
    sell(shop, 1, 1, "pay")
    etag = shop.get("/products/top-selling").headers["ETag"]
    answer = shop.get("/products/top-selling", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.data) == (304, b"")


def test_lists_of_any_length_are_taken_from_one_count(shop: Shop) -> None:
    for product_id in (1, 2, 3):
        sell(shop, product_id, product_id, "pay")
    assert list(best_sellers(shop)) == ["Hoe", "Spade", "Rake"]
    with shop.statements() as sent:
        lists = [list(best_sellers(shop, f"?limit={limit}")) for limit in (1, 2, 50)]
    assert [len(found) for found in lists] == [1, 2, 3]
    assert not any("order_lines" in statement for statement in sent)


@pytest.mark.parametrize("path", ["/products/top-selling", "/products/trending"])
def test_a_new_shop_has_no_best_sellers(a_shop: Shop, path: str) -> None:
    for _ in range(2):
        assert a_shop.get(path).get_json()["items"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "period=year", "period="])
def test_a_wrong_query_is_refused(a_shop: Shop, query: str) -> None:
    assert a_shop.get(f"/products/top-selling?{query}").status_code == 422


def trending(shop: Shop, limit: int = 10) -> dict[str, float]:
    answer = shop.get(f"/products/trending?limit={limit}")
    assert answer.status_code == 200
    items = answer.get_json()["items"]
    return {item["product"]["name"]: round(item["score"], 1) for item in items}


def board(redis_cli: Any) -> list[str]:
    found: list[str] = redis_cli.keys("*products:trending:*")
    return found


def test_each_sale_feeds_the_leaderboard(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 1)
    assert trending(shop) == {"Rake": 1.0}
    [key] = board(redis_cli)
    assert 0 < redis_cli.ttl(key) <= 7200
    sell(shop, 2, 5)
    order_id = sell(shop, 3, 7)
    with shop.statements() as sent:
        assert list(trending(shop)) == ["Hoe", "Spade", "Rake"]
    assert not any("order" in statement for statement in sent)
    shop.move_order(order_id, "cancel")
    assert trending(shop) == {"Spade": 5.0, "Rake": 1.0}
    assert list(trending(shop, limit=1)) == ["Spade"]
    assert redis_cli.zscore(key, "3") == pytest.approx(0)


def test_inactive_products_make_room_for_others_in_the_list(shop: Shop) -> None:
    for product_id in (1, 2, 3, 4):
        sell(shop, product_id, product_id)
    for product_id in (4, 2):
        shop.patch(f"/products/{product_id}", active=False)
    assert list(trending(shop, limit=2)) == ["Hoe", "Rake"]
    assert list(trending(shop, limit=1)) == ["Hoe"]


def test_a_unit_counts_half_after_a_day(shop: Shop, redis_cli: Any) -> None:
    for product_id, days in ((1, 1), (2, 2), (3, 15)):
        order_id = sell(shop, product_id, 16)
        at = datetime.now(UTC) - timedelta(days=days)
        execute(shop, "UPDATE orders SET created_at = :at WHERE id = :id", at=at, id=order_id)
    sell(shop, 4, 16)
    redis_cli.flushall()
    found = trending(shop)
    assert {name: round(score, 1) for name, score in found.items()} == {
        "Axe": 16.0, "Rake": 8.0, "Spade": 4.0,
    }  # fmt: skip
    # What is fed counts as what is read from the orders.
    assert shop.move_order(1, "cancel").status_code == 200
    assert shop.move_order(3, "cancel").status_code == 200
    assert list(trending(shop)) == ["Axe", "Spade"]


def test_each_hour_has_a_leaderboard_of_its_own(
    shop: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sell(shop, 1, 1)
    trending(shop)
    [key] = board(redis_cli)
    later = leaderboard._hour() + timedelta(hours=1)
    monkeypatch.setattr(leaderboard, "_hour", lambda: later)
    sell(shop, 1, 1)
    assert list(trending(shop)) == ["Rake"]
    [new] = set(board(redis_cli)) - {key}
    assert new == f"products:trending:{later:%Y-%m-%dT%H}"
    assert redis_cli.zscore(new, "1") == pytest.approx(2 * 2 ** (-1 / 24), 0.03)


def test_a_missing_board_is_rebuilt(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 2)
    trending(shop)
    redis_cli.flushall()
    sell(shop, 2, 5)  # which makes no board of itself alone
    assert trending(shop) == {"Spade": 5.0, "Rake": 2.0}


def test_a_command_rebuilds_the_leaderboard(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 2)
    sell(shop, 2, 1)
    execute(shop, "UPDATE orders SET status = 'cancelled' WHERE id = 1")
    trending(shop)
    assert shop.command("leaderboard", "rebuild").output == "1 products\n"
    assert trending(shop) == {"Spade": 1.0}
    assert len(board(redis_cli)) == 1
    execute(shop, "UPDATE orders SET status = 'cancelled'")
    assert shop.command("leaderboard", "rebuild").output == "0 products\n"
    assert trending(shop) == {}


def test_sales_during_a_rebuild_are_counted_once(shop: Shop) -> None:
    sell(shop, 1, 2)

    def sell_more() -> None:
        sell(shop, 1, 3)
        sell(shop, 2, 1)

    for make in (lambda: trending(shop), lambda: shop.command("leaderboard", "rebuild")):
        with after_statement(engine_of(shop), SCORES, sell_more):
            make()
    assert trending(shop) == {"Rake": 8.0, "Spade": 2.0}


def test_a_rebuild_that_died_delays_others_for_a_bounded_time(
    shop: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sell(shop, 1, 2)
    leaderboard_of_now = f"products:trending:{leaderboard._hour():%Y-%m-%dT%H}"
    making = f"{{{leaderboard_of_now}}}:making"
    redis_cli.zadd(making, {"0": 0})
    redis_cli.pexpire(making, 3_600_000)  # its clock was set back
    monkeypatch.setattr(leaderboard, "WAIT_SECONDS", 0.1)
    assert trending(shop) == {"Rake": 2.0}
    assert leaderboard_of_now not in board(redis_cli)
    assert 0 < redis_cli.pttl(making) <= 10_000


def test_a_board_that_lost_a_sale_during_its_rebuild_is_rebuilt(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 2)

    def lose_a_sale() -> None:
        redis_cli.delete(*redis_cli.keys("*products:trending:*"))  # as an eviction does
        sell(shop, 2, 5)  # which is fed to nothing

    with after_statement(engine_of(shop), SCORES, lose_a_sale):
        assert trending(shop) == {"Rake": 2.0}  # what there was when it was asked
    assert board(redis_cli) == []
    assert trending(shop) == {"Spade": 5.0, "Rake": 2.0}


def test_a_product_that_is_sold_again_is_on_the_board(shop: Shop) -> None:
    sell(shop, 1, 2)
    sell(shop, 2, 5)
    shop.patch("/products/2", active=False)
    assert trending(shop) == {"Rake": 2.0}
    shop.patch("/products/2", active=True)
    assert trending(shop) == {"Spade": 5.0, "Rake": 2.0}


def test_equal_products_are_in_the_same_order_from_redis_and_from_orders(
    shop: Shop, redis_cli: Any
) -> None:
    for number in range(5, 13):
        shop.create_product(name=str(number))
    for number in range(1, 13):
        sell(shop, number, 1)
    execute(shop, "UPDATE orders SET created_at = now()")
    made, read = (list(trending(shop, limit=100)) for _ in range(2))
    assert made == read
    assert len(made) == 12


def test_a_full_redis_that_refuses_a_sale_forgets_the_board(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 2)
    trending(shop)
    used = redis_cli.info("memory")["used_memory"]
    before = redis_cli.config_get("maxmemory*")
    try:
        redis_cli.config_set("maxmemory-policy", "noeviction")
        redis_cli.config_set("maxmemory", used // 2)
        sell(shop, 2, 5)
    finally:
        for name in ("maxmemory", "maxmemory-policy"):
            redis_cli.config_set(name, before[name])
    assert trending(shop) == {"Spade": 5.0, "Rake": 2.0}


def test_a_large_board_is_built_in_batches(
    shop: Shop, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaderboard, "BATCH_SIZE", 3)
    shop.place_order(1, 2, 3, 4)
    assert shop.command("leaderboard", "rebuild").output == "4 products\n"
    assert len(trending(shop)) == 4
    assert len(board(redis_cli)) == 1


def test_the_command_for_the_leaderboard_says_that_redis_is_away(make_shop: Make) -> None:
    told = make_shop(REDIS_ENABLED="false").command("leaderboard", "rebuild")
    assert (told.exit_code, told.output) == (
        1,
        "Error: Redis is switched off: REDIS_ENABLED=false\n",
    )


def test_trending_is_read_from_orders_without_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_ENABLED="false")
    shop.create_product(stock=9)
    sell(shop, 1, 2)
    assert trending(shop) == {"Rake": 2.0}


def test_sales_during_an_outage_are_on_the_board_after_it(
    make_shop: Make, own_redis: Redis
) -> None:
    """The Redis that comes back may have kept the board, without them."""
    shop = make_shop(REDIS_URL=own_redis.url)
    shop.create_product(stock=9)
    sell(shop, 1, 1)
    assert trending(shop) == {"Rake": 1.0}
    hidden = own_redis.socket.with_name("hidden.sock")
    own_redis.socket.rename(hidden)
    shop.app.extensions["shop.redis"]._scripts.disconnect()
    sell(shop, 1, 1)
    assert trending(shop) == {"Rake": 2.0}
    hidden.rename(own_redis.socket)
    connection = shop.app.extensions["shop.redis"]
    await_true(lambda: connection.available)
    await_true(lambda: trending(shop) == {"Rake": 2.0})
    sell(shop, 1, 1)
    await_true(lambda: trending(shop) == {"Rake": 3.0})


def test_one_of_many_readers_rebuilds_the_board(shop: Shop, redis_cli: Any) -> None:
    sell(shop, 1, 1)
    barrier = threading.Barrier(4)
    answers: list[Any] = []

    def read() -> None:
        barrier.wait()
        answers.append(shop.app.test_client().get("/products/trending").get_json()["items"])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[round(item["score"], 2) for item in items] for items in answers] == [[1.0]] * 4
    assert len(board(redis_cli)) == 1


def dashboard(shop: Shop) -> dict[str, Any]:
    answer = shop.get("/stats/dashboard", headers=ADMIN)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_the_dashboard_has_the_figures_of_the_shop(shop: Shop) -> None:
    shop.patch("/products/3", stock=0)
    shop.patch("/products/4", stock=0, active=False)
    sell(shop, 1, 1)
    sell(shop, 1, 1, "pay")
    sell(shop, 1, 2, "pay", "ship")
    sell(shop, 1, 2, "pay", "ship", "deliver")
    sell(shop, 1, 9, "pay", "cancel")
    shop.patch("/products/2", currency="CHF", price="0.05")
    sell(shop, 2, 1, "pay")
    told = dashboard(shop)
    assert datetime.now(UTC) - datetime.fromisoformat(told.pop("as_of")) < timedelta(minutes=1)
    assert told == {
        "products": {"total": 4, "active": 3, "out_of_stock": 1},
        "orders": {"pending": 1, "paid": 2, "shipped": 1, "delivered": 1, "cancelled": 1},
        "revenue": [
            {"currency": "CHF", "orders": 1, "revenue": "0.05", "average_order": "0.05"},
            {"currency": "EUR", "orders": 3, "revenue": "50.00", "average_order": "16.67"},
        ],
    }


def test_the_dashboard_of_a_new_shop_has_zeros(a_shop: Shop) -> None:
    told = dashboard(a_shop)
    assert told["products"] == {"total": 0, "active": 0, "out_of_stock": 0}
    assert set(told["orders"].values()) == {0}
    assert told["revenue"] == []


def test_the_dashboard_is_kept_for_ten_minutes(shop: Shop, redis_cli: Any) -> None:
    first = dashboard(shop)
    assert 600 * 0.9 - 5 <= redis_cli.ttl("stats:dashboard") <= 600
    sell(shop, 1, 1)
    assert dashboard(shop) == first
    shop.command("cache", "clear", "stats")
    assert dashboard(shop)["orders"]["pending"] == 1


def test_the_dashboard_needs_its_scope(shop: Shop) -> None:
    assert shop.get("/stats/dashboard").status_code == 401
    made = shop.command("keys", "create", "--name", "x", "--scope", "orders:read")
    key = {"Authorization": f"Bearer {made.output.split()[-1]}"}
    assert shop.get("/stats/dashboard", headers=key).status_code == 403
    made = shop.command("keys", "create", "--name", "x", "--scope", "stats:read")
    key = {"Authorization": f"Bearer {made.output.split()[-1]}"}
    assert shop.get("/stats/dashboard", headers=key).status_code == 200
