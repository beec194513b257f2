"""A request on its connection, and the bytes of its answer."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from shop import answers
from shop.facts import Facts, sane_id

from .arrival import Arrival, tell

if TYPE_CHECKING:
    from shop.problems import ShopError

CLOSE = b"Connection: close\r\n"
STATUS_LINES = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase.upper()}\r\n".encode() for one in HTTPStatus
}


class Cycle(RequestResponseCycle):
    """A request and its answer, which is written in one piece."""

    length = 0  # bytes of the body that its head announces
    may_drain = False  # whether the rest of its body is read when it is answered
    _start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._start, self.response_started = message, True
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()  # what this client was sent before
        if self.disconnected:
            return
        self.waiting_for_100_continue = False
        self.keep_alive = self.keep_alive and (not self.more_body or self.may_drain)
        parts = [STATUS_LINES[self._start["status"]], _own_lines(int(time.time()))]
        for name, value in self._start["headers"]:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else CLOSE + b"\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(message["body"])
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        self.on_response()

    def drop(self) -> None:
        """Tell the application that the rest of the request will not come."""
        self.disconnected = True
        self.message_event.set()


def refusal(error: ShopError, client: tuple[str, int] | None, *, to_head: bool) -> bytes:
    """Return the answer to what could not be read, which is counted and logged once."""
    scope = {"method": "-", "path": "-"}
    arrival = Arrival(scope, {}, client[0] if client else "unknown", Facts(sane_id(None)))
    answer = answers.of_error(error, "", arrival.known.identifier)
    tell(arrival, answer, arrival.client)
    headers = [*answer.headers, *answers.closing_headers(arrival.known)]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1")
    head = STATUS_LINES[answer.status] + _own_lines(int(time.time())) + lines + CLOSE + b"\r\n"
    return head if to_head else head + answer.body


@lru_cache(maxsize=2)
def _own_lines(second: int) -> bytes:
    """Return the headers of every answer that are the server's own."""
    return f"Server: gunicorn\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
