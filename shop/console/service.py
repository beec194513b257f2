"""The state of the whole service, in one document, and what operators may do.

A part that cannot be had is None, and the others are there: the document is needed most while Redis
or the database is away.
"""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from flask import current_app
from sqlalchemy.exc import SQLAlchemyError

from shop.caller import current_caller
from shop.config import current_settings
from shop.extensions import cache, db
from shop.limits import limit_mode, records
from shop.limits.clients import record_name
from shop.problems import InvalidFieldsError, RedisUnavailableError
from shop.redis import RedisUnavailable, redis_connection
from shop.stats import service as stats
from shop.version import VERSION

from . import fleet, keyspace, parts, worker_tasks
from .cached_value import CachedValue
from .clients import top_clients
from .counts import current_counts
from .fleet import Seen
from .health import health_monitor
from .host_report import HostReport
from .reporter import read_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keyspace import Keyspace

logger = logging.getLogger("shop.console")

THIS_PROCESS = "this process"  # in place of a host, where no gunicorn reports
ALL = "all"  # in place of a family
TOP_MAX = 10  # clients, and products
RECORDS_MAX = 2000  # clients of which the top is found; on a cluster each is a round trip
CLUSTER_RECORDS_MAX = 200
CACHED_SECONDS = 10.0  # a look at all of Redis, or at the orders of the day, answers for so long

Part = TypeVar("Part")


def status() -> dict[str, Any]:
    """Return the state of the service, as of now."""
    limit_mode().refresh()
    reports, scope = _reports()
    hour = parts.counts_of_hour(reports)
    in_redis = _of_redis(lambda: _cached_value("keyspace").get(keyspace.read))
    in_database = _of_database()
    return {
        "as_of": datetime.now(UTC),
        "scope": scope,
        "health": _health(),
        "traffic": parts.traffic(reports),
        "minutes": parts.minutes(reports),
        "cache": {
            "families": parts.families(hour, in_redis),
            "is_estimate": in_redis is not None and not in_redis.is_whole,
            "outbox": in_database.pop("outbox"),
            "servers": in_redis and [one._asdict() for one in in_redis.servers],
            "breakers_open": parts.sum_gauge(reports, "breakers_open"),
        },
        "limits": _mode()
        | {
            "counted_alone": parts.sum_gauge(reports, "counted_alone"),
            "policies": parts.policies(hour),
            **_clients(in_redis),
        },
        "hosts": parts.hosts(reports),
        **in_database,
        "errors": parts.answers(reports, "failed"),
        "slow": parts.answers(reports, "slow"),
    }


def clear_family(family: str) -> None:
    """Forget all entries of a family, or of all, at once. Redis frees their memory later.

    Raises InvalidFieldsError, RedisUnavailableError.
    """
    families = cache.family_roots
    if family not in {*families, ALL}:
        message = f"Must be one of: {', '.join([*families, ALL])}."
        raise InvalidFieldsError("There is no such family.", {"family": message})
    _call_redis(lambda: redis_connection().ping())
    for function in cache.memoized:
        if family in {function.family_root, ALL}:
            cache.delete_memoized(function)
    if family == ALL:
        cache.clear()  # also values that callers have stored
    _log(f"cleared {family}")


def reset_client(client: str) -> bool:
    """Give a client its whole quota again; return whether it had used any.

    Raises InvalidFieldsError, RedisUnavailableError.
    """
    try:
        name = record_name(client)
    except ValueError:
        message = "Must be an address, key:PREFIX or session:HASH."
        raise InvalidFieldsError("There is no such client.", {"client": message}) from None
    connection = redis_connection()
    [key] = connection.prefixed([records.key(name)])
    removed = _call_redis(lambda: connection.call(lambda client: client.unlink(key), key=key))
    _log(f"reset {name}")
    return bool(removed)


def set_limit_mode(mode: str, seconds: int) -> dict[str, Any]:
    """Set the mode of the limits for a time. Raises RedisUnavailableError."""
    _call_redis(lambda: limit_mode().set(mode, seconds))
    _log(f"set the mode of the limits to {mode} for {seconds} s")
    return {"mode": mode, "until": parts.time_of(limit_mode().ends_at or 0)}


