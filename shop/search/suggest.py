"""Completions of what somebody is typing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import ARRAY, Integer, Text, bindparam, func, literal, select

from shop.categories.models import Category
from shop.categories.service import texts
from shop.config import SUGGESTIONS_MAX
from shop.extensions import cache, db
from shop.pages import dump
from shop.products import lists
from shop.products.models import Product

from . import statements
from .query import Filters, short
from .ranking import ranked_page
from .text import IN_NAME, read, understand

if TYPE_CHECKING:
    from collections.abc import Iterator

CANDIDATES = 100  # rows that are looked at for names that differ
CATEGORIES_MAX = 3  # of the completions
PRODUCT = literal("product").label("kind")
LAST = "\U0010ffff"  # which comes after whatever a name goes on with


@dataclass(frozen=True)
class Typed:
    """What is typed, in one form: neither case nor spaces make another entry."""

    text: str

    @classmethod
    def of(cls, text: str) -> Typed:
        printed = "".join(one if one.isprintable() else " " for one in text)
        return cls(" ".join(printed.lower().split()))

    def __str__(self) -> str:
        return short(quote(self.text, safe="", errors="replace"))


@cache.memoize(
    key="products:suggest:q:{q}",
    ttl="redis_cache_ttl",
    tables=[Product, Category],
    tags=lambda q: [lists.members.generation_key(lists.ALL), texts.generation_key()],  # noqa: ARG005
    needs_admission=True,
    log_keys=False,
)
def completions(q: Typed) -> bytes:
    """Return names that are meant: of categories, of products that begin so, and of others."""
    found: dict[str, dict[str, Any]] = {}
    for kind, one, name in _candidates(q.text):
        found.setdefault(name.casefold(), {"kind": kind, "id": one, "text": name})
        if len(found) == SUGGESTIONS_MAX:
            break
    return dump({"items": list(found.values())})


def _candidates(typed: str) -> Iterator[tuple[str, int, str]]:
    folded = db.session.scalar(select(func.shop_fold(typed)))
    if not folded:  # without a word, every name would begin so
        return
    for statement in (_categories(folded), _beginning(typed), _with_words(typed)):
        for row in db.session.execute(statement):
            yield row.kind, row.id, row.name


def _categories(folded: str) -> Any:
    """Select categories of whose name a word begins so: there are few, and all are looked at."""
    begins = func.concat(" ", func.shop_fold(Category.name)).contains(f" {folded}")
    kind = literal("category").label("kind")
    return select(kind, Category.id, Category.name).where(begins).limit(CATEGORIES_MAX)


def _beginning(typed: str) -> Any:
    """Select products whose name begins so, from the index that names are sorted by."""
    key = func.shop_name_key(typed, type_=Text)
    return (
        select(PRODUCT, Product.id, Product.name)
        .where(Product.active, Product.name_key >= key, Product.name_key < key.concat(LAST))
        .order_by(Product.name_key, Product.id)
        .limit(CANDIDATES)
    )


def _with_words(typed: str) -> Any:
    """Select products whose names have the words, the best first."""
    where = statements.conditions(Filters())
    rows, _ = ranked_page(understand(read(typed)), where, None, CANDIDATES)
    ids = [row.id for row in rows if row.score is not None and row.score >= IN_NAME]
    place = func.array_position(bindparam(None, ids, ARRAY(Integer)), Product.id)
    return select(PRODUCT, Product.id, Product.name).where(Product.id.in_(ids)).order_by(place)
