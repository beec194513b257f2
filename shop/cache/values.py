"""The names of values that callers store by themselves, apart from those of functions."""

from __future__ import annotations

from .metrics import INVALIDATIONS
from .tags import GENERATION

KEY_MAX_LENGTH = 150  # the outbox has room for a name of 200 characters


class ValueFamily:
    """The family of all values that callers store by themselves."""

    generation_key = f"values{GENERATION}"
    tables: frozenset[str] = frozenset()  # a write that forgets a value forgets no read of a table

    def __init__(self) -> None:
        self.invalidations = INVALIDATIONS.labels("values")  # which shows 0 from the start

    def name(self, key: str) -> str:
        """Return the name of a value. Raises ValueError for a key that is too long."""
        if len(key) > KEY_MAX_LENGTH:
            raise ValueError(f"a key has {KEY_MAX_LENGTH} characters at most")
        return f"values:key:{key}"

    def for_logs(self, _: str) -> str:
        """Return the pattern of the names: a client may have written a part of a name."""
        return "values:key:*"


VALUE_FAMILY = ValueFamily()
