"""A value that is computed once in a while, however many ask for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class CachedValue(Generic[Value]):
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._due = float("-inf")
        self._value: Value | None = None

    def get(self, compute: Callable[[], Value]) -> Value | None:
        """Return the value, computed within the last seconds.

        One thread computes. The others wait for nothing: they get the value of before, which is
        None at first, and after an error.
        """
        if time.monotonic() >= self._due and self._lock.acquire(blocking=False):
            try:
                self._value = compute()
                self._due = time.monotonic() + self._seconds
            except BaseException:
                self._value = None
                raise
            finally:
                self._lock.release()
        return self._value
