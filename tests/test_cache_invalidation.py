"""A write forgets the lists of products that it changes, and few others; shown cell by cell.

After each write every read is as it would be without a cache. What the write does not concern is a
hit: the table says of each write which reads are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from conftest import ADMIN_KEY
from search.catalogue import forget
from sqlalchemy import text

from shop.extensions import cache, db
from shop.orders import expiry
from shop.products import lists

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}

READS = {
    "categories": "/categories",
    "counts": "/categories?include=counts",
    "plain": "/products?skip=0&limit=10",
    "one": "/products?category_id=1",
    "two": "/products?category_id=2",
    "both": "/products?category_id=1,2",
    "nine": "/products?category_id=1,2,4,5,6,7,8,9,10",  # more than have scopes of their own
    "new": "/products?sort=-created_at",
    "sold": "/products?sort=best_selling",
    "price": "/products?sort=price",
    "price one": "/products?sort=price&category_id=1",
    "price two": "/products?sort=-price&category_id=2",
    "cheap": "/products?max_price=15",
    "cheap two": "/products?max_price=15&category_id=2",
    "of steps": "/products?min_price=10&max_price=19.99",
    "of steps two": "/products?min_price=10&max_price=19.99&category_id=2",
    "cheapest": "/products?sort=price&limit=1",
    "dearest": "/products?sort=-price&min_price=20&max_price=50",  # 50 is of the next step
    "dearest of steps": "/products?sort=-price&min_price=20&category_id=1",
    "oak by price": "/products?q=oak&sort=price",
    "EUR": "/products?currency=EUR",
    "name": "/products?sort=name",
    "name one": "/products?sort=name&category_id=1",
    "name two": "/products?sort=name&category_id=2",
    "stock": "/products?in_stock=true",
    "stock one": "/products?in_stock=false&category_id=1",
    "stock two": "/products?in_stock=true&category_id=2",
    "q": "/products?q=oak",
    "q two": "/products?q=rake&category_id=2",
    "total": "/products?total=true",
    "total one": "/products?total=true&category_id=1",
    "total two": "/products?total=true&category_id=2",
    "facet category": "/products?facets=category",
    "facet price": "/products?facets=price",
    "facet price two": "/products?facets=price&category_id=2",
    "facet stock": "/products?facets=in_stock",
    "facet stock two": "/products?facets=in_stock&category_id=2",
    "sku": "/products?sku=OAK-1",
    "other sku": "/products?sku=GAR-4",
    "new sku": "/products?sku=OAK-9",
    "suggest": "/search/suggest?q=oa",
}
ROWS = "/products?id=" + ",".join(map(str, range(1, 9)))


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop of three categories with two products each, one of them with orders."""
    for name in ("Desks", "Garden", "Lamps"):
        a_shop.create_category(name)
    for name, price, stock, category_id, sku in (
        ("Oak desk", "10.00", 5, 1, "OAK-1"),
        ("Oak table", "20.00", 1, 1, None),
        ("Pine shelf", "30.00", 0, 1, None),
        ("Garden rake", "10.00", 5, 2, "GAR-4"),
        ("Garden hose", "12.00", 5, 2, None),
        ("Oak lamp", "15.00", 5, 3, None),
    ):
        a_shop.create_product(name=name, price=price, stock=stock, category_id=category_id, sku=sku)
    return a_shop


def patch(product_id: int, **fields: object) -> Callable[[Shop], None]:
    def write(shop: Shop) -> None:
        assert shop.patch(f"/products/{product_id}", **fields).status_code == 200

    return write


def adjust(product_id: int, delta: int) -> Callable[[Shop], None]:
    def write(shop: Shop) -> None:
        assert shop.patch(f"/products/{product_id}/stock", delta=delta).status_code == 200

    return write


def nothing(_: Shop) -> None:
    pass


def order_of_two(shop: Shop) -> None:
    """Order the last oak table, so that it is sold out."""
    assert shop.place_order(2)["id"] == 1


