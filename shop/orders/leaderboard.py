"""The products that sell best just now: a sorted set in Redis, which each sale feeds.

A unit counts one when it is sold, half a day later, a quarter after two days, and so on. Scores
are those of the beginning of an hour, of which the set has its name: an older unit counts less
than one, a newer one more. So nothing has to be aged, and every hour begins with a set that is
made anew from the database. It is forgotten, and made anew, also when Redis was away, since sales
went on meanwhile. A sale at the moment in which a set is made may count twice in it, or not.
"""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, cast, func, select

from shop.extensions import db
from shop.redis import RedisUnavailable, redis_connection

from .models import Order, OrderLine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Flask

    Score = tuple[int, float]  # of a product

logger = logging.getLogger(__name__)

FAMILY = "products:trending"
HALF_LIFE = timedelta(days=1)
HORIZON = timedelta(days=14)  # older sales are not looked at
KEPT = timedelta(hours=2)
PATIENCE = timedelta(seconds=10)  # that others wait for the one who makes the set
BATCH = 1000  # products

# KEYS: the set. ARGV: what counts as nothing, then for each product its id and score.
# A set that is not there stays so: whoever reads it makes it, of all sales.
FEED = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  return
end
for i = 2, #ARGV, 2 do
  local score = redis.call('ZINCRBY', KEYS[1], ARGV[i + 1], ARGV[i])
  if tonumber(score) < tonumber(ARGV[1]) then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
"""
NOTHING = 2.0 ** (-HORIZON / HALF_LIFE) / 2  # less than the oldest unit that is looked at


def init_app(app: Flask) -> None:
    redis_connection(app).when_back.append(lambda: _forget(app))


def feed(order: Mapping[str, Any], sign: int = 1) -> None:
    """Count the sale of an order's document, or with -1 its cancellation.

    After the commit. Without Redis nothing is counted, and the set is made anew later.
    """
    created_at = datetime.fromisoformat(order["created_at"])
    hour = _hour()
    if created_at < hour - HORIZON:
        return
    weight = sign * 2.0 ** ((created_at - hour) / HALF_LIFE)
    arguments: list[object] = [NOTHING]
    for line in order["lines"]:
        arguments += (line["product_id"], line["quantity"] * weight)
    try:
        redis_connection().eval(FEED, [_key(hour)], arguments)
    except RedisUnavailable as error:
        logger.debug("A sale is not on the leaderboard: %s", error.__cause__)


def top(count: int, skip: int = 0) -> list[Score]:
    """Return products by what they sell now, and their scores as of now."""
    hour = _hour()
    try:
        found = redis_connection().call(
            lambda client: client.zrange(
                _key(hour), skip, skip + count - 1, desc=True, withscores=True
            )
        )
        found = [(int(member), score) for member, score in found]
        if not found and not _is_there(hour):
            found = _make(hour)[skip : skip + count]
    except RedisUnavailable:
        found = _scores(hour)[skip : skip + count]
    now = 2.0 ** ((hour - datetime.now(UTC)) / HALF_LIFE)
    return [(product_id, score * now) for product_id, score in found]


def rebuild() -> int:
    """Make the set anew, and return how many products are in it. Raises RedisUnavailable."""
    hour = _hour()
    scores = _scores(hour)
    _store(hour, scores)
    return len(scores)


def _make(hour: datetime) -> list[Score]:
    """Make the set that is missing, unless somebody does so already."""
    scores = _scores(hour)
    lock = f"{_key(hour)}:lock"
    if redis_connection().call(lambda client: client.set(lock, 1, nx=True, px=PATIENCE)):
        _store(hour, scores)
    return scores


def _scores(hour: datetime) -> list[Score]:
    """Return what the database says, best first."""
    age = func.extract("epoch", Order.created_at - hour) / HALF_LIFE.total_seconds()
    score = func.sum(OrderLine.quantity * func.power(2.0, cast(age, Double)))
    statement = (
        select(OrderLine.product_id, score)
        .join(Order, Order.id == OrderLine.order_id)
        .where(Order.created_at >= hour - HORIZON, Order.status != "cancelled")
        .group_by(OrderLine.product_id)
        .order_by(score.desc(), OrderLine.product_id.desc())
    )
    return [(product_id, total) for product_id, total in db.session.execute(statement)]


def _store(hour: datetime, scores: Sequence[Score]) -> None:
    """Replace the set, at once."""
    connection, key = redis_connection(), _key(hour)
    if not scores:
        connection.call(lambda client: client.unlink(key))
        return
    draft = f"{{{key}}}:{secrets.token_hex(4)}"  # which a cluster keeps beside it
    for start in range(0, len(scores), BATCH):
        some = dict(scores[start : start + BATCH])
        connection.call(lambda client: client.zadd(draft, some))  # noqa: B023  (called now)
        connection.call(lambda client: client.expire(draft, KEPT))
    connection.call(lambda client: client.rename(draft, key))


def _is_there(hour: datetime) -> bool:
    return bool(redis_connection().call(lambda client: client.exists(_key(hour))))


def _forget(app: Flask) -> None:
    try:
        redis_connection(app).call(lambda client: client.unlink(_key(_hour())))
    except RedisUnavailable as error:
        logger.debug("The leaderboard is not forgotten: %s", error.__cause__)


def _hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _key(hour: datetime) -> str:
    return f"{FAMILY}:{hour:%Y-%m-%dT%H}"
