"""A slow oracle: what a query of products has to answer, from plain rows.

It reads no SQL, no index and no code of the service. Lists are filtered and sorted in Python,
prices are decimals, and texts are folded by `unicodedata`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
PLACES = {"JPY": 0, "EUR": 2, "USD": 2, "KWD": 3}
UNFOLDED = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe"})
STEPS = sorted(Decimal(step) * 10**power for power in range(11) for step in (1, 2, 5))
LIMIT = 10
COUNTED = 10_000
CHOICE = {"id", "sku"}
BESIDE_CHOICE = CHOICE | {"fields", "include", "limit"}

Params = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """A product as it is in the database."""

    id: int
    name: str
    price: Decimal
    category_id: int
    currency: str = "EUR"
    stock: int = 1
    active: bool = True
    sku: str | None = None
    description: str = ""
    made: int = 0  # seconds after BEGINNING
    units: int = 0  # sold

    @property
    def created_at(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.made)


@dataclass(frozen=True)
class Question:
    """The parameters of a query, and whether a key that sees inactive products asks."""

    params: Params
    key: bool = False

    def without(self, *names: str) -> Question:
        return replace(self, params={n: v for n, v in self.params.items() if n not in names})

    def values(self, name: str) -> list[str]:
        """Return the parts of a parameter that is a list, each once."""
        text = self.params.get(name)
        return [] if text is None else list(dict.fromkeys(text.split(",")))

    @property
    def sort(self) -> str:
        return self.params.get("sort", "relevance" if "q" in self.params else "id")

    @property
    def limit(self) -> int:
        return int(self.params.get("limit", LIMIT))


def fold(text: str) -> str:
    """Return a text in lower case, without accents."""
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    return plain.lower().translate(UNFOLDED)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", fold(text))


def amount(price: Decimal, currency: str) -> str:
    return f"{price:.{PLACES[currency]}f}"


def instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


class Oracle:
    """The content of a catalogue."""

    def __init__(self, rows: Iterable[Row], categories: Mapping[int, str]) -> None:
        self.rows = sorted(rows, key=lambda row: row.id)
        self.categories = categories

    def wrong(self, question: Question) -> set[str]:
        """Return the parameters of which one must be named by a 422; none if it is answered."""
        sent = set(question.params)
        if sent & CHOICE and (beside := sent - BESIDE_CHOICE):
            return beside
        if sent & CHOICE and "limit" in sent:
            named = [*question.values("id"), *question.values("sku")]
            return {"limit"} if question.limit < len(named) else set()
        if {"after", "skip"} <= sent:
            return {"after", "skip"}
        if question.params.get("sort") == "relevance" and "q" not in sent:
            return {"sort"}
        if "currency" not in sent and any(len(one) > 1 for one in self._compared(question)):
            return {"currency"}
        return set()

    def _compared(self, question: Question) -> Iterator[set[str]]:
        """Yield the currencies of prices that a page compares, and those that a facet does."""
        filters = bool(question.params.keys() & {"min_price", "max_price"})
        if filters or question.sort in {"price", "-price"}:
            yield self._currencies(question)
        if filters and "category" in question.values("facets"):
            yield self._currencies(question.without("category_id"))

    def _currencies(self, question: Question) -> set[str]:
        """Return the currencies of a category page, regardless of other parameters."""
        sent = question.params
        whole = {name: sent[name] for name in ("category_id", "active") if name in sent}
        return {
            row.currency for row in self.rows if self._meets(row, replace(question, params=whole))
        }

    def found(self, question: Question) -> list[Row]:
        """Return all products of a query in its order, in that of ids if it is by relevance."""
        if question.params.keys() & CHOICE:
            return self._chosen(question)
        rows = [row for row in self.rows if self._meets(row, question)]
        match question.sort:
            case "price":
                rows.sort(key=lambda row: row.price)
            case "-price":
                rows.sort(key=lambda row: -row.price)
            case "name":
                rows.sort(key=lambda row: " ".join(fold(row.name).split()))
            case "created_at":
                rows.sort(key=lambda row: row.made)
            case "-created_at":
                rows.sort(key=lambda row: -row.made)
            case "best_selling":  # the report is of what is sold, so of active products
                rows.sort(key=lambda row: -row.units if row.active else 0)
        return rows

    def _chosen(self, question: Question) -> list[Row]:
        ids = {str(row.id): row for row in self._seen(question)}
        skus = {row.sku: row for row in self._seen(question) if row.sku}
        named = [ids.get(one) for one in question.values("id")]
        named += [skus.get(one) for one in question.values("sku")]
        return list(dict.fromkeys(row for row in named if row))

    def missing(self, question: Question) -> dict[str, list[Any]]:
        ids = {str(row.id) for row in self._seen(question)}
        skus = {row.sku for row in self._seen(question)}
        return {
            "ids": [int(one) for one in question.values("id") if one not in ids],
            "skus": [one for one in question.values("sku") if one not in skus],
        }

    def _seen(self, question: Question) -> list[Row]:
        return [row for row in self.rows if row.active or question.key]

    def _meets(self, row: Row, question: Question) -> bool:
        sent = question.params
        seen = row.active or question.key
        tests: dict[str, Callable[[str], bool]] = {
            "active": lambda wanted: row.active == (wanted == "true"),
            "category_id": lambda wanted: str(row.category_id) in wanted.split(","),
            "min_price": lambda least: row.price >= Decimal(least),
            "max_price": lambda most: row.price <= Decimal(most),
            "currency": lambda wanted: row.currency == wanted,
            "in_stock": lambda wanted: (row.stock > 0) == (wanted == "true"),
            "q": lambda text: self._has(row, text),
        }
        return seen and all(test(sent[name]) for name, test in tests.items() if name in sent)

    def _has(self, row: Row, text: str) -> bool:
        """Tell whether a product has all typed words; each word must be of some product."""
        texts = [words(row.name), words(row.description), words(self.categories[row.category_id])]
        if row.sku:
            texts += [words(row.sku), ["".join(words(row.sku))]]
        has = {word for part in texts for word in part}
        parts = re.findall(r'(-?)"([^"]*)"|(\S+)', text)
        if not words(text):
            return False
        for number, (minus, phrase, bare) in enumerate(parts, 1):
            wanted = words(phrase or bare)
            if phrase:
                found = any(_within(wanted, part) for part in texts)
            elif number == len(parts) and not bare.startswith("-"):
                begun = any(one.startswith(wanted[-1]) for one in has) if wanted else True
                found = begun and set(wanted[:-1]) <= has
            else:
                found = set(wanted) <= has
            if found == (bool(minus) or bare.startswith("-")):
                return False
        return True

    def document(self, row: Row, question: Question) -> dict[str, Any]:
        """Return what is shown of a product."""
        whole = {
            "id": row.id,
            "name": row.name,
            "description": row.description,
            "sku": row.sku,
            "price": amount(row.price, row.currency),
            "currency": row.currency,
            "stock": row.stock,
            "category_id": row.category_id,
            "active": row.active,
            "created_at": instant(row.created_at),
            "updated_at": instant(row.created_at),
        }
        fields = question.values("fields") or list(whole)
        shown = {name: value for name, value in whole.items() if name in fields}
        if "include" in question.params:
            shown["category"] = self.category(row.category_id)
        return shown

    def category(self, category_id: int) -> dict[str, Any]:
        made = instant(BEGINNING)
        name = self.categories[category_id]
        return {"id": category_id, "name": name, "created_at": made, "updated_at": made}

    def counted(self, question: Question) -> dict[str, Any]:
        """Return the total and the facets that a query asks for."""
        counted: dict[str, Any] = {}
        if question.params.get("total") == "true":
            count = len(self.found(question))
            counted["total"] = {"count": min(count, COUNTED), "exact": count <= COUNTED}
        if facets := question.values("facets"):
            counted["facets"] = {name: self._facet(name, question) for name in facets}
        return counted

    def _facet(self, name: str, question: Question) -> Any:
        own = {"category": ["category_id"], "price": ["min_price", "max_price"]}
        bare = question.without("sort", *own.get(name, ["in_stock"]))
        rows = self.found(bare)
        if name == "category":
            counts = Counter(row.category_id for row in rows)
            ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
            return [{"id": one, "count": count} for one, count in ordered]
        if name == "in_stock":
            there = sum(row.stock > 0 for row in rows)
            return {"true": there, "false": len(rows) - there}
        ranges = Counter(price_range(row) for row in rows)
        ordered_ranges = sorted(ranges, key=lambda one: (one[0], Decimal(one[1])))
        return [
            {
                "currency": currency,
                "from": first,
                "to": last,
                "count": ranges[currency, first, last],
            }
            for currency, first, last in ordered_ranges
        ]


def price_range(row: Row) -> tuple[str, str, str]:
    """Return the range of the 1-2-5 ladder that a price is in: currency, first and last amount."""
    unit = Decimal(1).scaleb(-PLACES[row.currency])
    below = [step for step in STEPS if step <= row.price]
    above = next(step for step in STEPS if step > row.price)
    first = below[-1] if below else unit
    return row.currency, amount(first, row.currency), amount(above - unit, row.currency)


def _within(phrase: list[str], text: list[str]) -> bool:
    ends = range(len(text) - len(phrase) + 1)
    return any(text[start : start + len(phrase)] == phrase for start in ends)
