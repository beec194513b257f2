"""How much a connection may send, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shop.config import LARGE_BODY_MAX

if TYPE_CHECKING:
    from shop.config import Settings

HEAD_MAX = 65_536  # bytes
DRAINED_MAX = LARGE_BODY_MAX  # bytes of a body that nobody wants, read to keep the connection
BODY_SECONDS = 10.0  # for the body of a request, and one more for each BODY_RATE bytes
BODY_RATE = 16_384
WRITE_SECONDS = 60.0  # in which a client has to read something of its answer
LINGER_SECONDS = 2.0  # that what a client still sends is read, so that it can read its answer
NEVER = float("inf")


class Limits(NamedTuple):
    """Those of one worker, which gunicorn's settings and ours say."""

    line: int  # bytes of the address
    fields: int  # headers
    field: int  # bytes of one
    head_seconds: float

    @classmethod
    def of(cls, gunicorn: object, settings: Settings) -> Limits:
        return cls(
            getattr(gunicorn, "limit_request_line", 0) or HEAD_MAX,
            getattr(gunicorn, "limit_request_fields", 0),
            getattr(gunicorn, "limit_request_field_size", 0) or HEAD_MAX,
            settings.head_timeout,
        )


def body_seconds(length: int) -> float:
    """Return how long a body of so many bytes may take."""
    return BODY_SECONDS + min(length, LARGE_BODY_MAX) / BODY_RATE
