"""Suggest names of categories and products for a text that is being typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import ARRAY, Integer, Text, bindparam, func, literal, select

from shop.categories.models import Category
from shop.categories.service import search_texts
from shop.config import SUGGESTIONS_MAX
from shop.extensions import cache, db
from shop.pages import dump
from shop.products import lists
from shop.products.models import Product

from . import statements
from .matching import SCORE_IN_NAME, build_matcher
from .query import Filters, shorten
from .ranking import read_ranked_page

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATES_MAX = 100  # rows that are read to find enough different names
CATEGORIES_MAX = 3  # of the suggestions
PRODUCT = literal("product").label("kind")
LAST_CHARACTER = "\U0010ffff"  # sorts after every other character


@dataclass(frozen=True)
class TypedText:
    """A text that is being typed, in one form: variants of case and spaces share an entry."""

    text: str

    @classmethod
    def of(cls, text: str) -> TypedText:
        printed = "".join(one if one.isprintable() else " " for one in text)
        return cls(" ".join(printed.lower().split()))

    def __str__(self) -> str:
        return shorten(quote(self.text, safe="", errors="replace"))


@cache.memoize(
    key="products:suggest:q:{q}",
    ttl="redis_cache_ttl",
    tables=[Product, Category],
    tags=lambda q: [  # noqa: ARG005
        lists.members.generation_key(lists.ALL_PRODUCTS),
        search_texts.generation_key(),
    ],
    needs_admission=True,
    log_keys=False,
)
def completions(q: TypedText) -> bytes:
    """Return the suggestions: categories, then products that begin with the text, then others."""
    items: dict[str, dict[str, Any]] = {}
    for kind, one, name in _candidates(q.text):
        items.setdefault(name.casefold(), {"kind": kind, "id": one, "text": name})
        if len(items) == SUGGESTIONS_MAX:
            break
    return dump({"items": list(items.values())})


def _candidates(typed: str) -> Iterator[Any]:
    """Yield the kind, id and name of what matches the text, the most likely first."""
    folded = db.session.scalar(select(func.shop_fold(typed)))
    if not folded:  # without a word, every name would begin with the text
        return
    yield from db.session.execute(_select_categories(folded))
    yield from db.session.execute(_select_by_prefix(typed))
    yield from db.session.execute(_select_by_words(typed))


def _select_categories(folded: str) -> Any:
    """Select categories with a word that begins with the text; there are few, and all are read."""
    matches = func.concat(" ", func.shop_fold(Category.name)).contains(f" {folded}")
    kind = literal("category").label("kind")
    return select(kind, Category.id, Category.name).where(matches).limit(CATEGORIES_MAX)


def _select_by_prefix(typed: str) -> Any:
    """Select products whose name begins with the text, from the index of names."""
    key = func.shop_name_key(typed, type_=Text)
    return (
        select(PRODUCT, Product.id, Product.name)
        .where(
            Product.active,
            Product.name_key >= key,
            Product.name_key < key.concat(LAST_CHARACTER),
        )
        .order_by(Product.name_key, Product.id)
        .limit(CANDIDATES_MAX)
    )


def _select_by_words(typed: str) -> Any:
    """Select products whose names have the words, the best first."""
    conditions = statements.conditions(Filters())
    rows, _ = read_ranked_page(build_matcher(typed), conditions, None, CANDIDATES_MAX)
    ids = [row.id for row in rows if row.score is not None and row.score >= SCORE_IN_NAME]
    position = func.array_position(bindparam(None, ids, ARRAY(Integer)), Product.id)
    return select(PRODUCT, Product.id, Product.name).where(Product.id.in_(ids)).order_by(position)
