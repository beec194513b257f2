"""The limits of a connection: how much a client may send, and how long it may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from shop.config import LARGE_BODY_MAX

if TYPE_CHECKING:
    from shop.config import Settings

HEAD_MAX = 65_536  # bytes
FIELDS_MAX = 32_768  # headers, where gunicorn sets no bound
PIECE = 8192  # bytes that are parsed at a time, and so bound how many requests one client has here
AHEAD = 2  # requests of a connection that are known: the one that is answered, and the next
DRAINED_MAX = LARGE_BODY_MAX  # bytes of a body that nobody wants, read to keep the connection
FRAMED_MAX = 2 * LARGE_BODY_MAX  # bytes of a body with what frames it: chunks, trailers
BODY_RATE = 16_384  # bytes for which a body has a second more than a head
READING = 6  # times as long as for a head a client has to read what waits for it
LINGER_SECONDS = 2.0  # without a byte from a client that was told to close, and may still send
LINGER_MAX = 30.0  # seconds for all that it may still send
NEVER = float("inf")


class ConnectionLimits(NamedTuple):
    """The limits of one worker, from gunicorn's settings and ours."""

    line: int  # bytes of the URL
    fields: int  # headers
    field: int  # bytes of one
    head_seconds: float

    @classmethod
    def of(cls, gunicorn: object, settings: Settings) -> ConnectionLimits:
        return cls(
            getattr(gunicorn, "limit_request_line", 0) or HEAD_MAX,
            getattr(gunicorn, "limit_request_fields", 0) or FIELDS_MAX,
            getattr(gunicorn, "limit_request_field_size", 0) or HEAD_MAX,
            settings.head_timeout,
        )

    @property
    def read_seconds(self) -> float:
        """Seconds that a client may take to read what was written."""
        return READING * self.head_seconds

    def body_seconds(self, length: int) -> float:
        """Return the seconds that a body of `length` bytes may take."""
        return self.head_seconds + min(length, LARGE_BODY_MAX) / BODY_RATE
