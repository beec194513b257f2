"""The slots for writes: who has one, who waits for one, and who is refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest

from shop.edge.thread_slots import WriteSlots
from shop.problems import DatabaseBusyError, OverloadedError

SLOTS, QUEUE = 2, 3


class Writes:
    """Writes that hold a slot until the test ends them."""

    def __init__(self) -> None:
        self.slots = WriteSlots(SLOTS, QUEUE)
        self._ends: list[asyncio.Future[bool]] = []

    async def _write(self) -> None:
        async with self.slots.slot():
            self._ends.append(asyncio.get_running_loop().create_future())
            self.slots.note(got_on=await self._ends[-1])

    async def begin(self) -> asyncio.Task[None]:
        write = asyncio.create_task(self._write())
        await self.settle()
        return write

    async def end(self, *, got_on: bool) -> None:
        """End the write that has held a slot for longest."""
        self._ends.pop(0).set_result(got_on)
        await self.settle()

    @property
    def are_there(self) -> int:
        """Return the number of writes that hold a slot."""
        return len(self._ends)

    @staticmethod
    async def settle() -> None:
        for _ in range(9):
            await asyncio.sleep(0)


def test_writes_wait_while_others_finish() -> None:
    async def play() -> None:
        writes = Writes()
        under_way = [await writes.begin() for _ in range(SLOTS + QUEUE)]
        for got_on in (False, True, False, True, False):
            assert writes.are_there == min(SLOTS, sum(not write.done() for write in under_way))
            await writes.end(got_on=got_on)
        assert [write.exception() for write in under_way] == [None] * 5

    asyncio.run(play())


def test_writes_are_refused_when_as_many_have_failed_as_there_are_places() -> None:
    async def play() -> None:
        writes = Writes()
        first, second, third, waits = [await writes.begin() for _ in range(4)]
        await writes.end(got_on=False)
        assert not waits.done()
        await writes.end(got_on=False)
        assert isinstance(waits.exception(), DatabaseBusyError)
        assert (first.done(), second.done(), third.done()) == (True, True, False)
        fourth = await writes.begin()  # a slot is free
        assert writes.are_there == SLOTS
        with pytest.raises(DatabaseBusyError):
            writes.slots.check()
        await writes.end(got_on=True)
        assert third.exception() is None
        await writes.begin()
        await writes.begin()  # waits again
        await writes.end(got_on=True)
        assert fourth.exception() is None
        assert writes.are_there == SLOTS

    asyncio.run(play())


def test_the_queue_of_writes_is_bounded() -> None:
    async def play() -> None:
        writes = Writes()
        for _ in range(SLOTS + QUEUE):
            await writes.begin()
        assert isinstance((await writes.begin()).exception(), OverloadedError)

    asyncio.run(play())


@pytest.mark.parametrize("has_its_turn", [False, True])
def test_a_cancelled_waiter_leaves_its_turn_to_the_next(*, has_its_turn: bool) -> None:
    async def play() -> None:
        async with AsyncExitStack() as stack:
            slots = WriteSlots(1, QUEUE)
            await stack.enter_async_context(slots.slot())
            goes, stays = [asyncio.create_task(slots.slot().__aenter__()) for _ in range(2)]
            await Writes.settle()
            if has_its_turn:
                await stack.aclose()
            goes.cancel()
            with suppress(asyncio.CancelledError):
                await goes
        await asyncio.wait_for(stays, 60)

    asyncio.run(play())
