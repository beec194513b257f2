"""Judge a search by what buyers look for in the demo catalogue, as `queries.tsv` has it.

A query is answered well if one of the first SHOWN products is right: more than that is not seen
without scrolling, and a buyer who does not see it takes it for missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

QUERIES = Path(__file__).with_name("queries.tsv")
SHOWN = 3


class Query(NamedTuple):
    """A query of a buyer, and the SKUs of the products of which it asks for one."""

    kind: str
    text: str
    right: frozenset[str]


class Answer(NamedTuple):
    query: Query
    shown: Sequence[str]

    @property
    def is_right(self) -> bool:
        return not self.query.right.isdisjoint(self.shown)


class Verdict:
    """The frequency of the right product in results, by the kind of the query."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self._answers = list(answers)

    def share(self, kind: str | None = None) -> float:
        """Return the share of queries that were answered well, of all or of one kind."""
        of_kind = self._of(kind)
        return sum(one.is_right for one in of_kind) / len(of_kind)

    def _of(self, kind: str | None) -> list[Answer]:
        return [one for one in self._answers if kind in {None, one.query.kind}]

    def __str__(self) -> str:
        kinds = dict.fromkeys(one.query.kind for one in self._answers)
        lines = [self._line(kind, kind) for kind in kinds]
        lines.append(self._line("all", None))
        for one in self._answers:
            if not one.is_right:
                shown = ", ".join(one.shown) or "nothing"
                wanted = ", ".join(sorted(one.query.right)[:SHOWN])
                lines.append(f"{one.query.kind}: {one.query.text!r} shows {shown}, not {wanted}")
        return "\n".join(lines)

    def _line(self, name: str, kind: str | None) -> str:
        of_kind = self._of(kind)
        right = sum(one.is_right for one in of_kind)
        return f"{name:<8}{right:>4} of {len(of_kind):>3}  {self.share(kind):6.1%}"


def queries() -> list[Query]:
    lines = QUERIES.read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines if not line.startswith("#"))
    return [Query(kind, text, frozenset(right.split())) for kind, text, right in rows]


def judge(search: Callable[[str], Sequence[str]]) -> Verdict:
    """Ask all queries, of a function that returns the SKUs that are found, best first."""
    return Verdict(Answer(query, search(query.text)[:SHOWN]) for query in queries())
