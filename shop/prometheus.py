"""The kinds of metrics, which several workers count together.

With PROMETHEUS_MULTIPROC_DIR, each worker counts in a file there that is named after its process.
The library would ask the kernel for that number at each count, many times in a request.
"""

import os
from functools import cache

from prometheus_client import Counter, Gauge, Histogram, values

from .shared_counts import Counts

__all__ = ["Counter", "Gauge", "Histogram"]


@cache
def _process() -> int:
    return os.getpid()


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    os.register_at_fork(after_in_child=_process.cache_clear)
    values.MmapedDict = Counts  # type: ignore[attr-defined,assignment]
    values.ValueClass = values.MultiProcessValue(_process)  # type: ignore[no-untyped-call]
