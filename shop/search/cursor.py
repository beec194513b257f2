"""Cursors: the row after which a page begins, as an opaque text that is bound to its query."""

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
BINDING = 9  # bytes, which base64 needs no padding for
WHOLE_MAX = 2**62


def write_cursor(question: str, values: Sequence[object]) -> str:
    """Return the cursor of a row: what its query sorts it by, with its id at the end."""
    payload = orjson.dumps(values, default=str)
    return _written(_binding(question, payload) + payload)


def read_cursor(question: str, cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the values of a cursor that was written for this question.

    Raises ValueError for any other text. Whoever computes the binding can make a cursor of any
    values, so these are read as strictly as parameters are.
    """
    try:
        whole = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        values = orjson.loads(whole[BINDING:])
    except ValueError:
        raise ValueError("no cursor") from None
    if _written(whole) != cursor or whole[:BINDING] != _binding(question, whole[BINDING:]):
        raise ValueError("a cursor of another query")
    if not isinstance(values, list):
        raise ValueError("no cursor")  # noqa: TRY004  (of the text)
    return tuple(READERS[kind](value) for kind, value in zip(kinds, values, strict=True))


def _written(whole: bytes) -> str:
    return urlsafe_b64encode(whole).rstrip(b"=").decode()


def _binding(question: str, payload: bytes) -> bytes:
    return hashlib.sha256(question.encode() + b"\n" + payload).digest()[:BINDING]


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) > WHOLE_MAX:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or SURROGATES.search(value):
        raise ValueError(value)
    return value


def _amount(value: Any) -> Decimal:
    if not isinstance(value, str) or not AMOUNT.fullmatch(value):
        raise ValueError(value)
    return Decimal(value)


def _instant(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(_text(value)).astimezone(UTC)
    except OverflowError:
        raise ValueError(value) from None


READERS: dict[type, Callable[[Any], Any]] = {
    int: _whole,
    str: _text,
    Decimal: _amount,
    datetime: _instant,
}
