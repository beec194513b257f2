"""The work for a request grows no faster than the request, and its refusal is short.

Work is counted, not timed: the calls that a request makes, in Python and from Python into C. Within
one call only the work of a pattern can grow faster than its text, so every pattern that a request
meets is shown to be unambiguous.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from bounded.ambiguity import is_ambiguous
from bounded.places import Places
from bounded.work import Work, counting
from werkzeug.test import run_wsgi_app

from shop.fields import EMAIL, LINE, MONEY, TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bounded.places import Environ, Place
    from conftest import Shop

    Text = Callable[[int], str]

SIZES = [2**11, 2**13, 2**16]  # characters; no text of them is short enough to be searched for
SLACK = 2000  # calls that depend on something else: a connection is tested, an entry has expired
REFUSAL_MAX = 64 * 1024  # bytes
TEXTS: dict[str, Text] = {
    "letters, then a control character": lambda size: "a" * size + "\0",
    "spaces, then a control character": lambda size: " " * size + "\0",
    "at signs": lambda size: "@" * size,
    "addresses": lambda size: "a@a." * (size // 4),
    "digits": lambda size: "9" * size,
    "quotes and commas": lambda size: '",' * (size // 2),
    "slashes": lambda size: "/" * size,
    "brackets, colons and digits": lambda size: "[" + "]:1" * (size // 3),
    "halves of pairs": lambda size: "\ud800" * (size // 6),
}
JSON_TEXTS: dict[str, Text] = {
    "empty objects": lambda size: f"[{','.join(['{}'] * (size // 3))}]",
    "nulls": lambda size: f"[{','.join(['null'] * (size // 5))}]",
    "lists in lists": lambda size: "[" * (size // 2) + "]" * (size // 2),
    "many names": lambda size: _object(f'"n{n}":1' for n in range(size // 9)),
    "one name many times": lambda size: _object(['"n":1'] * (size // 6)),
    "a long name": lambda size: _object([f'"{"n" * size}":1']),
    "a long number": lambda size: "9" * size,
    "a long fraction": lambda size: f"0.{'0' * size}1",
    "a large exponent": lambda size: f"1e{'9' * min(size, 18)}",
}
QUERIES: dict[str, Text] = {
    "many parameters": lambda size: "&".join(f"n{n}=1" for n in range(size // 9)),
    "one parameter many times": lambda size: "&".join(["limit=1"] * (size // 8)),
    "a long name": lambda size: "n" * size,
    "separators": lambda size: "&" * size,
    "percent signs": lambda size: "%" * size,
    "bytes": lambda size: "\xff" * size,
}


def _object(members: Iterable[str]) -> str:
    return "{" + ",".join(members) + "}"


@pytest.fixture
def shop(a_shop: Shop) -> Shop:
    a_shop.create_product()
    a_shop.place_order(1)
    return a_shop


@pytest.fixture
def places(shop: Shop) -> Places:
    return Places(shop)


def send(shop: Shop, environ: Environ) -> tuple[Work, int, int]:
    """Return the work of a request, the status of its answer, and the answer's length."""
    with counting() as work:
        body, status, headers = run_wsgi_app(shop.app, environ, buffered=True)
    length = sum(map(len, body)) + sum(len(f"{name}: {value}\r\n") for name, value in headers)
    return work, int(status.split()[0]), length


def assert_bounded(shop: Shop, places: Iterable[Place], text: Text) -> None:
    met: set[tuple[re.Pattern[Any], str]] = set()
    for place in places:
        send(shop, place.write(text(16)))  # what is done once is not of these requests
        calls = []
        for size in SIZES:
            work, status, length = send(shop, place.write(text(size)))
            assert status < 500, place.name
            assert status < 400 or length < REFUSAL_MAX, (place.name, length)
            calls.append(work.calls)
            met |= work.patterns
        small, middle, large = calls
        assert middle <= 8 * small + SLACK, (place.name, calls)
        assert large - middle <= 12 * max(middle - small, 0) + SLACK, (place.name, calls)
    assert met
    assert [one for one in met if is_ambiguous(*one)] == []


@pytest.mark.parametrize("text", TEXTS)
def test_work_grows_no_faster_than_a_parameter(shop: Shop, places: Places, text: str) -> None:
    parameters = list(places.parameters())
    assert len(parameters) > 60
    assert_bounded(shop, parameters, TEXTS[text])


