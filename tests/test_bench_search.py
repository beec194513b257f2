"""The draws and figures of `make bench-search` and `make load-search`, without a measurement."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from bench.load import browse
from bench.load.summary import read_record
from bench.search import catalogue, figures
from bench.search.draw import SORTS, Draw
from bench.search.hits import AGAINST
from bench.search.questions import KINDS

if TYPE_CHECKING:
    from pathlib import Path

PRODUCTS = 1000


def draw() -> Draw:
    return Draw(["Oak desk with two drawers", "Pine chair in white and oak"], PRODUCTS)


def row(kind: str, table: str) -> list[str]:
    [line] = [line for line in table.splitlines() if line.startswith(f"| {kind} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def cold_samples(milliseconds: float, waited: float = 0) -> list[dict[str, Any]]:
    times = {"milliseconds": [milliseconds], "waited": [waited]}
    cpu = {"postgresql": 0.01, "service": 0.02}
    return [{"kind": kind.name, "cpu": cpu, **times} for kind in KINDS]


def test_a_catalogue_is_the_same_each_time() -> None:
    first, second = (list(islice(catalogue.lines(PRODUCTS), 50)) for _ in range(2))
    assert first == second
    assert len({line.partition("\t")[0] for line in first}) == 50


def test_words_are_drawn_as_unevenly_as_in_large_shops() -> None:
    frequent = catalogue.vocabulary()[0]
    names = [line.split("\t")[1].lower().split() for line in catalogue.lines(5000)]
    assert 0.2 < sum(frequent in name for name in names) / len(names) < 0.25


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_has_many_different_questions(kind: Any) -> None:
    this = draw()
    asked = {kind.question(this) for _ in range(100)}
    assert len(asked) > 25
    assert all(question.startswith("/") for question in asked)


def test_a_mistyped_word_differs_from_the_word_in_one_place() -> None:
    known = set(catalogue.vocabulary())
    this = draw()
    words = [str(this.typo()["q"]) for _ in range(50)]
    assert sum(word not in known for word in words) > 40


def test_a_percentile_is_one_of_the_values() -> None:
    values = range(1, 201)
    assert [figures.percentile(values, part) for part in (0.5, 0.95, 0.99)] == [100, 190, 198]


def test_a_kind_that_exceeds_its_time_is_reported() -> None:
    assert row("one word", figures.cold(cold_samples(60)))[-1] == "60.0/60"
    assert row("one word", figures.cold(cold_samples(60.1)))[-1] == "**60.1**/60"
    assert row("one word", figures.cold(cold_samples(90, waited=30)))[-1] == "60.0/60"
    assert row("suggestions", figures.cold(cold_samples(60)))[-1] == "60.0"


def test_a_far_page_is_compared_with_the_first_one() -> None:
    pair = {"page": 5001, "first": 2.0, "far": 2.6}
    told = figures.far([pair | {"sort": sort} for sort in SORTS])
    assert row("all of them", told)[1:4] == ["2.0", "2.6", "1.30 (1.30 to 1.30)"]
    assert "**no**" in row("`price`", told)


def test_a_hit_is_compared_within_each_round() -> None:
    numbers = {"requests": 100, "seconds": 1, "redis_cpu": 0.01, "bytes": 1000}
    samples = [
        numbers | {"kind": kind, "round": number, "cpu": 0.1 * (number + 1)}
        for number in range(2)
        for kind in AGAINST
    ]
    assert "1.00 (1.00 to 1.00) of plain page" in row("words", figures.hits(samples))


def test_requests_of_a_load_are_grouped_by_their_kind_of_search(tmp_path: Path) -> None:
    record = tmp_path / "requests.csv"
    record.write_text(
        "2.0,10.5,0,MISS,GET /products?q,/products?q=desk&category_id=3,5\n"
        "1.0,4.5,0,HIT,GET /products?q If-None-Match,/products?q=lamp\n"
        "2.5,5.5,0,HIT,GET /products?q,/products?q=lamp\n"
        "2.6,5.5,0,HIT,GET /products?q,/products?q=desk&category_id=3\n"
        "3.0,9.5,1,,POST /orders,/orders\n"
    )
    told = browse.figures(read_record(record))
    assert told["searches"] == {
        "requests": 4,
        "failures": 0,
        "hit_rate": 0.75,
        "first_asked": 0.75,
        "p50": 5.5,
        "p95": 10.5,
        "p99": 10.5,
    }
    assert told["all requests"]["failures"] == 1
    assert told["all requests"]["first_asked"] == 0.75  # of reads
    assert told["suggestions"]["hit_rate"] is None
