"""Recognizes a hit on a cluster, for a reader that has asked several nodes at a time.

A stamp on a cluster has the epoch of the entry's node, the origin, and each generation with the
epoch of its own node; `scripts.py` compares the same. The clock of the entry's node decides whether
the entry has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shop.redis.loop_cluster import Value

GENERATION_BYTES = 16
END_BYTES = 13  # until the year 2286


def current_generations(names: Sequence[str], values: Mapping[str, Value | None]) -> bytes | None:
    """Return the generations as stamps have them; None if one is suspended or missing."""
    found = [values.get(name) for name in names]
    if not all(value and len(value.data) == GENERATION_BYTES for value in found):
        return None
    return b".".join(b"%b:%b" % (value.epoch, value.data) for value in found if value)


def hit_document(value: Value | None, origin: bytes, generations: bytes | None) -> bytes | None:
    """Return the document of an entry that is a hit, else None."""
    if value is None or generations is None:
        return None
    stamp = b"%b:%b:%b " % (value.epoch, origin, generations)
    end = len(stamp) + END_BYTES
    if not value.data.startswith(stamp) or value.data[end : end + 1] != b"\n":
        return None
    ends = value.data[len(stamp) : end]
    return value.data[end + 1 :] if b"%013d" % value.clock < ends else None
