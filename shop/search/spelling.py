"""Words that are near a mistyped one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST = 4  # letters of a word that is corrected
TWO_EDITS = 7  # letters from which a word may have two
NEAREST = 8  # words that one is corrected to


def can_be_corrected(word: str) -> bool:
    """Tell whether a word may be meant for another: a number or a code is what it is."""
    return len(word) >= SHORTEST and word.isalpha()


def near(typed: str, words: Iterable[str]) -> dict[str, int]:
    """Return those of the other words that are near enough, with the number of edits."""
    most = 2 if len(typed) >= TWO_EDITS else 1
    likely = {word for word in words if word != typed and abs(len(word) - len(typed)) <= most}
    edits = {word: distance(typed, word) for word in likely}
    return {word: count for word, count in edits.items() if count <= most}


def nearest(edits: Mapping[str, int]) -> tuple[str, ...]:
    """Return the words that have the fewest edits."""
    least = min(edits.values(), default=0)
    return tuple(sorted(word for word, count in edits.items() if count == least)[:NEAREST])


def distance(one: str, other: str) -> int:
    """Return how many letters to insert, delete, replace or swap with the next.

    It is the optimal string alignment distance: no letter is edited twice.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        earlier, before, row = before, row, [i + 1]
        for j, wanted in enumerate(other):
            replaced = before[j] + (letter != wanted)
            edits = min(replaced, before[j + 1] + 1, row[j] + 1)
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                edits = min(edits, earlier[j - 1] + 1)
            row.append(edits)
    return row[-1]
