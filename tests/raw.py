"""A client that sends bytes as slowly or as wrongly as it likes, and has h11 read the answers."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import h11
from conftest import ADMIN_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Service

SECONDS = 60.0  # that a service has for an answer
HOST = b"Host: shop.test\r\n"
KEY = f"Authorization: Bearer {ADMIN_KEY}\r\n".encode()
NAME = b'{"name":"Tools"}'
CHUNKED = b"Transfer-Encoding: chunked"


def get(
    path: bytes = b"/products/1", *headers: bytes, version: bytes = b"1.1", method: bytes = b"GET"
) -> bytes:
    """Return a request with these headers, or Host alone."""
    lines = b"".join(one + b"\r\n" for one in headers or (b"Host: shop.test",))
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, path, version, lines)


def post(body: bytes, *headers: bytes, path: bytes = b"/categories") -> bytes:
    """Return a request that creates a category, by default with the length of its body."""
    framing = headers or (b"Content-Length: %d" % len(body),)
    lines = b"".join(one + b"\r\n" for one in (*framing, b"Content-Type: application/json"))
    return b"POST %b HTTP/1.1\r\n%b%b%b\r\n%b" % (path, HOST, KEY, lines, body)


def chunked(*chunks: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    whole = b"".join(b"%x%b\r\n%b\r\n" % (len(one), extension, one) for one in chunks)
    return whole + b"0\r\n" + trailers + b"\r\n"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]  # by names in lower case
    body: bytes
    interim: tuple[int, ...]  # statuses that were sent before
    closes: bool  # whether it says that it is the last of its connection

    @property
    def problem(self) -> str:
        """The last part of the type of a problem document, which has the same status."""
        document: dict[str, Any] = json.loads(self.body)
        assert self.headers["content-type"] == "application/problem+json"
        assert document["status"] == self.status
        kind: str = document["type"]
        return kind.removeprefix("/problems/")


class Raw:
    """One connection."""

    def __init__(self, service: Service, *, receives: int = 0) -> None:
        parts = urlsplit(service.url)
        self.socket = socket.socket()
        if receives:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self.socket.settimeout(SECONDS)
        self.socket.connect((parts.hostname, parts.port))
        self.left = b""  # of what has been received

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.answer(request.partition(b" ")[0].decode())

    def answer(self, method: str = "GET") -> Answer:
        """Return the answer to a request with this method; h11 judges its form."""
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "shop.test")]))
        reader.send(h11.EndOfMessage())
        if self.left:
            reader.receive_data(self.left)
        status, headers, body, interim = 0, {}, b"", []
        while not isinstance(event := reader.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                reader.receive_data(self.socket.recv(65536))
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
                assert len(headers) == len(list(event.headers))
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                raise ConnectionError("The service has closed without an answer.")
        self.left = reader.trailing_data[0]
        return Answer(status, headers, body, tuple(interim), reader.their_state is h11.MUST_CLOSE)

    def await_end(self) -> bytes:
        """Return what comes until the service closes; a reset is an error."""
        parts = [self.left]
        while data := self.socket.recv(65536):
            parts.append(data)
        return b"".join(parts)

    def is_open(self) -> bool:
        """Tell whether the connection takes one more request."""
        with suppress(OSError, h11.RemoteProtocolError):
            return self.ask(get(b"/livez")).status == 200
        return False


@contextmanager
def connected(service: Service, count: int = 1, *, receives: int = 0) -> Iterator[list[Raw]]:
    """Keep so many connections."""
    made: list[Raw] = []
    try:
        made.extend(Raw(service, receives=receives) for _ in range(count))
        yield made
    finally:
        for one in made:
            one.socket.close()


def refusal(service: Service, *parts: bytes) -> Answer:
    """Return the only answer to bytes over a connection of their own, which the service closes."""
    with connected(service) as [client]:
        client.send(*parts)
        answer = client.answer()
        assert answer.closes
        assert client.await_end() == b""
        return answer
