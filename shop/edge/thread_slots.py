"""Slots of threads: a bounded number of requests has one, and a bounded queue waits for one."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from shop.problems import DatabaseBusyError, OverloadedError
from shop.prometheus import Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WAITING = Gauge(
    "shop_requests_waiting",
    "Requests that wait for a thread of their worker.",
    multiprocess_mode="livesum",
)
REFUSED = Counter("shop_writes_refused", "Writes refused while others held all places for writes.")
OVERLOADED = "Too many requests wait already; nothing was done."
HELD_UP = "Other writes waited in the database for too long; nothing was done."


class ThreadSlots:
    """The slots for requests of one kind, and the queue for these."""

    def __init__(self, count: int, queue: int) -> None:
        self._count = self._free = count
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._joined = 0  # requests that wait for the slot of another request

    def join(self, count: int) -> None:
        """Count requests that wait for the slot of another one; a negative `count` ends that."""
        self._joined += count
        WAITING.inc(count)

    @property
    def all_taken(self) -> bool:
        return not self._free

    def check(self) -> None:
        """Raise OverloadedError if no more may wait."""
        if self.all_taken and len(self._waiting) + self._joined >= self._queue:
            raise OverloadedError(OVERLOADED)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot in the block. Raises OverloadedError."""
        self.check()
        if self._free:
            self._free -= 1
        else:
            await self._await_turn()
        try:
            yield
        finally:
            self._pass_on()

    async def _await_turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        WAITING.inc()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had its turn, and will not take it
                self._pass_on()
            raise
        finally:
            WAITING.dec()

    def _pass_on(self) -> None:
        """Give the slot to the request that has waited longest."""
        if turn := self._next():
            turn.set_result(None)
        else:
            self._free += 1

    def _next(self) -> asyncio.Future[None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                return turn
        return None


class WriteSlots(ThreadSlots):
    """The slots for writes, which may wait for each other in PostgreSQL.

    When the database has failed as many writes in turn as there are slots, all writes that wait are
    refused, and further ones are, until one succeeds.
    """

    def __init__(self, count: int, queue: int) -> None:
        super().__init__(count, queue)
        self._failed = 0  # in turn

    def check(self) -> None:
        """Raise OverloadedError if no more may wait, DatabaseBusyError if no write succeeds."""
        if not self._free and self._are_held_up:
            raise self._refusal()
        super().check()

    def note(self, *, got_on: bool) -> None:
        """Note the end of a write; `got_on` is false if the database failed it."""
        self._failed = 0 if got_on else self._failed + 1
        while self._are_held_up and (turn := self._next()):
            turn.set_exception(self._refusal())

    @property
    def _are_held_up(self) -> bool:
        return self._failed >= self._count

    @staticmethod
    def _refusal() -> DatabaseBusyError:
        REFUSED.inc()
        return DatabaseBusyError(HELD_UP)
