"""Cache: what is read, kept and forgotten, and how Redis is."""

from .panels import Dashboard, graph, stat

CACHE = Dashboard(
    "shop-cache",
    "shop: cache",
    "What is read from the cache, kept and forgotten, and how Redis is. All hosts together.",
    {
        "Now": [
            stat(
                "Hit rate",
                "Share of the documents read in five minutes that Redis had.",
                "percentunit",
                ("shop:cache_hits:ratio5m", "hits"),
                (None, "red"),
                (0.7, "orange"),
                (0.9, "green"),
            ),
            stat(
                "Redis",
                "1: each host reaches Redis. 0: one does not, and reads from PostgreSQL.",
                "short",
                ("min(shop_redis_up)", "up"),
                (None, "red"),
                (1, "green"),
            ),
            stat(
                "Memory",
                "Share of maxmemory, of the fullest Redis. From 90 % on RedisMemoryHigh fires.",
                "percentunit",
                (
                    (
                        "max(max by (server) (shop_redis_memory_bytes)"
                        " / max by (server) (shop_redis_memory_max_bytes > 0))"
                    ),
                    "used",
                ),
                (None, "green"),
                (0.8, "orange"),
                (0.9, "red"),
            ),
            stat(
                "Outbox",
                "Names that Redis is still to be told to forget. Until then all reads go to PostgreSQL.",
                "short",
                ("max(shop_cache_outbox_names)", "names"),
                (None, "green"),
                (1, "orange"),
            ),
            stat(
                "Oldest in the outbox",
                "For how long one of them has waited.",
                "s",
                ("max(shop_cache_outbox_age_seconds)", "age"),
                (None, "green"),
                (10, "orange"),
                (120, "red"),
            ),
            stat(
                "Breakers open",
                "Workers that do without Redis now, or without a node of its cluster.",
                "short",
                ("sum(shop_redis_breaker_open)", "workers"),
                (None, "green"),
                (1, "orange"),
            ),
        ],
        "Documents": [
            graph(
                "Reads by result",
                "Documents asked of the cache: found, computed, read without it, or expired and answered in need.",
                "cps",
                ("sum by (result) (shop:cache_reads:rate5m)", "{{result}}"),
                stacked=True,
            ),
            graph(
                "Misses by family",
                "Documents that were computed, by memoized function.",
                "cps",
                (
                    'sum by (function) (shop:cache_reads:rate5m{result="miss"}) > 0',
                    "{{function}}",
                ),
            ),
            graph(
                "Forgotten",
                "Rows or whole families that writes made Redis forget, by way of the outbox, too.",
                "cps",
                (
                    "sum by (function) (rate(shop_cache_invalidations_total[$__rate_interval])) > 0",
                    "{{function}}",
                ),
            ),
            graph(
                "Refused fills",
                "Documents that were not stored: a writer came between, or Redis had lost the lease. "
                "Many, with few writes: Redis is full.",
                "cps",
                (
                    "sum by (function) (rate(shop_cache_refused_fills_total[$__rate_interval])) > 0",
                    "{{function}}",
                ),
            ),
            graph(
                "Waited for",
                "Documents that a reader waited for while another one computed them.",
                "cps",
                (
                    "sum by (function) (rate(shop_cache_waits_total[$__rate_interval])) > 0",
                    "{{function}}",
                ),
            ),
            graph(
                "Not admitted, and failed",
                "Documents that were not stored: too many new ones of their kind, or an error of Redis.",
                "cps",
                (
                    "sum by (function) (rate(shop_cache_not_admitted_total[$__rate_interval])) > 0",
                    "not admitted {{function}}",
                ),
                (
                    "sum by (function) (rate(shop_cache_errors_total[$__rate_interval])) > 0",
                    "failed {{function}}",
                ),
            ),
        ],
        "Outbox and breaker": [
            graph(
                "Outbox",
                "Names in the outbox. They are gone within a tenth of a second, unless Redis cannot be told.",
                "short",
                ("max(shop_cache_outbox_names)", "names"),
            ),
            graph(
                "Age of the outbox",
                "For how long the oldest name has waited.",
                "s",
                ("max(shop_cache_outbox_age_seconds)", "age"),
            ),
            graph(
                "Workers without Redis",
                "Workers whose breaker is open, that leave Redis alone, or that miss sentinels.",
                "short",
                ("sum(shop_redis_breaker_open)", "breaker open"),
                ("sum(shop_redis_foreign)", "of another installation"),
                ("max(shop_redis_sentinels_unreachable)", "sentinels missed"),
            ),
        ],
        "Redis": [
            graph(
                "Memory",
                "What each Redis uses, and may use. At maxmemory it evicts or refuses.",
                "bytes",
                ("max by (server) (shop_redis_memory_bytes)", "used {{server}}"),
                ("max by (server) (shop_redis_memory_max_bytes > 0)", "maxmemory {{server}}"),
            ),
            graph(
                "Evictions",
                "Keys that Redis dropped to make room. More than 0: RedisEvictions fires.",
                "cps",
                (
                    "max by (server) (rate(shop_redis_evicted_keys_total[$__rate_interval]))",
                    "{{server}}",
                ),
            ),
            graph(
                "Calls of Redis",
                "Time of a call as the service sees it, failed ones included.",
                "s",
                (
                    "histogram_quantile(0.5, sum by (le) (rate(shop_redis_seconds_bucket[$__rate_interval])))",
                    "p50",
                ),
                (
                    "histogram_quantile(0.99, sum by (le) (rate(shop_redis_seconds_bucket[$__rate_interval])))",
                    "p99",
                ),
            ),
            graph(
                "Errors of Redis",
                "Calls that it did not carry out: unreachable, refused, or out of memory.",
                "cps",
                ("sum by (reason) (rate(shop_redis_errors_total[$__rate_interval]))", "{{reason}}"),
            ),
            graph(
                "Keys",
                "Keys in each database, and those that expire (from redis_exporter).",
                "short",
                ("redis_db_keys > 0", "{{instance}} {{db}}"),
                ("redis_db_keys_expiring > 0", "expiring {{instance}} {{db}}"),
            ),
            graph(
                "Commands and CPU",
                "Commands a second of each Redis, and the share of a core that it takes (from redis_exporter).",
                "short",
                (
                    "rate(redis_commands_processed_total[$__rate_interval])",
                    "commands {{instance}}",
                ),
                (
                    (
                        "rate(redis_cpu_user_seconds_total[$__rate_interval])"
                        " + rate(redis_cpu_sys_seconds_total[$__rate_interval])"
                    ),
                    "cores {{instance}}",
                ),
            ),
        ],
    },
)
