"""Imports redis-py without OpenTelemetry.

redis-py imports it where it is installed, for metrics that nobody reads here. It would cost each
process 3 MB of memory and some 60 ms, also without traces.
"""

import sys
from importlib import import_module

if "opentelemetry" not in sys.modules:
    sys.modules["opentelemetry"] = None  # type: ignore[assignment]  # its import raises ImportError
    try:
        import_module("redis.cluster")
    finally:
        del sys.modules["opentelemetry"]
