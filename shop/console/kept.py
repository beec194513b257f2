"""A value that is computed once in a while, however many ask for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class Kept(Generic[Value]):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._computed: tuple[float, Value] | None = None

    def get(self, compute: Callable[[], Value]) -> Value:
        """Return the value, computed within the last seconds. One thread computes at a time."""
        with self._lock:
            if self._computed is None or time.monotonic() - self._computed[0] > self._seconds:
                self._computed = (time.monotonic(), compute())
            return self._computed[1]
