"""What a search finds: the words that were typed, as PostgreSQL has them, and how well they fit.

A product is found if each word is among its own or in the name of its category. Categories are
looked up first, and named by id, so that a rename of one rewrites no product.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import TSQUERY

from shop.extensions import db
from shop.products.models import Product

from .spelling import SHORTEST, can_be_corrected, nearest
from .typed import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .typed import Typed

__all__ = ["Understood", "read", "understand"]

Condition = ColumnElement[bool]

WORDS_LOOKED_AT = 40  # of a query: 200 characters can unfold to many more
WORD_MAX = 100  # letters, to which words of rows are cut, too
GROUPS_MAX = 100  # of categories whose names have the same of the words
CONTAINING_MAX = 20  # longer words that a word is looked for in
SCORED_MAX = 8  # words that are looked for in the name one by one
FIRST = 10_000  # ids that are looked at before all
NAME_MAX = 200
TIER = 10_000  # of scores
IN_NAME = 5 * TIER  # a score from which all words are in the name
APART = 20  # characters of a name that are between its words
NO_SCORE = cast(0, Integer)

# A word is known if an active product has it, or a category: what others have is nobody's business.
# What cannot be corrected need not be known. To look for one row PostgreSQL would read the table,
# as if such rows were all over it, and all of it for a word that nothing has (see `ranking`).
# The first products are asked first: they have what is frequent, which takes long to look up.
LOOK = text("""
    SELECT
        n, word, stems, configuration <> 'simple'::regconfig AND stems = '{}' AS is_noise,
        is_exact
        OR EXISTS (SELECT FROM categories WHERE words @@ shop_query(word || stems, ''))
        OR EXISTS (
            SELECT FROM (SELECT words FROM products WHERE active ORDER BY id LIMIT 200) AS first
            WHERE first.words @@ shop_query(word || stems, '')
        )
        OR EXISTS (
            WITH found AS MATERIALIZED (
                SELECT FROM products WHERE active AND words @@ shop_query(word || stems, '')
            ) SELECT FROM found
        ) AS is_known,
        n = :last AND (
            is_exact
            OR EXISTS (SELECT FROM categories WHERE words @@ shop_query(ARRAY[word], '*'))
            OR EXISTS (
                SELECT FROM (SELECT words FROM products WHERE active ORDER BY id LIMIT 200) AS first
                WHERE first.words @@ shop_query(ARRAY[word], '*')
            )
            OR EXISTS (
                WITH found AS MATERIALIZED (
                    SELECT FROM products WHERE active AND words @@ shop_query(ARRAY[word], '*')
                ) SELECT FROM found
            )
        ) AS is_beginning
    FROM shop_search_configuration() AS configuration,
        (
            SELECT n, m, left(whole, :longest) AS word, accented
            FROM unnest(CAST(:pieces AS text[])) WITH ORDINALITY AS pieces (piece, n),
                unnest(
                    string_to_array(shop_fold(piece), ' '),
                    string_to_array(shop_words(lower(piece COLLATE shop_case)), ' ')
                ) WITH ORDINALITY AS words (whole, accented, m)
            WHERE whole IS NOT NULL
            ORDER BY n, m LIMIT :most
        ) AS words,
        LATERAL (
            SELECT CASE WHEN configuration = 'simple'::regconfig THEN '{}'
                ELSE shop_stems(coalesce(accented, word), configuration) END
        ) AS stemmed (stems),
        LATERAL (SELECT char_length(word) < :shortest OR word ~ '[0-9]') AS what (is_exact)
    ORDER BY n, m
""")
NEAR = text("""
    SELECT typed.typed, near.word, near.is_inside
    FROM unnest(CAST(:typed AS text[])) AS typed (typed), LATERAL (
        SELECT word, false AS is_inside FROM shop_near(typed.typed) AS near (word)
        UNION
        (
            SELECT word, true FROM search_words WHERE word LIKE '%' || typed.typed || '%'
            ORDER BY char_length(word), word LIMIT :most
        )
    ) AS near
""")
USED = text("""
    SELECT word FROM unnest(CAST(:words AS text[])) AS words (word)
    WHERE EXISTS (SELECT FROM categories WHERE words @@ shop_query(ARRAY[word], ''))
        OR EXISTS (
            WITH found AS MATERIALIZED (
                SELECT FROM products WHERE active AND words @@ shop_query(ARRAY[word], '')
            ) SELECT FROM found
        )
