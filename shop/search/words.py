"""The words that were typed, looked up: which of them something has, and what others may be meant.

Categories are named by id, so that a rename of one rewrites no product.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from shop.extensions import db

from .spelling import SHORTEST, can_be_corrected, near, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .typed import Typed

WORDS_LOOKED_AT = 40  # of a query: 200 characters can unfold to many more
WORD_MAX = 100  # letters, to which words of rows are cut, too
CONTAINING_MAX = 20  # longer words that a word is looked for in

# Whether an active product has what a query asks for. To look for one row PostgreSQL would read the
# table, as if such rows were all over it; and all of it for a word that nothing has (`ranking`).
# The first products are asked first: they have what is frequent, which takes long to look up.
IS_SOLD = """(
    EXISTS (
        SELECT FROM (SELECT words FROM products WHERE active ORDER BY id LIMIT 200) AS first
        WHERE first.words @@ query
    )
    OR EXISTS (
        WITH found AS MATERIALIZED (SELECT FROM products WHERE active AND words @@ query)
        SELECT FROM found
    )
)"""
# A word is known if an active product has it, or a category: what others have is nobody's business.
# What cannot be corrected need not be known.
# OFFSET 0 keeps a query from being made anew for each row that is asked.
LOOK = text(f"""
    SELECT
        n, word, stems, configuration <> 'simple'::regconfig AND stems = '{{}}' AS is_noise,
        char_length(word) < :shortest OR word ~ '[0-9]' OR categories <> '{{}}'
        OR {IS_SOLD} AS is_known,
        categories, goes_on
    FROM shop_search_configuration() AS configuration,
        LATERAL (
            SELECT n, m, word, accented, n = :last AND lead(n) OVER (ORDER BY n, m) IS NULL
            FROM (
                SELECT n, m, left(whole, :longest) AS word, accented
                FROM unnest(CAST(:pieces AS text[])) WITH ORDINALITY AS pieces (piece, n),
                    unnest(
                        string_to_array(shop_fold(piece), ' '),
                        string_to_array(shop_words(lower(piece COLLATE shop_case)), ' ')
                    ) WITH ORDINALITY AS words (whole, accented, m)
                WHERE whole IS NOT NULL
                ORDER BY n, m LIMIT :most
            ) AS words
        ) AS words (n, m, word, accented, goes_on),
        LATERAL (
            SELECT CASE WHEN configuration = 'simple'::regconfig THEN '{{}}'
                ELSE shop_stems(coalesce(accented, word), configuration) END
            OFFSET 0
        ) AS stemmed (stems),
        LATERAL (
            SELECT shop_query(ARRAY[word], CASE WHEN goes_on THEN '*' ELSE '' END)
                || shop_query(stems, '')
            OFFSET 0
        ) AS asked (query),
        LATERAL (
            SELECT ARRAY(SELECT id FROM categories WHERE words @@ query) OFFSET 0
        ) AS named (categories)
    ORDER BY n, m
""")  # noqa: S608  (all of it is written in this file)
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
USED = text(f"""
    SELECT word, mark, ARRAY(SELECT id FROM categories WHERE words @@ marked)
    FROM unnest(CAST(:words AS text[]), CAST(:marks AS text[])) AS other (word, mark),
        LATERAL (
            SELECT shop_query(ARRAY[word], ''), shop_query(ARRAY[word], mark) OFFSET 0
        ) AS asked (query, marked)
    WHERE EXISTS (SELECT FROM categories WHERE words @@ query)
        OR {IS_SOLD}
