"""Pages in the order of prices: they depend on the steps of the ladder that their prices are in."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from faults import after_statement, engine_of
from search.catalogue import forget
from sqlalchemy import text

from shop.extensions import db
from shop.money import LADDER, has_whole_steps, step
from shop.products import lists
from shop.search import cached_reads
from shop.search.page_rows import StepsChangedError
from shop.search.query import read_query

if TYPE_CHECKING:
    from conftest import Shop

    from shop.search.query import Query

PRODUCTS = 24
PRICES = ["0.50", "0.99", "1.00", "1.99", "2.00", "4.99", "5.00", "7.00", "9.99", "10.00", "12.00"]
PRICES += ["19.00", "19.99", "20.00", "33.00", "49.99", "50.00", "70.00", "99.99", "100.00"]
RANGES = ["", "&min_price=2", "&max_price=19.99", "&min_price=5&max_price=49.99", "&max_price=20"]
LISTS = [
    f"/products?sort={sort}{of}{prices}&limit=3"
    for sort in ("price", "-price")
    for of in ("", "&category_id=1", "&in_stock=true")
    for prices in RANGES
]
LISTS += [f"/products?limit=3{prices}" for prices in RANGES]
LISTS += ["/products?facets=price&limit=1", "/products?facets=price&limit=1&max_price=19.99"]
PAGES = 2
CHANGES = 20


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop of two categories whose products have prices at both ends of steps."""
    for name in ("Desks", "Lamps"):
        a_shop.create_category(name)
    for number in range(PRODUCTS):
        a_shop.create_product(
            price=PRICES[number % len(PRICES)], stock=number % 3, category_id=1 + number % 2
        )
    return a_shop


def query(**values: Any) -> Query:
    return read_query({"sort": "price", "limit": 3} | values, active=True)


def reprice(shop: Shop, product_id: int, price: str) -> None:
    assert shop.patch(f"/products/{product_id}", price=price).status_code == 200


def walk(shop: Shop, path: str) -> list[tuple[bytes, str | None]]:
    """Return the first pages of a list."""
    found = []
    for _ in range(PAGES):
        answer = shop.get(path)
        assert answer.status_code == 200
        link = answer.headers.get("Link")
        found.append((answer.data, link))
        if link is None:
            break
        path = link[1 : link.index(">")]
    return found


def test_each_page_is_the_same_as_without_a_cache_after_any_change(shop: Shop) -> None:
    chance = Random(1)
    for _ in range(CHANGES):
        for path in LISTS:
            walk(shop, path)
        number = chance.randint(1, PRODUCTS)
        match chance.random():
            case roll if roll < 0.75:
                reprice(shop, number, chance.choice(PRICES))
            case roll if roll < 0.85:
                shop.patch(f"/products/{number}", category_id=chance.randint(1, 2))
            case roll if roll < 0.95:
                shop.patch(f"/products/{number}", stock=chance.randint(0, 1))
            case _:
                shop.patch(f"/products/{number}", active=chance.random() < 0.7)
        after = {path: walk(shop, path) for path in LISTS}
        forget(shop)
        assert after == {path: walk(shop, path) for path in LISTS}


def outcome(shop: Shop, path: str) -> str | None:
    return shop.get(path).headers.get("X-Cache")


def test_a_page_forgets_only_the_prices_of_its_steps(shop: Shop) -> None:
    cheap, dear = "/products?sort=price&limit=3", "/products?sort=-price&limit=3"
    shop.get("/products?limit=100")
    link = shop.get(cheap).headers["Link"]
    second = link[1 : link.index(">")]
    for path in (cheap, dear, second):
        shop.get(path)

    def missed(product_id: int, price: str) -> set[str]:
        reprice(shop, product_id, price)
        shop.get(f"/products/{product_id}")  # the row, which was forgotten, too
        return {path for path in (cheap, dear, second) if outcome(shop, path) == "MISS"}

    assert missed(15, "34.00") == set()
    assert missed(8, "6.00") == set()
    assert missed(4, "1.50") == {second}
    assert missed(2, "0.80") == {cheap, second}
    assert missed(17, "60.00") == {dear}
    assert missed(15, "60.00") == {cheap, dear, second}  # each counts by the step that it left


def test_a_page_is_stored_only_under_the_steps_that_it_has(shop: Shop, redis_cli: Any) -> None:
    """Prices leave a step after a reader has asked for the steps, and before it reads the page."""
    with shop.app.app_context():
        asked = query()
        assert cached_reads.page_entries(asked)[0] == b'{"steps":[0]}'
        forget(shop)
        cached_reads.priced(asked)
    for number in (1, 2, 21, 22):
        reprice(shop, number, "8.00")
    with shop.app.app_context():
        with pytest.raises(StepsChangedError):
            cached_reads.found(asked, [0])
        assert not redis_cli.exists(f"products:found:{asked}")
        assert cached_reads.page_entries(asked)[0] == b'{"steps":[1]}'


def test_a_reader_of_outdated_steps_gets_the_current_page(shop: Shop) -> None:
    """A write is committed after the statement for the steps, before the one for the page."""
    engine = engine_of(shop)

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(text("UPDATE products SET price = 300 WHERE price < 5"))

    with after_statement(engine, "ORDER BY products.price", write):
        answer = shop.get("/products?sort=price&limit=3")
    prices = [one["price"] for one in answer.get_json()["items"]]
    assert (answer.status_code, prices) == (200, ["5.00", "7.00", "9.99"])


