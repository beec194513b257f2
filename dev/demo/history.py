"""The orders of a demo shop in half a year; equal parameters make equal orders.

All times are ages, counted back from the moment for which the history is made. So are its rhythms:
that moment is the busiest hour of the busiest day.
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
GROWTH = 0.5  # how much more is sold at the end than at the beginning
DAILY, WEEKLY = 0.8, 0.25  # how far sales are above and below the mean in a day, and in a week
CANCELLED = 0.06
BY_TRANSFER = 0.1
ORDERS_PER_CUSTOMER = 3
LINES = {1: 38, 2: 26, 3: 16, 4: 8, 5: 5, 6: 3, 7: 2, 8: 2}  # of an order: percent
CLOSE = 30  # items that are looked at for one that was sold already
QUANTITIES = {1: 84, 2: 10, 3: 3, 4: 2, 6: 1}  # of a line: percent


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


# Nobody has these: example.com is reserved (RFC 2606).
MADE_UP = Customer("Customer {}", "customer.{}@example.com", "{} Market Street, Exampleton")


class PastOrder(NamedTuple):
    customer: Customer
    currency: str
    lines: list[Line]
    created_at: datetime
    steps: dict[str, datetime]  # each status that it has come to since, and when

    @property
    def total(self) -> Decimal:
        return sum((line.item.price * line.quantity for line in self.lines), Decimal(0))

    @property
    def status(self) -> str:
        return next(reversed(self.steps), "pending")

    @property
    def updated_at(self) -> datetime:
        return next(reversed(self.steps.values()), self.created_at)


class Shelf:
    """The items of one currency, of which those in front are bought most (Zipf's law)."""

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self._items: list[Item] = []
        self._since: list[datetime] = []
        self._weights: list[float] = []  # of each item and those in front of it, together

    @property
    def weight(self) -> float:
        return self._weights[-1]

    def add(self, item: Item, since: datetime, rank: int) -> None:
        self._weights.append(1 / rank + (self.weight if self._weights else 0))
        self._items.append(item)
        self._since.append(since)

    def lines(self, chance: random.Random, moment: datetime) -> list[Line]:
        """Return the lines of an order of that moment; no item is in two of them."""
        size = _draw(chance, LINES)
        drawn = chance.choices(range(len(self._items)), cum_weights=self._weights, k=size)
        sold = dict.fromkeys(self._sold(one, moment) for one in drawn)
        return [Line(self._items[one], _draw(chance, QUANTITIES)) for one in sold]

    def _sold(self, one: int, moment: datetime) -> int:
        """Return what was bought then in place of an item that was not there yet: one close to it.

        That item, where none is: the products of the shop are younger than its history.
        """
        close = (place % len(self._items) for place in range(one, one + CLOSE))
        return next((place for place in close if self._since[place] <= moment), one)


def shelves(ranked: Iterable[tuple[str, Item, datetime]]) -> list[Shelf]:
    """Return a shelf for each currency, of items that come by their popularity.

    With each item comes its currency, and since when it is there.
    """
    found: dict[str, Shelf] = {}
    for rank, (currency, item, since) in enumerate(ranked, start=1):
        found.setdefault(currency, Shelf(currency)).add(item, since, rank)
    return list(found.values())


def past_orders(
    assortment: Sequence[Shelf], count: int, number: int, now: datetime
) -> Iterator[PastOrder]:
    """Yield `count` orders up to `now`, oldest first."""
    chance = random.Random(number)  # noqa: S311  (a demo, and to be repeated)
    weights = [shelf.weight for shelf in assortment]
    moments = Moments(now)
    for serial in range(count):
        [shelf] = chance.choices(assortment, weights)
        created_at = moments.at((serial + chance.random()) / count)
        yield PastOrder(
            _customer(chance, count),
            shelf.currency,
            shelf.lines(chance, created_at),
            created_at,
            _steps(chance, created_at, now),
        )


class Moments:
    """The times of orders: ever more orders, with rhythms of the day and of the week."""

    def __init__(self, now: datetime) -> None:
        self._start = now - timedelta(hours=HOURS)
        self._sums = list(accumulate(map(self._activity, range(HOURS))))

    @staticmethod
    def _activity(hour: int) -> float:
        circle = 2 * math.pi * (HOURS - hour)
        day, week = math.cos(circle / 24), math.cos(circle / (7 * 24))
        return (1 + GROWTH * hour / HOURS) * (1 + DAILY * day) * (1 + WEEKLY * week)

    def at(self, share: float) -> datetime:
        """Return the moment by which such a share of all orders has come."""
        wanted = share * self._sums[-1]
        hour = bisect(self._sums, wanted, hi=HOURS - 1)
        before = self._sums[hour - 1] if hour else 0
        into = (wanted - before) / (self._sums[hour] - before)
        return self._start + timedelta(hours=hour + into)


def _steps(chance: random.Random, created_at: datetime, now: datetime) -> dict[str, datetime]:
    steps: dict[str, datetime] = {}
    moment = created_at
    for status, hours in _course(chance):
        moment += timedelta(hours=hours)
        if moment > now:
            break
        steps[status] = moment
    return steps


def _course(chance: random.Random) -> Iterator[tuple[str, float]]:
    """Yield each status that an order will come to, and how many hours after the one before."""
    wait = 24 if chance.random() < BY_TRANSFER else 0.2  # hours, as all below
    cancelled, paid = chance.random() < CANCELLED, chance.random()
    if not cancelled or paid < 0.5:  # noqa: PLR2004  (half of what is cancelled was paid for)
        yield "paid", chance.expovariate(1 / wait)
    if cancelled:
        yield "cancelled", chance.expovariate(1 / 10)
        return
    yield "shipped", 3 + chance.expovariate(1 / 20)
    yield "delivered", 18 + chance.expovariate(1 / 30)


def _customer(chance: random.Random, count: int) -> Customer:
    """Return one of the customers of `count` orders, of whom some buy much more than others."""
    number = 1 + int((count // ORDERS_PER_CUSTOMER + 1) * chance.random() ** 1.5)
    return Customer(*(part.format(number) for part in MADE_UP))


def _draw(chance: random.Random, percent: dict[int, int]) -> int:
    return chance.choices(list(percent), list(percent.values()))[0]
