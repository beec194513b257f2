"""What a search finds: the words that were typed, as PostgreSQL has them, and how well they fit.

A product is found if each word is among its own or in the name of its category. Categories are
looked up first, and named by id, so that a rename of one rewrites no product.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from shop.extensions import db
from shop.products.models import Product

from . import statements
from .typed import read
from .words import correct, look_up, marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .typed import Typed
    from .words import Term, Word

__all__ = ["Understood", "read", "understand"]

Condition = ColumnElement[bool]

GROUPS_MAX = 100  # of categories whose names have the same of the words
SCORED_MAX = 8  # words that are looked for in the name one by one
FIRST = 2048  # ids that are looked at for words that are frequent together
FEW = 500  # products that are named one by one, if words are rare together
IN_NAME = 50_000  # a score from which all words are in the name
APART = 20  # characters of a name that are between its words
NO_SCORE = cast(0, Integer)
# Most rows that are found have the words in their names: the fewest questions are for these.
# To fold a name takes as long as all else: only one of about the length is looked at.
SCORE = text("""(
    CASE
        WHEN products.words @@ CAST(:typed_in_name AS tsquery) THEN CASE
            WHEN length(products.name_key) BETWEEN :shortest AND :longest
                AND shop_fold(products.name) = :whole THEN 9
            WHEN products.words @@ CAST(:in_sku AS tsquery)
                AND shop_fold(products.sku) = :whole THEN 8
            WHEN products.words @@ CAST(:typed_in_order AS tsquery) THEN 7
            ELSE 6
        END
        WHEN products.words @@ CAST(:in_sku AS tsquery) AND shop_fold(products.sku) = :whole THEN 8
        WHEN products.words @@ CAST(:in_name AS tsquery) THEN 5
        WHEN products.words @@ CAST(:typed_anywhere AS tsquery) THEN 4
        WHEN products.words @@ CAST(:anywhere AS tsquery) THEN 3
        ELSE 2
    END * 10000
    + CASE
        WHEN products.words @@ CAST(:in_name AS tsquery) THEN :most
        ELSE (
            SELECT count(*)::integer FROM unnest(CAST(:counted AS tsquery[])) AS term
            WHERE products.words @@ term
        )
    END * 500
    + 200 - length(products.name_key)
)""").bindparams(bindparam("counted", type_=ARRAY(Text)))


class Understood(NamedTuple):
    """A condition on products, and how well one that meets it fits: the more the better.

    The score is a whole number, and the same for the same product and query.
    """

    condition: Condition
    unindexed: Condition  # the same, read from the rows
    score: ColumnElement[int]
    is_few: bool = False  # the condition names all products one by one


def understand(typed: Typed) -> Understood:
    """Return what finds the words that were typed."""
    terms = look_up(typed)
    if not terms:
        return Understood(false(), false(), NO_SCORE)
    unwanted = [term for term in terms if term.is_without]
    wanted = _without_noise([term for term in terms if not term.is_without])
    words = _words(wanted)
    unknown = [word for word in words if not word.is_known]
    # If a word is mistyped, those beside it may be, too: all are looked up in one go.
    corrected = correct(words) if unknown else {}
    of_unknown = {word: corrected[word] for word in unknown if word in corrected}
    wanted = _replaced(wanted, of_unknown)
    found = _found(wanted, unwanted)
    if sum(len(term.words) for term in wanted) > 1:
        is_sold, few = _together(found)
        if not is_sold and not unknown:
            corrected = correct(words)
        if not is_sold and corrected != of_unknown:
            # No product has all words: one that is known may be mistyped for another.
            found = _found(_replaced(wanted, corrected), unwanted)
        elif few is not None:
            one_of = Product.id == func.any(statements.integers(few))
            found = Understood(one_of, one_of, found.score, is_few=True)
    return found


def _found(wanted: Sequence[Term], unwanted: Sequence[Term]) -> Understood:
    """Return what has the wanted terms, and not the unwanted ones."""
    return Understood(
        _condition(wanted, unwanted, Product.words),
        _condition(wanted, unwanted, func.coalesce(Product.words, cast("", TSVECTOR))),
        _score(wanted),
    )


def _together(found: Understood) -> tuple[bool, list[int] | None]:
    """Tell whether an active product has all words, and return the ids of all, if there are few.

    Of words that are frequent together the first products have some. Those that are rare together
    are looked up once for all statements.
    """
    near = and_(found.unindexed, Product.active, Product.id <= FIRST)
    first = statements.all_of(literal(1), where=[near], name="first")
    whole = statements.all_of(Product.id, Product.active, where=[found.condition])
    is_frequent = exists(select(first))
    is_sold = exists(select(whole).where(whole.c.active))
    rows = db.session.execute(
        union_all(
            select(literal(0), literal(True)).where(is_frequent),  # noqa: FBT003  (a value of SQL)
            select(whole.c.id, is_sold).where(not_(is_frequent)),
        ).limit(FEW + 1)
    ).all()
    if not rows:
        return False, []
    ids = [one for one, _ in rows]
    return rows[0][1], None if ids == [0] or len(ids) > FEW else ids


def _without_noise(terms: list[Term]) -> list[Term]:
    """Leave out words such as `of`, unless there are no others."""
    telling = [term for term in terms if not all(word.is_noise for word in term.words)]
    return telling or terms


def _words(terms: Iterable[Term]) -> list[Word]:
    """Return the words that may be mistyped: those of a phrase are meant as they are."""
    return [term.words[0] for term in terms if not term.is_phrase]


def _replaced(terms: Iterable[Term], corrected: Mapping[Word, Word]) -> list[Term]:
    """Return the terms with the corrected words."""
    return [
        term
        if term.is_phrase
        else term._replace(words=(corrected.get(term.words[0], term.words[0]),))
        for term in terms
    ]


def _condition(wanted: Sequence[Term], unwanted: Sequence[Term], words: Any) -> Condition:
    """Return what finds products by their words, a column of them or an expression of it."""
    refused = frozenset[int]().union(*(term.categories for term in unwanted))
    named: dict[int, list[Term]] = defaultdict(list)
    for term in wanted:
        for category_id in sorted(term.categories - refused):
            named[category_id].append(term)
    groups: dict[tuple[Term, ...], list[int]] = defaultdict(list)
    for category_id, some in named.items():
        groups[tuple(some)].append(category_id)
    largest = sorted(groups, key=lambda terms: (-len(terms), groups[terms]))[:GROUPS_MAX]
    found: list[Condition] = []
    if wanted:
        found.append(_has(_all(wanted), words))
    for terms in largest:
        of_group = Product.category_id.in_(groups[terms])
        rest = [term for term in wanted if term not in terms]
        found.append(and_(of_group, _has(_all(rest), words)) if rest else of_group)
    conditions = [or_(*found)] if found else []
    if unwanted:
        conditions.append(not_(_has(" | ".join(term.query() for term in unwanted), words)))
    if refused:
        conditions.append(Product.category_id.not_in(sorted(refused)))
    return and_(*conditions)


def _score(terms: Sequence[Term]) -> ColumnElement[int]:
    """Score by where the words are, then by how many the name has, then by how short it is."""
    if not terms:
        return NO_SCORE
    words = [word.word for term in terms for word in term.words]
    whole = " ".join(words)
    typed = [marked(word, "A") for word in words]
    counted = [term.query("A") for term in terms[:SCORED_MAX]]
    score = SCORE.bindparams(
        typed_in_name=" & ".join(typed),
        typed_in_order=" <-> ".join(typed),
        typed_anywhere=_all(terms, exact=True),
        in_name=_all(terms, "A"),
        anywhere=_all(terms),
        in_sku=marked(words[0], "B"),
        whole=whole,
        shortest=len(whole),
        longest=len(whole) + APART,
        counted=counted,
        most=len(counted),
    )
    return type_coerce(score, Integer)


def _has(query: str, words: Any = Product.words) -> Condition:
    """Return the condition that a product has what a tsquery asks for."""
    has: Condition = words.bool_op("@@")(cast(literal(query), TSQUERY))
    return has


def _all(terms: Iterable[Term], weights: str = "", *, exact: bool = False) -> str:
    return " & ".join(term.query(weights, exact=exact) for term in terms)
