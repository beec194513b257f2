"""Which requests have a thread, and which wait for one: so many, in the order of their arrival."""

from __future__ import annotations

import asyncio
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
HELD_UP = "Other writes wait for too long; nothing was done."


class Places:
    """The threads that requests of one kind may have at a time, and the queue for these."""

    def __init__(self, count: int, queue: int) -> None:
        self._places = asyncio.Semaphore(count)
        self._queue = queue
        self._waiting = 0

    def check(self) -> None:
        """Raise OverloadedError if no more may wait."""
        if self._places.locked() and self._waiting >= self._queue:
            raise OverloadedError(OVERLOADED)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place in the block. Raises OverloadedError."""
        self.check()
        if self._places.locked():
            self._count(1)
            try:
                await self._await_place()
            finally:
                self._count(-1)
        else:
            await self._places.acquire()
        try:
            yield
        finally:
            self._places.release()

    def _count(self, more: int) -> None:
        self._waiting += more
        WAITING.inc(more)

    async def _await_place(self) -> None:
        await self._places.acquire()


class WritePlaces(Places):
    """Those of writes, which may wait for each other in PostgreSQL.

    A write waits for a place as long as others get on. If none has for some time, those that wait
    are refused, and those after them, until one does.
    """

    def __init__(self, count: int, queue: int, patience: float) -> None:
        super().__init__(count, queue)
        self._patience = patience  # seconds
        self._got_on = 0  # how many have
        self._are_held_up = False

    def check(self) -> None:
        """Raise OverloadedError if no more may wait, DatabaseBusyError if none gets on."""
        if self._places.locked() and self._are_held_up:
            self._refuse()
        super().check()

    def note(self, *, got_on: bool) -> None:
        """Tell how a write has ended. One that the database has failed has not got on."""
        self._got_on += got_on
        self._are_held_up = self._are_held_up and not got_on

    async def _await_place(self) -> None:
        while True:
            before = self._got_on
            try:
                async with asyncio.timeout(self._patience):
                    await self._places.acquire()
                    return
            except TimeoutError:
                if self._got_on == before:
                    self._are_held_up = True
                    self._refuse()

    @staticmethod
    def _refuse() -> None:
        REFUSED.inc()
        raise DatabaseBusyError(HELD_UP)
