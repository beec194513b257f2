"""The syntax of requests (RFC 9112): bytes over sockets, to the service of gunicorn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from raw import CHUNKED, HOST, NAME, chunked, connected, get, post, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop


@pytest.fixture
def service(serve: Callable[..., Service], a_shop: Shop) -> Service:
    a_shop.create_product()
    return serve(WEB_CONCURRENCY="1")


LONG = b"a" * 9000
REFUSED = {
    "a bare LF after the first line": (get().replace(b"\r\n", b"\n"), "unreadable-request"),
    "a bare LF after a header": (
        b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "unreadable-request"),
    "a bare CR": (b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", "unreadable-request"),
    "NUL in the path": (get(b"/products\0"), "unreadable-request"),
    "NUL in a header": (get(b"/", b"Host: x\0"), "unreadable-request"),
    "a control character in a header": (get(b"/", b"Host: x", b"A: b\x01"), "unreadable-request"),
    "a folded header": (get(b"/", b"Host: x", b"A: b\r\n c"), "unreadable-request"),
    "a space before the first header": (get(b"/", b" Host: x"), "unreadable-request"),
    "a space before the colon": (get(b"/", b"Host : x"), "unreadable-request"),
    "a header without a colon": (get(b"/", b"Host: x", b"A"), "unreadable-request"),
    "a header without a name": (get(b"/", b"Host: x", b": a"), "unreadable-request"),
    "brackets in a header's name": (get(b"/", b"Host: x", b"A[]: a"), "unreadable-request"),
    "a space in the target": (get(b"/a b"), "unreadable-request"),
    "bytes beyond ASCII in the target": (get(b"/\xe9"), "unreadable-request"),
    "a fragment": (get(b"/#a"), "unreadable-request"),
    "a target without a slash": (get(b"products"), "unreadable-request"),
    "the asterisk for GET": (get(b"*"), "unreadable-request"),
    "another scheme": (get(b"ftp://shop.test/"), "unreadable-request"),
    "no Host": (get(b"/", b"Accept: */*"), "unreadable-request"),
    "no Host in absolute form": (get(b"http://shop.test/", b"A: b"), "unreadable-request"),
    "Host twice": (get(b"/", b"Host: x", b"Host: x"), "unreadable-request"),
    "a Host of two": (get(b"/", b"Host: x y"), "unreadable-request"),
    "a Host with a path": (get(b"/", b"Host: x/y"), "unreadable-request"),
    "a Host with a user": (get(b"/", b"Host: u@x"), "unreadable-request"),
    "a Host with a word as its port": (get(b"/", b"Host: x:y"), "unreadable-request"),
    "a Host that ends nowhere": (get(b"/", b"Host: [::1"), "unreadable-request"),
    "HTTP/0.9": (b"GET /\r\n\r\n", "unreadable-request"),
    "HTTP/1.2": (get(version=b"1.2"), "unreadable-request"),
    "HTTP/2.0": (get(version=b"2.0"), "unreadable-request"),
    "HTTP/9": (get(version=b"9"), "unreadable-request"),
    "the preface of HTTP/2": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), "unreadable-request"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "unreadable-request"),
    "a tab after the method": (get().replace(b"GET ", b"GET\t"), "unreadable-request"),
    "a method that nobody has": (get().replace(b"GET", b"BREW"), "unknown-method"),
    "a method in lower case": (get().replace(b"GET", b"get"), "unknown-method"),
    "CONNECT": (b"CONNECT shop.test:80 HTTP/1.1\r\n" + HOST + b"\r\n", "unknown-method"),
    "a long address": (get(b"/" + LONG), "address-too-long"),
    "a long header": (get(b"/", b"Host: x", b"A: " + LONG), "headers-too-large"),
    "many headers": (get(b"/", b"Host: x", *[b"A: b"] * 100), "headers-too-large"),
    "a long head": (get(b"/", b"Host: x", *[b"A: " + LONG[:8000]] * 20), "headers-too-large"),
    "Content-Length twice": (
        post(NAME, b"Content-Length: 16", b"Content-Length: 16"), "unreadable-request"),
    "Content-Length of two": (post(NAME, b"Content-Length: 16, 16"), "unreadable-request"),
    "Content-Length with a sign": (post(NAME, b"Content-Length: +16"), "unreadable-request"),
    "a negative Content-Length": (post(NAME, b"Content-Length: -1"), "unreadable-request"),
    "Content-Length in hex": (post(NAME, b"Content-Length: 0x10"), "unreadable-request"),
    "an empty Content-Length": (post(NAME, b"Content-Length:"), "unreadable-request"),
    "an endless Content-Length": (post(NAME, b"Content-Length: " + b"9" * 40),
        "unreadable-request"),
    "chunks and Content-Length": (
        post(chunked(NAME), CHUNKED, b"Content-Length: 5"), "unreadable-request"),
    "Content-Length and chunks": (
        post(chunked(NAME), b"Content-Length: 5", CHUNKED), "unreadable-request"),
    "chunks twice": (post(chunked(NAME), CHUNKED, CHUNKED), "unreadable-request"),
    "chunks in chunks": (post(chunked(NAME), CHUNKED + b", chunked"), "unreadable-request"),
    "chunks that are not the last coding": (
        post(chunked(NAME), CHUNKED + b", gzip"), "unreadable-request"),
    "an empty Transfer-Encoding": (
        post(chunked(NAME), b"Transfer-Encoding:"), "unreadable-request"),
    "gzip in chunks": (
        post(chunked(NAME), b"Transfer-Encoding: gzip, chunked"), "unknown-transfer-coding"),
    "gzip": (post(chunked(NAME), b"Transfer-Encoding: gzip"), "unknown-transfer-coding"),
    "a coding that looks like chunks": (
        post(chunked(NAME), b"Transfer-Encoding: xchunked"), "unknown-transfer-coding"),
    "chunks in HTTP/1.0": (
        post(chunked(NAME), CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0"), "unreadable-request"),
    "a chunk that is no number": (post(b"x\r\n", CHUNKED), "unreadable-request"),
    "a chunk with 0x": (post(b"0x10\r\n" + NAME, CHUNKED), "unreadable-request"),
    "a chunk longer than it says": (post(b"1\r\n" + NAME, CHUNKED), "unreadable-request"),
    "a chunk without CR": (post(b"10\n" + NAME + b"\n0\n\n", CHUNKED), "unreadable-request"),
    "a chunk without end": (post(b"f" * 40 + b"\r\n", CHUNKED), "unreadable-request"),
    "a trailer that is none": (
        post(chunked(NAME, trailers=b" A: b\r\n"), CHUNKED), "unreadable-request"),
    "endless trailers": (
        post(b"0\r\n" + b"A: b\r\n" * 400_000, CHUNKED), "body-too-large"),
    "an endless extension": (post(b"1;a=" + b"b" * 2_200_000, CHUNKED), "body-too-large"),
}  # fmt: skip
STATUSES = {
    "unreadable-request": 400, "unknown-method": 501, "unknown-transfer-coding": 501,
    "address-too-long": 414, "headers-too-large": 431, "body-too-large": 413,
}  # fmt: skip


def test_a_malformed_request_is_answered_with_a_problem_and_logged_once(service: Service) -> None:
    """Each request is refused on a connection of its own, which ends; the service goes on."""
    for name, (request, problem) in REFUSED.items():
        answer = refusal(service, request)
        assert (answer.problem, answer.status) == (problem, STATUSES[problem]), name
        assert answer.headers["x-content-type-options"] == "nosniff"
    with connected(service) as [client]:
        assert client.is_open()
    lines = [json.loads(one) for one in service.log.read_text().splitlines()]
    told = [one for one in lines if one.get("method") == "-"]
    assert len(told) == len(REFUSED)
    assert len({one["request_id"] for one in told}) == len(REFUSED)
    assert {one["path"] for one in told} == {"-"}
    counted = 'shop_http_requests_total{method="other",route="unmatched",status="400"}'
    metrics = service.get("/metrics").text
    expected = [one for _, one in REFUSED.values() if STATUSES[one] == 400]
    assert f"{counted} {float(len(expected))}" in metrics


HOSTS = [
    b"", b"shop_test", b"shop.test.", b"shop.test:8000", b"shop.test:", b"[::1]", b"[::1]:80",
    b"127.0.0.1", b"SHOP.test", b"-", b"%41.test", b"shop.test \t",
]  # fmt: skip


def test_any_host_header_is_accepted(service: Service) -> None:
    with connected(service) as [client]:
        for host in HOSTS:
            assert client.ask(get(b"/products/1", b"Host: " + host)).status == 200, host
