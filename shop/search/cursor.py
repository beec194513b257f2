"""Cursors: the row after which a page begins, as an opaque text that is bound to its list."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from shop.fields import AMOUNT, SURROGATES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CURSOR_MAX = 2000  # characters
DIGEST_BYTES = 9  # base64 needs no padding for nine
INTEGER_MAX = 2**62  # no cursor of ours has a larger number


def write_cursor(list_name: str, values: Sequence[object]) -> str:
    """Return the cursor of a row: the values that its list is sorted by, with its id at the end."""
    payload = orjson.dumps(values, default=str)
    return _encode(_digest(list_name, payload) + payload)


def read_cursor(list_name: str, cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the values of a cursor that was written for this list.

    Raises ValueError for any other text. A client can compute the digest and forge a cursor of any
    values, so the values are checked as strictly as parameters are.
    """
    try:
        decoded = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        digest, payload = decoded[:DIGEST_BYTES], decoded[DIGEST_BYTES:]
        values = orjson.loads(payload)
    except ValueError:
        raise ValueError("no cursor") from None
    if _encode(decoded) != cursor or digest != _digest(list_name, payload):
        raise ValueError("a cursor of another list")
    if not isinstance(values, list):
        raise ValueError("no cursor")  # noqa: TRY004  (of the text)
    return tuple(PARSERS[kind](value) for kind, value in zip(kinds, values, strict=True))


def _encode(decoded: bytes) -> str:
    return urlsafe_b64encode(decoded).rstrip(b"=").decode()


def _digest(list_name: str, payload: bytes) -> bytes:
    return hashlib.sha256(list_name.encode() + b"\n" + payload).digest()[:DIGEST_BYTES]


def _parse_integer(value: Any) -> int:
    if type(value) is not int or abs(value) > INTEGER_MAX:
        raise ValueError(value)
    return value


def _parse_text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or SURROGATES.search(value):
        raise ValueError(value)
    return value


def _parse_amount(value: Any) -> Decimal:
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise ValueError(value)
    return Decimal(value)


def _parse_instant(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(_parse_text(value)).astimezone(UTC)
    except OverflowError:
        raise ValueError(value) from None


PARSERS: dict[type, Callable[[Any], Any]] = {
    int: _parse_integer,
    str: _parse_text,
    Decimal: _parse_amount,
    datetime: _parse_instant,
}
