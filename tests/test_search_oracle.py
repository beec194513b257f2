"""Any query finds the products that a slow oracle finds in the same rows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import combinations, product
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from conftest import ADMIN_KEY
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from search.catalogue import CATEGORIES, DESCRIPTIONS, NAMES, PRICES, fill, forget, rows
from search.oracle import COUNTED, Question, Row, price_range
from search.questions import FEW, NEEDS_KEY, questions, written_otherwise
from sqlalchemy import text

from shop.extensions import db
from shop.search import best_sellers, cached_reads, statements
from shop.search.query import Filters

if TYPE_CHECKING:
    from conftest import Shop
    from search.oracle import Oracle
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
EXAMPLES = 40
QUESTIONS = 6  # of an example
PAGES_MAX = 8  # that a list is followed for

fixed = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def ask(shop: Shop, question: Question, times: int = 3) -> TestResponse:
    """Ask until the answer has come from the database, from Redis, and by the edge."""
    path, headers = f"/products?{urlencode(question.params)}", ADMIN if question.key else {}
    answers = [shop.get(path, headers=headers) for _ in range(times)]
    assert len({(one.status_code, one.headers.get("ETag")) for one in answers}) == 1
    if answers[0].status_code == 200:
        assert len({(one.data, one.headers.get("Link")) for one in answers}) == 1
    return answers[0]


def following(answer: TestResponse, question: Question) -> Question | None:
    """Return the question of the page that a page names as the next one."""
    for link in answer.headers.get("Link", "").split(", "):
        if link.endswith('rel="next"'):
            address = urlsplit(urljoin("/products", link[1 : link.index(">")]))
            assert address.path == "/products"
            return Question(dict(parse_qsl(address.query)), question.key)
    return None


def compare(
    shop: Shop, oracle: Oracle, question: Question, *, pages: int = PAGES_MAX, times: int = 3
) -> None:
    """Compare the pages of a question with what the oracle says."""
    answer = ask(shop, question, times)
    if wrong := oracle.wrong(question):
        assert answer.status_code == 422, answer.text
        assert wrong & {error["field"] for error in answer.get_json()["errors"]}
        return
    found = oracle.found(question)
    if question.sort == "relevance":
        found = by_relevance(shop, question, found)
    found = found[int(question.params.get("skip", 0)) :]
    chosen = question.params.keys() & {"id", "sku"}
    limit = len(found) if chosen else question.limit
    for number in range(pages):
        assert answer.status_code == 200, answer.text
        expected = found[number * limit :][:limit]
        body = answer.get_json()
        assert body.pop("items") == [oracle.document(row, question) for row in expected]
        if chosen:
            assert body == {"missing": oracle.missing(question)}
            return
        assert body.pop("limit") == limit
        assert ("as_of" in body) == (question.sort == "best_selling")
        shown = {name: body[name] for name in body.keys() & {"total", "facets"}}
        assert shown == oracle.counted(question)
        after = following(answer, question)
        assert (after is not None) == (len(found) > (number + 1) * limit)
        if after is None:
            return
        answer = ask(shop, after, times)


def by_relevance(shop: Shop, question: Question, rows: list[Row]) -> list[Row]:
    """Put rows into the order of their relevance, of which the oracle knows nothing."""
    bare = question.without("fields", "include", "total", "facets", "limit", "skip")
    whole = Question({**bare.params, "limit": "100"}, question.key)
    ids = [item["id"] for item in ask(shop, whole).get_json()["items"]]
    places = {row_id: place for place, row_id in enumerate(ids)}
    assert len(ids) == len(rows)
    assert {row.id for row in rows} == places.keys()
    return sorted(rows, key=lambda row: places[row.id])


@fixed
@given(data=st.data())
def _ask_whatever(shop: Shop, data: st.DataObject) -> None:
    oracle = fill(shop, data.draw(rows()))
    for question in data.draw(st.lists(questions(), min_size=QUESTIONS, max_size=QUESTIONS)):
        compare(shop, oracle, question)


def test_any_query_of_any_catalogue_is_answered_correctly(a_shop: Shop) -> None:
    _ask_whatever(a_shop)


def catalogue() -> list[Row]:
    """Return thirty products that differ in everything, and have equals in everything."""
    return [
        Row(
            id=n,
            name=NAMES[n % len(NAMES)],
            description=DESCRIPTIONS[n % len(DESCRIPTIONS)],
            sku=(None, f"TAB-{n:03}", f"x{n}.Y")[n % 3],
            price=Decimal(PRICES[n % len(PRICES)]),
            currency="USD" if n % 5 == 2 and n % 3 else "EUR",  # in one category alone
            stock=n % 3,
            category_id=list(CATEGORIES)[n % 5 % 4],
            active=n % 6 != 0,
            made=n % 4,
            units=n % 5 // 2,
        )
        for n in range(1, 31)
    ]


def test_every_pair_of_parameters_is_answered_correctly(a_shop: Shop) -> None:
    oracle = fill(a_shop, catalogue())
    asked = 0
    for one, other in combinations(FEW, 2):
        for a, b in product(FEW[one], FEW[other]):
            params = {one: a, other: b}
            for key in {NEEDS_KEY in params, (asked % 5 == 0) or NEEDS_KEY in params}:
                compare(a_shop, oracle, Question(params, key), pages=2, times=2)
                asked += 1
    assert asked > 1000


def test_equivalent_searches_are_answered_from_the_same_entries(a_shop: Shop) -> None:
    fill(a_shop, catalogue())
    for params in (
        {"category_id": "67,3,2", "facets": "price,category", "fields": "name,id", "limit": "3"},
        {"q": "oak desk", "in_stock": "true", "sort": "name", "total": "true"},
        {"currency": "EUR", "min_price": "1", "sort": "-price", "include": "category"},
    ):
        first = a_shop.get(f"/products?{urlencode(params)}")
        assert first.headers["X-Cache"] == "MISS"
        otherwise = written_otherwise(params) | {
            name: value
            for name, value in {"min_price": "1.00", "q": "  oak   desk "}.items()
            if name in params
        }
        again = a_shop.get(f"/products?{urlencode(otherwise)}")
        assert again.headers["X-Cache"] == "HIT"
        assert again.get_json() == first.get_json()


def test_each_value_of_a_facet_finds_as_many_products_as_it_counts(a_shop: Shop) -> None:
    fill(a_shop, catalogue())
    facets = "category,price,in_stock"
    for narrowed in ({}, {"q": "desk"}, {"category_id": "3"}, {"in_stock": "true"}):
        whole = a_shop.get(f"/products?{urlencode({**narrowed, 'facets': facets})}").get_json()
        clicks = [({"category_id": one["id"]}, one["count"]) for one in whole["facets"]["category"]]
        clicks += [
            (
                {"min_price": one["from"], "max_price": one["to"], "currency": one["currency"]},
                one["count"],
            )
            for one in whole["facets"]["price"]
        ]
        clicks += [({"in_stock": one}, n) for one, n in whole["facets"]["in_stock"].items()]
        assert len(clicks) > 5
        for clicked, count in clicks:
            query = urlencode({**narrowed, **clicked, "total": "true", "limit": "100"})
            page = a_shop.get(f"/products?{query}").get_json()
            assert page["total"] == {"count": count, "exact": True}, query
            assert len(page["items"]) == count


def test_each_category_is_counted_in_a_range_of_an_index(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But few products, such as those with a word, are looked up first; many categories are not."""
    fill(a_shop, catalogue())
    more = text(
        "INSERT INTO products (name, price, stock, category_id, active) "
        "SELECT 'Rake', n % 50 + 1, n % 20, n % 3 + 1, n % 100 > 0 FROM generate_series(1, 5000) n"
    )
    with a_shop.app.app_context(), db.engine.connect() as connection:
        connection.execute(more)
        connection.execute(text("ANALYZE products"))
        for filters in (Filters(), Filters(in_stock=True)):
            counts = statements.counts_of_each_category(statements.conditions(filters))
            sql = counts.compile(db.engine, compile_kwargs={"literal_binds": True})
            plan = "\n".join(connection.scalars(text(f"EXPLAIN {sql}")))
            assert "ix_products_category_stock" in plan, plan
            assert "category_id = categories.id" in plan, plan
    for query, most, each in (
        ("", len(CATEGORIES), True),
        ("&in_stock=false", len(CATEGORIES), True),
        ("&q=rake", len(CATEGORIES), False),
        ("", len(CATEGORIES) - 1, False),
    ):
        monkeypatch.setattr(cached_reads, "COUNTED_CATEGORIES_MAX", most)
        forget(a_shop)
        with a_shop.statements() as sent:
            assert a_shop.get(f"/products?facets=category{query}").status_code == 200
        assert any("LATERAL (SELECT count" in one for one in sent) == each, (query, most)


