"""The computations and documents of `make bench`, without a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench import BenchError
from bench.contenders import BARE_LOOP, BEFORE
from bench.document import replace_section
from bench.figures import Configuration, per_cpu_second, rate, summary
from bench.redis_alone import words
from bench.report import published
from bench.wrk import Request

if TYPE_CHECKING:
    from pathlib import Path


def samples(contender: str, *rates: int) -> list[dict[str, Any]]:
    """Return one sample of the rung item for each round; each request costs 1/1000 s of CPU."""
    place = {"products": 1000, "workers": 1, "rung": "item", "contender": contender}
    numbers = {"seconds": 1, "redis_cpu": 0.1, "round_trips": 1}
    return [
        place | numbers | {"round": number, "requests": requests, "cpu": requests / 1000}
        for number, requests in enumerate(rates)
    ]


def test_a_ratio_is_taken_within_each_round() -> None:
    run = Configuration(1000, 1, samples("edge", 100, 30) + samples("bare", 200, 40))
    assert run.ratios(rate, "item", ("item", "bare")) == [0.5, 0.75]
    assert run.ratios(per_cpu_second, "item", ("item", "bare")) == [1, 1]


def test_a_run_whose_bare_function_varies_is_marked_as_noisy() -> None:
    edge = samples("edge", 100, 100, 100)
    assert "Noisy" in summary(Configuration(1000, 1, edge + samples(BARE_LOOP, 100, 150, 200)))
    assert "Noisy" not in summary(Configuration(1000, 1, edge + samples(BARE_LOOP, 100, 101, 102)))


def test_another_version_is_compared_where_it_was_measured() -> None:
    edge, others = samples("edge", 100, 100), samples("bare", 100, 100)
    assert BEFORE not in summary(Configuration(1000, 1, edge + others))
    told = summary(Configuration(1000, 1, edge + others + samples(BEFORE, 50, 40)))
    assert "| item, requests/s | 2.25 (2.12 to 2.38) | 1.00 (1.00 to 1.00) |" in told
    assert f"| item: at least 2.5 of `{BEFORE}` | 1.00 (1.00 to 1.00) | **no** |" in told


def test_monitor_lines_are_parsed_as_commands_and_calls_of_scripts_are_not() -> None:
    line = rb'1795831200.5 [3 127.0.0.1:4711] "EVALSHA" "a b" "\x1f\"\\\r\n" ""'
    assert words(line) == ["EVALSHA", "a b", '\x1f"\\\r\n', ""]
    assert words(b'1795831200.5 [3 unix:/run/redis.sock] "ECHO" "x"') == ["ECHO", "x"]
    assert words(b'1795831200.5 [3 lua] "GET" "x"') == []


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("before\n<!-- load:begin -->\nold\n<!-- load:end -->\nafter\n")
    for _ in range(2):
        replace_section(document, "load", "new")
    text = "before\n<!-- load:begin -->\n\nnew\n\n<!-- load:end -->\nafter\n"
    assert document.read_text() == text


def test_a_document_without_the_marks_is_refused_in_one_line(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("<!-- load:begin -->\n")
    with pytest.raises(BenchError, match=r"document\.md does not have"):
        replace_section(document, "load", "new")


def test_a_request_with_a_body_has_its_length() -> None:
    raw = Request("PATCH", "/products/1", {"Authorization": "Bearer key"}, '{"stock":1}').raw("h:1")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"PATCH /products/1 HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer key")
    assert b"Content-Length: 11" in head
    assert body == b'{"stock":1}'


def test_a_document_is_of_one_version() -> None:
    measured = samples("edge", 100) + samples(BEFORE, 50)
    assert published({"samples": measured})["samples"] == samples("edge", 100)
