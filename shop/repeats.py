"""Lines of the log that each request could repeat: each is said once a minute."""

from __future__ import annotations

import threading
import time

SECONDS = 60.0

_due: dict[str, float] = {}  # by what is said
_lock = threading.Lock()


def once_a_minute(what: str) -> bool:
    """Tell whether something is to be said, because it was not within the last minute."""
    now = time.monotonic()
    with _lock:
        if now < _due.get(what, now):
            return False
        _due[what] = now + SECONDS
    return True


def forget() -> None:
    """Let everything be said at once."""
    _due.clear()
