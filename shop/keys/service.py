"""API keys: `shop_PREFIX_SECRET`, shown once, kept as a hash.

The secret has 256 random bits, so that one SHA-256 protects it (a slow hash is for passwords).
A key is looked up in the database for each request that sends one: a revoked key ends at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from shop.config import current_settings
from shop.extensions import db
from shop.problems import NotFoundError

from .caller import Caller
from .models import ApiKey

if TYPE_CHECKING:
    from collections.abc import Sequence

SCOPES = ("catalog:write", "orders:read", "orders:write", "stats:read")
KEY = re.compile(r"shop_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


def identify(key: str) -> Caller | None:
    """Return who holds `key`, None if nobody does."""
    admin = current_settings().admin_api_key
    if admin and hmac.compare_digest(admin.encode(), key.encode("latin-1", "replace")):
        return Caller("admin", frozenset(SCOPES), authenticated=True, tier="unlimited")
    parts = KEY.fullmatch(key)
    if not parts:
        return None
    found = db.session.scalar(
        select(ApiKey).where(ApiKey.prefix == parts[1], ApiKey.revoked_at.is_(None))
    )
    known_hash = found.secret_hash if found else ""
    if not hmac.compare_digest(known_hash, _hash(parts[2])) or not found:
        return None
    scopes = frozenset(found.scopes)
    return Caller(f"key:{found.prefix}", scopes, authenticated=True, tier=found.tier)


def any_key() -> bool:
    """Tell whether anyone at all can hold a key."""
    if current_settings().admin_api_key:
        return True
    return bool(db.session.scalar(select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1)))


def create_key(name: str, scopes: Sequence[str], tier: str = "standard") -> str:
    """Make a key and return it; it cannot be shown again."""
    prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = ApiKey(name=name, prefix=prefix, secret_hash=_hash(secret), tier=tier)
    row.scopes = sorted(set(scopes))
    db.session.add(row)
    db.session.commit()
    return f"shop_{prefix}_{secret}"


def list_keys() -> Sequence[ApiKey]:
    return db.session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def revoke_key(prefix: str) -> None:
    """End a key, from its next request on. Raises NotFoundError for an unknown prefix."""
    key = db.session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))
    if key is None:
        raise NotFoundError(f"no key has the prefix {prefix}")
    key.revoked_at = key.revoked_at or datetime.now(UTC)
    db.session.commit()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
