"""Answers that operators look for, with their request ids: those that failed or were slow."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from shop.logs import AnsweredRequest

FAILED_STATUS = 500
SLOW_SECONDS = 0.5
FAILED_MAX, SLOW_MAX = 50, 20


class NotableAnswer(TypedDict):
    at: float  # UNIX time
    request_id: str
    method: str
    route: str | None  # None: no route has this path
    status: int
    milliseconds: float


failed: deque[NotableAnswer] = deque(maxlen=FAILED_MAX)  # of this process
slow: deque[NotableAnswer] = deque(maxlen=SLOW_MAX)


def note(one: AnsweredRequest) -> None:
    """Keep an answer if it failed, or was slow."""
    if one.status < FAILED_STATUS and one.seconds < SLOW_SECONDS:
        return
    answer = NotableAnswer(
        at=round(time.time(), 3),
        request_id=one.request_id,
        method=one.method,
        route=one.route,
        status=one.status,
        milliseconds=round(one.seconds * 1000, 1),
    )
    if one.status >= FAILED_STATUS:
        failed.append(answer)
    if one.seconds >= SLOW_SECONDS:
        slow.append(answer)
