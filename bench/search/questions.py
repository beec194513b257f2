"""The questions to the catalogue, and the figures to reach."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from .draw import Draw, both, one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .draw import Parameters

PRODUCTS, SUGGEST = "/products", "/search/suggest"
# Milliseconds that 95 of 100 answers may take.
FILTERED, SEARCHED, FREQUENT, COUNTED = 30, 60, 200, 150


class Kind(NamedTuple):
    """Questions of one kind."""

    name: str
    draw: Callable[[Draw], Parameters]
    most: int | None = None  # milliseconds that are to be reached
    far: bool = False  # not the first page, but any
    path: str = PRODUCTS
    keep: str | None = None  # entries that stay: what their names begin with

    def question(self, draw: Draw) -> str:
        return address(self.path, self.draw(draw))


def address(path: str, parameters: Mapping[str, str | int]) -> str:
    return f"{path}?{urlencode(parameters, safe=',')}"


PAGE = both(Draw.sort, Draw.limit)
FILTERS = {
    "a sort": PAGE,
    "a category, sorted": both(Draw.category, PAGE),
    "several categories, sorted": both(Draw.categories, PAGE),
    "a range of prices, sorted": both(Draw.prices, PAGE),
    "in stock or not, sorted": both(Draw.stock, PAGE),
    "all of these filters, sorted": both(
        one_of(Draw.category, Draw.categories), Draw.prices, Draw.stock, PAGE
    ),
}
SOME_FILTER = one_of(Draw.category, Draw.categories, Draw.prices, Draw.stock)
SOME_WORDS = one_of(Draw.one_word, Draw.two_words, Draw.three_words)
REPORT = "products:sales:"  # of what has sold, which is made once in five minutes

KINDS = (
    *(Kind(name, draw, FILTERED) for name, draw in FILTERS.items()),
    *(Kind(f"{name}, any page", draw, FILTERED, far=True) for name, draw in FILTERS.items()),
    Kind(
        "best sellers, filtered or not",
        both(one_of(Draw.nothing, SOME_FILTER), Draw.best_selling, Draw.limit),
        FILTERED,
        keep=REPORT,
    ),
    Kind("100 ids", Draw.ids, FILTERED),
    Kind("100 SKUs", Draw.skus, FILTERED),
    Kind("one word", both(Draw.one_word, Draw.limit), SEARCHED),
    Kind("two words", both(Draw.two_words, Draw.limit), SEARCHED),
    Kind("three words", both(Draw.three_words, Draw.limit), SEARCHED),
    Kind("one word with a typo", both(Draw.typo, Draw.limit), SEARCHED),
    Kind("two words, one with a typo", both(Draw.word_and_typo, Draw.limit), SEARCHED),
    Kind("words, the last a prefix", both(Draw.prefix, Draw.limit), SEARCHED),
    Kind("words with a filter", both(SOME_WORDS, SOME_FILTER, Draw.limit), SEARCHED),
    Kind("words with a filter, sorted", both(SOME_WORDS, SOME_FILTER, PAGE), SEARCHED),
    Kind("a phrase", both(Draw.phrase, Draw.limit), SEARCHED),
    Kind("a word without another", both(Draw.word_without_another, Draw.limit), SEARCHED),
    Kind("words, any page", both(SOME_WORDS, Draw.limit), SEARCHED, far=True),
    Kind("the most frequent word", Draw.frequent, FREQUENT),
    Kind("the most frequent word with a filter", both(Draw.frequent, SOME_FILTER), FREQUENT),
    Kind("the most frequent word, sorted", both(Draw.frequent, Draw.sort), FREQUENT),
    Kind("one or two letters", both(Draw.letters, Draw.limit), FREQUENT),
    Kind(
        "facets of the largest category",
        both(
            Draw.largest_category,
            one_of(Draw.nothing, Draw.prices, Draw.stock),
            Draw.facets,
            Draw.limit,
        ),
        COUNTED,
    ),
    Kind("facets of any category", both(Draw.category, Draw.facets, Draw.limit), COUNTED),
    Kind("facets of all products", both(Draw.facets, Draw.limit)),
    Kind("facets of words", both(SOME_WORDS, Draw.facets, Draw.limit)),
    Kind("total, with a filter", both(SOME_FILTER, Draw.total, Draw.limit)),
    Kind("total, with words", both(SOME_WORDS, Draw.total, Draw.limit)),
    Kind("suggestions", one_of(Draw.prefix, Draw.letters), path=SUGGEST),
)
