"""Pages of cached documents: entries that name rows, the rows, and documents joined to the rows.

A page lists its documents, and its layout composes the answer. Flask reads entries, rows and joined
documents one after another. The edge reads them in one script, by the same rules, and composes the
answer by the same layout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import orjson
from sqlalchemy import select

from .extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import ColumnExpressionArgument
    from sqlalchemy.orm import InstrumentedAttribute

    from .cache import MemoizedMany

IDS = re.compile(rb'\{"ids":\[([0-9,]*)\]')  # the beginning of an entry that names rows


class Layout(Protocol):
    """Composes an answer of documents. A layout is frozen, because the edge keeps it."""

    def compose(
        self,
        entries: Sequence[bytes],
        rows: Sequence[bytes],
        joined: Sequence[Mapping[str, bytes]],
    ) -> tuple[bytes, str]:
        """Return the answer, and the value of its Link header, empty for none.

        `joined` has the documents of each join by number. All documents exist. A link that begins
        with its query, `<?limit=10>`, leads to the path of the request.
        """
        ...


class Join(NamedTuple):
    """A document for each row; a member of the row is the document's id, a number.

    The member is found in the row's bytes: a quotation mark within a JSON text has a backslash
    before it. An object within the row must not have a member of that name.
    """

    function: MemoizedMany[int]
    member: str  # letters and underscores

    def numbers(self, rows: Iterable[bytes]) -> list[int]:
        """Return the numbers in the rows, each once."""
        member = re.compile(b'"%b":([0-9]+)' % self.member.encode())
        found = map(member.search, rows)
        return list(dict.fromkeys(int(match[1]) for match in found if match))


class Page(NamedTuple):
    """The documents of an answer, and the functions that read them.

    The rows are those with the `ids`, then those that entries name, each once. An entry names rows
    if it begins with `{"ids":[`. Rows that the caller may not see are left out.
    """

    layout: Layout
    entries: Sequence[bytes]
    rows: Sequence[bytes]
    joined: Sequence[Mapping[str, bytes]]
    function: MemoizedMany[int]  # of the rows
    joins: Sequence[Join] = ()
    ids: Sequence[int] = ()

    def compose(self) -> tuple[bytes, str]:
        return self.layout.compose(self.entries, self.rows, self.joined)


def read_page(
    layout: Layout,
    function: MemoizedMany[int],
    *entries: bytes,
    ids: Sequence[int] = (),
    joins: Sequence[Join] = (),
    all_rows: bool = False,
) -> Page:
    """Read the rows of a page, and the documents joined to the rows.

    Without `all_rows`, leave out rows that not everybody may see.
    """
    found = function(row_ids(ids, entries))
    rows = list(found.values()) if all_rows else function.filter_public(found.values())
    joined = [
        {str(number): document for number, document in join.function(join.numbers(rows)).items()}
        for join in joins
    ]
    return Page(layout, entries, rows, joined, function, joins, ids)


def row_ids(ids: Sequence[int], entries: Iterable[bytes]) -> list[int]:
    """Return the ids of a page's rows: `ids`, then the ids in the entries."""
    lists = [match[1] for match in map(IDS.match, entries) if match and match[1]]
    named = (int(one) for some in lists for one in some.split(b","))
    return list(dict.fromkeys([*ids, *named]))


@dataclass(frozen=True)
class SkipLayout:
    """The layout of rows `skip` to `skip + limit` of a list; one entry has their ids."""

    skip: int
    limit: int

    def compose(
        self,
        entries: Sequence[bytes],
        rows: Sequence[bytes],
        joined: Sequence[Mapping[str, bytes]],  # noqa: ARG002  (it has none)
    ) -> tuple[bytes, str]:
        items = b",".join(rows)
        body = b'{"items":[%b],"skip":%d,"limit":%d}' % (items, self.skip, self.limit)
        links = []
        if self.skip:
            links.append(self._link(max(0, self.skip - self.limit), "prev"))
        if has_more(entries[0]):
            links.append(self._link(self.skip + self.limit, "next"))
        return body, ", ".join(links)

    def _link(self, skip: int, relation: str) -> str:
        return f'<?skip={skip}&limit={self.limit}>; rel="{relation}"'


def select_page_ids(
    column: InstrumentedAttribute[int],
    skip: int,
    limit: int,
    *conditions: ColumnExpressionArgument[bool],
) -> bytes:
    """Return a JSON document: the ids of a page, in order, and whether more rows follow.

    The list has the rows that meet all conditions.
    """
    statement = select(column).where(*conditions).order_by(column)
    ids = list(db.session.scalars(statement.offset(skip).limit(limit + 1)))
    return dump({"ids": ids[:limit], "more": len(ids) > limit})


def has_more(page_ids: bytes) -> bool:
    """Return whether more rows follow the page of `select_page_ids`."""
    return page_ids.endswith(b'"more":true}')


def dump(value: object) -> bytes:
    """Encode compact JSON in UTF-8."""
    return orjson.dumps(value)