def expire(shop: Shop) -> None:
    with shop.app.app_context():
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE orders SET expires_at = now() - interval '1 s'"))
        assert expiry.expire_orders(10) == 1


def an_empty_category(shop: Shop) -> None:
    assert shop.create_category("Rugs")["id"] == 4


TEXTS = ["q", "q two", "oak by price", "suggest"]
# Those that tell how many products each step of prices has, and those that tell more of prices.
STEPS = ["of steps", "cheapest", "dearest of steps", "EUR", "facet price"]
OF_ALL_PRICES = ["price", "price one", "cheap", "dearest", "oak by price"]
PRICES = [*STEPS, *OF_ALL_PRICES]
STOCK = ["stock", "stock one", "facet stock"]
# The lists that a product of category 1 enters or leaves.
MEMBERS = [*TEXTS, *PRICES, *STOCK, "counts", "plain", "one", "both", "nine", "new", "sold", "name"]
MEMBERS += ["name one", "total", "total one", "facet category"]
# Those of category 1 and 2, and what looks into the names of their categories.
MOVES = [
    *TEXTS,
    "counts",
    "one",
    "two",
    "both",
    "nine",
    "price one",
    "price two",
    "cheap two",
    "of steps two",
    "dearest of steps",
    "name one",
]
MOVES += ["name two", "stock one", "stock two", "total one", "total two", "facet category"]
MOVES += ["facet price two", "facet stock two"]


class Write(NamedTuple):
    act: Callable[[Shop], object]
    forgets: list[str]
    before: Callable[[Shop], object] = nothing  # what is done before the reads


WRITES = {
    "price within its step": Write(patch(1, price="11.00"), [*OF_ALL_PRICES, "cheapest"]),
    "price within another step": Write(
        patch(3, price="31.00"), [*OF_ALL_PRICES, "dearest of steps"]
    ),
    "price that leaves its step": Write(patch(1, price="20.00"), PRICES),
    "currency": Write(patch(1, currency="USD"), PRICES),
    "stock within": Write(patch(1, stock=4), []),
    "adjustment within": Write(adjust(1, -1), []),
    "sale": Write(lambda shop: shop.place_order(1), []),
    "stock to zero": Write(patch(1, stock=0), STOCK),
    "adjustment to zero": Write(adjust(1, -5), STOCK),
    "stock from zero": Write(patch(3, stock=2), STOCK),
    "sale that sells out": Write(order_of_two, STOCK),
    "payment": Write(lambda shop: shop.move_order(1, "pay"), [], order_of_two),
    "cancellation": Write(lambda shop: shop.move_order(1, "cancel"), STOCK, order_of_two),
    "expiry": Write(expire, STOCK, order_of_two),
    "nothing": Write(patch(1), []),
    "all as it was": Write(
        patch(1, name="Oak desk", price="10.00", stock=5, category_id=1, sku="OAK-1"), []
    ),
    "name": Write(patch(1, name="Beech desk"), [*TEXTS, "name", "name one"]),
    "description": Write(patch(1, description="Of oak."), TEXTS),
    "SKU": Write(patch(1, sku="OAK-9"), [*TEXTS, "sku", "new sku"]),
    "move": Write(patch(1, category_id=2), MOVES),
    "hiding": Write(patch(1, active=False), MEMBERS),
    "showing": Write(patch(1, active=True), MEMBERS, patch(1, active=False)),
    "creation": Write(lambda shop: shop.create_product(name="Oak bed", category_id=1), MEMBERS),
    "deletion": Write(lambda shop: shop.delete("/products/1"), [*MEMBERS, "sku"]),
    "category's name": Write(lambda shop: shop.patch("/categories/1", name="Oak"), TEXTS),
    "category's name as it was": Write(lambda shop: shop.patch("/categories/1", name="Desks"), []),
    "nothing of a category": Write(lambda shop: shop.patch("/categories/1"), []),
    "all of a category as it was": Write(lambda shop: shop.put("/categories/1", name="Desks"), []),
    "category's creation": Write(an_empty_category, [*TEXTS, "categories", "counts"]),
    "category's deletion": Write(
        lambda shop: shop.delete("/categories/4"), [*TEXTS, "categories"], an_empty_category
    ),
}


