"""What the cache counts, for /metrics."""

from prometheus_client import Counter

READS = Counter(
    "shop_cache_reads", "Documents asked of the cache, by result.", ["function", "result"]
)
INVALIDATIONS = Counter(
    "shop_cache_invalidations", "Documents or families forgotten.", ["function"]
)
ERRORS = Counter("shop_cache_errors", "Fills and invalidations that Redis refused.", ["function"])
