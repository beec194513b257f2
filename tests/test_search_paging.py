"""Pages by `after`: while products come, go and change, and with cursors that are none."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from conftest import ADMIN_KEY
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from search.catalogue import CATEGORIES, NAMES, PRICES, fill
from search.oracle import Oracle, Question, Row, fold

from shop.search.cursor import write_cursor
from shop.search.query import SORTS, read_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Shop
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
EXAMPLES = 80
PAGES_MAX = 60

FILTERS: list[dict[str, str]] = [
    {},
    {"category_id": "1"},
    {"category_id": "2,3,67"},
    {"in_stock": "true"},
    {"min_price": "1", "max_price": "10"},
    {"q": "oak"},
    {"q": "tab", "category_id": "3"},
    {"active": "false"},
]
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "price": st.sampled_from(PRICES[2:8]).map(Decimal),
    "name": st.sampled_from(NAMES[:7]),
    "stock": st.integers(0, 1),
    "category_id": st.sampled_from(list(CATEGORIES)),
    "active": st.booleans(),
}
catalogues = st.lists(
    st.builds(
        Row,
        id=st.just(0),
        made=st.integers(0, 3),
        units=st.sampled_from([0, 0, 1, 2]),
        **FIELDS,
    ),
    min_size=6,
    max_size=16,
)
changes = st.one_of(
    *(st.tuples(st.just(name), values) for name, values in FIELDS.items()),
    st.just(("deleted", True)),
    st.just(("created", True)),
)
meanwhile = st.lists(st.tuples(st.integers(0, 100), changes), max_size=3)  # between two pages

# What a product is sorted by.
KEYS: dict[str, Callable[[Row], Any]] = {
    "id": lambda _: 0,
    "price": lambda row: row.price,
    "-price": lambda row: row.price,
    "name": lambda row: " ".join(fold(row.name).split()),
    "created_at": lambda row: row.made,
    "-created_at": lambda row: row.made,
    "best_selling": lambda row: row.units,  # the report stays as it is
    "relevance": lambda row: (row.name, row.category_id),
}


class Walk:
    """A reader who goes from page to page of a list, while the catalogue changes."""

    def __init__(self, shop: Shop, rows: list[Row], question: Question) -> None:
        self._shop = shop
        self._question = question
        self._key = KEYS[question.sort]
        numbered = [replace(row, id=n) for n, row in enumerate(rows, 1)]
        fill(shop, numbered)
        self.rows = {row.id: row for row in numbered}
        self.seen: list[int] = []
        self.steady = {row.id for row in self._matching()}
        self.moved: set[int] = set()  # whose sort key has changed
        self._path: str | None = f"/products?{urlencode(question.params)}"

    def _matching(self) -> list[Row]:
        return Oracle(self.rows.values(), CATEGORIES).found(self._question)

    def go_on(self) -> bool:
        """Read the next page, and tell whether there was one."""
        if self._path is None:
            return False
        answer = self._shop.get(self._path, headers=ADMIN if self._question.key else {})
        assert answer.status_code == 200, answer.text
        items = answer.get_json()["items"]
        assert len(items) <= self._question.limit
        assert {item["id"] for item in items} <= {row.id for row in self._matching()}
        self.seen += [item["id"] for item in items]
        self._path = next_path(answer)
        return True

    def change(self, pick: int, name: str, value: Any) -> None:
        if name == "created":
            self._create()
            return
        row = list(self.rows.values())[pick % len(self.rows)]
        path = f"/products/{row.id}"
        if name == "deleted":
            if row.units or len(self.rows) == 1:
                return  # what was sold stays
            assert self._shop.delete(path).status_code == 204
            del self.rows[row.id]
        else:
            sent = str(value) if name == "price" else value
            assert self._shop.patch(path, **{name: sent}).status_code == 200
            self.rows[row.id] = replace(row, **{name: value})
            if self._key(row) != self._key(self.rows[row.id]):
                self.moved.add(row.id)
        self.steady &= {row.id for row in self._matching()}

    def _create(self) -> None:
        made = self._shop.create_product(name="Oak desk", price="5", stock=1, category_id=1)
        row = Row(id=made["id"], name="Oak desk", price=Decimal(5), category_id=1, made=-1)
        self.rows[row.id] = row


def next_path(answer: TestResponse) -> str | None:
    link: str = answer.headers.get("Link", "")
    return urljoin("/products", link[1 : link.index(">")]) if 'rel="next"' in link else None


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def _walk(shop: Shop, data: st.DataObject) -> None:
    filters = data.draw(st.sampled_from(FILTERS))
    sorts = [sort for sort in SORTS if sort != "relevance" or "q" in filters]
    params = {"sort": data.draw(st.sampled_from(sorts)), "limit": str(data.draw(st.integers(1, 4)))}
    walk = Walk(shop, data.draw(catalogues), Question({**filters, **params}, "active" in filters))
    pages = 0
    while walk.go_on() and pages < PAGES_MAX:
        pages += 1
        for pick, (name, value) in data.draw(meanwhile):
            walk.change(pick, name, value)
    if pages < PAGES_MAX:
        assert walk.steady - walk.moved <= set(walk.seen)
    twice = {one for one in walk.seen if walk.seen.count(one) > 1}
    assert twice <= walk.moved


def test_an_unchanged_product_is_on_exactly_one_page(
    a_shop: Shop,
) -> None:
    _walk(a_shop)


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    """A shop of twelve desks; some are equal in what they are sorted by."""
    fill(
        a_shop,
        [
            Row(
                id=n,
                name=NAMES[n % 4],
                price=Decimal(n % 3 + 1),
                category_id=list(CATEGORIES)[n % 2],
                stock=n % 4,
                made=n % 3,
                units=n % 3,
            )
            for n in range(1, 13)
        ],
    )
    return a_shop


def first_cursor(shop: Shop, query: str) -> str:
    path = next_path(shop.get(f"/products?{query}"))
    assert path
    return parse_qs(urlsplit(path).query)["after"][0]


def status(shop: Shop, query: str, cursor: str) -> int:
    answer = shop.get(f"/products?{query}&{urlencode({'after': cursor})}")
    if answer.status_code == 422:
        assert [error["field"] for error in answer.get_json()["errors"]] == ["after"]
    return answer.status_code


QUERIES = [
    *(f"sort={sort}&limit=2" for sort in SORTS if sort != "relevance"),
    "q=oak&limit=2",
    "q=oak&sort=price&limit=2",
    "category_id=1&sort=price&limit=2",
    "category_id=1,2&sort=price&limit=2",
    "category_id=1,2&limit=2",
    "in_stock=true&sort=-price&limit=2",
    "min_price=1&limit=2",
    "max_price=9&limit=2",
    "currency=EUR&sort=price&limit=2",
]


def test_a_cursor_belongs_to_its_query_alone(shop: Shop) -> None:
    cursors = {query: first_cursor(shop, query) for query in QUERIES}
    for query in QUERIES:
        for other, cursor in cursors.items():
            assert status(shop, query, cursor) == (200 if query == other else 422), (query, other)


@pytest.mark.parametrize("query", QUERIES)
def test_the_next_page_may_show_and_count_something_else(shop: Shop, query: str) -> None:
    cursor = first_cursor(shop, query)
    short = query.removesuffix("&limit=2")
    for more in ("&limit=5", "", "&fields=id", "&total=true", "&facets=price", "&include=category"):
        answer = shop.get(f"/products?{short}{more}&after={cursor}")
        assert answer.status_code == 200, more
        assert answer.get_json()["items"]


def test_invalid_cursor_is_refused(shop: Shop) -> None:
    query = "sort=price&limit=2"
    cursor = first_cursor(shop, query)
    wrong = ["", "a", "AAAA", "=", "é", "\ud800", "\0", "%00", "null", "1", "a" * 2000, "a" * 9000]
    wrong += [cursor[:end] for end in range(1, len(cursor))]
    wrong += [cursor + more for more in ("a", "aa", "==", "!", " ", "\n", "~~")]
    wrong += [
        cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(20)
    ]
    wrong += [cursor.swapcase(), cursor[::-1], " " + cursor, cursor * 2]
    for one in wrong:
        sent = urlencode({"after": one}, errors="surrogatepass")
        assert shop.get(f"/products?{query}&{sent}").status_code == 422, one


NUMBERS: list[Any] = [0, -1, 1, 2**31, 2**62, 2**63, 2**200, 1.5, True, None, "1", "x", [], {}]
AMOUNTS: list[Any] = [
    "1",
    "1.00",
    "0",
    "NaN",
    "Infinity",
    "-1",
    "1e5",
    "",
    "9" * 11,
    "0.1" * 20,
    5,
    None,
]
TIMES: list[Any] = [
    "2030-01-01T00:00:00+00:00",
    "2030-01-01",
    "0001-01-01T00:00:00",
    "2030-13-01",
    "x",
    7,
]
TIMES += ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", None]
TEXTS: list[Any] = ["", "oak desk", "\0", "a" * 1500, "é", "'", "%s", "\\", "\x7f", 7, None, ["a"]]
FORGED: dict[str, list[Any]] = {
    "id": NUMBERS,
    "price": AMOUNTS,
    "-price": AMOUNTS,
    "name": TEXTS,
    "created_at": TIMES,
    "-created_at": TIMES,
    "best_selling": NUMBERS,
}


@pytest.mark.parametrize("sort", FORGED)
def test_any_content_of_a_forged_cursor_is_no_server_error(shop: Shop, sort: str) -> None:
    """Everybody can compute what binds a cursor to its query."""
    list_name = read_query({"sort": sort, "limit": 2}, active=True).list_name
    rows: list[list[Any]] = [[], [1], [1, 2, 3], [[1]]]
    rows += [[one] if sort == "id" else [one, 1] for one in FORGED[sort]]
    rows += [["1", one] for one in NUMBERS]
    for values in rows:
        try:
            cursor = write_cursor(list_name, values)
        except TypeError:  # JSON has no such number
            continue
        for more in ("", "&q=oak", "&category_id=1,2"):
            assert status(shop, f"sort={sort}&limit=2{more}", cursor) in {200, 422}, values
    payloads = [
        b"",
        b"null",
        b"{}",
        b"[",
        b"1",
        b"[1e999,1]",
        b'"a"',
        b"[[[[",
        b"\xff",
        b"[1]" * 99,
    ]
    genuine = urlsafe_b64decode(first_cursor(shop, f"sort={sort}&limit=2") + "==")
    for payload in payloads:
        cursor = urlsafe_b64encode(genuine[:9] + payload).decode().rstrip("=")
        assert status(shop, f"sort={sort}&limit=2", cursor) == 422


def test_a_far_page_begins_after_a_row_and_skips_none(shop: Shop) -> None:
    near = shop.get("/products?skip=10000&limit=1")
    assert near.status_code == 200
    far = shop.get("/products?skip=10001")
    assert far.status_code == 422
    [error] = far.get_json()["errors"]
    assert error["field"] == "skip"
    assert "after" in error["detail"]
