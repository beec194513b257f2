"""Random parameters of questions."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from .catalogue import CATEGORIES, CATEGORY_SKEW, PRICE, PRICE_SPREAD, VOCABULARY, drawn, vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Parameters = dict[str, str | int]

SORTS = ("id", "price", "-price", "name", "created_at", "-created_at")
FACETS = ("category", "price", "in_stock")
CHOSEN = 100  # products that are asked for one by one
MISTYPED = 5  # letters of a word that is mistyped, at least


class Draw:
    """Each method draws a part of a question; the same ones each time."""

    def __init__(self, names: Sequence[str], products: int) -> None:
        """`names` are those of some of the products."""
        self.chance = random.Random(3)  # noqa: S311  (to be repeated)
        self._products = products
        self._names = [name.lower().split() for name in names]
        self._vocabulary = vocabulary()

    def nothing(self) -> Parameters:
        return {}

    def sort(self) -> Parameters:
        return {"sort": self.chance.choice(SORTS)}

    def best_selling(self) -> Parameters:
        return {"sort": "best_selling"}

    def limit(self) -> Parameters:
        return {"limit": self.chance.randint(10, 50)}

    def total(self) -> Parameters:
        return {"total": "true"}

    def facets(self) -> Parameters:
        return {"facets": ",".join(self.chance.sample(FACETS, self.chance.randint(1, 3)))}

    def category(self) -> Parameters:
        return {"category_id": self._category()}

    def categories(self) -> Parameters:
        several = {self._category() for _ in range(self.chance.randint(2, 6))}
        return {"category_id": ",".join(map(str, several))}

    def largest_category(self) -> Parameters:
        return {"category_id": 1}

    def stock(self) -> Parameters:
        return {"in_stock": self.chance.choice(("true", "true", "true", "false"))}

    def prices(self) -> Parameters:
        """Draw a range of prices, a narrow or a wide one, where prices are."""
        low = self.chance.lognormvariate(PRICE, PRICE_SPREAD)
        high = low * self.chance.uniform(1.05, 3)
        return {"min_price": f"{low:.2f}", "max_price": f"{high:.2f}"}

    def ids(self) -> Parameters:
        return {"id": ",".join(map(str, self._chosen()))}

    def skus(self) -> Parameters:
        return {"sku": ",".join(f"SKU-{number:07d}" for number in self._chosen())}

    def frequent(self) -> Parameters:
        """Return the most frequent word; how long its page is, and where, makes it another."""
        limit, skip = self.chance.randint(1, 100), self.chance.randint(0, 9)
        return {"q": self._vocabulary[0], "skip": skip, "limit": limit}

    def one_word(self) -> Parameters:
        return {"q": self._word()}

    def two_words(self) -> Parameters:
        return {"q": " ".join(self._words(2))}

    def three_words(self) -> Parameters:
        return {"q": " ".join(self._words(3))}

    def typo(self) -> Parameters:
        return {"q": self._mistyped(self._long_word())}

    def word_and_typo(self) -> Parameters:
        other, one = sorted(self._words(2), key=len)
        return {"q": f"{self._mistyped(one)} {other}"}

    def prefix(self) -> Parameters:
        """Draw words of which the last is not written to its end, a word before it or none."""
        *words, last = self._words(self.chance.randint(1, 2))
        return {"q": " ".join([*words, last[: self.chance.randint(3, 5)]])}

    def letters(self) -> Parameters:
        """Draw what somebody has typed who has just begun."""
        return {"q": self._word()[: self.chance.randint(1, 2)]}

    def phrase(self) -> Parameters:
        name = self._name()
        at = self.chance.randrange(len(name) - 1)
        return {"q": f'"{name[at]} {name[at + 1]}"'}

    def word_without_another(self) -> Parameters:
        one, other = self._words(2)
        return {"q": f"{one} -{other}"}

    def _category(self) -> int:
        return 1 + drawn(self.chance, CATEGORIES, CATEGORY_SKEW)

    def _chosen(self) -> list[int]:
        return self.chance.sample(range(1, self._products + 1), CHOSEN)

    def _word(self) -> str:
        """Draw any word but the most frequent, a frequent one as often as a rare one."""
        return self._vocabulary[int((VOCABULARY - 1) ** self.chance.random())]

    def _name(self) -> list[str]:
        return self.chance.choice(self._names)

    def _words(self, count: int) -> list[str]:
        """Draw words that a product has, each another."""
        words = list(dict.fromkeys(self._name()))
        return self.chance.sample(words, min(count, len(words)))

    def _long_word(self) -> str:
        word = self._word()
        return word if len(word) >= MISTYPED else self._long_word()

    def _mistyped(self, word: str) -> str:
        """Return a word with a letter too much, too few, a wrong one, or two that are swapped."""
        at = self.chance.randrange(1, len(word) - 1)
        letter = self.chance.choice("aeioucsx")
        before, after = word[:at], word[at:]
        return self.chance.choice(
            (
                before + letter + after,
                before + after[1:],
                before + letter + after[1:],
                before + after[1] + after[0] + after[2:],
            )
        )


def both(*parts: Callable[[Draw], Parameters]) -> Callable[[Draw], Parameters]:
    """Return a part that has all of these."""
    return lambda draw: {name: value for part in parts for name, value in part(draw).items()}


def one_of(*parts: Callable[[Draw], Parameters]) -> Callable[[Draw], Parameters]:
    """Return a part that is one of these, each time another."""
    return lambda draw: draw.chance.choice(parts)(draw)