""")  # noqa: S608  (the same)
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
    categories: frozenset[int]  # whose names have it, or one of the others
    goes_on: bool  # it finds words that begin so
    others: tuple[str, ...] = ()  # words that it is mistyped for, or part of

    @property
    def mark(self) -> str:
        """What follows the word in a tsquery."""
        return "*" if self.goes_on else ""

    def query(self, weights: str, *, exact: bool) -> str:
        """Return what finds it in texts of these weights; `exact` finds it as it was typed."""
        if exact:
            return marked(self.word, weights)
        ways = [marked(word, self.mark + weights) for word in (self.word, *self.others)]
        ways += [marked(stem, weights) for stem in self.stems]
        return f"({' | '.join(ways)})"


class Term(NamedTuple):
    """A word, or a phrase's words in order, that a product must have or must not have."""

    words: tuple[Word, ...]
    is_phrase: bool
    is_without: bool
    named: frozenset[int] = frozenset()  # categories whose names have several words in order

    @property
    def categories(self) -> frozenset[int]:
        """The categories whose names have it."""
        return self.named if len(self.words) > 1 else self.words[0].categories

    def query(self, weights: str = "", *, exact: bool = False) -> str:
        """Return a tsquery as PostgreSQL reads it."""
        queries = [word.query(weights, exact=exact) for word in self.words]
        return f"({' <-> '.join(queries)})"


def look_up(typed: Typed) -> list[Term]:
    """Return the terms that have words, each once."""
    rows = defaultdict(list)
    parameters = {
        "pieces": [piece.text for piece in typed.pieces],
        "last": len(typed.pieces) if typed.goes_on else 0,
        "shortest": SHORTEST,
        "longest": WORD_MAX,
        "most": WORDS_LOOKED_AT,
    }
    for n, word, stems, is_noise, is_known, categories, goes_on in db.session.execute(
        LOOK, parameters
    ):
        rows[n].append(Word(word, tuple(stems), is_noise, is_known, frozenset(categories), goes_on))
    terms: dict[Term, None] = {}
    for n, piece in enumerate(typed.pieces, start=1):
        words = rows[n]
        together = [words] if piece.is_phrase or piece.is_without else [[word] for word in words]
        for some in filter(None, together):
            terms[Term(tuple(some), piece.is_phrase, piece.is_without)] = None
    return _with_categories(list(terms))


def _with_categories(terms: list[Term]) -> list[Term]:
    """Look up which categories are named by terms of several words."""
    several = [term for term in terms if len(term.words) > 1]
    if not several:
        return terms
    named: dict[Term, set[int]] = defaultdict(set)
    queries = {"queries": [term.query() for term in several]}
    for n, category_id in db.session.execute(NAMED, queries):
        named[several[n - 1]].add(category_id)
    return [term._replace(named=frozenset(named[term])) for term in terms]


def correct(words: Iterable[Word]) -> dict[Word, Word]:
    """Return words with what they may be mistyped for; with what contains them, if not known.

    Words without any such are left out.
    """
    mistyped = [word for word in words if can_be_corrected(word.word)]
    if not mistyped:
        return {}
    typed = list({word.word for word in mistyped})
    unknown = {word.word for word in mistyped if not word.is_known}
    likely: dict[str, list[str]] = defaultdict(list)
    around: dict[str, list[str]] = defaultdict(list)
    for one, other, is_inside in db.session.execute(NEAR, {"typed": typed, "most": CONTAINING_MAX}):
        if not is_inside:
            likely[one].append(other)
        elif one in unknown:
            around[one].append(other)
    edits = {one: near(one, likely[one]) for one in typed}
    asked = {
        (other, word.mark) for word in mistyped for other in (*edits[word.word], *around[word.word])
    }
    used = _used(asked)
    corrected = {}
    for word in mistyped:
        living = used[word.mark]
        fewest = nearest({one: n for one, n in edits[word.word].items() if one in living})
        others = (*fewest, *(one for one in around[word.word] if one in living))
        if others:
            categories = word.categories.union(*(living[one] for one in others))
            corrected[word] = word._replace(others=others, categories=categories)
    return corrected


def _used(words: Collection[tuple[str, str]]) -> dict[str, dict[str, list[int]]]:
    """Return by mark the words that something has, and the categories that such words name."""
    used: dict[str, dict[str, list[int]]] = defaultdict(dict)
    if words:
        texts, marks = map(list, zip(*words, strict=True))
        for word, mark, categories in db.session.execute(USED, {"words": texts, "marks": marks}):
            used[mark][word] = categories
    return used


def marked(word: str, mark: str) -> str:
    """Return a word as a tsquery has it. Folded words have no quotes; these are quoted anyway."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':{mark}"
