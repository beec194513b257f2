"""Match products to the text of a search: the condition that finds them, and their score.

A product matches if each word is among its own or in the name of its category. Categories are
looked up first, and named by id, so that a rename of a category rewrites no product.
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
from .terms import correct, lexeme, look_up
from .tokens import parse_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .terms import Term, Word

Condition = ColumnElement[bool]

GROUPS_MAX = 100  # groups of categories; the names of one group have the same terms
SCORED_TERMS_MAX = 8  # terms that the score looks for in the name one by one
FIRST_IDS = 2048  # ids among which words that are frequent together have a match
LISTED_IDS_MAX = 500  # matches of rare words that the condition lists by id
SCORE_IN_NAME = 50_000  # score from which the name has all words
SEPARATORS_MAX = 20  # characters of a name between and around its words
NO_SCORE = cast(0, Integer)
# Most matches have the words in their names, so the score asks about names first.
# To fold a name takes as long as all else, so only names of about the typed length are folded.
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


class Matcher(NamedTuple):
    """A condition that finds products, and the score of a product that meets it.

    A higher score is better. It is an integer, the same for the same product and text.
    """

    condition: Condition
    unindexed_condition: Condition  # the same, read from the rows without an index
    score: ColumnElement[int]
    lists_ids: bool = False  # the condition lists the ids of all matches


def build_matcher(q: str) -> Matcher:
    """Build the matcher of a search text: look up its words, and correct mistyped ones."""
    terms = look_up(parse_text(q))
    if not terms:
        return Matcher(false(), false(), NO_SCORE)
    excluded = [term for term in terms if term.is_excluded]
    wanted = _without_stop_words([term for term in terms if not term.is_excluded])
    words = _correctable_words(wanted)
    unknown = [word for word in words if not word.is_known]
    # Beside an unknown word a known one may be mistyped, too: one lookup corrects all of them.
    corrected = correct(words) if unknown else {}
    corrected_unknown = {word: corrected[word] for word in unknown if word in corrected}
    wanted = _apply_corrections(wanted, corrected_unknown)
    matcher = _matcher_of(wanted, excluded)
    if sum(len(term.words) for term in wanted) > 1:
        has_active_match, few_ids = _find_matches(matcher)
        if not has_active_match and not unknown:
            corrected = correct(words)
        if not has_active_match and corrected != corrected_unknown:
            # No product has all words, so a known word may be mistyped for another.
            matcher = _matcher_of(_apply_corrections(wanted, corrected), excluded)
        elif few_ids is not None:
            is_listed = Product.id == func.any(statements.integer_array(few_ids))
            matcher = Matcher(is_listed, is_listed, matcher.score, lists_ids=True)
    return matcher


def _matcher_of(wanted: Sequence[Term], excluded: Sequence[Term]) -> Matcher:
    return Matcher(
        _condition(wanted, excluded, Product.words),
        _condition(wanted, excluded, func.coalesce(Product.words, cast("", TSVECTOR))),
        _score(wanted),
    )


def _find_matches(matcher: Matcher) -> tuple[bool, list[int] | None]:
    """Return whether an active product matches, and the ids of all matches, None if they are many.

    Words that are frequent together match one of the first products. The matches of words that are
    rare together are looked up here, once for all statements of the search.
    """
    near = and_(matcher.unindexed_condition, Product.active, Product.id <= FIRST_IDS)
    first = statements.materialized(literal(1), where=[near], name="first")
    matches = statements.materialized(Product.id, Product.active, where=[matcher.condition])
    is_frequent = exists(select(first))
    has_active_match = exists(select(matches).where(matches.c.active))
    rows = db.session.execute(
        union_all(
            select(literal(0), literal(True)).where(is_frequent),  # noqa: FBT003  (a value of SQL)
            select(matches.c.id, has_active_match).where(not_(is_frequent)),
        ).limit(LISTED_IDS_MAX + 1)
    ).all()
    if not rows:
        return False, []
    ids = [product_id for product_id, _ in rows]
    return rows[0][1], None if ids == [0] or len(ids) > LISTED_IDS_MAX else ids


def _without_stop_words(terms: list[Term]) -> list[Term]:
    """Remove terms of stop words, such as `of`, unless there are no others."""
    significant = [term for term in terms if not all(word.is_stop_word for word in term.words)]
    return significant or terms


def _correctable_words(terms: Iterable[Term]) -> list[Word]:
    """Return the words outside of phrases: a phrase is matched as it was typed."""
    return [term.words[0] for term in terms if not term.is_phrase]


def _apply_corrections(terms: Iterable[Term], corrected: Mapping[Word, Word]) -> list[Term]:
    return [
        term
        if term.is_phrase
        else term._replace(words=(corrected.get(term.words[0], term.words[0]),))
        for term in terms
    ]


def _condition(wanted: Sequence[Term], excluded: Sequence[Term], words: Any) -> Condition:
    """Return the condition of a match. `words` is the column of a product's words.

    A product has a wanted term among its own words or in the name of its category.
    """
    excluded_ids = frozenset[int]().union(*(term.category_ids for term in excluded))
    terms_by_category: dict[int, list[Term]] = defaultdict(list)
    for term in wanted:
        for category_id in sorted(term.category_ids - excluded_ids):
            terms_by_category[category_id].append(term)
    groups: dict[tuple[Term, ...], list[int]] = defaultdict(list)
    for category_id, terms in terms_by_category.items():
        groups[tuple(terms)].append(category_id)
    largest = sorted(groups, key=lambda terms: (-len(terms), groups[terms]))[:GROUPS_MAX]
    ways: list[Condition] = []
    if wanted:
        ways.append(_matches(_conjunction(wanted), words))
    for in_category in largest:
        is_in_group = Product.category_id.in_(groups[in_category])
        rest = [term for term in wanted if term not in in_category]
        ways.append(and_(is_in_group, _matches(_conjunction(rest), words)) if rest else is_in_group)
    conditions = [or_(*ways)] if ways else []
    if excluded:
        conditions.append(not_(_matches(" | ".join(term.tsquery() for term in excluded), words)))
    if excluded_ids:
        conditions.append(Product.category_id.not_in(sorted(excluded_ids)))
    return and_(*conditions)


def _score(terms: Sequence[Term]) -> ColumnElement[int]:
    """Score by where the words are, then by how many the name has, then by how short it is."""
    if not terms:
        return NO_SCORE
    words = [word.text for term in terms for word in term.words]
    whole = " ".join(words)
    typed = [lexeme(word, "A") for word in words]
    counted = [term.tsquery("A") for term in terms[:SCORED_TERMS_MAX]]
    score = SCORE.bindparams(
        typed_in_name=" & ".join(typed),
        typed_in_order=" <-> ".join(typed),
        typed_anywhere=_conjunction(terms, exact=True),
        in_name=_conjunction(terms, "A"),
        anywhere=_conjunction(terms),
        in_sku=lexeme(words[0], "B"),
        whole=whole,
        shortest=len(whole),
        longest=len(whole) + SEPARATORS_MAX,
        counted=counted,
        most=len(counted),
    )
    return type_coerce(score, Integer)


def _matches(tsquery: str, words: Any) -> Condition:
    matches: Condition = words.bool_op("@@")(cast(literal(tsquery), TSQUERY))
    return matches


def _conjunction(terms: Iterable[Term], weights: str = "", *, exact: bool = False) -> str:
    """Return the tsquery of all terms together."""
    return " & ".join(term.tsquery(weights, exact=exact) for term in terms)
