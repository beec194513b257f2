"""The course of a connection (RFC 9112): the order of answers, bodies, and ends."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest
from raw import CHUNKED, HOST, NAME, chunked, connected, get, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop
    from raw import Raw

EXPECT = b"Expect: 100-continue"
UPGRADES = (b"h2c", b"websocket", b"TLS/1.0")


@pytest.fixture
def service(serve: Callable[..., Service], a_shop: Shop) -> Service:
    a_shop.create_product()
    return serve(WEB_CONCURRENCY="1")


def numbered(path: bytes, number: int, *headers: bytes) -> bytes:
    return get(path, b"Host: shop.test", b"X-Request-ID: number-%d" % number, *headers)


def numbers(client: Raw, count: int) -> list[str]:
    return [client.answer().headers["x-request-id"] for _ in range(count)]


def test_pipelined_requests_are_answered_in_their_order(service: Service) -> None:
    """Answers of the loop wait for those of threads, in pipelines of any length."""
    paths = (b"/openapi.json", b"/livez", b"/products?skip=%d", b"/products/1")
    requests = [numbered(paths[n % 4].replace(b"%d", b"%d" % n), n) for n in range(400)]
    with connected(service) as [client]:
        client.send(b"".join(requests))
        assert numbers(client, 400) == [f"number-{n}" for n in range(400)]
        assert client.is_open()


def test_a_wrong_request_in_a_pipeline_is_refused_after_the_answers_before_it(
    service: Service,
) -> None:
    good = numbered(b"/products", 1) + numbered(b"/livez", 2)
    broken_body = post(b"5\r\nhello!", CHUNKED)
    for wrong in (get(b"/", b"Host: x", b"Host: x"), b"\x16\x03\x01", broken_body):
        with connected(service) as [client]:
            client.send(good + wrong + numbered(b"/livez", 3))
            assert numbers(client, 2) == ["number-1", "number-2"]
            assert client.answer().problem == "unreadable-request"
            assert client.await_end() == b""


def test_no_answer_follows_a_requested_close(service: Service) -> None:
    for last in (
        numbered(b"/livez", 2, b"Connection: close"),
        numbered(b"/livez", 2, b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        with connected(service) as [client]:
            client.send(numbered(b"/products", 1) + last + numbered(b"/livez", 3))
            first, second = client.answer(), client.answer()
            assert (first.closes, second.closes) == (False, True)
            assert second.headers["x-request-id"] == "number-2"
            assert client.await_end() == b""


def test_a_request_may_follow_a_body_at_once(service: Service) -> None:
    bodies = [b'{"name":"%d"}' % n for n in range(4)]
    with connected(service) as [client]:
        client.send(post(bodies[0]) + get(b"/livez") + post(chunked(bodies[1]), CHUNKED))
        client.send(post(bodies[2], b"Content-Length: 12") + get(b"/livez"))
        assert [client.answer().status for _ in range(5)] == [201, 200, 201, 201, 200]


def test_a_request_may_come_byte_by_byte(service: Service) -> None:
    request = post(chunked(NAME[:5], NAME[5:]), CHUNKED) + get()
    with connected(service) as [client]:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send(*(request[n : n + 1] for n in range(len(request))))
        assert [client.answer().status for _ in range(2)] == [201, 200]


def test_http_1_0_is_answered_and_closed(service: Service) -> None:
    for request in (
        b"GET /products/1 HTTP/1.0\r\n\r\n",
        get(version=b"1.0"),
        get(b"/products/1", b"Connection: keep-alive", version=b"1.0"),
        get(b"/products/1", EXPECT, b"Content-Length: 0", version=b"1.0"),
    ):
        with connected(service) as [client]:
            answer = client.ask(request)
            assert (answer.status, answer.closes, answer.interim) == (200, True, ())
            assert client.await_end() == b""


def test_head_has_the_headers_of_get_and_no_body(service: Service) -> None:
    with connected(service) as [client]:
        for path in (b"/products/1", b"/products/1", b"/livez", b"/nowhere", b"/docs"):
            whole = client.ask(get(path))
            answer = client.ask(get(path, method=b"HEAD"))
            assert (answer.status, answer.body) == (whole.status, b"")
            assert answer.headers["content-length"] == str(len(whole.body))
        answer = client.ask(get(b"/livez", b"Host: a", b"Host: b", method=b"HEAD"))
        assert (answer.status, answer.body, answer.closes) == (400, b"", True)
        assert client.await_end() == b""


def test_a_target_may_be_absolute_or_an_asterisk(service: Service) -> None:
    with connected(service) as [client]:
        for path in (b"http://other.test/products/1", b"HTTPS://shop.test:8000/products/1"):
            assert json.loads(client.ask(get(path)).body)["id"] == 1
        assert client.ask(get(b"http://shop.test")).status == 200
        assert client.ask(get(b"http://shop.test?a=b")).status == 200
        answer = client.ask(get(b"*", method=b"OPTIONS"))
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
        assert client.is_open()


def test_a_wanted_body_is_requested_with_100_continue(service: Service) -> None:
    with connected(service) as [client]:
        head, body = post(NAME, EXPECT, b"Content-Length: 16")[:-16], NAME
        client.send(head)
        assert client.socket.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.answer().status == 201
        assert client.ask(get(b"/products/1", *HOST.splitlines(), EXPECT)).interim == ()


def test_a_refused_body_is_not_requested_with_100_continue(service: Service) -> None:
    with connected(service) as [client]:
        answer = client.ask(post(b"", EXPECT, b"Content-Length: 2000000"))
        assert (answer.problem, answer.interim, answer.closes) == ("body-too-large", (), True)
        assert client.await_end() == b""


def test_an_upgrade_is_not_done(service: Service) -> None:
    """The request is answered as any, and the connection goes on as HTTP/1.1."""
    with connected(service) as [client]:
        for kind in UPGRADES:
            asked = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + kind)
            assert client.ask(get(b"/products/1", b"Host: x", *asked)).status == 200
            body = b'{"name":"%b"}' % kind
            posted = post(body, *asked, b"Content-Length: %d" % len(body))
            chunks = chunked(b'{"name":', b'"%b in chunks"}' % kind)
            client.send(posted + get(b"/livez"), post(chunks, *asked, CHUNKED) + get(b"/livez"))
            assert [client.answer().status for _ in range(4)] == [201, 200, 201, 200], kind
        client.send(get(b"/livez", b"Host: x", *asked) * 2000)
        assert {client.answer().status for _ in range(2000)} == {200}
        assert client.is_open()


def test_trailers_are_no_headers(service: Service) -> None:
    trailers = b"X-Request-ID: trailer\r\nAuthorization: Bearer none\r\n"
    with connected(service) as [client]:
        client.send(post(chunked(NAME, trailers=trailers, extension=b';a=b;c="d"'), CHUNKED))
        answer = client.answer()
        assert answer.status == 201
        assert answer.headers["x-request-id"] != "trailer"
        assert client.is_open()


def test_a_header_that_comes_twice_is_not_read_as_one_of_the_two(service: Service) -> None:
    with connected(service) as [client]:
        key = post(NAME).partition(b"Authorization: ")[2].partition(b"\r\n")[0]
        length = b"Content-Length: 16"
        assert client.ask(post(NAME, length, b"Authorization: " + key)).status == 401
        assert client.ask(post(NAME, length, b"Content-Type: text/plain")).status == 415
        assert client.ask(post(NAME, length)).status == 201


def test_white_space_around_a_value_is_not_part_of_it(service: Service) -> None:
    request = post(NAME).replace(b"\r\n", b" \t\r\n").replace(b" \t\r\n", b"\r\n", 1)
    request = request.replace(b"\r\n \t\r\n", b"\r\n\r\n").replace(b": ", b":\t ")
    with connected(service) as [client]:
        assert client.ask(request).status == 201


def test_a_name_with_an_underscore_is_not_that_with_a_hyphen(service: Service) -> None:
    spoofed = (b"X_Request_ID: spoofed", b"Content_Length: 9", b"Transfer_Encoding: chunked")
    with connected(service) as [client]:
        for path in (b"/products/1", b"/products?skip=1"):
            answer = client.ask(get(path, b"Host: x", *spoofed))
            assert answer.status == 200
            assert answer.headers["x-request-id"] != "spoofed"
        request = post(NAME).replace(b"Authorization", b"Authorization_")
        assert client.ask(request.replace(b"Authorization_", b"AUTHORI_ZATION")).status == 401


def test_a_client_that_has_closed_its_sending_side_is_answered(service: Service) -> None:
    """The client has closed its half of the connection, as `nc -N` does."""
    with connected(service) as [client]:
        client.send(numbered(b"/products?skip=7", 1) + numbered(b"/livez", 2) + b"GET /half")
        client.socket.shutdown(socket.SHUT_WR)
        assert numbers(client, 2) == ["number-1", "number-2"]
        assert client.await_end() == b""


def test_a_refused_body_does_not_harm_its_answer(service: Service) -> None:
    """The client reads nothing until it has sent everything."""
    with connected(service) as [client]:
        for framing in (b"Content-Length: 200000", CHUNKED):
            body = b" " * 200_000 if framing != CHUNKED else chunked(*[b" " * 50_000] * 4)
            client.send(post(body, framing, path=b"/cart/checkout"))
            answer = client.answer()
            assert (answer.status, answer.closes) == (413, False)
            assert client.is_open()
    with connected(service) as [client]:
        client.send(post(b" " * 5_000_000, path=b"/cart/checkout"))
        answer = client.answer()
        assert (answer.problem, answer.closes) == ("body-too-large", True)
        assert client.await_end() == b""
