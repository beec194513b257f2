"""The plan of a cached read: the documents that its answer is made of, and how it is composed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shop.answers import Document
from shop.etags import etag_of
from shop.pages import row_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shop.cache import DocumentRead, MemoizedMany
    from shop.pages import Join, Layout
    from shop.quotas import Charge


KEY_BYTES = 64  # memory of a name besides its characters


@dataclass(eq=False)
class ReadPlan:
    """The plan of one URL, or of all rows of a route: the path ends with the id of the row."""

    route: str
    charges: Sequence[Charge]
    layout: Layout | None  # None: one document is the whole answer
    entries: Sequence[DocumentRead]
    rows: MemoizedMany[int] | None
    ids: Sequence[str] = ()  # rows that no entry names
    joins: Sequence[Join] = ()
    is_row: bool = False

    @cached_property
    def keys(self) -> list[str]:
        """The KEYS of the script, without the row of a route."""
        keys = [name for one in self.entries for name in (*one.generations, *one.keys)]
        if self.rows:
            keys += [self.rows.generation_key, *(f"{self.rows.prefix}{one}" for one in self.ids)]
        return keys + [join.function.generation_key for join in self.joins]

    @cached_property
    def arguments(self) -> list[object]:
        """The ARGV of the script that describe these keys."""
        named = self.rows.prefix if self.rows and self.entries else ""
        given = len(self.ids) + self.is_row
        arguments: list[object] = [named, given, len(self.entries), len(self.joins)]
        for one in self.entries:
            arguments += (len(one.generations), len(one.keys))
        for join in self.joins:
            arguments += (join.member, join.function.prefix)
        return arguments

    @cached_property
    def has_tags(self) -> bool:
        """True if an entry depends on more than the generation of its family."""
        return any(len(one.generations) > 1 for one in self.entries)

    @cached_property
    def is_row_alone(self) -> bool:
        """True if a row is the whole answer."""
        return self.is_row and not (self.entries or self.joins or self.layout)

    @cached_property
    def size(self) -> int:
        """Bytes of memory that the plan needs."""
        return sum(len(key) + KEY_BYTES for key in (*self.keys, *self.ids, self.route))

    def compose(self, found: list[Any]) -> Document | None:
        """Return the answer from the documents that were found and that everybody may see.

        Return None without such a document: Flask answers then.
        """
        entries, rows, *joined = found
        entries = list(filter(None, entries))
        rows = self.rows.filter_public(filter(None, rows)) if self.rows else []
        if self.layout:
            body, links = self.layout.compose(entries, rows, list(map(_by_number, joined)))
        elif whole := [*entries, *rows]:
            body, links = whole[0], ""
        else:
            return None
        return Document(body, etag_of(body), links)

    def names(self, row: str, found: list[Any]) -> list[str]:
        """Return all names that an answer depends on, if it was composed of `found`."""
        entries, _, *joined = found
        names = list(self.keys)
        if self.rows:
            ids = [row] if self.is_row else row_ids((), filter(None, entries))
            names += [f"{self.rows.prefix}{one}" for one in ids]
        for join, pairs in zip(self.joins, joined, strict=True):
            names += [f"{join.function.prefix}{number.decode()}" for number in pairs[::2]]
        return names

    def reads(self, found: list[Any]) -> list[tuple[str, int]]:
        """Return the number of documents found, by function."""
        _, rows, *joined = found
        reads = [(one.function.name, len(one.keys)) for one in self.entries]
        if self.rows and rows:
            reads.append((self.rows.name, len(rows)))
        for join, pairs in zip(self.joins, joined, strict=True):
            if pairs:
                reads.append((join.function.name, len(pairs) // 2))
        return reads


def _by_number(pairs: list[bytes]) -> dict[str, bytes]:
    """Return the documents by number, from a list of numbers and documents in turn."""
    both = zip(pairs[::2], pairs[1::2], strict=True)
    return {number.decode(): document for number, document in both if document}
