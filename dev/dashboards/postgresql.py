"""PostgreSQL: connections, locks, slow statements, replicas."""

from .panels import Dashboard, Panel, graph, stat

PER_STATEMENT = (
    "topk(10, sum by (queryid, statement) (rate(postgresql_statements_seconds[$__rate_interval])))"
)
SLOWEST = Panel(
    "table",
    "Statements by mean time",
    "Mean time of a call since the counts began, of the ten statements that took most time in all.",
    [
        (
            (
                "sort_desc(sum by (queryid, statement) (postgresql_statements_seconds)"
                " / sum by (queryid, statement) (postgresql_statements_calls))"
            ),
            "{{statement}}",
        )
    ],
    unit="s",
    width=16,
    transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}}}],
)

POSTGRESQL = Dashboard(
    "shop-postgresql",
    "shop: PostgreSQL",
    "Connections, locks, slow statements and replicas: as the service sees them, and as postgres_exporter does.",
    {
        "Now": [
            stat(
                "PostgreSQL",
                "1: each host reaches PostgreSQL. 0: one does not, and answers 503.",
                "short",
                ("min(shop_database_up)", "up"),
                (None, "red"),
                (1, "green"),
            ),
            stat(
                "Pool",
                "Share of the connections of all workers that are in use.",
                "percentunit",
                (
                    'sum(shop_database_connections{state="in_use"}) / sum(shop_database_connections_max)',
                    "in use",
                ),
                (None, "green"),
                (0.7, "orange"),
                (0.9, "red"),
            ),
            stat(
                "Connections",
                "Share of max_connections. From 90 % on DatabaseConnectionsExhausted fires.",
                "percentunit",
                ("max(postgresql_connections_used / postgresql_connections_allowed)", "used"),
                (None, "green"),
                (0.7, "orange"),
                (0.9, "red"),
            ),
            stat(
                "Waiting for a lock",
                "Sessions that wait for a lock of another one.",
                "short",
                ("sum(postgresql_lock_waits_sessions)", "sessions"),
                (None, "green"),
                (1, "orange"),
            ),
            stat(
                "Replicas",
                "Replicas that follow. Fewer than in the last 24 hours: ReplicaLost fires.",
                "short",
                ("sum(postgresql_replication_replicas)", "replicas"),
            ),
            stat(
                "Size",
                "Size of the database on disk.",
                "bytes",
                ('max(pg_database_size_bytes{datname="shop"})', "size"),
            ),
        ],
        "Connections and threads": [
            graph(
                "Pool of the service",
                "Connections of all workers: in use, idle, and how many there can be.",
                "short",
                ("sum by (state) (shop_database_connections)", "{{state}}"),
                ("sum(shop_database_connections_max)", "there can be"),
            ),
            graph(
                "Threads",
                "Threads of all workers that work. Each needs a connection when it asks PostgreSQL.",
                "short",
                ("sum(shop_threads_busy)", "busy"),
                ("sum(shop_threads_max)", "there are"),
            ),
            graph(
                "Connections by state",
                "Of the database, by state. idle in transaction for long holds locks.",
                "short",
                ('sum by (state) (pg_stat_activity_count{datname="shop"}) > 0', "{{state}}"),
                ("max(postgresql_connections_allowed)", "max_connections"),
            ),
        ],
        "Locks": [
            graph(
                "Waiting for a lock",
                "Sessions that wait for a lock of another one.",
                "short",
                ("postgresql_lock_waits_sessions", "{{instance}}"),
            ),
            graph(
                "Longest wait and transaction",
                "For how long a session has waited for a lock, and for how long a transaction has been open.",
                "s",
                ("max(postgresql_lock_waits_longest_seconds)", "wait for a lock"),
                ('max(pg_stat_activity_max_tx_duration{datname="shop"})', "transaction"),
            ),
            graph(
                "Locks",
                "Locks that are held, by mode. accessexclusivelock keeps everybody waiting.",
                "short",
                ('sum by (mode) (pg_locks_count{datname="shop"}) > 0', "{{mode}}"),
            ),
            graph(
                "Writes refused",
                "Writes that the service refused at once, while others waited for a lock. WritesBlocked fires.",
                "reqps",
                ("sum(rate(shop_writes_refused_total[$__rate_interval]))", "refused"),
            ),
            graph(
                "Deadlocks and rollbacks",
                "Of the database, a second. Some rollbacks are normal.",
                "cps",
                (
                    'rate(pg_stat_database_deadlocks{datname="shop"}[$__rate_interval])',
                    "deadlocks",
                ),
                (
                    'rate(pg_stat_database_xact_rollback{datname="shop"}[$__rate_interval])',
                    "rollbacks",
                ),
            ),
        ],
        "Work": [
            graph(
                "Transactions",
                "Transactions that were committed, a second.",
                "cps",
                (
                    'sum(rate(pg_stat_database_xact_commit{datname="shop"}[$__rate_interval]))',
                    "commits",
                ),
            ),
            graph(
                "Found in memory",
                "Share of the pages that PostgreSQL had in its own memory. Below 99 %: shared_buffers is small.",
                "percentunit",
                (
                    (
                        'sum(rate(pg_stat_database_blks_hit{datname="shop"}[$__rate_interval]))'
                        ' / (sum(rate(pg_stat_database_blks_hit{datname="shop"}[$__rate_interval]))'
                        ' + sum(rate(pg_stat_database_blks_read{datname="shop"}[$__rate_interval])))'
                    ),
                    "in memory",
                ),
                most=1,
            ),
            graph(
                "Temporary files",
                "Bytes a second that sorts wrote to disk: work_mem is small, or a statement is large.",
                "Bps",
                (
                    'rate(pg_stat_database_temp_bytes{datname="shop"}[$__rate_interval])',
                    "written",
                ),
            ),
        ],
        "Statements": [
            graph(
                "Time by statement",
                "Seconds of work a second, of the ten statements that take most. Needs pg_stat_statements.",
                "short",
                (PER_STATEMENT, "{{statement}}"),
                width=24,
            ),
            SLOWEST,
            graph(
                "Calls",
                "Calls a second, of the ten statements that took most time.",
                "cps",
                (
                    "sum by (queryid, statement) (rate(postgresql_statements_calls[$__rate_interval]))",
                    "{{statement}}",
                ),
            ),
        ],
        "Replication": [
            graph(
                "Behind, in time",
                "By how much the slowest replica is behind. From 30 s on ReplicationLagging fires.",
                "s",
                ("postgresql_replication_lag_seconds", "{{instance}}"),
            ),
            graph(
                "Behind, in WAL",
                "What the slowest replica has not applied yet. From 64 MB on ReplicationLagging fires.",
                "bytes",
                ("postgresql_replication_lag_bytes", "{{instance}}"),
            ),
            graph(
                "Replicas",
                "Replicas that follow PostgreSQL, and Redis.",
                "short",
                ("postgresql_replication_replicas", "PostgreSQL {{instance}}"),
                ("redis_connected_slaves", "Redis {{instance}}"),
            ),
        ],
    },
)
