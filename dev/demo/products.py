"""The products of the demo catalogue: families of near-duplicates, the same for the same numbers.

A family is one thing of one brand, made of one material, in one to six colours or sizes.
"""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .catalogue import CATALOGUE, THINGS
from .words import BRANDS, DETAILS, MENTIONS, OPENINGS, SERIES, plural, series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from .catalogue import Thing

    T = TypeVar("T")

CATEGORIES = tuple(CATALOGUE)
AGE_MAX = timedelta(days=730)
OUT_OF_STOCK = 0.05
SIZE_MAX = 6
WITHOUT_SERIES = 0.15
PRICES_SPREAD = 0.4  # the standard deviation of their logarithms within a kind of thing
ENDINGS = tuple(map(Decimal, ("0.99", "0.95", "0.90", "1.00")))


class Family(NamedTuple):
    """The common properties of some products, and their number."""

    name: str
    description: str
    thing: Thing
    category: str
    price: float
    age: timedelta
    size: int


def demo_products(
    count: int, number: int, category_ids: dict[str, int], now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield `count` products, spread unevenly over the categories; the oldest is two years old."""
    chance = random.Random(number)  # noqa: S311  (a demo, and to be repeated)
    made = chain.from_iterable(_members(chance, one) for one in _families(chance))
    for serial, (family, values) in enumerate(islice(made, count), start=1):
        yield values | {
            "description": family.description,
            "sku": f"{family.category[:3].upper()}-{serial:07d}",
            "category_id": category_ids[family.category],
            "created_at": now - family.age,
        }


def _families(chance: random.Random) -> Iterator[Family]:
    """Yield a product of each kind, so that a small shop has them all, and then what is usual."""
    each_once = [(rank, thing) for rank, name in enumerate(CATEGORIES) for thing in CATALOGUE[name]]
    for rank, thing in chance.sample(each_once, len(each_once)):
        yield _family(chance, rank, thing, 1)
    while True:
        rank = _rank(chance, len(CATEGORIES))
        thing = _ranked(chance, CATALOGUE[CATEGORIES[rank]])
        yield _family(chance, rank, thing, 1 + _rank(chance, min(SIZE_MAX, len(thing.axis.words))))


def _family(chance: random.Random, category: int, thing: Thing, size: int) -> Family:
    # Each category has leading brands of its own, and shares others with its neighbours.
    brand = BRANDS[(_rank(chance, len(BRANDS)) + category) % len(BRANDS)]
    words = [brand, _ranked(chance, thing.materials), thing.name]
    if chance.random() > WITHOUT_SERIES:
        words.insert(1, series(_rank(chance, SERIES)))
    return Family(
        " ".join(words),
        _description(chance, thing.name, brand),
        thing,
        CATEGORIES[category],
        thing.price * chance.lognormvariate(0, PRICES_SPREAD),
        AGE_MAX * chance.random(),
        size,
    )


def _members(chance: random.Random, family: Family) -> Iterator[tuple[Family, dict[str, Any]]]:
    words, step = family.thing.axis
    last = _rank(chance, len(words))
    for place in range(last + 1 - family.size, last + 1):  # below 0 it counts from the end
        price = max(1, int(family.price * step ** (place % len(words)))) + chance.choice(ENDINGS)
        stock = 0 if chance.random() < OUT_OF_STOCK else int(chance.expovariate(1 / 40)) + 1
        yield family, {"name": f"{family.name}, {words[place]}", "price": price, "stock": stock}


def _description(chance: random.Random, thing: str, brand: str) -> str:
    sentences = (chance.choice(OPENINGS), chance.choice(DETAILS), chance.choice(MENTIONS))
    return " ".join(sentences).format(
        thing=thing,
        things=plural(thing),
        brand=brand,
        place=series(chance.randrange(SERIES)),
        others=plural(chance.choice(THINGS).name),
    )


def _rank(chance: random.Random, count: int) -> int:
    """Return a number from 0 to below `count`, the lower ones more often (Zipf's law)."""
    return int((count + 1) ** chance.random()) - 1


def _ranked(chance: random.Random, words: Sequence[T]) -> T:
    return words[_rank(chance, len(words))]
