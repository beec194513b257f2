"""One request on a connection, and the bytes of its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from shop import answers
from shop.facts import Facts, valid_request_id
from shop.problems import InternalError

from .application import FAULT
from .incoming_request import IncomingRequest, report_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from uvicorn.protocols.http.flow_control import FlowControl

    from shop.answers import Answer
    from shop.problems import ShopError

    from .application import Edge
    from .incoming_request import Scope

logger = logging.getLogger("shop.edge")

CLOSE = b"Connection: close\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
STATUS_LINES = {
    one.value: f"HTTP/1.1 {one.value} {one.phrase.upper()}\r\n".encode() for one in HTTPStatus
}


class Cycle:
    """A request and its answer, which is written in one piece."""

    def __init__(  # noqa: PLR0913  (all of its connection)
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        on_response: Callable[[], None],
        *,
        length: int,
        keep_alive: bool,
        waiting_for_100_continue: bool,
    ) -> None:
        """`length`: bytes of the body, as the head announces them."""
        self.scope = scope
        self._transport = transport
        self._flow = flow
        self._on_response = on_response
        self.length = length
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = waiting_for_100_continue
        self.may_drain = False  # then the rest of the body is read after the answer
        self.body = bytearray()
        self.more_body = length > 0
        self.message_event = asyncio.Event()  # set when more of the body has come, or its end
        self.disconnected = self.response_complete = False

    async def carry_out(self, edge: Edge) -> None:
        try:
            incoming = IncomingRequest.of(self.scope, edge.network)
            answer = await edge.answer(incoming, self.receive)
        except Exception:
            logger.exception("Unexpected error ahead of an answer")
            answer = answers.for_error(InternalError(FAULT), "", valid_request_id())
        if answer is None:
            return
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()  # what this client was sent before
        if not self.disconnected:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        self.waiting_for_100_continue = False
        self.keep_alive = self.keep_alive and (not self.more_body or self.may_drain)
        head = head_of(answer, closes=not self.keep_alive)
        self._transport.write(head if self.scope["method"] == "HEAD" else head + answer.body)
        self.response_complete = True
        self.message_event.set()
        self._on_response()

    async def receive(self) -> dict[str, Any]:
        """Return the next part of the body, as a message of ASGI."""
        if self.waiting_for_100_continue and not self._transport.is_closing():
            self._transport.write(CONTINUE)
            self.waiting_for_100_continue = False
        if not self.disconnected and not self.response_complete:
            self._flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    def drop(self) -> None:
        """End the request: the rest of it will not come."""
        self.disconnected = True
        self.message_event.set()


def refusal(error: ShopError, client: tuple[str, int] | None, *, to_head: bool) -> bytes:
    """Return the bytes that refuse an unreadable request. Count and log it."""
    scope = {"method": "-", "path": "-"}
    incoming = IncomingRequest(
        scope, {}, client[0] if client else "unknown", Facts(valid_request_id())
    )
    answer = answers.for_error(error, "", incoming.facts.request_id)
    report_answer(incoming, answer, incoming.client)
    headers = [*answer.headers, *answers.closing_headers(incoming.facts)]
    head = head_of(answer._replace(headers=headers), closes=True)
    return head if to_head else head + answer.body


def head_of(answer: Answer, *, closes: bool) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
    own = _own_lines(int(time.time()))
    end = CLOSE + b"\r\n" if closes else b"\r\n"
    return STATUS_LINES[answer.status] + own + lines.encode("latin-1") + end


@lru_cache(maxsize=2)
def _own_lines(second: int) -> bytes:
    """Return the headers of the server itself."""
    return f"Server: gunicorn\r\nDate: {formatdate(second, usegmt=True)}\r\n".encode()
