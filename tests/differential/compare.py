"""Judge two answers to one request: all that is sent must be the same, but for a few values.

Those are dates, identifiers that the service makes, and seconds until a limit is free again. They
must have the same form and stand in the same place, and seconds may differ by what the services
were asked one after the other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .wire import Answer

DATE = re.compile(rb"(?<=\r\nDate: )\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT(?=\r\n)")
NEW_ID = re.compile(rb"(?<=\r\nX-Request-ID: )[0-9a-f]{32}(?=\r\n)")
SECONDS = re.compile(rb'(\r\nX-RateLimit-Reset: |\r\nRetry-After: |"\w+";r=\d+;t=)(\d+)')
SECONDS_IN_BODY = re.compile(rb'("reset":)(\d+)')  # of GET /rate_limit
NEARBY = 60  # bytes before and after the first that differs


class Normal(NamedTuple):
    """An answer without what may differ."""

    left: bytes
    head: bytes
    body: bytes
    closed: bytes
    seconds: list[int]


def difference(one: Answer, other: Answer, sent: bytes, slack: float) -> str | None:
    """Return what is not the same in the answers to `sent`, None if nothing is.

    `slack`: seconds by which the moments of both may differ.
    """
    first, second = normal(one, sent), normal(other, sent)
    for name in ("left", "head", "body", "closed"):
        a, b = getattr(first, name), getattr(second, name)
        if a != b:
            return f"{name}: {_where(a, b)}"
    for a, b in zip(first.seconds, second.seconds, strict=True):
        if abs(a - b) > slack + 1:  # they are rounded up
            return f"seconds: {first.seconds} is not {second.seconds}, within {slack:.1f} s"
    return None


def normal(answer: Answer, sent: bytes) -> Normal:
    """Put a name in the place of each value that may differ."""
    head, body = DATE.sub(b"<date>", answer.head), answer.body
    found = NEW_ID.search(head)
    if found and found[0] not in sent:
        head, body = (part.replace(found[0], b"<a new id of 32 digits>") for part in (head, body))
    seconds = [
        int(match[2]) for match in (*SECONDS.finditer(head), *SECONDS_IN_BODY.finditer(body))
    ]
    head, body = SECONDS.sub(rb"\1<seconds>", head), SECONDS_IN_BODY.sub(rb"\1<seconds>", body)
    return Normal(answer.left, head, body, b"yes" if answer.closed else b"no", seconds)


def _where(a: bytes, b: bytes) -> str:
    same = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    at = min(len(a), len(b)) if same is None else same
    nearby = slice(max(0, at - NEARBY), at + NEARBY)
    return f"{a[nearby]!r} is not {b[nearby]!r}"
