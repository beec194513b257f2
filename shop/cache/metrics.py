"""The metrics of the cache."""

from functools import cache

from shop.prometheus import Counter, Gauge

READS = Counter(
    "shop_cache_reads",
    "Documents asked of the cache, by result: hit, miss, bypass (without Redis), stale.",
    ["function", "result"],
)
WAITS = Counter(
    "shop_cache_waits", "Documents waited for while another reader computed.", ["function"]
)
REFUSED_FILLS = Counter(
    "shop_cache_refused_fills",
    "Documents not stored, because a writer or another reader came between.",
    ["function"],
)
NOT_ADMITTED = Counter(
    "shop_cache_not_admitted",
    "Documents not stored, because anybody can name them and too many are new.",
    ["function"],
)
INVALIDATIONS = Counter(
    "shop_cache_invalidations", "Documents or families forgotten.", ["function"]
)
ERRORS = Counter("shop_cache_errors", "Fills that Redis did not carry out.", ["function"])
OUTBOX = Gauge(
    "shop_cache_outbox_names",
    "Names that Redis is still to be told to forget.",
    multiprocess_mode="mostrecent",
)
OUTBOX_AGE = Gauge(
    "shop_cache_outbox_age_seconds",
    "Time that the oldest of these names has waited.",
    multiprocess_mode="mostrecent",
)


@cache
def reads_counter(function: str, result: str) -> Counter:
    """Return the counter of READS with these labels, kept: finding it costs more than counting."""
    return READS.labels(function, result)
