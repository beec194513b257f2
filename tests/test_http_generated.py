"""Generated connections: requests that are cut, doubled, spoilt and sent in any parts.

h11 judges both sides: whether each answer has the form of one, and how many requests were sent.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw import CHUNKED, NAME, Raw, chunked, connected, get, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Service, Shop
    from raw import Answer

EXAMPLES = 500
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ORDER = b"/cart/checkout"
REQUESTS = [
    get(),
    get(b"/livez"),
    get(b"/products?limit=1"),
    get(b"/products/1", version=b"1.0"),
    get(b"/products/1", b"Host: x", b"Connection: close"),
    get(b"/products/1", b"Host: x", b"Connection: Upgrade", b"Upgrade: h2c"),
    post(NAME, path=ORDER),
    post(chunked(NAME, NAME), CHUNKED, path=ORDER),
    post(chunked(NAME, trailers=b"A: b\r\n", extension=b";a=b"), CHUNKED, path=ORDER),
    post(NAME, b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 16", path=ORDER),
    post(NAME, b"Expect: 100-continue", b"Content-Length: 16", path=ORDER),
    post(b" " * 99, b"Content-Length: 70000", path=ORDER),
]
SPOILS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"0", b"1", b"f",
    b"\xff", b"GET / HTTP/1.1\r\n", b"Host: y\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Connection: close\r\n",
    b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n", b"HTTP/1.0", b"HTTP/2.0",
]  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Return what one client sends, in the parts in which it sends it."""
    raw = b"".join(draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, min(len(raw), 400)))
        kept = at + draw(st.sampled_from([0, 0, 0, 1, 2, 20]))
        raw = raw[:at] + draw(st.sampled_from([*SPOILS, b""])) + raw[kept:]
    ends = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    return [raw[one:two] for one, two in zip([0, *ends], [*ends, len(raw)], strict=True)]


def requests_of(raw: bytes) -> list[str] | None:
    """Return the methods of the requests that begin in it, None if h11 would refuse one."""
    methods: list[str] = []
    while raw:
        reader = h11.Connection(h11.SERVER, max_incomplete_event_size=100_000)
        reader.receive_data(raw)
        try:
            while not isinstance(event := reader.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    return methods
                if isinstance(event, h11.Request):
                    methods.append(event.method.decode())
        except h11.RemoteProtocolError:
            return None
        if reader.their_state is h11.MUST_CLOSE:
            return methods
        raw = reader.trailing_data[0]
    return methods


def answers_to(client: Raw, parts: list[bytes], methods: list[str]) -> list[Answer]:
    """Send all, and return all answers."""
    client.send(*parts)
    client.socket.shutdown(socket.SHUT_WR)
    client.left = client.await_end().removesuffix(CONTINUE)  # for a body that does not come
    answers: list[Answer] = []
    while client.left:
        is_known = len(answers) < len(methods)
        answers.append(client.answer(methods[len(answers)] if is_known else "GET"))
    return answers


def test_generated_requests_get_well_formed_answers(
    serve: Callable[..., Service], a_shop: Shop
) -> None:
    a_shop.create_product()
    service = serve(WEB_CONCURRENCY="1")

    @settings(
        max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck),
        database=None, derandomize=True,
    )  # fmt: skip
    @given(streams())
    def check(parts: list[bytes]) -> None:
        methods = requests_of(b"".join(parts))
        with connected(service) as [client]:
            answers = answers_to(client, parts, methods or [])
        assert {one.status for one in answers} <= {
            200,
            400,
            401,
            404,
            405,
            413,
            414,
            415,
            422,
            431,
            501,
        }
        assert not any(one.closes for one in answers[:-1])
        if methods is not None:
            served = [one for one in answers if not (one.status in {400, 501} and one.closes)]
            assert len(served) <= len(methods)

    check()
    assert "Traceback" not in service.log.read_text()
    assert "Unexpected" not in service.log.read_text()
