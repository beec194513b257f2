"""Measure by how many edits words differ, to find corrections of a mistyped word."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CORRECTABLE_LENGTH = 4  # letters from which a word is corrected
TWO_EDITS_LENGTH = 7  # letters from which a correction may have two edits
CORRECTIONS_MAX = 8  # corrections of one word


def is_correctable(word: str) -> bool:
    """Return whether a word may be a typing error; numbers and codes are taken as they are."""
    return len(word) >= CORRECTABLE_LENGTH and word.isalpha()


def near_words(typed: str, candidates: Iterable[str]) -> dict[str, int]:
    """Return the candidates that are near enough to correct the typed word, with their edits."""
    most = 2 if len(typed) >= TWO_EDITS_LENGTH else 1
    likely = {word for word in candidates if word != typed and abs(len(word) - len(typed)) <= most}
    edits = {word: edit_distance(typed, word) for word in likely}
    return {word: count for word, count in edits.items() if count <= most}


def nearest_words(edits: Mapping[str, int]) -> tuple[str, ...]:
    """Return the words with the fewest edits, CORRECTIONS_MAX at most."""
    fewest = min(edits.values(), default=0)
    return tuple(sorted(word for word, count in edits.items() if count == fewest)[:CORRECTIONS_MAX])


def edit_distance(one: str, other: str) -> int:
    """Return how many letters to insert, delete, replace, or swap with the next.

    This is the optimal string alignment distance: no letter is edited twice.
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