def test_a_page_after_a_price_depends_on_the_step_of_that_price(shop: Shop) -> None:
    """A product overtakes that price within its step, in which no row of the page is."""
    for number, price in enumerate((1.20, 1.50, 20, 21), 1):
        reprice(shop, number, f"{price:.2f}")
    for number in range(5, PRODUCTS + 1):
        reprice(shop, number, f"{50 + number}.00")
    link = shop.get("/products?sort=price&limit=2").headers["Link"]
    path = link[1 : link.index(">")]

    def found() -> tuple[list[int], list[str | None]]:
        ids = [one["id"] for one in shop.get(path).get_json()["items"]]
        return ids, [outcome(shop, path) for _ in range(2)]

    assert found() == ([3, 4], ["HIT", "HIT"])
    reprice(shop, 1, "1.80")
    assert found() == ([1, 3], ["HIT", "HIT"])
    reprice(shop, 5, "56.00")  # which was the row after the last, and is not any more
    assert outcome(shop, path) == "HIT"


def test_a_page_over_many_steps_depends_on_all_prices(shop: Shop) -> None:
    for number, price in enumerate((0.1, 1, 2, 5, 10, 20, 50, 100, 200, 500), 1):
        reprice(shop, number, f"{price:.2f}")
    path = "/products?sort=price&limit=100"
    assert [outcome(shop, path) for _ in range(2)] == ["MISS", "HIT"]
    with shop.app.app_context():
        assert cached_reads.priced(query(limit=100)) == b'{"steps":null}'
    reprice(shop, 1, "0.20")
    assert shop.get(path).get_json()["items"][0]["price"] == "0.20"


def test_an_empty_page_has_no_steps(shop: Shop) -> None:
    path = "/products?sort=price&min_price=1000"
    assert [outcome(shop, path) for _ in range(2)] == ["MISS", "HIT"]
    reprice(shop, 1, "1000.00")
    assert [one["id"] for one in shop.get(path).get_json()["items"]] == [1]


@pytest.mark.parametrize("currency", ["", "&currency=KWD"])
def test_a_range_may_end_within_a_cent(shop: Shop, currency: str) -> None:
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE products SET currency = 'KWD', price = 30"))
    forget(shop)
    path = f"/products?max_price=19.99{currency}"
    for price, ids in (("19.985", [1]), ("19.995", []), ("19.990", [1]), ("19.991", [])):
        reprice(shop, 1, price)
        assert [one["id"] for one in shop.get(path).get_json()["items"]] == ids


def test_steps_are_those_that_the_database_counts_by(shop: Shop) -> None:
    amounts = [Decimal(text) for text in PRICES]
    amounts += [at + off for at in LADDER[:-1] for off in (Decimal("-0.001"), 0, Decimal("0.001"))]
    statement = text("SELECT width_bucket(CAST(:amount AS numeric), CAST(:ladder AS numeric[]))")
    with shop.app.app_context(), db.engine.begin() as connection:
        for amount in amounts:
            values = {"amount": amount, "ladder": list(LADDER)}
            assert connection.scalar(statement, values) == step(amount)


@pytest.mark.parametrize(
    ("low", "high", "currency", "is_one"),
    [
        (None, None, None, True),
        ("0", None, None, True),
        ("10", "19.99", None, True),
        ("10", "19.990", "EUR", True),
        ("10.00", "19.995", "EUR", True),
        ("10", "20", "EUR", False),
        ("10", "19.98", None, False),
        ("10.01", "19.99", None, False),
        ("0.01", None, "EUR", False),
        ("10", "19", "JPY", True),
        ("10", "19", None, False),
        ("10", "19.999", "KWD", True),
        ("3", None, None, False),
        ("50000000000", None, None, True),
        (None, "50000000000", None, False),
    ],
)
def test_a_range_of_whole_steps(
    low: str | None, high: str | None, currency: str | None, *, is_one: bool
) -> None:
    lowest, highest = (None if end is None else Decimal(end) for end in (low, high))
    assert has_whole_steps(lowest, highest, currency) is is_one


def test_a_price_change_forgets_few_names(shop: Shop, redis_cli: Any) -> None:
    def forgotten(price: str) -> set[str]:
        names = [
            tag.generation_key(scope)
            for tag in (lists.prices, lists.steps)
            for scope in ("all", "c01")
        ]
        names += [lists.step_prices.generation_key("all", one) for one in range(len(LADDER) + 1)]
        redis_cli.mset(dict.fromkeys(names, "0" * 16))
        reprice(shop, 1, price)
        return {name for name in names if redis_cli.get(name) != "0" * 16}

    of_all = {lists.prices.generation_key("all"), lists.prices.generation_key("c01")}
    assert forgotten("0.60") == {*of_all, lists.step_prices.generation_key("all", 0)}
    assert forgotten("3.00") == {
        *of_all,
        lists.steps.generation_key("all"),
        lists.steps.generation_key("c01"),
    }
    assert forgotten("3.00") == set()
