"""Idempotency-Key: carry out a request once, also if it is sent again.

The transaction of a request with a key also stores its answer: the database has both, or neither.
A client that got no answer can send the request again.
(draft-ietf-httpapi-idempotency-key-header-07)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from flask import request
from sqlalchemy import BigInteger, DateTime, String, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from shop.caller import current_caller

from .config import IDEMPOTENCY_KEY_MAX, IDEMPOTENCY_SECONDS
from .extensions import Base, cache, db
from .openapi import read_body
from .openapi.headers import IDEMPOTENCY_KEY_PATTERN
from .problems import (
    IdempotencyKeyReusedError,
    InvalidIdempotencyKeyError,
    RequestUnderWayError,
)
from .prometheus import Counter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import CursorResult

KEY_FORM = re.compile(IDEMPOTENCY_KEY_PATTERN)
PURGE_BATCH = 1000  # answers
KEY_RULE = f"An Idempotency-Key has 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters."

REQUESTS = Counter(
    "shop_idempotent_requests",
    "Requests with an Idempotency-Key: first, replayed, under_way, or reused for another request.",
    ["result"],
)


class StoredAnswer(Base):
    """The stored answer to a request with a key."""

    __tablename__ = "idempotency_keys"

    client: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(IDEMPOTENCY_KEY_MAX), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the request
    row_id: Mapped[int] = mapped_column(BigInteger)
    body: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.clock_timestamp(), index=True
    )


class WriteAnswer(NamedTuple):
    """The answer to a write: the id of its row, and the row as a JSON document."""

    row_id: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True)
class IdempotentRequest:
    """A request that is carried out once for each key of a client; without a key, every time."""

    client: str
    key: str | None
    fingerprint: str

    @classmethod
    def from_request(cls) -> IdempotentRequest:
        """Read the current request. Raises InvalidIdempotencyKeyError."""
        key = request.headers.get("Idempotency-Key")
        if key is not None and (len(key) > IDEMPOTENCY_KEY_MAX or not KEY_FORM.fullmatch(key)):
            raise InvalidIdempotencyKeyError(KEY_RULE)
        target = f"{request.method} {request.path}\n".encode()
        return cls(current_caller().client, key, sha256(target + read_body(request)).hexdigest())

    def carry_out(self, work: Callable[[], WriteAnswer]) -> WriteAnswer:
        """Do the work and store its answer, or return the stored answer.

        Call this first in `cache.transaction()`. If the work raises, nothing is stored, and the
        same key may try again. Raises RequestUnderWayError while another request with this key is
        carried out, IdempotencyKeyReusedError if the key was sent with another request.
        """
        if self.key is None:
            return work()
        self._claim()
        if stored := self._stored_answer():
            return self._replay(stored)
        answer = work()
        self._store(answer)
        REQUESTS.labels("first").inc()
        return answer

    def _claim(self) -> None:
        """Lock the key until the transaction ends."""
        name = func.hashtextextended(f"{self.client} {self.key}", 0)
        if not db.session.scalar(select(func.pg_try_advisory_xact_lock(name))):
            REQUESTS.labels("under_way").inc()
            message = "A request with this Idempotency-Key is under way: wait for it."
            raise RequestUnderWayError(message)

    def _stored_answer(self) -> StoredAnswer | None:
        # This statement follows the claim, so it sees the answer that an earlier holder committed.
        mine = select(StoredAnswer).where(
            StoredAnswer.client == self.client, StoredAnswer.key == self.key
        )
        return db.session.scalar(mine.where(StoredAnswer.created_at > _oldest()))

    def _replay(self, stored: StoredAnswer) -> WriteAnswer:
        if stored.fingerprint != self.fingerprint:
            REQUESTS.labels("reused").inc()
            message = "This Idempotency-Key was sent with another request: use a new one."
            raise IdempotencyKeyReusedError(message)
        cache.await_invalidation()
        REQUESTS.labels("replayed").inc()
        return WriteAnswer(stored.row_id, stored.body, replayed=True)

    def _store(self, answer: WriteAnswer) -> None:
        values = {
            "fingerprint": self.fingerprint,
            "row_id": answer.row_id,
            "body": answer.body,
        }
        statement = insert(StoredAnswer).values(client=self.client, key=self.key, **values)
        # An expired answer that is not purged yet is replaced.
        db.session.execute(
            statement.on_conflict_do_update(
                index_elements=[StoredAnswer.client, StoredAnswer.key],
                set_=values | {"created_at": func.clock_timestamp()},
            )
        )


def purge() -> int:
    """Delete the expired answers, and return their number."""
    purged = 0
    while some := purge_batch():
        purged += some
    return purged


def purge_batch() -> int:
    """Delete expired answers in one transaction, up to a bound; return their number."""
    row = tuple_(StoredAnswer.client, StoredAnswer.key)
    old = select(StoredAnswer.client, StoredAnswer.key).where(StoredAnswer.created_at <= _oldest())
    some = old.limit(PURGE_BATCH).with_for_update(skip_locked=True)
    deleting = delete(StoredAnswer).where(row.in_(some))
    found = cast("CursorResult[Any]", db.session.execute(deleting))
    db.session.commit()
    return found.rowcount


def _oldest() -> Any:
    return func.clock_timestamp() - timedelta(seconds=IDEMPOTENCY_SECONDS)
