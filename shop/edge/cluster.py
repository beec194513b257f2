"""What the loop asks of a Redis Cluster: each node of what is on it, all nodes at the same time.

A page takes a round trip for its entries, one for the rows that these name, and one for what is
joined to the rows. A session takes two more: one for each record that pays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shop.cache.stamps import document_of, generations_of
from shop.limits import calls
from shop.limits.calls import NUMBERS
from shop.pages import row_ids
from shop.redis import RedisUnavailable
from shop.redis.loop_cluster import LoopCluster, NotAskedError
from shop.sessions.service import lasts, session_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shop.cache import MemoizedMany
    from shop.facts import Asked
    from shop.pages import Join
    from shop.quotas import Charge, Payers
    from shop.redis import RedisConnection
    from shop.redis.loop_cluster import Value

    from .address import Address

    Values = Mapping[str, Value | None]  # by names that were asked for

NOT_KEPT = (b"", 0)  # for the epoch of a copy, and the time that it could serve


class Cluster:
    tells_changes = False  # what was read of several nodes is not kept

    def __init__(self, connection: RedisConnection, *, enforced: bool) -> None:
        self._connection = connection
        self._redis = LoopCluster(connection)
        self._enforced = enforced

    def start(self) -> None:
        """Nothing: a node is connected to when something is asked of it."""

    def stop(self) -> None:
        self._redis.stop()

    @property
    def is_ready(self) -> bool:
        """Whether it will be asked now."""
        return self._redis.is_ready

    @property
    def is_opening(self) -> bool:
        """Whether there will soon be a connection, which there is not now."""
        return self._redis.is_opening

    async def ask(
        self,
        asked: Asked,
        address: Address | None,
        payers: Payers,
        charges: Sequence[Charge],
    ) -> list[Any]:
        """Return what ANSWER does (`script.py`). Raises RedisUnavailable."""
        if address is None:  # there is no copy, instead of which to read nothing
            return []
        reading = asyncio.create_task(self._redis.read(_first_names(asked, address)))
        if asked.session and not self._lasts(asked.session, await reading):
            return []
        try:
            told = await self._decide(payers, charges) if charges else []
        except NotAskedError:
            return []
        if self._enforced and not all(told[::NUMBERS]):
            return [told]
        documents = await self._find(asked, address, await reading)
        return [told, NOT_KEPT, *documents] if documents else [told]

    def _lasts(self, session: str, values: Values) -> bool:
        """Tell whether a session is known, and is not to be renewed."""
        name = session_documents.prefix + session
        found = self._documents([session_documents.generation_key], [name], values)
        return found is not None and lasts(found[0])

    async def _decide(self, payers: Payers, charges: Sequence[Charge]) -> list[int]:
        """Return what the limits say. Raises NotAskedError, and then nothing is charged."""
        if payers.client == payers.address:
            told: list[int] = await self._redis.evaluate(*calls.decide(payers, charges))
            return told
        deciding = calls.decide_apart(payers, charges)
        call = next(deciding)
        while True:
            try:
                answer = await self._redis.evaluate(*call)
            except (NotAskedError, RedisUnavailable) as error:
                call = deciding.throw(error)
                continue
            try:
                call = deciding.send(answer)
            except StopIteration as decided:
                answers: list[int] = decided.value
                return answers

    async def _find(self, asked: Asked, address: Address, values: Values) -> list[Any] | None:
        """Return entries, rows and what is joined, as ANSWER does; None unless all are hits.

        `values`: what is under the names that follow from the address.
        """
        entries = []
        for reading in address.entries:
            found = self._documents(reading.generations, reading.keys, values)
            if found is None:
                return None
            entries += found
        if address.rows is None:
            return [entries, []]
        ids = (
            [asked.row]
            if address.is_row
            else row_ids(list(map(int, address.ids)), filter(None, entries))
        )
        rows = await self._read(address.rows, ids, values)
        if rows is None:
            return None
        joined = await asyncio.gather(*(self._join(join, rows, values) for join in address.joins))
        return None if None in joined else [entries, rows, *joined]

    async def _join(self, join: Join, rows: Sequence[bytes], values: Values) -> list[bytes] | None:
        """Return the numbers that rows have and the documents with these, in turn."""
        numbers = join.numbers(rows)
        found = await self._read(join.function, numbers, values)
        if found is None:
            return None
        return [
            part
            for number, document in zip(numbers, found, strict=True)
            for part in (str(number).encode(), document)
        ]

    async def _read(
        self, function: MemoizedMany[int], ids: Iterable[object], values: Values
    ) -> list[bytes] | None:
        """Return the documents of these ids, and read those that are not among `values`."""
        names = [f"{function.prefix}{one}" for one in ids]
        if unread := [name for name in names if name not in values]:
            values = {**values, **await self._redis.read(unread)}
        return self._documents([function.generation_key], names, values)

    def _documents(
        self, generations: Sequence[str], names: Sequence[str], values: Values
    ) -> list[bytes] | None:
        """Return the documents of entries with these generations; None unless all are hits."""
        current, origin = generations_of(generations, values), self._connection.known_origin
        found = [document_of(values.get(name), origin, current) for name in names]
        documents = [one for one in found if one is not None]
        return documents if len(documents) == len(found) else None


def _first_names(asked: Asked, address: Address) -> list[str]:
    """Return the names that follow from a request."""
    names = list(address.keys)
    if address.rows and address.is_row:
        names.append(address.rows.prefix + asked.row)
    if asked.session:
        names += [session_documents.generation_key, session_documents.prefix + asked.session]
    return names