def reset_limit_mode() -> None:
    """Let RATE_LIMIT_MODE count again. Raises RedisUnavailableError."""
    _call_redis(limit_mode().reset)
    _log("reset the mode of the limits")


def _log(what: str) -> None:
    """Log what an operator did, and who did it."""
    logger.info("%s %s", current_caller().client, what)


def _call_redis(work: Callable[[], Part]) -> Part:
    try:
        return work()
    except RedisUnavailable as error:
        reason = error.__cause__ or "it is switched off, or was not reached lately"
        raise RedisUnavailableError(f"Redis cannot be asked: {reason}.") from error


def _of_redis(read: Callable[[], Part]) -> Part | None:
    try:
        return read()
    except RedisUnavailable:
        return None


def _of_database() -> dict[str, Any]:
    """Return the parts that PostgreSQL has; None from the first that fails, so that one waits."""
    reads: dict[str, Callable[[], Any]] = {
        "outbox": _outbox,
        "orders": lambda: _cached_value("orders").get(_orders_of_today),
        "selling": _selling,
        "tasks": _tasks,
    }
    found: dict[str, Any] = dict.fromkeys(reads)
    if health_monitor().health().can_serve:  # nobody waits for a database that hangs
        try:
            for name, read in reads.items():
                found[name] = read()
        except SQLAlchemyError:
            db.session.rollback()
    return found


def _cached_value(name: str) -> CachedValue[Any]:
    values: dict[str, CachedValue[Any]] = current_app.extensions.setdefault("shop.console", {})
    return values.setdefault(name, CachedValue(CACHED_SECONDS))


def _reports() -> tuple[list[Seen], str]:
    """Return the reports of all hosts, its own first, or of this one, and which of both."""
    others = _of_redis(fleet.read_all)
    found = others or []
    own = read_report()
    if own is None and not found:
        own = _report_of_process()
    if own is not None:
        found = [one for one in found if one.report.host != own.host]
        found.insert(0, Seen(own, max(0.0, time.time() - own.made_at), is_own=True))
    return found, "host" if others is None else "service"


def _report_of_process() -> HostReport:
    """Return a report without a history, where no gunicorn makes one."""
    now = time.time()
    counts, gauges = current_counts()
    return HostReport(
        host=THIS_PROCESS,
        master=os.getpid(),
        version=VERSION,
        started_at=now,
        made_at=now,
        gauges=gauges,
        minutes=[(int(now), dict(counts))],
    )


def _health() -> dict[str, str]:
    found = health_monitor().health()
    state = "ok" if found.is_healthy else "degraded" if found.can_serve else "unavailable"
    return {
        "status": state,
        "database": found.database,
        "redis": found.redis,
        "version": VERSION,
    }


def _mode() -> dict[str, Any]:
    mode = limit_mode()
    until = mode.ends_at  # another thread may end it meanwhile
    return {
        "is_enabled": current_settings().rate_limit_enabled,
        "mode": mode.current,
        "configured_mode": mode.configured,
        "mode_until": until and parts.time_of(until),
    }


def _clients(found: Keyspace | None) -> dict[str, Any]:
    if found is None:
        return parts.clients(None, None)
    most = CLUSTER_RECORDS_MAX if redis_connection().is_cluster else RECORDS_MAX
    top = _of_redis(lambda: top_clients(found.client_keys[:most], TOP_MAX))
    return parts.clients(found.clients, top)


def _outbox() -> dict[str, Any]:
    names, oldest = cache.outbox.length_and_age()
    return {"names": names, "oldest_seconds": oldest}


def _tasks() -> list[dict[str, Any]]:
    return [
        {
            "task": one.task,
            "last_success": one.last_success,
            "seconds": one.last_seconds,
            "done": one.done,
            "failed": one.failed,
        }
        for one in worker_tasks.read()
    ]


def _orders_of_today() -> dict[str, Any]:
    return stats.sales_since(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))


def _selling() -> list[dict[str, Any]]:
    items = orjson.loads(stats.trending(TOP_MAX))["items"]
    return [
        {
            "product_id": item["product"]["id"],
            "name": item["product"]["name"],
            "score": item["score"],
            "stock": item["product"]["stock"],
        }
        for item in items
    ]
