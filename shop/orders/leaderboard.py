"""The products that sell best just now: a sorted set in Redis, which each sale feeds.

A unit counts one when it is sold, half a day later, a quarter after two days, and so on. Scores
are those of the beginning of an hour, of which the board has its name: an older unit counts less
than one, a newer one more. So nothing has to be aged, and each hour begins with a board that is
made anew from the database. It is made anew also when Redis was away, since sales went on.

While a board is made, sales are fed to a second one, which is added to it at the end. Measured with
200,000 orders and 70 sales a second: a board takes 0.6 s to make, and 15 boards had each sale. With
the first board alone, each lacked all the 20 to 60 sales of that time until its hour ended.

A sale that is committed, but not fed yet when the database is asked, counts twice until the hour
ends. A sale whose worker is killed at that point is missing until then.
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
HORIZON = timedelta(days=14)  # older sales are not looked at
KEPT = timedelta(hours=2)
MAKING = timedelta(seconds=10)  # after which whoever makes a board is taken for dead
PATIENCE_SECONDS = 3.0  # that a reader waits for it
PAUSE_SECONDS = 0.05  # between two looks
BATCH = 1000  # products
ORIGIN_DIGITS = 10  # that a score has without rounding
NOBODY = "0"  # no product; with it a board is there even if nothing has sold, and its score says of
# which origin (`cache/installation.py`) it is: a number below that of any product
NOTHING = 2.0 ** (-HORIZON / HALF_LIFE) / 2  # less than the oldest unit that is looked at

_IS_OURS = f"""
local function is_ours(board, origin)
  local found = redis.call('ZSCORE', board, '{NOBODY}')
  return found and tonumber(found) == tonumber(origin)
end
"""

# KEYS: the board, what is sold while it is made. ARGV: the origin, for each product its id and
# score. A board that is not there stays so: whoever reads it makes it, of all sales.
FEED = f"""
{_IS_OURS}
local function feed(board)
  for i = 2, #ARGV, 2 do
    redis.call('ZINCRBY', board, ARGV[i + 1], ARGV[i])
  end
end

if is_ours(KEYS[1], ARGV[1]) then
  feed(KEYS[1])
else  -- whoever owns it would miss this sale
  redis.call('DEL', KEYS[1])
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  feed(KEYS[2])
end
"""

# KEYS: a board. ARGV: its origin, how many. Returns the best and their scores, in turn.
READ = f"""
{_IS_OURS}
return is_ours(KEYS[1], ARGV[1])
  and redis.call('ZREVRANGE', KEYS[1], 0, ARGV[2], 'WITHSCORES') or {{}}
"""

# KEYS: the board of what is sold meanwhile. ARGV: nobody, milliseconds. Returns 1 for the one who
# is to make a board, 0 for others. Nobody is waited for longer, also by a clock that was set back.
BEGIN = """
local first = redis.call('EXISTS', KEYS[1]) == 0
if first then
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2], 'LT')
return first and 1 or 0
"""

# KEYS: the board, a draft of it, what was sold meanwhile. ARGV: milliseconds. Returns 1, or 0 where
# one of these has gone, and sales with it: then there is no board, and somebody makes it anew.
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
    """Count the sale of an order's document, or with -1 its cancellation.

    After the commit. Where Redis cannot count it, the board is made anew later.
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
        redis_connection().eval(FEED, [board.key, board.making], arguments)
    except RedisUnavailable as error:
        logger.debug("A sale is not on the leaderboard: %s", error.__cause__)
        forget()


def top(count: int) -> list[Score]:
    """Return products by what they sell now, and their scores as of now."""
    board = _Board()
    try:
        found = board.read(count) or _make(board)
    except RedisUnavailable:
        found = board.scores()
    now = 2.0 ** ((board.hour - datetime.now(UTC)) / HALF_LIFE)
    sold = [(product_id, score * now) for product_id, score in found if score > NOTHING]
    return sold[:count]


def rebuild() -> int:
    """Make the board anew, and return how many products are on it. Raises RedisUnavailable."""
    board = _Board()
    while True:
        while not board.begin():  # another makes it, and may have asked the database long ago
            time.sleep(PAUSE_SECONDS)
        scores = board.scores()
        if board.finish(scores):
            return len(scores)


def _make(board: _Board) -> Sequence[Score]:
    """Make a board that is missing, or wait for the one who does so already."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not board.begin():
        time.sleep(PAUSE_SECONDS)
        if found := board.read(BATCH):
            return found
        if time.monotonic() > deadline:
            return board.scores()
    scores = board.scores()
    board.finish(scores)
    return scores


class _Board:
    """The board of the current hour. What calls Redis raises RedisUnavailable."""

    def __init__(self, connection: RedisConnection | None = None) -> None:
        self._connection = connection or redis_connection()
        self.origin = -int(self._connection.origin[:ORIGIN_DIGITS] or b"0", 16)
        self.hour = _hour()
        self.key = f"{FAMILY}:{self.hour:%Y-%m-%dT%H}"
        self.making = self.beside("making")

    def beside(self, name: str) -> str:
        """Return a name that a cluster keeps where the board is: its hash tag is all of the key."""
        return f"{{{self._connection.prefix}{self.key}}}:{name}"

    def read(self, count: int) -> list[Score]:
        """Return the best, in any case one: nobody. Nothing if there is no such board."""
        found = self._connection.eval(READ, [self.key], [self.origin, count])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(int(member), float(score)) for member, score in pairs]

    def begin(self) -> bool:
        """Let sales be fed to a second board; tell whether nobody has done so."""
        arguments = [NOBODY, _milliseconds(MAKING)]
        return bool(self._connection.eval(BEGIN, [self.making], arguments))

    def scores(self) -> list[Score]:
        """Return what the database says, in the order of Redis."""
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
        """Let the board be these, and what was sold meanwhile, at once; tell whether it is."""
        connection = self._connection
        draft = self.beside(secrets.token_hex(4))
        [place] = connection.prefixed([draft])
        members = {NOBODY: float(self.origin)}
        members |= {str(product_id): score for product_id, score in scores}
        rows = list(members.items())
        for start in range(0, len(rows), BATCH):
            some = dict(rows[start : start + BATCH])
            connection.call(
                lambda client: client.zadd(place, some),  # noqa: B023  (called now)
                key=place,
            )
            connection.call(lambda client: client.expire(place, MAKING), key=place)
        keys = [self.key, draft, self.making]
        return bool(connection.eval(FINISH, keys, [_milliseconds(KEPT)]))


def forget(app: Flask | None = None) -> None:
    """Let the board be made anew, if Redis can be told."""
    connection = redis_connection(app)
    board = _Board(connection)
    try:
        names = connection.prefixed([board.key, board.making])
        connection.call(lambda client: client.unlink(*names), key=names[0])
    except RedisUnavailable as error:
        logger.debug("The leaderboard is not forgotten: %s", error.__cause__)


def _hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
