"""Limit lines of the log that each request could repeat: each is written once a minute."""

from __future__ import annotations

import threading
import time

SECONDS = 60.0

_due: dict[str, float] = {}  # by the line's name
_lock = threading.Lock()


def once_a_minute(what: str) -> bool:
    """Return whether a line is to be written, because it was not within the last minute."""
    now = time.monotonic()
    with _lock:
        if now < _due.get(what, now):
            return False
        _due[what] = now + SECONDS
    return True


def forget() -> None:
    """Let every line be written at once."""
    _due.clear()
