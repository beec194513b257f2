"""Limit log lines that each request could repeat to one a minute."""

from __future__ import annotations

import threading
import time

SECONDS = 60.0

_due: dict[str, float] = {}  # by the line's name
_lock = threading.Lock()


def once_a_minute(line: str) -> bool:
    """Return whether to write a line: True once a minute for each `line`."""
    now = time.monotonic()
    with _lock:
        if now < _due.get(line, now):
            return False
        _due[line] = now + SECONDS
    return True


def reset() -> None:
    """Allow every line again."""
    _due.clear()