""")
NAMED = text("""
    SELECT n, id FROM unnest(CAST(:queries AS text[])) WITH ORDINALITY AS queries (query, n)
    JOIN categories ON words @@ CAST(query AS tsquery)
""")


class Word(NamedTuple):
    """A word as PostgreSQL has it, and others that are found for it."""

    word: str
    stems: tuple[str, ...]
    is_noise: bool  # a stop word of the configuration
    is_known: bool  # something has it, or it cannot be corrected
    goes_on: bool = False  # it finds words that begin so
    others: tuple[str, ...] = ()  # words that it is mistyped for, or part of

    def query(self, weights: str, *, exact: bool) -> str:
        """Return what finds it in texts of these weights; `exact` finds it as it was typed."""
        if exact:
            return _marked(self.word, weights)
        mark = f"*{weights}" if self.goes_on else weights
        ways = [_marked(word, mark) for word in (self.word, *self.others)]
        ways += [_marked(stem, weights) for stem in self.stems]
        return f"({' | '.join(ways)})"


class Term(NamedTuple):
    """What a product has to have, or must not have: a word, or the words of a phrase in order."""

    words: tuple[Word, ...]
    is_phrase: bool
    is_without: bool

    def query(self, weights: str = "", *, exact: bool = False) -> str:
        """Return a tsquery as PostgreSQL reads it."""
        queries = [word.query(weights, exact=exact) for word in self.words]
        return f"({' <-> '.join(queries)})"


class Understood(NamedTuple):
    """A condition on products, and how well one that meets it fits: the more the better.

    The score is a whole number, and the same for the same product and query.
    """

    condition: Condition
    score: ColumnElement[int]


def understand(typed: Typed) -> Understood:
    """Return what finds the words that were typed."""
    terms = _look_up(typed)
    if not terms:
        return Understood(false(), NO_SCORE)
    unwanted = [term for term in terms if term.is_without]
    wanted = _without_noise([term for term in terms if not term.is_without])
    wanted = _with_others(wanted, [word.word for word in _words(wanted) if not word.is_known])
    condition = _condition(wanted, unwanted)
    if len(wanted) > 1 and not _finds(condition):
        # No product has all of them: a word that is known may be mistyped for another.
        known = [word.word for word in _words(wanted) if word.is_known]
        corrected = _with_others(wanted, known, containing=0)
        if corrected != wanted:
            wanted, condition = corrected, _condition(corrected, unwanted)
    return Understood(condition, _score(wanted))


def _finds(condition: Condition) -> bool:
    """Tell whether there is a product: among the first, or else among all (see `ranking`)."""
    looks = [
        exists(select(select(literal(1)).where(*where).cte(name).prefix_with("MATERIALIZED")))
        for name, where in (
            ("first", (condition, Product.active, Product.id <= FIRST)),
            ("whole", (condition, Product.active)),
        )
    ]
    return bool(db.session.scalar(select(or_(*looks))))


def _look_up(typed: Typed) -> list[Term]:
    """Return the terms that have words, each once."""
    last = len(typed.pieces) if typed.goes_on else 0
    pieces = [piece.text for piece in typed.pieces]
    rows = defaultdict(list)
    parameters = {"pieces": pieces, "last": last, "shortest": SHORTEST}
    parameters |= {"longest": WORD_MAX, "most": WORDS_LOOKED_AT}
    for n, *facts in db.session.execute(LOOK, parameters):
        rows[n].append(facts)
    terms: dict[Term, None] = {}
    for n, piece in enumerate(typed.pieces, start=1):
        words = [Word(word, tuple(stems), *facts) for word, stems, *facts, _ in rows[n]]
        if words and n == last:
            words[-1] = words[-1]._replace(goes_on=True, is_known=rows[n][-1][-1])
        together = [words] if piece.is_phrase or piece.is_without else [[word] for word in words]
        for some in filter(None, together):
            terms[Term(tuple(some), piece.is_phrase, piece.is_without)] = None
    return list(terms)


def _without_noise(terms: list[Term]) -> list[Term]:
    """Leave out words such as `of`, unless there are no others."""
    telling = [term for term in terms if not all(word.is_noise for word in term.words)]
    return telling or terms


def _words(terms: Iterable[Term]) -> Iterator[Word]:
    """Return the words that may be mistyped: those of a phrase are meant as they are."""
    return (term.words[0] for term in terms if not term.is_phrase)


def _with_others(
    terms: list[Term], mistyped: Sequence[str], *, containing: int = CONTAINING_MAX
) -> list[Term]:
    """Add to words what they may be mistyped for, and so many words that contain them."""
    mistyped = [word for word in mistyped if can_be_corrected(word)]
    if not mistyped:
        return terms
    candidates = db.session.execute(NEAR, {"typed": mistyped, "most": containing}).all()
    if not candidates:
        return terms
    used = set(db.session.scalars(USED, {"words": list({row.word for row in candidates})}))
    near: dict[str, list[str]] = defaultdict(list)
    around: dict[str, list[str]] = defaultdict(list)
    for typed, word, is_inside in candidates:
        if word in used:
            (around if is_inside else near)[typed].append(word)
    return [
        term._replace(
            words=tuple(
                word._replace(others=(*nearest(word.word, near[word.word]), *around[word.word]))
                for word in term.words
            )
        )
        if not term.is_phrase and term.words[0].word in mistyped
        else term
        for term in terms
    ]


def _condition(wanted: Sequence[Term], unwanted: Sequence[Term]) -> Condition:
    in_categories = _categories([*wanted, *unwanted])
    groups: dict[frozenset[Term], list[int]] = defaultdict(list)
    refused = []
    for category_id, terms in in_categories.items():
        if any(term.is_without for term in terms):
            refused.append(category_id)
        else:
            groups[terms].append(category_id)
    largest = sorted(groups, key=lambda terms: (-len(terms), groups[terms]))[:GROUPS_MAX]
    found: list[Condition] = []
    if wanted:
        found.append(_has(_all(wanted)))
    for terms in largest:
        of_group = Product.category_id.in_(groups[terms])
        rest = [term for term in wanted if term not in terms]
        found.append(and_(of_group, _has(_all(rest))) if rest else of_group)
    conditions = [or_(*found)] if found else []
    if unwanted:
        conditions.append(not_(_has(" | ".join(term.query() for term in unwanted))))
    if refused:
        conditions.append(Product.category_id.not_in(refused))
    return and_(*conditions)


def _categories(terms: Sequence[Term]) -> dict[int, frozenset[Term]]:
    """Return the terms that the name of each category has, of those categories that have any."""
    found = defaultdict(set)
    queries = [term.query() for term in terms]
    for n, category_id in db.session.execute(NAMED, {"queries": queries}):
        found[category_id].add(terms[n - 1])
    return {category_id: frozenset(some) for category_id, some in found.items()}


def _score(terms: Sequence[Term]) -> ColumnElement[int]:
    """Score by where the words are, then by how many the name has, then by how short it is."""
    if not terms:
        return NO_SCORE
    words = [word.word for term in terms for word in term.words]
    whole = " ".join(words)
    exact = [_marked(word, "A") for word in words]
    # To fold a name takes as long as all else: only one of about the length is looked at.
    length = func.length(Product.name_key)
    is_name = and_(
        length.between(len(whole), len(whole) + APART), func.shop_fold(Product.name) == whole
    )
    is_sku = and_(_has(_marked(words[0], "B")), func.shop_fold(Product.sku) == whole)
    tiers = [
        (and_(is_name, _has(" & ".join(exact))), 9),
        (is_sku, 8),
        (_has(" <-> ".join(exact)), 7),
        (_has(" & ".join(exact)), 6),
        (_has(_all(terms, "A")), 5),
        (_has(_all(terms, exact=True)), 4),
        (_has(_all(terms)), 3),
    ]
    in_name = [case((_has(term.query("A")), 1), else_=0) for term in terms[:SCORED_MAX]]
    tier = case(*tiers, else_=2)
    return tier * TIER + sum(in_name, literal(0)) * 500 + NAME_MAX - length


def _has(query: str) -> Condition:
    """Return the condition that a product has what a tsquery asks for."""
    return Product.words.bool_op("@@")(cast(literal(query), TSQUERY))


def _all(terms: Iterable[Term], weights: str = "", *, exact: bool = False) -> str:
    return " & ".join(term.query(weights, exact=exact) for term in terms)


def _marked(word: str, mark: str) -> str:
    """Return a word as a tsquery has it. Folded words have no quotes; these are quoted anyway."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':{mark}"
