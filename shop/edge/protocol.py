"""The connection of a client: HTTP/1.1 by uvicorn, with limits and deadlines.

A thread sees a request only when all of it has arrived. The loop waits for slow clients: for
thousands at once, and for each until its deadline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.problems import OverloadedError, RequestTimeoutError

from .connection_limits import (
    LINGER_MAX,
    LINGER_SECONDS,
    NEVER,
)
from .cycle import refusal
from .parsing import Parsing

if TYPE_CHECKING:
    import asyncio

    from shop.problems import ShopError

    from .cycle import Cycle


class Protocol(Parsing):
    """One connection. At its deadline it is closed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.edge: Any = self.app
        self.deadline = NEVER
        self._closes_by = NEVER
        self._has_ended = False  # the client sends no more

    # Deadlines. `expire` is called when that of now has passed.

    def _wait(self, seconds: float) -> None:
        self.deadline = self.loop.time() + seconds

    def _wait_for_client(self) -> None:
        """Set the deadline for the next action of the client."""
        if self.flow.write_paused:
            self._wait(self.limits.read_seconds)
        elif self._in_body and (not self._under_way or self._under_way[0] is self.cycle):
            self._wait(self.limits.body_seconds(self.cycle.length))
        elif self._under_way:
            self.deadline = NEVER  # what a request needs is up to the application
        else:
            self._wait(self.limits.head_seconds if self._in_head else self.timeout_keep_alive)

    def expire(self) -> None:
        """End a connection whose deadline has passed."""
        self.deadline = NEVER
        if self._is_closing or self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self._in_body and self.flow.read_paused:
            self._wait_for_client()  # it is the client who waits: for the application
        elif self._in_head or self._in_body:
            self._refuse(RequestTimeoutError("The request has not arrived in time."))
        else:
            self.transport.close()

    def give_up(self) -> None:
        """Refuse the request whose body is being read: others need the memory."""
        self._refuse(OverloadedError("Too many bodies arrive at once; nothing was done."))

    def shutdown(self) -> None:
        """Let the answer to the last request say that the connection closes."""
        if self._under_way:
            self.cycle.keep_alive = False  # of the last

    @property
    def is_idle(self) -> bool:
        """True if no request is under way, or has begun to arrive."""
        is_reading = self._in_head or self._in_body or self._unparsed
        return not (self._under_way or is_reading or self._is_closing)

    @property
    def descriptor(self) -> int:
        """The file descriptor of the socket."""
        number: int = self.transport.get_extra_info("socket").fileno()
        return number

    # What happens on the socket.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_client()

    def connection_lost(self, exc: Exception | None) -> None:
        self.bodies.end(self)
        self._unparsed = b""
        for cycle in self._under_way:
            cycle.drop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            self._linger()
        else:
            self._unparsed = self._unparsed + data if self._unparsed else data
            self._parse()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer complete requests of a client that sends no more; return whether there are any."""
        self._has_ended = True
        self._drop_incomplete()
        return bool(self._under_way) and not self._is_closing

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_client()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._is_closing:
            self._wait_for_client()

    # How it goes on when a request is answered.

    def _begin(self, cycle: Cycle) -> None:
        task = self.loop.create_task(cycle.carry_out(self.edge))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        self._wait_for_client()

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        cycle = self._under_way.popleft()
        if self._in_body:
            self.bodies.end(self)
        if self.transport.is_closing():
            return
        if cycle.keep_alive:
            self._go_on()
        else:
            self._end()

    def _go_on(self) -> None:
        """Carry out the next request, or wait for one."""
        if self._under_way:
            self._begin(self._under_way[0])
        if self._unparsed:
            self._parse()
        self._drop_incomplete()
        if self._is_closing or self._under_way:
            return
        if self._wrong:
            self._end()
        elif self._has_ended and not self._is_parsing:
            self._close()
        else:
            self.flow.resume_reading()
            self._wait_for_client()

    def _refuse(self, error: ShopError) -> None:
        """Answer with an error, after the requests before it, and end the connection."""
        self._wrong, self._unparsed = error, b""
        if self._in_body and self.cycle.response_complete:
            self._wrong = None  # it has its answer, ahead of the end of its body
        elif self._in_body:
            self._drop_last()
        if not self._under_way:
            self._end()

    def _drop_incomplete(self) -> None:
        """Drop a request whose client sends no more before its body is complete."""
        is_cut = self._has_ended and self._in_body and not self._unparsed
        if is_cut and self._under_way and self._under_way[-1] is self.cycle:
            self._drop_last()

    def _drop_last(self) -> None:
        """Drop the last request: its body will not be complete."""
        self.bodies.end(self)
        self._under_way.pop().drop()

    def _end(self) -> None:
        """Close the connection, after the client has had time to read its answer.

        Further input is read and thrown away: a reset could overtake the answer.
        """
        if self._wrong:
            to_head = self._method == "HEAD"
            self.transport.write(refusal(self._wrong, self.client, to_head=to_head))
        self._is_closing, self._unparsed = True, b""
        if self._has_ended or not self.transport.can_write_eof():
            self._close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._closes_by = self.loop.time() + LINGER_MAX
        self._linger()

    def _linger(self) -> None:
        """Give the client more time to read its answer, and to end the connection itself."""
        seconds = (
            self.limits.read_seconds if self.transport.get_write_buffer_size() else LINGER_SECONDS
        )
        self.deadline = min(self.loop.time() + seconds, self._closes_by)

    def _close(self) -> None:
        """Close the connection when the client has read what was written."""
        self._is_closing = True
        self.transport.close()
        self._wait(self.limits.read_seconds)
