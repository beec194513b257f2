"""Observe how Flask answers a request, and make the plan of that answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from shop.cache import MemoizedMany
from shop.facts import Outcome, current_facts
from shop.pages import row_ids

from .read_plan import ReadPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.cache import DocumentRead
    from shop.facts import Facts, ReadRequest
    from shop.pages import Join, Page


LearnedPlan = tuple[ReadPlan, list[Any]]  # the documents are in the form of the script


class Observation:
    """The documents and the page that one answer is made of."""

    def __init__(self) -> None:
        self._readings: list[DocumentRead] = []
        self._page: Page | None = None

    def read(self, reading: DocumentRead) -> None:
        self._readings.append(reading)

    def show(self, page: Page) -> None:
        self._page = page

    def learned_plan(self, known: Facts, read: ReadRequest) -> LearnedPlan | None:
        """Return the plan of the current answer and its documents; None if there is no plan."""
        readings = self._readings
        if any(one.needs_admission for one in readings) and known.outcome is not Outcome.HIT:
            return None  # nobody may ask for it again
        if self._page:
            return None if read.row else _of_page(self._page, readings)
        if len(readings) == 1 and len(readings[0].keys) == 1:
            return _of_document(read, readings[0])
        return None


def _of_document(read: ReadRequest, reading: DocumentRead) -> LearnedPlan | None:
    """Return the plan of an answer that is one document: the row in the path, or an entry."""
    rows = reading.function
    if read.row:
        if not isinstance(rows, MemoizedMany) or reading.keys[0] != rows.prefix + read.row:
            return None
        plan = ReadPlan(*_route(), None, [], rows, is_row=True)
        return plan, [[], [reading.documents[0]]]
    if isinstance(rows, MemoizedMany):
        return None  # it may not be for everybody
    plan = ReadPlan(*_route(), None, _names_of([reading]), None)
    return plan, [[reading.documents[0]], []]


def _of_page(page: Page, readings: Sequence[DocumentRead]) -> LearnedPlan | None:
    functions = {page.function, *(join.function for join in page.joins)}
    entries = [one for one in readings if one.function not in functions]
    documents = [document for one in entries for document in _ordered(one)]
    if list(filter(None, documents)) != list(page.entries) or not (documents or page.ids):
        return None  # more was read than the page is made of, or less
    keys = [f"{page.function.prefix}{one}" for one in row_ids(page.ids, page.entries)]
    rows = _read_of(page.function, readings)
    if list(rows) != keys:
        return None
    joined = [_pairs(join, _read_of(join.function, readings), page.rows) for join in page.joins]
    plan = ReadPlan(
        *_route(),
        page.layout,
        _names_of(entries),
        page.function,
        ids=[str(one) for one in page.ids],
        joins=page.joins,
    )
    return plan, [documents, list(rows.values()), *joined]


def _route() -> tuple[str, Any]:
    return request.url_rule.rule if request.url_rule else "", current_facts().charges


def _names_of(entries: Sequence[DocumentRead]) -> list[DocumentRead]:
    """Return the readings without their documents: a plan does not keep these."""
    return [one._replace(documents={}) for one in entries]


def _ordered(reading: DocumentRead) -> list[bytes]:
    return [reading.documents[i] for i in range(len(reading.keys))]


def _read_of(function: MemoizedMany[int], readings: Sequence[DocumentRead]) -> dict[str, bytes]:
    """Return the documents of a function by key, in the order in which they were read."""
    return {
        key: document
        for one in readings
        if one.function is function
        for key, document in zip(one.keys, _ordered(one), strict=True)
    }


def _pairs(join: Join, read: dict[str, bytes], rows: Sequence[bytes]) -> list[bytes]:
    """Return the numbers that rows name and the documents with these numbers, in turn."""
    return [
        part
        for number in join.numbers(rows)
        for part in (str(number).encode(), read.get(f"{join.function.prefix}{number}", b""))
    ]
