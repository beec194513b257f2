"""API keys: `shop_PREFIX_SECRET`, shown once, stored as a hash.

The secret has 256 random bits, so one SHA-256 protects it; a slow hash is for passwords. Keys are
read through the cache. A revocation deletes the cached key, so a revoked key ends at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import select

from shop.config import current_settings
from shop.extensions import cache, db
from shop.facts import Caller
from shop.features import all_scopes
from shop.pages import dump
from shop.problems import NotFoundError

from .models import ApiKey

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = re.compile(r"shop_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


@cache.memoize_many(key="key:{prefix}", ttl="key_cache_ttl", tables=[ApiKey])
def key_documents(prefixes: Sequence[str]) -> dict[str, bytes]:
    """Return the hashes, scopes and tiers of the keys that are not revoked."""
    found = select(ApiKey).where(ApiKey.prefix.in_(prefixes), ApiKey.revoked_at.is_(None))
    rows = db.session.scalars(found.execution_options(populate_existing=True))
    return {
        row.prefix: dump({"hash": row.secret_hash, "scopes": row.scopes, "tier": row.tier})
        for row in rows
    }


def forget_key(prefix: str) -> None:
    cache.delete_memoized(key_documents, prefix)


def find_administrator(key: str) -> Caller | None:
    """Return the administrator if `key` is ADMIN_API_KEY."""
    admin = current_settings().admin_api_key
    if admin and hmac.compare_digest(admin.encode(), key.encode("latin-1", "replace")):
        return Caller("admin", scopes=frozenset(all_scopes()), authenticated=True, tier="unlimited")
    return None


def parse_key(key: str) -> tuple[str, str] | None:
    """Return the prefix and the secret of a key, None for a text of another form."""
    found = KEY.fullmatch(key)
    return (found[1], found[2]) if found else None


def find_holder(prefix: str, secret: str, document: bytes) -> Caller | None:
    """Return the holder of the key with this document, None if the secret does not match."""
    found = orjson.loads(document) if document else {"hash": ""}
    if not hmac.compare_digest(found["hash"], _hash(secret)):
        return None
    scopes = frozenset(found["scopes"])
    return Caller(f"key:{prefix}", scopes=scopes, authenticated=True, tier=found["tier"])


def has_any_key() -> bool:
    """Return whether there is any valid key."""
    if current_settings().admin_api_key:
        return True
    return bool(db.session.scalar(select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)))


def create_key(name: str, scopes: Sequence[str], tier: str = "standard") -> str:
    """Make a key and return it; it cannot be shown again."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = ApiKey(name=name, prefix=prefix, secret_hash=_hash(secret), tier=tier)
    row.scopes = sorted(set(scopes))
    with cache.transaction():
        db.session.add(row)
        forget_key(prefix)  # the cache may have stored that the prefix has no key
    return f"shop_{prefix}_{secret}"


def list_keys() -> Sequence[ApiKey]:
    return db.session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke_key(prefix: str) -> None:
    """Revoke a key at once. Raises NotFoundError for an unknown prefix."""
    with cache.transaction():
        key = db.session.scalar(select(ApiKey).where(ApiKey.prefix == prefix).with_for_update())
        if key is None:
            raise NotFoundError(f"no key has the prefix {prefix}")
        key.revoked_at = key.revoked_at or datetime.now(UTC)
        forget_key(prefix)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
