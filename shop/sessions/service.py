"""Sessions: `session_SECRET`, shown once, kept as a hash; they end a day after their last use.

The secret has 256 random bits, so that one SHA-256 protects it, as that of an API key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import delete, select, update

from shop.config import RENEWAL_SECONDS, SESSION_SECONDS
from shop.errors import SessionEndedError
from shop.extensions import cache, db
from shop.pages import dump

from .models import Session
from .schemas import SessionSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN = re.compile(r"session_[A-Za-z0-9_-]{43}")
PURGED_TOGETHER = 500  # sessions

schema = SessionSchema()


@cache.memoize_many(key="session:{token_hash}", ttl="session_cache_ttl", tables=[Session])
def session_documents(token_hashes: Sequence[str]) -> dict[str, bytes]:
    rows = db.session.scalars(select(Session).where(Session.token_hash.in_(token_hashes)))
    return {
        row.token_hash: dump({"id": row.id, "expires_at": row.expires_at.timestamp()})
        for row in rows
    }


def forget_session(token_hash: str) -> None:
    cache.delete_memoized(session_documents, token_hash)


def open_session() -> bytes:
    """Open a session, and return its token, which cannot be shown again, and when it ends."""
    token = f"session_{secrets.token_urlsafe(32)}"
    row = Session(token_hash=_hash(token), expires_at=_a_day_from_now())
    with cache.transaction():
        db.session.add(row)
        db.session.flush()
        forget_session(row.token_hash)
    return dump(schema.dump({"token": token, "expires_at": row.expires_at}))


def identify(token: str) -> int | None:
    """Return the id of the session that `token` opens, None if there is none; renew it."""
    if not TOKEN.fullmatch(token):
        return None
    token_hash = _hash(token)
    document = session_documents([token_hash]).get(token_hash)
    if not document:
        return None
    session = orjson.loads(document)
    left = session["expires_at"] - datetime.now(UTC).timestamp()
    if left <= 0:
        return None
    if left < SESSION_SECONDS - RENEWAL_SECONDS:
        _renew(token_hash)
    session_id: int = session["id"]
    return session_id


def _renew(token_hash: str) -> None:
    with cache.transaction():
        found = update(Session).where(Session.token_hash == token_hash)
        db.session.execute(found.values(expires_at=_a_day_from_now()))
        forget_session(token_hash)


def close_session(session_id: int) -> None:
    """End a session, and its cart with it."""
    with cache.transaction():
        ended = delete(Session).where(Session.id == session_id).returning(Session.token_hash)
        for token_hash in db.session.scalars(ended):
            forget_session(token_hash)


def lock_session(session_id: int) -> None:
    """Hold a session until the transaction ends: its requests take turns.

    Raises SessionEndedError.
    """
    found = select(Session.id).where(Session.id == session_id)
    if db.session.scalar(found.with_for_update(key_share=True)) is None:
        raise SessionEndedError


def purge() -> int:
    """Delete the sessions that have ended, with their carts, and return how many those were."""
    purged = 0
    ended = select(Session.id).where(Session.expires_at <= datetime.now(UTC))
    some = ended.limit(PURGED_TOGETHER).with_for_update(skip_locked=True)
    while True:
        with cache.transaction():
            gone = delete(Session).where(Session.id.in_(some)).returning(Session.token_hash)
            hashes = list(db.session.scalars(gone))
            for token_hash in hashes:
                forget_session(token_hash)
        if not hashes:
            return purged
        purged += len(hashes)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _a_day_from_now() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS)