def read(shop: Shop) -> dict[str, tuple[int, Any, str | None]]:
    answers = {name: shop.get(path) for name, path in READS.items()}
    return {
        name: (one.status_code, one.get_json(), one.headers.get("X-Cache"))
        for name, one in answers.items()
    }


@pytest.mark.parametrize("kind", WRITES)
def test_a_write_forgets_what_it_changes_and_no_more(shop: Shop, kind: str) -> None:
    write = WRITES[kind]
    write.before(shop)
    forget(shop)
    for _ in range(2):
        before = read(shop)
    assert {outcome for _, _, outcome in before.values()} == {"HIT"}
    write.act(shop)
    shop.get(ROWS)  # a row that was changed is in no list, but for itself
    shop.get("/categories/1")
    after = read(shop)
    forget(shop)
    cold = read(shop)
    for answers in (after, cold):
        for _, body, _ in answers.values():
            body.pop("request_id", None)
    stale = {name for name in READS if after[name][:2] != cold[name][:2]}
    assert stale - {"sold"} == set()  # that page tells the time of its report
    missed = {name for name, (_, _, outcome) in after.items() if outcome != "HIT"}
    assert missed == set(write.forgets)


def test_a_page_of_another_bucket_is_no_other_categorys(shop: Shop) -> None:
    """Categories whose numbers have the same remainder share tags, and no product."""
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(text("INSERT INTO categories (id, name) VALUES (65, 'Tools')"))
    path = "/products?category_id=65"
    assert shop.get(path).get_json()["items"] == []
    made = shop.create_product(name="Saw", category_id=65)
    for _ in range(2):
        assert [one["id"] for one in shop.get(path).get_json()["items"]] == [made["id"]]
    shop.delete(f"/products/{made['id']}")
    assert shop.get(path).get_json()["items"] == []


def test_entries_for_key_holders_are_forgotten_too(shop: Shop) -> None:
    paths = ["/products", "/products?active=false", "/products?category_id=1&active=true"]
    paths += ["/products?q=oak", "/products?sort=price", "/products?id=1,2", "/products?total=true"]

    def seen() -> list[bytes]:
        return [shop.get(path, headers=ADMIN).data for path in paths]

    for write in (patch(1, active=False), patch(1, price="99"), patch(1, category_id=2)):
        seen()
        write(shop)
        after = seen()
        forget(shop)
        assert after == seen()


def test_a_facet_has_no_counts_that_are_yet_to_be_forgotten(shop: Shop) -> None:
    """The names that a write forgets are released in any order."""
    shop.get("/categories?include=counts")
    with shop.app.app_context():
        with db.engine.begin() as connection:
            connection.execute(text("UPDATE products SET category_id = 2 WHERE id = 1"))
        for tag in (
            lists.category_moves.generation_key(),
            lists.members.generation_key("c01"),
            lists.members.generation_key("c02"),
        ):
            cache.backend.protocol.release([tag], "a writer")
    counts = shop.get("/products?facets=category").get_json()["facets"]["category"]
    assert counts == [{"id": 2, "count": 3}, {"id": 1, "count": 2}, {"id": 3, "count": 1}]


def test_the_counts_of_many_categories_are_one_entry(shop: Shop) -> None:
    with shop.app.app_context(), db.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO categories (name) SELECT 'C' || n FROM generate_series(1, 8000) AS n")
        )
    outcomes = [shop.get("/products?facets=category").headers["X-Cache"] for _ in range(2)]
    assert outcomes == ["MISS", "HIT"]
