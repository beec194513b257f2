"""Service: what clients ask, what they get, how fast, and from where."""

from .panels import Dashboard, graph, heatmap, stat

SERVICE = Dashboard(
    "shop-service",
    "shop: service",
    "What clients ask, what they get, how fast, and from where. All hosts together.",
    {
        "Now": [
            stat(
                "Requests",
                "Requests answered a second, probes left out.",
                "reqps",
                ("sum(shop:http_requests:rate2m)", "requests"),
            ),
            stat(
                "Server errors",
                "Share of 5xx among all answers of the last two minutes. From 5 % on ServerErrors fires.",
                "percentunit",
                (
                    'sum(shop:http_requests:rate2m{status=~"5.."}) / sum(shop:http_requests:rate2m) or vector(0)',
                    "5xx",
                ),
                (None, "green"),
                (0.01, "orange"),
                (0.05, "red"),
            ),
            stat(
                "Latency, p95",
                "Nineteen of twenty requests took less time in the application.",
                "s",
                (
                    "histogram_quantile(0.95, sum by (le) (shop:http_request_seconds_bucket:rate2m))",
                    "p95",
                ),
                (None, "green"),
                (0.25, "orange"),
                (0.5, "red"),
            ),
            stat(
                "Hit rate",
                "Share of the documents read in five minutes that Redis had. Below 70 % HitRateLow fires.",
                "percentunit",
                ("shop:cache_hits:ratio5m", "hits"),
                (None, "red"),
                (0.7, "orange"),
                (0.9, "green"),
            ),
            stat(
                "Workers serving",
                "Workers of all hosts that take requests.",
                "short",
                ('sum(shop_workers{state="serving"})', "workers"),
            ),
            stat(
                "Version",
                "What runs on how many hosts; two values while a version is rolled out.",
                "short",
                (
                    "count by (version, revision) (shop_build_info)",
                    "{{version}} {{revision}}",
                ),
                text="name",
            ),
        ],
        "Requests": [
            graph(
                "Requests by status",
                "Answers a second, by status.",
                "reqps",
                ("sum by (status) (shop:http_requests:rate2m)", "{{status}}"),
                stacked=True,
            ),
            graph(
                "Requests by route",
                "The ten routes that are asked most.",
                "reqps",
                (
                    "topk(10, sum by (method, route) (shop:http_requests:rate2m))",
                    "{{method}} {{route}}",
                ),
            ),
            graph(
                "Server errors by route",
                "Where 5xx come from. 503 is a server that is gone or busy, 500 is a fault of the service.",
                "reqps",
                (
                    'sum by (method, route, status) (shop:http_requests:rate2m{status=~"5.."}) > 0',
                    "{{status}} {{method}} {{route}}",
                ),
            ),
            graph(
                "Latency",
                "Time in the application: half, nineteen of twenty, and 99 of 100 requests took less.",
                "s",
                (
                    "histogram_quantile(0.5, sum by (le) (shop:http_request_seconds_bucket:rate2m))",
                    "p50",
                ),
                (
                    "histogram_quantile(0.95, sum by (le) (shop:http_request_seconds_bucket:rate2m))",
                    "p95",
                ),
                (
                    "histogram_quantile(0.99, sum by (le) (shop:http_request_seconds_bucket:rate2m))",
                    "p99",
                ),
            ),
            graph(
                "Latency by route, p95",
                "The ten slowest routes. A route that few ask jumps.",
                "s",
                (
                    (
                        "topk(10, histogram_quantile(0.95, sum by (method, route, le) "
                        "(shop:http_request_seconds_bucket:rate2m)))"
                    ),
                    "{{method}} {{route}}",
                ),
            ),
            heatmap(
                "How long requests take",
                "Requests by their time in the application: two bands are hits and misses. A point is a slow request, with its id.",
                "s",
                (
                    "sum by (le) (rate(shop_http_request_seconds_bucket[$__rate_interval]))",
                    "{{le}}",
                ),
            ),
        ],
        "From where": [
            graph(
                "Hit rate by family",
                "Share of hits of each memoized function. A family that writes empty often has few.",
                "percentunit",
                (
                    (
                        'sum by (function) (shop:cache_reads:rate5m{result="hit"})'
                        " / sum by (function) (shop:cache_reads:rate5m)"
                    ),
                    "{{function}}",
                ),
                most=1,
            ),
            graph(
                "The edge",
                "What the event loop did ahead of Flask: answered a hit, said 304 or 429, or passed it on.",
                "reqps",
                (
                    "sum by (result) (rate(shop_edge_requests_total[$__rate_interval]))",
                    "{{result}}",
                ),
                stacked=True,
            ),
            graph(
                "Sent again",
                "Requests with an Idempotency-Key: first, answered again, still under way, or reused for another.",
                "reqps",
                (
                    "sum by (result) (rate(shop_idempotent_requests_total[$__rate_interval]))",
                    "{{result}}",
                ),
            ),
        ],
        "Workers": [
            graph(
                "Threads",
                "Threads that work, and how many there are. All busy: requests wait.",
                "short",
                ("sum(shop_threads_busy)", "busy"),
                ("sum(shop_threads_max)", "there are"),
            ),
            graph(
                "Requests that wait",
                "Requests that wait for a thread. More than 0 for long: RequestsWaiting fires.",
                "short",
                ("sum by (instance) (shop_requests_waiting)", "{{instance}}"),
            ),
            graph(
                "Workers",
                "Workers that start, serve, and end.",
                "short",
                ("sum by (state) (shop_workers)", "{{state}}"),
                stacked=True,
            ),
            graph(
                "CPU",
                "Cores that gunicorn and its workers use.",
                "short",
                (
                    'sum by (instance) (rate(process_cpu_seconds_total{job="shop"}[$__rate_interval]))',
                    "{{instance}}",
                ),
            ),
            graph(
                "Memory",
                "Resident memory of gunicorn and its workers; what they share counts for each.",
                "bytes",
                (
                    'sum by (instance) (process_resident_memory_bytes{job="shop"})',
                    "{{instance}}",
                ),
            ),
            graph(
                "Open files",
                "Share of the file descriptors that may be open. A connection takes one.",
                "percentunit",
                (
                    'max by (instance) (process_open_fds{job="shop"} / process_max_fds{job="shop"})',
                    "{{instance}}",
                ),
                most=1,
            ),
            graph(
                "Dropped lines of the log",
                "Lines that nobody read in time. More than 0: LogLinesDropped fires.",
                "cps",
                (
                    "sum by (instance) (rate(shop_log_dropped_lines_total[$__rate_interval]))",
                    "{{instance}}",
                ),
            ),
        ],
    },
)
