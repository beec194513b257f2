"""Values of the caller's own: their names in Redis, apart from those of memoized functions."""

from __future__ import annotations

from .metrics import INVALIDATIONS
from .tags import GENERATION

KEY_MAX = 150  # characters; the outbox has room for a name of 200


class Values:
    """The family of all such values."""

    generation_key = f"values{GENERATION}"
    tables: frozenset[str] = frozenset()  # a write that forgets a value forgets no read of a table

    def __init__(self) -> None:
        self.invalidations = INVALIDATIONS.labels("values")  # which shows 0 from the start

    def name(self, key: str) -> str:
        """Return the name of a value. Raises ValueError for a key that is too long."""
        if len(key) > KEY_MAX:
            raise ValueError(f"a key has {KEY_MAX} characters at most")
        return f"values:key:{key}"

    def shown(self, _: str) -> str:
        """Return the name as logs have it: not what somebody has written."""
        return "values:key:*"


VALUES = Values()
