"""The orders of a demo shop in half a year; equal parameters make equal orders.

All times are counted back from the time for which the history is made. So are its daily and weekly
rhythms: that time is the busiest hour of the busiest day.
"""

from __future__ import annotations

import math
import random
from bisect import bisect
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HOURS = 180 * 24
GROWTH = 0.5  # share by which sales grow over the history
DAILY_SWING, WEEKLY_SWING = 0.8, 0.25  # shares by which sales differ from the mean
CANCELLED_SHARE = 0.06
BANK_TRANSFER_SHARE = 0.1
ORDERS_PER_CUSTOMER = 3
LINES_PERCENT = {1: 38, 2: 26, 3: 16, 4: 8, 5: 5, 6: 3, 7: 2, 8: 2}  # of an order: percent
NEIGHBOURS_MAX = 30  # items that are searched for one that was sold already
QUANTITY_PERCENT = {1: 84, 2: 10, 3: 3, 4: 2, 6: 1}  # of a line: percent


class Item(NamedTuple):
    """The fields of a product that a line of an order copies."""

    product_id: int
    sku: str | None
    name: str
    price: Decimal


class Line(NamedTuple):
    item: Item
    quantity: int


class Customer(NamedTuple):
    name: str
    email: str
    address: str


# Nobody has such an address: example.com is reserved (RFC 2606).
CUSTOMER_TEMPLATE = Customer(
    "Customer {}", "customer.{}@example.com", "{} Market Street, Exampleton"
)


class PastOrder(NamedTuple):
    customer: Customer
    currency: str
    lines: list[Line]
    created_at: datetime
    transitions: dict[str, datetime]  # the time of each status after the first

    @property
    def total(self) -> Decimal:
        return sum((line.item.price * line.quantity for line in self.lines), Decimal(0))

    @property
    def status(self) -> str:
        return next(reversed(self.transitions), "pending")

    @property
    def updated_at(self) -> datetime:
        return next(reversed(self.transitions.values()), self.created_at)


class Assortment:
    """The items of one currency. Those with a low rank are bought most (Zipf's law)."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self._items: list[Item] = []
        self._since: list[datetime] = []
        self._weights: list[float] = []  # cumulative

    @property
    def weight(self) -> float:
        return self._weights[-1]

    def add(self, item: Item, since: datetime, rank: int) -> None:
        self._weights.append(1 / rank + (self.weight if self._weights else 0))
        self._items.append(item)
        self._since.append(since)

    def lines(self, rng: random.Random, moment: datetime) -> list[Line]:
        """Return the lines of an order at that time; no two lines have the same item."""
        size = _draw(rng, LINES_PERCENT)
        drawn = rng.choices(range(len(self._items)), cum_weights=self._weights, k=size)
        sold = dict.fromkeys(self._sold_item(one, moment) for one in drawn)
        return [Line(self._items[one], _draw(rng, QUANTITY_PERCENT)) for one in sold]

    def _sold_item(self, one: int, moment: datetime) -> int:
        """Return the item, or a near one that was sold at that time already.

        Return the item itself if no near one was: products may be younger than the history.
        """
        near = (item % len(self._items) for item in range(one, one + NEIGHBOURS_MAX))
        return next((item for item in near if self._since[item] <= moment), one)


def build_assortments(ranked: Iterable[tuple[str, Item, datetime]]) -> list[Assortment]:
    """Return an assortment for each currency.

    The items come by their popularity, each with its currency and the time since which it is sold.
    """
    found: dict[str, Assortment] = {}
    for rank, (currency, item, since) in enumerate(ranked, start=1):
        found.setdefault(currency, Assortment(currency)).add(item, since, rank)
    return list(found.values())


def past_orders(
    assortments: Sequence[Assortment], count: int, seed: int, now: datetime
) -> Iterator[PastOrder]:
    """Yield `count` orders up to `now`, oldest first."""
    rng = random.Random(seed)  # noqa: S311  (a demo, and to be repeated)
    weights = [assortment.weight for assortment in assortments]
    moments = OrderTimes(now)
    for serial in range(count):
        [assortment] = rng.choices(assortments, weights)
        created_at = moments.at((serial + rng.random()) / count)
        yield PastOrder(
            _customer(rng, count),
            assortment.currency,
            assortment.lines(rng, created_at),
            created_at,
            _past_transitions(rng, created_at, now),
        )


class OrderTimes:
    """The times of orders: ever more orders, with rhythms of the day and of the week."""

    def __init__(self, now: datetime) -> None:
        self._start = now - timedelta(hours=HOURS)
        self._sums = list(accumulate(map(self._activity, range(HOURS))))

    @staticmethod
    def _activity(hour: int) -> float:
        circle = 2 * math.pi * (HOURS - hour)
        day, week = math.cos(circle / 24), math.cos(circle / (7 * 24))
        return (1 + GROWTH * hour / HOURS) * (1 + DAILY_SWING * day) * (1 + WEEKLY_SWING * week)

    def at(self, share: float) -> datetime:
        """Return the time by which this share of all orders was placed."""
        wanted = share * self._sums[-1]
        hour = bisect(self._sums, wanted, hi=HOURS - 1)
        before = self._sums[hour - 1] if hour else 0
        into = (wanted - before) / (self._sums[hour] - before)
        return self._start + timedelta(hours=hour + into)


def _past_transitions(
    rng: random.Random, created_at: datetime, now: datetime
) -> dict[str, datetime]:
    transitions: dict[str, datetime] = {}
    moment = created_at
    for status, hours in _draw_transitions(rng):
        moment += timedelta(hours=hours)
        if moment > now:
            break
        transitions[status] = moment
    return transitions


def _draw_transitions(rng: random.Random) -> Iterator[tuple[str, float]]:
    """Yield each later status of an order, and the hours since the status before."""
    wait = 24 if rng.random() < BANK_TRANSFER_SHARE else 0.2  # hours, as all below
    cancelled, paid = rng.random() < CANCELLED_SHARE, rng.random()
    if not cancelled or paid < 0.5:  # noqa: PLR2004  (half of the cancelled orders were paid)
        yield "paid", rng.expovariate(1 / wait)
    if cancelled:
        yield "cancelled", rng.expovariate(1 / 10)
        return
    yield "shipped", 3 + rng.expovariate(1 / 20)
    yield "delivered", 18 + rng.expovariate(1 / 30)


def _customer(rng: random.Random, count: int) -> Customer:
    """Return one of the customers of `count` orders; some buy much more than others."""
    number = 1 + int((count // ORDERS_PER_CUSTOMER + 1) * rng.random() ** 1.5)
    return Customer(*(part.format(number) for part in CUSTOMER_TEMPLATE))


def _draw(rng: random.Random, percent: dict[int, int]) -> int:
    return rng.choices(list(percent), list(percent.values()))[0]
