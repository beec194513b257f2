"""One sentence for each setting of shop/config.py, for the table in docs/operations.md."""

from __future__ import annotations

MEANINGS = {
    "DATABASE_URL": (
        "`postgresql://USER:PASSWORD@HOST:PORT/NAME`, or `postgres://…`, as PostgreSQL's "
        "client library reads it: with its options, and several hosts "
        "([how](#the-address-of-postgresql)). Required, but `make run` starts "
        "a server of its own without it"
    ),
    "DATABASE_PASSWORD": (
        "the password for a `DATABASE_URL` that has none; also `DATABASE_PASSWORD_FILE`"
    ),
    "DATABASE_LOCK_TIMEOUT": (
        "milliseconds that a request waits for a lock in PostgreSQL, at most; then it is 503,"
        " `/problems/database-busy`. Commands and the worker wait longer"
    ),
    "DATABASE_STATEMENT_TIMEOUT": ("milliseconds that one statement of a request may take"),
    "REDIS_URL": (
        "`redis://`, `unix://`, `redis+sentinel://` or `redis+cluster://`, and with TLS "
        "`rediss://` and so on ([its parts and options](redis.md#the-url)). Goes before the "
        "five below. `make run` starts a server of its own without it and without "
        "`REDIS_HOST`"
    ),
    "REDIS_HOST": "host of Redis",
    "REDIS_PORT": "its port",
    "REDIS_DB": "number of its database",
    "REDIS_USERNAME": "the user, if there is a password; without it Redis's default user",
    "REDIS_PASSWORD": (
        "its password; also `REDIS_PASSWORD_FILE`. It counts for a `REDIS_URL` that has a user "
        "without a password, too"
    ),
    "REDIS_TIMEOUT": "milliseconds, to connect to Redis and to wait for an answer",
    "REDIS_KEY_PREFIX": (
        "what every name in Redis begins with; for [installations that share a "
        "Redis](redis.md#several-installations-one-redis)"
    ),
    "REDIS_MAX_CONNECTIONS": "connections of each worker, at most",
    "REDIS_ENABLED": (
        "`false`: every read goes to the database, and each worker counts requests alone"
    ),
    "REDIS_CACHE_TTL": "seconds that products and their pages stay in the cache, at most",
    "CATEGORY_CACHE_TTL": "the same for categories",
    "SESSION_CACHE_TTL": "the same for sessions; they live for a day after their last use",
    "KEY_CACHE_TTL": "the same for API keys; one that is revoked ends at once",
    "BEST_SELLERS_CACHE_TTL": "the same for lists of best sellers",
    "DASHBOARD_CACHE_TTL": "the same for the dashboard",
    "SEARCH_CONFIGURATION": (
        "a text-search configuration of PostgreSQL, such as `spanish`, whose stems products "
        "are found by, too; it counts once [`flask search rebuild`](#flask-search) has run"
    ),
    "ORDER_PAYMENT_SECONDS": "seconds until an order that is not paid is cancelled; 0: never",
    "SESSION_OPEN_ORDERS": (
        "orders of one session that wait for their payment, at most; 0: any number"
    ),
    "ADDRESS_OPEN_ORDERS": "the same of all sessions of one address",
    "CACHE_STALE_IF_ERROR": (
        "seconds past that time that a document may serve while the database cannot be "
        "reached; 0: never"
    ),
    "RATE_LIMIT_ENABLED": "`false`: no limits, and no rate-limit headers",
    "EDGE_ENABLED": "`false`: Flask answers cached reads, too, alike and slower",
    "RATE_LIMIT_MODE": "`shadow`: counts, logs what it would refuse, and refuses nothing",
    "RATE_LIMIT_CALLS": "requests of one client in a period, over the whole API",
    "RATE_LIMIT_PERIOD": "seconds of a period",
    "WRITE_LIMIT_CALLS": "writes of one client in a period; they count as requests, too",
    "PARTNER_RATE_LIMIT_CALLS": (
        "requests in a period of the holder of a key of the tier `partner`"
    ),
    "PARTNER_WRITE_LIMIT_CALLS": "its writes",
    "ADDRESS_LIMIT_CALLS": "requests in a period of an address and all its sessions together",
    "SESSION_LIMIT_CALLS": "sessions that one address opens in a period",
    "UNKNOWN_KEY_LIMIT_CALLS": "requests of one address in a period with keys that nobody has",
    "CORS_ORIGINS": (
        "origins whose pages may call the API in a browser, such as "
        "`https://shop.example,http://localhost:3000`; `*` is every one"
    ),
    "TRUSTED_PROXIES": (
        "how many proxies in front add to `X-Forwarded-For`; 0 ignores that header"
    ),
    "NAT64_PREFIXES": (
        "prefixes of your own NAT64 translators, such as `64:ff9b:1::/96`, with commas "
        "between them; `64:ff9b::/96` is always known"
    ),
    "METRICS_TOKEN": (
        "the token that reads `/metrics`; also `METRICS_TOKEN_FILE`. Without it `/metrics` is 404"
    ),
    "METRICS_OPEN": (
        "`true`: without a token everybody reads `/metrics`. `make run` sets it, and listens "
        "to this machine alone"
    ),
    "OPS_PAGE": (
        "`false`: no page for [operators](#the-operators-page) at `/ops`, and none of its calls"
    ),
    "ADMIN_API_KEY": (
        "a key that may write and has no limits; also `ADMIN_API_KEY_FILE`. `make run` makes one"
    ),
    "SECRET_KEY": (
        "Flask's key for signing; also `SECRET_KEY_FILE`. Nothing is signed with it today"
    ),
    "REVISION": "the revision of the code, for `shop_build_info` in `/metrics`",
    "PORT": "port of the API",
    "WEB_CONCURRENCY": "worker processes",
    "REQUEST_QUEUE": (
        "reads, and as many writes, of a worker that may wait for a thread; [beyond "
        "that](#what-clients-may-do) they are 503, `/problems/overloaded`"
    ),
    "HEAD_TIMEOUT": (
        "seconds that the head of a request may take; [bodies](#what-clients-may-do) have "
        "more by their length"
    ),
    "DRAIN_SECONDS": (
        "seconds in which a worker that ends still answers what comes, so that [balancers "
        "turn to others](#signals)"
    ),
    "LOG_LEVEL": "`DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`",
    "OTEL_EXPORTER_OTLP_ENDPOINT": (
        "the URL of an OpenTelemetry collector, such as `http://collector:4318`, that takes "
        "[traces](monitoring.md#traces) by OTLP over HTTP; without it there are none"
    ),
    "OTEL_EXPORTER_OTLP_HEADERS": (
        "what the collector wants to be sent, such as `authorization=Bearer%20TOKEN`; also "
        "`OTEL_EXPORTER_OTLP_HEADERS_FILE`"
    ),
    "OTEL_SERVICE_NAME": "the name of the service in traces",
    "OTEL_RESOURCE_ATTRIBUTES": ("more about it, such as `deployment.environment.name=production`"),
    "OTEL_TRACES_SAMPLER": (
        "which requests have a trace: all, none, or a share of them; with `parentbased_` those "
        "whose client says so in `traceparent`, and of the others all, none, or a share"
    ),
    "OTEL_TRACES_SAMPLER_ARG": "that share, from 0 to 1; 1 if it is not set",
    "OTEL_SDK_DISABLED": "`true`: no traces, also with a collector",
}
