"""Read missing rows for many requests by one call of their memoized function.

A request joins a call that waits for a thread. No request joins a call that has begun: that call
may have read a row that a write has replaced since.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from shop.facts import Facts

from .database_reads import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Flask

    from shop.cache import MemoizedMany, ReadResult

    from .threads import Threads

    Result = tuple[Mapping[int, ReadResult], Exception | None]


@dataclass(slots=True)
class RowsCall:
    """A call that has not begun."""

    result: asyncio.Task[Result]
    ids: set[int] = field(default_factory=set)
    joined: int = 0  # requests that are counted as waiting


class CoalescedReads:
    def __init__(self, app: Flask, threads: Threads) -> None:
        self._app = app
        self._threads = threads
        self._calls: dict[MemoizedMany[int], RowsCall] = {}

    async def read(self, rows: MemoizedMany[int], row_id: int, facts: Facts) -> ReadResult | None:
        """Return a row; None if another reader computes it.

        Raises OverloadedError, and the errors of the function.
        """
        self._threads.reads.check()
        call = self._calls.get(rows)
        if call is None:
            shared = Facts(facts.request_id, facts.trace_id, read_request=facts.read_request)
            task = asyncio.get_running_loop().create_task(self._carry_out(rows, shared))
            call = self._calls[rows] = RowsCall(task)
        elif self._threads.reads.all_taken:
            self._threads.reads.join(1)
            call.joined += 1
        call.ids.add(row_id)
        found, failed = await asyncio.shield(call.result)
        if failed and row_id not in found:
            raise failed
        return found.get(row_id)

    async def _carry_out(self, rows: MemoizedMany[int], facts: Facts) -> Result:
        call = self._calls[rows]
        try:
            async with self._threads.reads.slot():
                self._begin(rows, call)
                work = partial(read_rows, self._app, facts, rows, list(call.ids))
                result: Result = await self._threads.run(work)
                return result
        finally:
            self._begin(rows, call)

    def _begin(self, rows: MemoizedMany[int], call: RowsCall) -> None:
        """Let no further request join the call."""
        if self._calls.get(rows) is call:
            del self._calls[rows]
            self._threads.reads.join(-call.joined)