@pytest.mark.parametrize("text", TEXTS)
def test_work_grows_no_faster_than_a_text(shop: Shop, places: Places, text: str) -> None:
    bodies = list(places.bodies())
    assert len(bodies) > 30
    assert_bounded(shop, bodies, lambda size: json.dumps(TEXTS[text](size)))


@pytest.mark.parametrize("text", JSON_TEXTS)
def test_work_grows_no_faster_than_a_body(shop: Shop, places: Places, text: str) -> None:
    assert_bounded(shop, places.bodies(), JSON_TEXTS[text])


@pytest.mark.parametrize("query", QUERIES)
def test_work_grows_no_faster_than_a_query(shop: Shop, places: Places, query: str) -> None:
    assert_bounded(shop, places.queries(), QUERIES[query])


def test_no_pattern_of_the_document_is_ambiguous(places: Places) -> None:
    """Clients match them, too, with engines that do not give up."""
    patterns = places.patterns()
    assert len(patterns) >= 6
    assert [one for one in patterns if is_ambiguous(re.compile(one))] == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$", r"(a*)*b", r"(a|a)*b", r"a*a*b",
        r"(\d+,?)+$", r".*=.*x", r"(ab|[ab]b)*c", r"\s*\d*\s*$", r"(?i)a*A*b",
    ],
)  # fmt: skip
def test_a_pattern_that_may_take_more_than_linear_time_is_ambiguous(pattern: str) -> None:
    assert is_ambiguous(re.compile(pattern))


@pytest.mark.parametrize("pattern", [LINE, TEXT, EMAIL, MONEY, r"(a,)*b", r"(/.*/)([1-9][0-9]*)"])
def test_a_pattern_that_takes_linear_time_is_not_ambiguous(pattern: str) -> None:
    assert not is_ambiguous(re.compile(pattern))


def test_a_pattern_that_is_searched_for_may_begin_anywhere() -> None:
    assert is_ambiguous(re.compile("a+b"), "search")
    assert not is_ambiguous(re.compile("a+b"), "match")
    assert not is_ambiguous(re.compile("/{2,}?"), "sub")


def test_an_order_with_too_many_lines_is_refused_before_any_line_is_checked(
    shop: Shop, places: Places
) -> None:
    call = places.call("POST", "/orders")

    def looked_at(lines: int) -> int:
        body = {"customer": {"name": "A", "email": "a@b"}, "lines": [{}] * lines}
        work, status, _ = send(shop, places.request(call, json.dumps(body).encode()))
        assert status == 422
        return work.entered["Nested._load"] - 1  # the customer

    assert [looked_at(lines) for lines in (1, 100, 101, 20_000)] == [1, 100, 0, 0]


def test_a_text_that_is_too_long_is_checked_no_further(shop: Shop, places: Places) -> None:
    call = places.call("POST", "/cart/checkout")

    def is_matched(name: str) -> bool:
        body = {"customer": {"name": name, "email": "a@b"}}
        work, _, _ = send(shop, places.request(call, json.dumps(body).encode()))
        return any(pattern.pattern == LINE for pattern, _ in work.patterns)

    assert [is_matched("a" * length) for length in (200, 201, 60_000)] == [True, False, False]


def test_an_unknown_parameter_costs_a_few_calls(shop: Shop, places: Places) -> None:
    body = json.dumps({f"n{n}": n for n in range(50_000)}).encode()
    work, status, length = send(shop, places.request(places.call("POST", "/orders"), body))
    assert (status, length < 8192) == (422, True)
    assert work.calls < 20 * 50_000


@pytest.mark.parametrize(
    "query",
    [
        "q=" + "a%20" * 100,
        "q=" + "%22a%22" * 66,
        "q=" + "-a%20" * 66,
        "q=" + "%F0%9F%8C%B1" * 200,
        "q=" + "qwxz%20" * 40,
        "id=" + ",".join(map(str, range(1, 101))),
        "sku=" + ",".join(f"s{n}" for n in range(100)),
        "category_id=" + ",".join(map(str, range(1, 101))) + "&facets=category,price,in_stock",
    ],
)
def test_the_longest_search_sends_a_few_statements(shop: Shop, query: str) -> None:
    with shop.statements() as sent:
        assert shop.get(f"/products?{query}").status_code == 200
    assert len(sent) <= 8
    assert max(map(len, sent)) < 20_000
