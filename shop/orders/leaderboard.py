"""The leaderboard of the products that sell best now: a sorted set in Redis, fed by each sale.

A sold unit counts one, half after a day, a quarter after two days, and so on. The scores of a board
are as of the beginning of an hour, which is in its key: an older unit counts less than one, a newer
unit more. So no score has to be aged, and each hour has a new board, built from the database. The
board is also rebuilt after Redis was away, because sales went on without it.

During a rebuild, sales are fed to a second board, the pending one, which is added at the end.
Measured with 200,000 orders and 70 sales a second: a board takes 0.6 s to build, and 15 boards had
each sale. Without the pending board, each lacked the 20 to 60 sales of that time until its hour
ended.

A sale that is committed, but not fed yet when the rebuild queries the database, counts twice until
the hour ends. A sale whose worker is killed at that point is missing until then.
"""

from __future__ import annotations

import logging
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, Text, cast, func, select

from shop.extensions import db
from shop.redis import RedisUnavailable, redis_connection

from .models import Order, OrderLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flask import Flask

    from shop.redis import RedisConnection

    Score = tuple[int, float]  # of a product

logger = logging.getLogger(__name__)

FAMILY = "products:trending"
HALF_LIFE = timedelta(days=1)
HORIZON = timedelta(days=14)  # older sales do not count
BOARD_TTL = timedelta(hours=2)
BUILD_TIMEOUT = timedelta(seconds=10)  # after which another process may build the board
WAIT_SECONDS = 3.0  # for a board that another process builds
POLL_SECONDS = 0.05
BATCH_SIZE = 1000  # products
ORIGIN_DIGITS = 10  # hexadecimal digits of the origin that a score holds without rounding
# No product. This member makes a board exist even if nothing was sold. Its score is the origin of
# the installation (`cache/installation.py`), as a negative number: below that of any product.
ORIGIN_MEMBER = "0"
SCORE_MIN = 2.0 ** (-HORIZON / HALF_LIFE) / 2  # less than the oldest unit that counts

_IS_OURS = f"""
local function is_ours(board, origin)
  local found = redis.call('ZSCORE', board, '{ORIGIN_MEMBER}')
  return found and tonumber(found) == tonumber(origin)
end
"""

# KEYS: the board, the pending board. ARGV: the origin; for each product its id and score.
# A missing board stays missing: the next reader builds it from all sales.
FEED = f"""
{_IS_OURS}
local function feed(board)
  for i = 2, #ARGV, 2 do
    redis.call('ZINCRBY', board, ARGV[i + 1], ARGV[i])
  end
end

if is_ours(KEYS[1], ARGV[1]) then
  feed(KEYS[1])
else  -- its installation would miss this sale
  redis.call('DEL', KEYS[1])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  feed(KEYS[2])
end
"""

# KEYS: a board. ARGV: the origin, the last rank. Returns the best members, each with its score.
READ = f"""
{_IS_OURS}
return is_ours(KEYS[1], ARGV[1])
  and redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2], 'WITHSCORES') or {{}}
"""

# KEYS: the pending board. ARGV: ORIGIN_MEMBER, milliseconds. Returns 1 for the process that builds
# the board, 0 for others. LT shortens an expiry that a clock set back has made too long.
BEGIN = """
local first = redis.call('EXISTS', KEYS[1]) == 0
if first then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'LT')
return first and 1 or 0
"""

# KEYS: the board, its draft, the pending board. ARGV: milliseconds. Returns 1, or 0 if the draft or
# the pending board has expired, and sales with it: the next reader then builds the board again.
FINISH = """
local whole = redis.call('EXISTS', KEYS[2], KEYS[3]) == 2
if whole then
  redis.call('ZUNIONSTORE', KEYS[1], 2, KEYS[2], KEYS[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
redis.call('DEL', KEYS[2], KEYS[3])
return whole and 1 or 0
"""


def init_app(app: Flask) -> None:
    redis_connection(app).when_back.append(lambda: forget(app))


def feed(order: Mapping[str, Any], sign: int = 1) -> None:
    """Count the sale of an order's document, or its cancellation if `sign` is -1.

    Call it after the commit. If Redis cannot count the sale, the board is rebuilt later.
    """
    created_at = datetime.fromisoformat(order["created_at"])
    board = _Board()
    if created_at < board.hour - HORIZON:
        return
    weight = sign * 2.0 ** ((created_at - board.hour) / HALF_LIFE)
    arguments: list[object] = [board.origin]
    for line in order["lines"]:
        arguments += (line["product_id"], line["quantity"] * weight)
    try:
        redis_connection().eval(FEED, [board.key, board.pending_key], arguments)
    except RedisUnavailable as error:
        logger.debug("A sale is not on the leaderboard: %s", error.__cause__)
        forget()


