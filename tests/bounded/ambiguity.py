"""Decide whether a backtracking engine can match one text in many ways.

Python's `re` and the engines of JavaScript try every way before they fail. A pattern in which a
text of n characters has a number of ways that grows with n takes more than linear time for some
text. That is decided here from the pattern alone: its positions make an automaton, and the ways
grow if it has two states p and q and a text that leads from p to p, from p to q, and from q to q
(Weber and Seidl, On the degree of ambiguity of finite automata, 1991).
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import product
from re import _constants as ops
from re import _parser as parser
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNROLLED = 20  # repetitions; more are taken for any number
SEARCHES = {"search", "sub", "subn", "split", "findall", "finditer"}
CATEGORIES = {
    ops.CATEGORY_DIGIT: r"\d", ops.CATEGORY_NOT_DIGIT: r"\D",
    ops.CATEGORY_SPACE: r"\s", ops.CATEGORY_NOT_SPACE: r"\S",
    ops.CATEGORY_WORD: r"\w", ops.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
USUAL = {ord(character) for character in "aZ05_-. \t\n\0éß٣\u2028\U0001f600"}


class Part(NamedTuple):
    """A part of a pattern, by the positions that a match of it begins and ends with."""

    empty: bool  # it can match nothing
    first: frozenset[int]
    last: frozenset[int]


NOTHING = Part(empty=True, first=frozenset(), last=frozenset())


def is_ambiguous(pattern: re.Pattern[Any], method: str = "fullmatch") -> bool:
    """Tell whether the method of a pattern can take more than linear time."""
    return _Automaton(pattern, method).is_ambiguous()


class _Automaton:
    """The positions of a pattern's characters, and which can follow which."""

    def __init__(self, pattern: re.Pattern[Any], method: str) -> None:
        text = pattern.pattern
        source = text.decode("latin-1") if isinstance(text, bytes) else text
        tree = parser.parse(source, pattern.flags & ~re.LOCALE)
        self._flags = pattern.flags
        self._samples = sorted(USUAL | set(_bounds(tree)))
        self._fits: list[frozenset[int]] = []  # by position
        self._follows: dict[int, set[int]] = defaultdict(set)
        self._doubled = self._anchored = False
        whole = self._sequence(tree)
        self._ends = whole.last if method != "fullmatch" and not self._anchored else frozenset()
        if method in SEARCHES and list(tree)[:1] != [(ops.AT, ops.AT_BEGINNING)]:
            start = self._position(lambda _: True)  # it begins anywhere
            self._follows[start] |= {start, *whole.first}

    def is_ambiguous(self) -> bool:
        if self._doubled:
            return True
        looped = [one for one in range(len(self._fits)) if one in self._reached({one})]
        pairs = ((p, q) for p, q in product(looped, looped) if p != q and q not in self._ends)
        return any(q in self._reached({p}) and self._meet(p, q) for p, q in pairs)

    def _meet(self, p: int, q: int) -> bool:
        """Tell whether one text leads from p to p, from p to q, and from q to q."""
        start: tuple[int, ...] = (p, p, q)
        seen, waiting = {start}, [start]
        while waiting:
            states = waiting.pop()
            for after in product(*(self._follows[state] for state in states)):
                if after in seen or not frozenset.intersection(*(self._fits[n] for n in after)):
                    continue
                if after == (p, q, q):
                    return True
                seen.add(after)
                waiting.append(after)
        return False

    def _reached(self, states: Iterable[int]) -> set[int]:
        reached: set[int] = set()
        waiting = list(states)
        while waiting:
            new = self._follows[waiting.pop()] - reached
            reached |= new
            waiting += new
        return reached

    def _position(self, fits: Any) -> int:
        self._fits.append(frozenset(one for one in self._samples if fits(one)))
        return len(self._fits) - 1

    def _sequence(self, tree: Iterable[Any]) -> Part:
        whole = NOTHING
        for node in tree:
            whole = self._joined(whole, self._part(*node))
        return whole

    def _joined(self, before: Part, after: Part) -> Part:
        self._link(before.last, after.first)
        return Part(
            before.empty and after.empty,
            before.first | (after.first if before.empty else frozenset()),
            after.last | (before.last if after.empty else frozenset()),
        )

    def _link(self, last: frozenset[int], first: frozenset[int]) -> None:
        for one in last:
            # Two ways from one position to the next: (a*)*
            self._doubled = self._doubled or bool(first & self._follows[one])
            self._follows[one] |= first

    def _part(self, op: Any, value: Any) -> Part:
        if op in {ops.LITERAL, ops.NOT_LITERAL, ops.ANY, ops.IN}:
            here = frozenset({self._position(lambda one: self._is_fit(op, value, one))})
            return Part(empty=False, first=here, last=here)
        if op is ops.AT:
            self._anchored = self._anchored or value in {ops.AT_END, ops.AT_END_STRING}
            return NOTHING
        if op is ops.SUBPATTERN:
            return self._sequence(value[-1])
        if op is ops.BRANCH:
            parts = [self._sequence(one) for one in value[1]]
            self._doubled = self._doubled or sum(part.empty for part in parts) > 1
            return Part(
                any(part.empty for part in parts),
                frozenset().union(*(part.first for part in parts)),
                frozenset().union(*(part.last for part in parts)),
            )
        if op in {ops.MAX_REPEAT, ops.MIN_REPEAT}:
            return self._repeated(*value)
        if op in {ops.ASSERT, ops.ASSERT_NOT}:  # it is tried at every character
            self._doubled = self._doubled or value[1].getwidth()[1] > UNROLLED
            return NOTHING
        raise NotImplementedError(f"{op} of a pattern")

    def _repeated(self, least: int, most: int, tree: Any) -> Part:
        if most > UNROLLED:
            once = self._sequence(tree)
            self._link(once.last, once.first)
            return once._replace(empty=once.empty or least == 0)
        whole = NOTHING
        for number in range(most):
            once = self._sequence(tree)
            whole = self._joined(whole, once._replace(empty=once.empty or number >= least))
        return whole

    def _is_fit(self, op: Any, value: Any, one: int) -> bool:
        if op is ops.ANY:
            return one != ord("\n") or bool(self._flags & re.DOTALL)
        cases = {one}
        if self._flags & re.IGNORECASE:
            cases |= {ord(case) for case in chr(one).upper() + chr(one).lower()}
        if op in {ops.LITERAL, ops.NOT_LITERAL}:
            return (value in cases) == (op is ops.LITERAL)
        negated = value[0][0] is ops.NEGATE
        members = value[1:] if negated else value
        found = any(self._has(kind, what, case) for kind, what in members for case in cases)
        return negated != found

    def _has(self, op: Any, value: Any, one: int) -> bool:
        if op is ops.LITERAL:
            return bool(value == one)
        if op is ops.RANGE:
            return bool(value[0] <= one <= value[1])
        return bool(re.match(CATEGORIES[value], chr(one), self._flags & re.ASCII))


def _bounds(tree: Any) -> Iterator[int]:
    """Yield the characters at which something begins or ceases to match."""
    for node in tree:
        if isinstance(node, tuple) and len(node) == 2 and node[0] in {ops.LITERAL, ops.NOT_LITERAL}:
            yield from _beside(node[1], node[1])
        elif isinstance(node, tuple) and len(node) == 2 and node[0] is ops.RANGE:
            yield from _beside(*node[1])
        elif isinstance(node, tuple | list | parser.SubPattern):
            yield from _bounds(node)


def _beside(low: int, high: int) -> Iterator[int]:
    yield from (one for one in (low - 1, low, high, high + 1) if 0 <= one <= 0x10FFFF)
