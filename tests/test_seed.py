"""The demo history of orders: `flask seed --orders`."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from ports import free_port
from sqlalchemy import select

from shop.extensions import db
from shop.orders.models import SOLD_STATUSES, Order, OrderLine
from shop.products.models import Product

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conftest import Make, Shop

CUSTOMER = {"name": "A. Customer", "email": "customer@example.com", "address": ""}


def seed(shop: Shop, *arguments: str) -> str:
    result = shop.command("seed", *arguments)
    assert result.exit_code == 0, result.output
    output: str = result.output
    return output


def refused(shop: Shop, *arguments: str) -> str:
    result = shop.command("seed", *arguments)
    assert result.exit_code == 1
    [error] = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return str(error)


def orders(shop: Shop) -> Sequence[Order]:
    with shop.app.app_context():
        return db.session.scalars(select(Order).order_by(Order.id)).all()


def lines(shop: Shop) -> Sequence[OrderLine]:
    in_order = select(OrderLine).order_by(OrderLine.order_id, OrderLine.position)
    with shop.app.app_context():
        return db.session.scalars(in_order).all()


def products(shop: Shop) -> dict[int, Product]:
    with shop.app.app_context():
        return {one.id: one for one in db.session.scalars(select(Product))}


def times(order: Order) -> list[datetime]:
    found = (order.paid_at, order.shipped_at, order.delivered_at, order.cancelled_at)
    return [order.created_at, *(moment for moment in found if moment)]


def history(shop: Shop) -> list[Any]:
    """Read all orders and lines, with times as they are from the first on."""
    made = orders(shop)
    first = made[0].created_at
    return [
        [
            (one.id, one.status, one.customer, one.total, [time - first for time in times(one)])
            for one in made
        ],
        [(one.order_id, one.product_id, one.position, one.quantity) for one in lines(shop)],
    ]


def test_the_same_numbers_make_the_same_history(a_shop: Shop) -> None:
    seed(a_shop, "--products", "50", "--orders", "300", "--seed", "7")
    first = history(a_shop)
    assert len(first[0]) == 300
    seed(a_shop, "--products", "50", "--orders", "300", "--seed", "7", "--replace", "--yes")
    assert history(a_shop) == first
    seed(a_shop, "--products", "50", "--orders", "300", "--seed", "8", "--replace", "--yes")
    assert history(a_shop) != first


def test_an_order_is_the_sum_of_its_lines_which_are_copies(a_shop: Shop) -> None:
    output = seed(a_shop, "--products", "50", "--orders", "300")
    originals = products(a_shop)
    made = lines(a_shop)
    assert f"300 orders, {len(made)} order lines" in output
    totals: Counter[int] = Counter()
    for line in made:
        product = originals[line.product_id]
        assert (line.name, line.sku, line.price) == (product.name, product.sku, product.price)
        totals[line.order_id] += line.total  # type: ignore[assignment]
    assert totals == {one.id: one.total for one in orders(a_shop)}
    sizes = Counter(Counter(line.order_id for line in made).values())
    assert max(sizes) <= 8
    assert sizes[1] + sizes[2] + sizes[3] > 200
    assert sum(line.quantity == 1 for line in made) / len(made) > 0.75


def test_times_are_in_order_and_of_the_last_half_year(a_shop: Shop) -> None:
    seed(a_shop, "--products", "50", "--orders", "500")
    made = orders(a_shop)
    now = datetime.now(UTC)
    assert [one.created_at for one in made] == sorted(one.created_at for one in made)
    for one in made:
        assert times(one) == sorted(times(one))
        assert now - timedelta(days=181) < one.created_at <= one.updated_at == times(one)[-1] < now
    age = now - made[0].created_at
    recent = sum(one.created_at > now - age / 2 for one in made)
    assert 260 < recent < 350


def test_the_status_of_an_order_agrees_with_its_times(a_shop: Shop) -> None:
    seed(a_shop, "--products", "50", "--orders", "3000")
    made = orders(a_shop)
    for one in made:
        reached = [
            status
            for status in ("paid", "shipped", "delivered", "cancelled")
            if getattr(one, f"{status}_at")
        ]
        assert one.status == (reached[-1] if reached else "pending")
        assert reached in (
            ["paid", "shipped", "delivered"][: len(reached)],
            ["cancelled"],
            ["paid", "cancelled"],
        )
    counts = Counter(one.status for one in made)
    assert 0.04 < counts["cancelled"] / len(made) < 0.08
    assert counts["delivered"] / len(made) > 0.85
    assert {one.status for one in made[:1500]} == {"delivered", "cancelled"}
    assert {"pending", "paid", "shipped"} <= {one.status for one in made[-150:]}


def test_a_few_products_have_most_of_the_sales(a_shop: Shop) -> None:
    seed(a_shop, "--products", "500", "--orders", "2000")
    units: Counter[int] = Counter()
    for line in lines(a_shop):
        units[line.product_id] += line.quantity
    best = units.most_common(50)
    assert sum(count for _, count in best) > 0.5 * units.total()
    assert 150 < sum(product_id for product_id, _ in best) / 50 < 350  # old and new products


def test_no_product_is_sold_before_it_was_created(a_shop: Shop) -> None:
    seed(a_shop, "--products", "500", "--orders", "1000")
    there = {one.id: one.created_at for one in products(a_shop).values()}
    placed = {one.id: one.created_at for one in orders(a_shop)}
    assert max(there.values()) > min(placed.values())
    for line in lines(a_shop):
        assert there[line.product_id] <= placed[line.order_id]


def test_some_customers_come_again_and_none_is_a_real_one(a_shop: Shop) -> None:
    seed(a_shop, "--products", "50", "--orders", "1000")
    made = orders(a_shop)
    customers = Counter(one.customer_email for one in made)
    assert 200 < len(customers) < 500
    assert max(customers.values()) >= 10
    assert {email.split("@")[1] for email in customers} == {"example.com"}
    assert len({(one.customer_email, one.customer_name) for one in made}) == len(customers)


def test_the_history_takes_nothing_from_the_stock(a_shop: Shop) -> None:
    seed(a_shop, "--products", "50")
    before = {one.id: (one.stock, one.updated_at) for one in products(a_shop).values()}
    seed(a_shop, "--orders", "200")
    after = {one.id: (one.stock, one.updated_at) for one in products(a_shop).values()}
    assert after == before


def test_an_order_has_one_currency_and_no_product_that_is_not_sold(a_shop: Shop) -> None:
    currencies = {}
    for currency in ("EUR", "EUR", "SEK", "SEK", "JPY"):
        product = a_shop.create_product(currency=currency, name=f"A \\ tab, {currency}", price=750)
        currencies[product["id"]] = currency
    inactive = a_shop.create_product(active=False)
    assert seed(a_shop, "--orders", "100").startswith("orders")
    made = {one.id: one.currency for one in orders(a_shop)}
    assert set(made.values()) == {"EUR", "SEK", "JPY"}
    for line in lines(a_shop):
        assert line.product_id != inactive["id"]
        assert currencies[line.product_id] == made[line.order_id]


def test_orders_are_added_once_to_a_catalogue_that_is_there(a_shop: Shop) -> None:
    product = a_shop.create_product()
    seed(a_shop, "--orders", "20", "--products", "7")
    assert a_shop.get("/products").get_json()["items"] == [product]
    before = history(a_shop)
    assert refused(a_shop, "--orders", "20") == (
        "Error: there are orders already: --replace deletes them first, and the whole catalogue"
    )
    assert "the catalogue is not empty" in refused(a_shop)
    assert history(a_shop) == before


def test_a_history_without_products_is_refused(a_shop: Shop) -> None:
    a_shop.create_category()
    assert refused(a_shop, "--orders", "20") == "Error: there are no products to order"
    assert not orders(a_shop)


@pytest.mark.parametrize("count", ["-1", "1000001", "many", "1.5"])
def test_an_invalid_number_of_orders_is_refused(a_shop: Shop, count: str) -> None:
    result = a_shop.command("seed", "--orders", count)
    assert result.exit_code == 2
    assert "--orders" in result.output
    assert not products(a_shop)


def test_replace_deletes_orders_and_what_is_in_carts(a_shop: Shop) -> None:
    seed(a_shop, "--products", "5", "--orders", "10")
    token = a_shop.post("/sessions").get_json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    put = a_shop.request("PUT", "/cart/items/1", json={"quantity": 1}, headers=headers)
    assert put.status_code == 200, put.text
    seed(a_shop, "--products", "5", "--replace", "--yes")
    assert not orders(a_shop)
    assert a_shop.get("/cart", headers=headers).get_json()["items"] == []
    seed(a_shop, "--products", "5", "--orders", "20", "--replace", "--yes")
    assert [one.id for one in orders(a_shop)] == list(range(1, 21))


def test_an_order_can_be_placed_after_the_history(a_shop: Shop) -> None:
    product = a_shop.create_product(stock=3)
    seed(a_shop, "--orders", "10")
    line = {"product_id": product["id"], "quantity": 1}
    placed = a_shop.post("/orders", customer=CUSTOMER, lines=[line])
    assert placed.status_code == 201, placed.text
    listed = a_shop.request("GET", "/orders", headers={"Authorization": f"Bearer {a_shop.key}"})
    assert listed.get_json()["items"][0] == placed.get_json()
    assert placed.get_json()["id"] == 11


def test_the_next_reads_show_the_best_sellers_of_the_history(a_shop: Shop) -> None:
    a_shop.create_product(stock=50)
    line = {"product_id": 1, "quantity": 50}
    a_shop.post("/orders", customer=CUSTOMER, lines=[line])
    reads = ("/products/top-selling", "/products/top-selling?period=week", "/products/trending")
    for path in reads:  # into the cache, and onto the leaderboard
        a_shop.get(path)
    seed(a_shop, "--products", "60", "--orders", "800", "--replace", "--yes-delete-orders")
    shown = {path: a_shop.get(path).get_json()["items"] for path in reads}
    assert all(len(items) == 10 for items in shown.values())

    sold = {one.id for one in orders(a_shop) if one.status in SOLD_STATUSES}
    units: Counter[int] = Counter()
    for one in lines(a_shop):
        units[one.product_id] += one.quantity if one.order_id in sold else 0
    best = sorted(units, key=lambda product_id: (-units[product_id], product_id))[:10]
    assert [(item["product"]["id"], item["units_sold"]) for item in shown[reads[0]]] == [
        (product_id, units[product_id]) for product_id in best
    ]


def test_a_history_needs_no_redis(make_shop: Make) -> None:
    shop = make_shop(REDIS_URL=f"redis://127.0.0.1:{free_port()}")
    seed(shop, "--products", "20", "--orders", "100")
    assert len(shop.get("/products/trending").get_json()["items"]) == 10