def top(count: int) -> list[Score]:
    """Return the products that sell best, with their scores as of now."""
    board = _Board()
    try:
        found = board.read(count) or _build(board)
    except RedisUnavailable:
        found = board.scores()
    return board.age(found)[:count]


def peek(count: int) -> list[Score]:
    """Return the same from the board that there is; nothing without one.

    Raises RedisUnavailable.
    """
    board = _Board()
    return board.age(board.read(count))[:count]


def rebuild() -> int:
    """Rebuild the board, and return the number of its products. Raises RedisUnavailable."""
    board = _Board()
    while True:
        while not board.begin():  # another process builds it, perhaps from an older query
            time.sleep(POLL_SECONDS)
        scores = board.scores()
        if board.finish(scores):
            return len(scores)


def _build(board: _Board) -> Sequence[Score]:
    """Build a missing board, or wait for the process that builds it."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not board.begin():
        time.sleep(POLL_SECONDS)
        if found := board.read(BATCH_SIZE):
            return found
        if time.monotonic() > deadline:
            return board.scores()
    scores = board.scores()
    board.finish(scores)
    return scores


class _Board:
    """The board of the current hour. A method that calls Redis may raise RedisUnavailable."""

    def __init__(self, connection: RedisConnection | None = None) -> None:
        self._connection = connection or redis_connection()
        self.origin = -int(self._connection.origin[:ORIGIN_DIGITS] or b"0", 16)
        self.hour = _hour()
        self.key = f"{FAMILY}:{self.hour:%Y-%m-%dT%H}"
        self.pending_key = self._key_in_slot("making")

    def _key_in_slot(self, name: str) -> str:
        """Return a key in the board's slot of a cluster: its hash tag is the key of the board."""
        return f"{{{self._connection.prefix}{self.key}}}:{name}"

    def read(self, count: int) -> list[Score]:
        """Return the best members, at least ORIGIN_MEMBER, or nothing if the board is missing."""
        found = self._connection.eval(READ, [self.key], [self.origin, count])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(int(member), float(score)) for member, score in pairs]

    def age(self, scores: Iterable[Score]) -> list[Score]:
        """Return the scores of products as of now."""
        now = 2.0 ** ((self.hour - datetime.now(UTC)) / HALF_LIFE)
        return [(product_id, score * now) for product_id, score in scores if score > SCORE_MIN]

    def begin(self) -> bool:
        """Start the pending board; return whether this process is the one to build."""
        arguments = [ORIGIN_MEMBER, _milliseconds(BUILD_TIMEOUT)]
        return bool(self._connection.eval(BEGIN, [self.pending_key], arguments))

    def scores(self) -> list[Score]:
        """Compute the scores from the database, in the order of Redis."""
        age = func.extract("epoch", Order.created_at - self.hour) / HALF_LIFE.total_seconds()
        score = func.sum(OrderLine.quantity * func.power(2.0, cast(age, Double)))
        member = cast(OrderLine.product_id, Text).collate("C")
        statement = (
            select(OrderLine.product_id, score)
            .join(Order, Order.id == OrderLine.order_id)
            .where(Order.created_at >= self.hour - HORIZON, Order.status != "cancelled")
            .group_by(OrderLine.product_id)
            .order_by(score.desc(), member.desc())
        )
        return [(row[0], row[1]) for row in db.session.execute(statement)]

    def finish(self, scores: Iterable[Score]) -> bool:
        """Replace the board by the scores and the pending board; return whether that succeeded."""
        connection = self._connection
        draft = self._key_in_slot(secrets.token_hex(4))
        [key] = connection.prefixed([draft])
        members = {ORIGIN_MEMBER: float(self.origin)}
        members |= {str(product_id): score for product_id, score in scores}
        rows = list(members.items())
        for start in range(0, len(rows), BATCH_SIZE):
            batch = dict(rows[start : start + BATCH_SIZE])
            connection.call(
                lambda client: client.zadd(key, batch),  # noqa: B023  (called now)
                key=key,
            )
            connection.call(lambda client: client.expire(key, BUILD_TIMEOUT), key=key)
        keys = [self.key, draft, self.pending_key]
        return bool(connection.eval(FINISH, keys, [_milliseconds(BOARD_TTL)]))


def forget(app: Flask | None = None) -> None:
    """Delete the board, so that the next reader rebuilds it; do nothing without Redis."""
    connection = redis_connection(app)
    board = _Board(connection)
    try:
        names = connection.prefixed([board.key, board.pending_key])
        connection.call(lambda client: client.unlink(*names), key=names[0])
    except RedisUnavailable as error:
        logger.debug("The leaderboard is not forgotten: %s", error.__cause__)


def _hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
