"""Tell which series an expression of PromQL names, and which labels its result has.

Knows as much of the language as the rules and dashboards use, and refuses the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

Labels = dict[str, set[str]]  # the values that were seen, by label
Catalog = dict[str, Labels]  # by name of a metric

TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<range>\[[\w:]+\])
    |(?P<number>\d[\w.]*)
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<symbol>=~|!~|==|!=|<=|>=|[-+*/%^(){},=<>])
    )""",
    re.VERBOSE,
)
AGGREGATIONS = {"sum", "max", "min", "avg", "count", "topk", "bottomk"}
KEEPING = {"topk", "bottomk"}  # all labels
FUNCTIONS = {
    *("rate", "increase", "changes", "max_over_time", "min_over_time", "last_over_time"),
    *("sort", "sort_desc", "histogram_quantile", "label_replace", "absent", "vector", "time"),
}
PRECEDENCE = (
    {"or"},
    {"and", "unless"},
    {"==", "!=", "<=", ">=", "<", ">"},
    {"+", "-"},
    {"*", "/", "%"},
)


class UnknownSeriesError(Exception):
    """An expression names what no series has, or joins what never matches."""


@dataclass
class Parser:
    """Reads one expression against what was scraped; a result is None if it is a number."""

    text: str
    catalog: Mapping[str, Labels]

    def labels(self) -> Labels:
        """Return the labels of the result."""
        self._tokens = list(self._read_tokens())
        self._place = 0
        found = self._binary(0)
        if self._peek():
            self._fail(f"does not go on with {self._peek()}")
        return found or {}

    def _read_tokens(self) -> list[str]:
        tokens, place, end = [], 0, len(self.text.rstrip())
        while place < end:
            match = TOKEN.match(self.text, place)
            if not match:
                self._fail(f"cannot be read at {self.text[place : place + 20]!r}")
            tokens.append(match[0].strip())
            place = match.end()
        return tokens

    def _binary(self, level: int) -> Labels | None:
        if level == len(PRECEDENCE):
            return self._primary()
        left = self._binary(level + 1)
        while (operator := self._peek()) in PRECEDENCE[level]:
            self._take()
            joined_on = self._matching()
            right = self._binary(level + 1)
            left = self._join(left, operator, joined_on, right)
        return left

    def _matching(self) -> tuple[list[str] | None, list[str]]:
        """Return the labels of `on`, if there is one, and those of `group_left`."""
        on: list[str] | None = None
        added: list[str] = []
        if self._peek() == "on":
            self._take()
            on = self._names()
        if self._peek() == "group_left":
            self._take()
            added = self._names()
        return on, added

    def _join(
        self,
        left: Labels | None,
        operator: str,
        matching: tuple[list[str] | None, list[str]],
        right: Labels | None,
    ) -> Labels | None:
        on, added = matching
        if left is None or right is None:
            return right if left is None else left
        if operator == "or":
            return {
                name: left.get(name, set()) | right.get(name, set()) for name in {*left, *right}
            }
        if on is None:
            if set(left) != set(right):
                self._fail(f"joins {sorted(left)} and {sorted(right)} by {operator}")
        elif missing := {*on} - {*left} | {*on, *added} - {*right}:
            self._fail(f"joins on {sorted(missing)}, which one side lacks")
        return {**left, **{name: right[name] for name in added}}

    def _primary(self) -> Labels | None:
        token = self._take()
        if token == "-":
            return self._primary()
        if token == "(":
            found = self._binary(0)
            self._expect(")")
            return found
        if token[0].isdigit() or token[0] in "\"'":
            return None
        if token in AGGREGATIONS:
            return self._aggregation(token)
        if token in FUNCTIONS and self._peek() == "(":
            return self._function(token)
        found = self._selector(token)
        if (self._peek() or "").startswith("["):
            self._take()
        return found

    def _aggregation(self, name: str) -> Labels:
        kept = None
        if self._peek() == "by":
            self._take()
            kept = self._names()
        arguments = self._arguments()
        of = arguments[-1][1] or {}
        if kept is None:
            return of if name in KEEPING else {}
        if missing := {*kept} - {*of}:
            self._fail(f"aggregates by {sorted(missing)}, of series that have {sorted(of)}")
        return {label: of[label] for label in kept}

    def _function(self, name: str) -> Labels | None:
        start = self._place
        arguments = self._arguments()
        if name == "time":
            return None
        if name == "vector":
            return {}
        if name == "label_replace":
            of = dict(arguments[0][1] or {})
            target, value = (argument[0].strip("\"'") for argument in arguments[1:3])
            return {**of, target: {value}}
        if name == "absent":  # which has the labels that are asked for
            named = re.findall(
                r"(\w+)\s*=\s*\"([^\"]*)\"", " ".join(self._tokens[start : self._place])
            )
            return {label: {value} for label, value in named}
        of = arguments[-1][1] or {}
        if name == "histogram_quantile":
            if "le" not in of:
                self._fail("takes a quantile of series without le")
            return {label: values for label, values in of.items() if label != "le"}
        return of

    def _arguments(self) -> list[tuple[str, Labels | None]]:
        """Return the first token of each argument, and the labels of its result."""
        self._expect("(")
        found = []
        while self._peek() != ")":
            first = self._peek() or ""
            found.append((first, self._binary(0)))
            if self._peek() == ",":
                self._take()
        self._expect(")")
        return found

    def _selector(self, metric: str) -> Labels:
        if metric not in self.catalog:
            self._fail(f"names {metric}, which is not there")
        labels = self.catalog[metric]
        if self._peek() == "{":
            self._take()
            while self._peek() != "}":
                self._match(metric, labels)
                if self._peek() == ",":
                    self._take()
            self._take()
        return labels

    def _match(self, metric: str, labels: Labels) -> None:
        label, operator, value = self._take(), self._take(), self._take().strip("\"'")
        if label not in labels:
            self._fail(f"asks for {label} of {metric}, which has {sorted(labels)}")
        if operator in {"=~", "!~"}:
            is_there = any(re.fullmatch(value, seen) for seen in labels[label])
        else:
            is_there = value in labels[label]
        if not is_there:
            self._fail(f"asks for {label}{operator}{value} of {metric}: {sorted(labels[label])}")

    def _names(self) -> list[str]:
        self._expect("(")
        names = []
        while (token := self._take()) != ")":
            if token != ",":
                names.append(token)
        return names

    def _expect(self, symbol: str) -> None:
        if self._take() != symbol:
            self._fail(f"lacks {symbol}")

    def _peek(self) -> str | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _take(self) -> str:
        token = self._peek()
        if token is None:
            self._fail("ends too early")
        self._place += 1
        return token

    def _fail(self, reason: str) -> NoReturn:
        raise UnknownSeriesError(f"{self.text} {reason}")