def test_many_categories_get_the_same_counts_as_few(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_reads, "COUNTED_CATEGORIES_MAX", len(CATEGORIES) - 1)
    oracle = fill(a_shop, catalogue())
    for name, values in FEW.items():
        for value in values:
            question = Question({name: value, "facets": "category"}, key=name == NEEDS_KEY)
            compare(a_shop, oracle, question, pages=1)


def test_each_price_is_in_one_range(a_shop: Shop) -> None:
    """Prices are at both ends of each range, in currencies of 0, 2 and 3 decimal places."""
    ends = {
        "EUR": "0.01 0.99 1.00 1.99 2.00 9999999999.99",
        "JPY": "1 2 4 5 9 10",
        "KWD": "0.001 0.999 1.000 4.999",
    }
    prices = [(currency, price) for currency, some in ends.items() for price in some.split()]
    made = [
        Row(id=n, name="Rake", price=Decimal(price), category_id=1, currency=currency)
        for n, (currency, price) in enumerate(prices, 1)
    ]
    oracle = fill(a_shop, made)
    compare(a_shop, oracle, Question({"facets": "price"}))
    assert price_range(made[-1]) == ("KWD", "2.000", "4.999")


def test_a_total_is_exact_to_ten_thousand(a_shop: Shop) -> None:
    fill(a_shop, [Row(id=1, name="Rake", price=Decimal(1), category_id=1)])
    copies = text(
        "INSERT INTO products (name, price, stock, category_id, currency, active) "
        "SELECT 'Rake', 1, 0, 1, 'EUR', true FROM generate_series(1, :n)"
    )
    for more, total in ((COUNTED - 1, True), (1, False)):
        with a_shop.app.app_context(), db.engine.begin() as connection:
            connection.execute(copies, {"n": more})
        forget(a_shop)
        for query in ("total=true", "total=true&q=rake", "total=true&category_id=1&currency=EUR"):
            page = a_shop.get(f"/products?{query}&limit=1").get_json()
            assert page["total"] == {"count": COUNTED, "exact": total}, query


