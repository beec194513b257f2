"""The edge answers documents of entries, rows and joins as Flask does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import pytest
from flask import request
from sqlalchemy import func, select
from test_edge import counting, round_trips

from shop.categories import service as categories
from shop.edge import answer_cache
from shop.extensions import cache, db
from shop.pages import Join, SkipLayout, read_page
from shop.products import service as products
from shop.products.models import Product
from shop.responses import cached_document, cached_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conftest import Make, Shop
    from flask import Response

    from shop.cache import MemoizedMany, MemoizedOne, Tag


@dataclass(frozen=True)
class Names:
    """The names of rows, what entries say besides ids, and the names of what is joined."""

    link: str = ""

    def compose(
        self,
        entries: Sequence[bytes],
        rows: Sequence[bytes],
        joined: Sequence[Mapping[str, bytes]],
    ) -> tuple[bytes, str]:
        told: dict[str, Any] = {"names": [orjson.loads(row)["name"] for row in rows]}
        for entry in entries:
            told |= {key: value for key, value in orjson.loads(entry).items() if key != "ids"}
        told["joined"] = [{key: orjson.loads(one) for key, one in some.items()} for some in joined]
        return orjson.dumps(told), self.link


class Declared(NamedTuple):
    prices: Tag
    ids_below: MemoizedOne[[int]]
    total_below: MemoizedOne[[int]]
    sku_documents: MemoizedMany[str]
    counts: MemoizedMany[int]


@pytest.fixture
def declared(declarations: None) -> Declared:
    """Declare what the routes of `shop` read, for the time of a test."""
    prices = cache.tag("tried:prices", tables=[Product])
    stocks = cache.tag("tried:stocks:{scope}", tables=[Product])

    @cache.memoize(
        key="tried:below:{price}",
        ttl="redis_cache_ttl",
        tables=[Product],
        tags=lambda price: [prices.generation_key(), stocks.generation_key("all")],  # noqa: ARG005
    )
    def ids_below(price: int) -> bytes:
        found = select(Product.id).where(Product.price < price).order_by(Product.id.desc())
        return orjson.dumps({"ids": list(db.session.scalars(found)), "price": price})

    @cache.memoize(
        key="tried:total:{price}",
        ttl="redis_cache_ttl",
        tables=[Product],
        tags=lambda price: [prices.generation_key()],  # noqa: ARG005
    )
    def total_below(price: int) -> bytes:
        total = select(func.count(Product.id)).where(Product.price < price)
        return orjson.dumps({"total": db.session.scalar(total)})

    @cache.memoize_many(key="tried:sku:{sku}", ttl="redis_cache_ttl", tables=[Product])
    def sku_documents(skus: Sequence[str]) -> dict[str, bytes]:
        found = select(Product.sku, Product.id).where(Product.sku.in_(skus))
        return {sku: orjson.dumps({"ids": [one]}) for sku, one in db.session.execute(found) if sku}

    @cache.memoize_many(key="tried:count:{category_id}", ttl="redis_cache_ttl", tables=[Product])
    def counts(category_ids: Sequence[int]) -> dict[int, bytes]:
        found = (
            select(Product.category_id, func.count())
            .where(Product.category_id.in_(category_ids))
            .group_by(Product.category_id)
        )
        return {one: orjson.dumps(count) for one, count in db.session.execute(found)}

    return Declared(prices, ids_below, total_below, sku_documents, counts)


@pytest.fixture
def shop(declared: Declared, make_shop: Make) -> Shop:
    """A shop with three products in two categories, and routes of each form."""
    shop = make_shop()
    category = Join(categories.category_documents, "category_id")

    def below() -> Response:
        price = int(request.args["price"])
        entries = declared.ids_below(price), declared.total_below(price)
        layout = Names(f'<?price={price + 1}>; rel="next"')
        return cached_page(
            read_page(layout, products.product_documents, *entries, joins=[category])
        )

    def chosen() -> Response:
        ids = [int(one) for one in request.args.get("id", "").split(",") if one]
        skus = request.args.get("sku", "").split(",")
        found = declared.sku_documents(skus) if skus[0] else {}
        return cached_page(read_page(Names(), products.product_documents, *found.values(), ids=ids))

    def counted() -> Response:
        join = Join(declared.counts, "id")
        ids = categories.page_ids(0, 100)
        return cached_page(read_page(Names(), categories.category_documents, ids, joins=[join]))

    def alone() -> Response:
        return cached_document(declared.ids_below(int(request.args["price"])))

    def more() -> Response:
        declared.total_below(1)
        return cached_page(
            read_page(SkipLayout(0, 9), products.product_documents, products.page_ids(0, 9))
        )

    for view in (below, chosen, counted, alone, more):
        shop.app.add_url_rule(f"/tried/{view.__name__}", view_func=view)
    for number, name in enumerate(("Garden", "Kitchen"), 1):
        shop.create_category(name)
        shop.create_product(
            name=f"Rake {number}", price=number, category_id=number, sku=f"R{number}"
        )
    shop.create_product(name="Pan", price=3, category_id=2)
    return shop


BELOW = "/tried/below?price=3"
PATHS = [
    BELOW,
    "/tried/below?price=1",
    "/tried/chosen?id=3,1",
    "/tried/chosen?id=3,99,1",
    "/tried/chosen?id=2,3&sku=R1,R2,R3",
    "/tried/chosen?sku=R2",
    "/tried/chosen?sku=R3",
    "/tried/counted",
    "/tried/alone?price=2",
]


def learn(shop: Shop, path: str) -> Any:
    """Read twice, and return what the edge has answered."""
    assert shop.get(path).status_code == 200
    with counting(hit=1):
        return shop.get(path).get_json()


@pytest.mark.parametrize("path", PATHS)
def test_every_form_is_answered_in_one_round_trip_as_flask_does(
    shop: Shop, make_shop: Make, redis_cli: Any, path: str
) -> None:
    missed = shop.get(path)
    assert missed.headers["X-Cache"] == "MISS"
    shop.get(path)  # Redis knows the script then
    redis_cli.config_resetstat()
    with counting(hit=1, not_modified=1):
        hit = shop.get(path)
        same = shop.get(path, headers={"If-None-Match": hit.headers["ETag"]})
    assert round_trips(redis_cli) == 2
    assert (hit.headers["X-Cache"], same.status_code) == ("HIT", 304)
    assert hit.data == missed.data
    assert hit.headers["ETag"] == missed.headers["ETag"]
    assert hit.headers.get("Link") == missed.headers.get("Link")


def test_a_learnt_answer_is_composed_of_entries_rows_and_joins(shop: Shop) -> None:
    garden, kitchen = (learn(shop, f"/categories/{number}") for number in (1, 2))
    assert learn(shop, BELOW) == {
        "names": ["Rake 2", "Rake 1"],
        "price": 3,
        "total": 2,
        "joined": [{"2": kitchen, "1": garden}],
    }
    assert shop.get(BELOW).headers["Link"] == '</tried/below?price=4>; rel="next"'
    assert learn(shop, "/tried/counted")["joined"] == [{"1": 1, "2": 2}]
    answers = {path: learn(shop, path)["names"] for path in PATHS[2:7]}
    assert list(answers.values()) == [
        ["Pan", "Rake 1"],
        ["Pan", "Rake 1"],
        ["Rake 2", "Pan", "Rake 1"],  # each product once
        ["Rake 2"],
        [],
    ]


def test_the_edge_does_not_answer_with_an_entry_that_a_write_forgot(
    shop: Shop, declared: Declared
) -> None:
    """A row, a joined document, a tag, a family: each alone."""
    learn(shop, BELOW)

    def reprice() -> None:
        with shop.app.app_context(), cache.transaction():
            db.session.get_one(Product, 2).price = 9  # type: ignore[assignment]
            cache.delete_memoized(products.product_documents, 2)
            cache.delete_tagged(declared.prices)

    shop.patch("/products/1", name="Hoe")
    with counting(passed=1):
        assert shop.get(BELOW).get_json()["names"] == ["Rake 2", "Hoe"]
    shop.patch("/categories/1", name="Yard")
    with counting(passed=1):
        assert shop.get(BELOW).get_json()["joined"][0]["1"]["name"] == "Yard"
    reprice()
    with counting(passed=1):
        answer = shop.get(BELOW).get_json()
    assert (answer["names"], answer["total"]) == (["Hoe"], 1)
    with shop.app.app_context():
        cache.delete_memoized(declared.total_below)
    with counting(passed=1):
        shop.get(BELOW)
    with counting(hit=1):
        assert shop.get(BELOW).get_json() == answer


def test_an_answer_with_a_suspended_generation_is_not_given(shop: Shop, declared: Declared) -> None:
    learn(shop, BELOW)
    with shop.app.app_context():
        cache.backend.protocol.suspend([declared.prices.generation_key()], "a")
    with counting(passed=2):
        assert [shop.get(BELOW).headers["X-Cache"] for _ in range(2)] == ["MISS", "MISS"]


def test_an_inactive_row_is_shown_by_no_remembered_answer(shop: Shop) -> None:
    """The answer would be the same, because it does not show whether a row is active."""
    assert learn(shop, BELOW)["names"] == ["Rake 2", "Rake 1"]
    with shop.app.app_context(), cache.transaction():
        db.session.get_one(Product, 2).active = False
        cache.delete_memoized(products.product_documents, 2)
    with shop.app.app_context():
        products.product_documents([2])
    with counting(hit=1):
        assert shop.get(BELOW).get_json()["names"] == ["Rake 1"]
    assert learn(shop, "/tried/chosen?id=2,1")["names"] == ["Rake 1"]


def test_documents_are_counted_by_their_functions(shop: Shop) -> None:
    learn(shop, BELOW)
    names = ["test_edge_layouts.ids_below", "products.product_documents"]
    names.append("categories.category_documents")
    text = "shop_cache_reads_total"

    def hits() -> list[float]:
        labels = [f'{text}{{function="{name}",result="hit"}} ' for name in names]
        lines = shop.get("/metrics").text.splitlines()
        return [float(line.rpartition(" ")[2]) for one in labels for line in lines if one in line]

    before = hits()
    shop.get(BELOW)
    assert [after - one for after, one in zip(hits(), before, strict=True)] == [1, 2, 2]


def test_an_answer_for_which_more_was_read_is_not_learnt(shop: Shop) -> None:
    with counting(passed=3):
        for _ in range(3):
            assert len(shop.get("/tried/more").get_json()["items"]) == 3


def test_a_long_url_is_learnt(shop: Shop) -> None:
    chosen = ",".join(str(one) for one in (1, *range(1_000_000_000, 1_000_000_099)))
    assert learn(shop, f"/tried/chosen?id={chosen}")["names"] == ["Rake 1"]


def test_the_memory_of_learnt_urls_and_answers_is_bounded(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go: an address is learnt again, an answer is composed again."""
    learn(shop, BELOW)
    copies: answer_cache.AnswerCache = shop.app.extensions["served"].edge.hits._answer_cache
    [copy] = copies._copies.values()
    monkeypatch.setattr(answer_cache, "CACHE_BYTES", 2 * copy.size - 1)
    learn(shop, "/tried/below?price=4")
    assert len(copies._copies) == 1
    with counting(hit=2):
        assert shop.get(BELOW).get_json()["total"] == 2
        assert shop.get("/tried/below?price=4").get_json()["total"] == 3
    monkeypatch.setattr("shop.edge.learned_plans.PLANS_BYTES", 3000)
    for price in range(5, 15):
        learn(shop, f"/tried/below?price={price}")
    with counting(passed=1):
        shop.get(BELOW)
