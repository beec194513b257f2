"""The products of the demo catalogue: families of near-duplicates, the same for the same numbers.

A family is one kind of product of one brand and material, in one to six colours or sizes.
"""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from .catalogue import CATALOGUE, KINDS
from .words import BRANDS, DETAILS, MENTIONS, OPENINGS, SERIES_COUNT, plural, series_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from .catalogue import ProductKind

    T = TypeVar("T")

CATEGORIES = tuple(CATALOGUE)
AGE_MAX = timedelta(days=730)
OUT_OF_STOCK_SHARE = 0.05
FAMILY_SIZE_MAX = 6
WITHOUT_SERIES_SHARE = 0.15
PRICE_SPREAD = 0.4  # the standard deviation of the logarithms of prices of one kind
PRICE_ENDINGS = tuple(map(Decimal, ("0.99", "0.95", "0.90", "1.00")))


class Family(NamedTuple):
    """The common properties of some products, and their number."""

    name: str
    description: str
    kind: ProductKind
    category: str
    price: float
    age: timedelta
    size: int


def demo_products(
    count: int, seed: int, category_ids: dict[str, int], now: datetime
) -> Iterator[dict[str, Any]]:
    """Yield `count` products, spread unevenly over the categories; the oldest is two years old."""
    rng = random.Random(seed)  # noqa: S311  (a demo, and to be repeated)
    variants = chain.from_iterable(_members(rng, one) for one in _families(rng))
    for serial, (family, values) in enumerate(islice(variants, count), start=1):
        yield values | {
            "description": family.description,
            "sku": f"{family.category[:3].upper()}-{serial:07d}",
            "category_id": category_ids[family.category],
            "created_at": now - family.age,
        }


def _families(rng: random.Random) -> Iterator[Family]:
    """Yield a product of each kind, so that a small shop has all kinds, and then random ones."""
    each_once = [(rank, kind) for rank, name in enumerate(CATEGORIES) for kind in CATALOGUE[name]]
    for rank, kind in rng.sample(each_once, len(each_once)):
        yield _family(rng, rank, kind, 1)
    while True:
        rank = _rank(rng, len(CATEGORIES))
        kind = _ranked(rng, CATALOGUE[CATEGORIES[rank]])
        yield _family(
            rng, rank, kind, 1 + _rank(rng, min(FAMILY_SIZE_MAX, len(kind.variants.words)))
        )


def _family(rng: random.Random, category: int, kind: ProductKind, size: int) -> Family:
    # Each category has leading brands of its own, and shares others with its neighbours.
    brand = BRANDS[(_rank(rng, len(BRANDS)) + category) % len(BRANDS)]
    words = [brand, _ranked(rng, kind.materials), kind.name]
    if rng.random() > WITHOUT_SERIES_SHARE:
        words.insert(1, series_name(_rank(rng, SERIES_COUNT)))
    return Family(
        " ".join(words),
        _description(rng, kind.name, brand),
        kind,
        CATEGORIES[category],
        kind.price * rng.lognormvariate(0, PRICE_SPREAD),
        AGE_MAX * rng.random(),
        size,
    )


def _members(rng: random.Random, family: Family) -> Iterator[tuple[Family, dict[str, Any]]]:
    words, price_step = family.kind.variants
    last = _rank(rng, len(words))
    # Negative positions count from the end.
    for position in range(last + 1 - family.size, last + 1):
        units = max(1, int(family.price * price_step ** (position % len(words))))
        price = units + rng.choice(PRICE_ENDINGS)
        stock = 0 if rng.random() < OUT_OF_STOCK_SHARE else int(rng.expovariate(1 / 40)) + 1
        yield family, {"name": f"{family.name}, {words[position]}", "price": price, "stock": stock}


def _description(rng: random.Random, kind: str, brand: str) -> str:
    sentences = (rng.choice(OPENINGS), rng.choice(DETAILS), rng.choice(MENTIONS))
    return " ".join(sentences).format(
        thing=kind,
        things=plural(kind),
        brand=brand,
        place=series_name(rng.randrange(SERIES_COUNT)),
        others=plural(rng.choice(KINDS).name),
    )


def _rank(rng: random.Random, count: int) -> int:
    """Return a number from 0 to below `count`, the lower ones more often (Zipf's law)."""
    return int((count + 1) ** rng.random()) - 1


def _ranked(rng: random.Random, words: Sequence[T]) -> T:
    return words[_rank(rng, len(words))]