def test_pages_of_equal_products_have_no_gap_and_no_overlap(a_shop: Shop) -> None:
    """For every length of a page and each order, with equal sort keys."""
    made = [Row(id=n, name="Rake", price=Decimal(1), category_id=1) for n in range(1, 8)]
    oracle = fill(a_shop, made)
    for sort in FEW["sort"]:
        for limit in map(str, range(1, 8)):
            params = {"sort": sort, "limit": limit} | ({"q": "rake"} if sort == "relevance" else {})
            compare(a_shop, oracle, Question(params))
            compare(a_shop, oracle, Question({**params, "category_id": "1,2", "in_stock": "true"}))


@pytest.mark.parametrize("few", [0, 3, 4, 5, 1000])
def test_best_sellers_are_one_list_for_any_number_of_matches(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """Four products are out of stock in category 1; the list of each filter is read by `after`."""
    monkeypatch.setattr(best_sellers, "LINES_FIRST", 2)
    monkeypatch.setattr(best_sellers, "LINES_MAX", 5)
    monkeypatch.setattr(best_sellers, "SORTED_MAX", few)
    made = catalogue()
    oracle = fill(a_shop, made)
    out = {"category_id": "1", "in_stock": "false"}
    assert len(oracle.found(Question(out, key=True))) == 4
    for params in (out, {"category_id": "1"}, {"in_stock": "false"}, {"q": "desk"}, {}):
        for limit in ("1", "2", "3", "100"):
            question = {**params, "sort": "best_selling", "limit": limit}
            for key in (False, True):
                compare(a_shop, oracle, Question(question, key), pages=len(made), times=1)
    compare(a_shop, oracle, Question({**out, "sort": "best_selling", "skip": "3"}))


def test_best_sellers_of_few_products_do_not_read_the_whole_report(
    a_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(best_sellers, "LINES_FIRST", 2)
    monkeypatch.setattr(best_sellers, "LINES_MAX", 5)
    fill(a_shop, catalogue())
    path = "/products?sort=best_selling&category_id=1&in_stock=false"
    for few, looks in ((5, 1), (1, 4)):  # at the report: its beginning; its parts, and what is not
        monkeypatch.setattr(best_sellers, "SORTED_MAX", few)
        forget(a_shop)
        assert a_shop.get("/products?sort=best_selling&limit=1").status_code == 200
        with a_shop.statements() as sent:
            assert a_shop.get(path).status_code == 200
        assert sum("AS INTEGER[]" in one for one in sent) == looks, sent


def test_prices_are_compared_in_one_currency_alone(a_shop: Shop) -> None:
    """The currency is that of the category or the query, and for some facets that of all."""
    made = [replace(row, currency="EUR") for row in catalogue() if row.category_id != 67]
    made += [replace(row, currency="USD") for row in catalogue() if row.category_id == 67]
    oracle = fill(a_shop, made)
    for category_id in ("1", "1,2", "67", "999"):
        for bound in ({"min_price": "2"}, {"max_price": "10"}):
            for facets in ("category", "price", "in_stock", "category,price,in_stock"):
                question = {"category_id": category_id, "facets": facets, "total": "true"}
                compare(a_shop, oracle, Question(question | bound))


def test_a_learnt_search_is_refused_when_prices_are_in_several_currencies(a_shop: Shop) -> None:
    """The edge knows the address, and the entries of its answer; what is in them says 422."""
    for category in ("Garden", "Books"):
        a_shop.create_category(category)
    a_shop.create_product(category_id=1)
    made = a_shop.create_product(category_id=2)["id"]
    paths = ["/products?sort=price", "/products?max_price=99&total=true&facets=in_stock"]
    paths.append("/products?min_price=1&category_id=1&facets=category")
    for currency, status in (("EUR", 200), ("USD", 422), ("EUR", 200), ("USD", 422)):
        a_shop.patch(f"/products/{made}", currency=currency)
        for path in paths:
            answers = [a_shop.get(path).status_code for _ in range(4)]
            assert answers == [status] * 4, path
