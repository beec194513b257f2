"""Look up the words of a search: their stems, the products and categories with them, corrections.

A category is named by its id, so that a rename of the category rewrites no product.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from shop.extensions import db

from .spelling import CORRECTABLE_LENGTH, is_correctable, near_words, nearest_words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .tokens import ParsedText

WORDS_MAX = 40  # words of a search; folding can make many more of 200 characters
WORD_LENGTH_MAX = 100  # letters; longer words of products are cut, too
CONTAINING_MAX = 20  # longer words that contain an unknown word

# Whether an active product matches `query`. Asked for one row, PostgreSQL would read the table as
# if such rows were all over it, and all of the table for a word that no product has (see
# `ranking`). The first products come first: they have frequent words, whose lookup takes long.
HAS_ACTIVE_MATCH = """(
    EXISTS (
        SELECT FROM (SELECT words FROM products WHERE active ORDER BY id LIMIT 200) AS first
        WHERE first.words @@ query
    )
    OR EXISTS (
        WITH found AS MATERIALIZED (SELECT FROM products WHERE active AND words @@ query)
        SELECT FROM found
    )
)"""
# A word is known if an active product or a category has it; inactive products are not public.
# Words that cannot be corrected count as known, which saves their lookup.
# OFFSET 0 keeps PostgreSQL from making the query anew for each row.
LOOK_UP_WORDS = text(f"""
    SELECT
        token_number, word, stems,
        configuration <> 'simple'::regconfig AND stems = '{{}}' AS is_stop_word,
        char_length(word) < :correctable_length OR word ~ '[0-9]' OR category_ids <> '{{}}'
        OR {HAS_ACTIVE_MATCH} AS is_known,
        category_ids, is_prefix
    FROM shop_search_configuration() AS configuration,
        LATERAL (
            SELECT token_number, word_number, word, accented, token_number = :prefix_token
                AND lead(token_number) OVER (ORDER BY token_number, word_number) IS NULL
            FROM (
                SELECT token_number, word_number, left(whole, :word_length) AS word, accented
                FROM unnest(CAST(:tokens AS text[])) WITH ORDINALITY
                        AS tokens (token, token_number),
                    unnest(
                        string_to_array(shop_fold(token), ' '),
                        string_to_array(shop_words(lower(token COLLATE shop_case)), ' ')
                    ) WITH ORDINALITY AS words (whole, accented, word_number)
                WHERE whole IS NOT NULL
                ORDER BY token_number, word_number LIMIT :words_max
            ) AS words
        ) AS words (token_number, word_number, word, accented, is_prefix),
        LATERAL (
            SELECT CASE WHEN configuration = 'simple'::regconfig THEN '{{}}'
                ELSE shop_stems(coalesce(accented, word), configuration) END
            OFFSET 0
        ) AS stemmed_words (stems),
        LATERAL (
            SELECT shop_query(ARRAY[word], CASE WHEN is_prefix THEN '*' ELSE '' END)
                || shop_query(stems, '')
            OFFSET 0
        ) AS queries (query),
        LATERAL (
            SELECT ARRAY(SELECT id FROM categories WHERE words @@ query) OFFSET 0
        ) AS matching_categories (category_ids)
    ORDER BY token_number, word_number
""")  # noqa: S608  (all of it is written in this file)
SIMILAR_WORDS = text("""
    SELECT typed.word, similar_words.word, similar_words.contains_typed
    FROM unnest(CAST(:words AS text[])) AS typed (word), LATERAL (
        SELECT word, false AS contains_typed FROM shop_near(typed.word) AS near (word)
        UNION
        (
            SELECT word, true FROM search_words WHERE word LIKE '%' || typed.word || '%'
            ORDER BY char_length(word), word LIMIT :containing_max
        )
    ) AS similar_words
""")
USED_WORDS = text(f"""
    SELECT word, label, ARRAY(SELECT id FROM categories WHERE words @@ labeled_query)
    FROM unnest(CAST(:words AS text[]), CAST(:labels AS text[])) AS candidates (word, label),
        LATERAL (
            SELECT shop_query(ARRAY[word], ''), shop_query(ARRAY[word], label) OFFSET 0
        ) AS queries (query, labeled_query)
    WHERE EXISTS (SELECT FROM categories WHERE words @@ query)
        OR {HAS_ACTIVE_MATCH}
""")  # noqa: S608  (the same)
MATCHING_CATEGORIES = text("""
    SELECT number, id
    FROM unnest(CAST(:queries AS text[])) WITH ORDINALITY AS queries (query, number)
    JOIN categories ON words @@ CAST(query AS tsquery)
""")


class Word(NamedTuple):
    """A word as PostgreSQL folds it, and the alternatives that a search finds for it."""

    text: str
    stems: tuple[str, ...]
    is_stop_word: bool  # of the text-search configuration
    is_known: bool  # a product or a category has it, or it cannot be corrected
    category_ids: frozenset[int]  # categories whose names have it or an alternative
    is_prefix: bool  # finds words that begin with it
    alternatives: tuple[str, ...] = ()  # corrections, and longer words that contain it

    @property
    def label(self) -> str:
        """Return the label of the word in a tsquery: `*` for a prefix."""
        return "*" if self.is_prefix else ""

    def tsquery(self, weights: str, *, exact: bool) -> str:
        """Return a tsquery for texts of these weights; `exact` matches the word as typed alone."""
        if exact:
            return lexeme(self.text, weights)
        operands = [lexeme(word, self.label + weights) for word in (self.text, *self.alternatives)]
        operands += [lexeme(stem, weights) for stem in self.stems]
        return f"({' | '.join(operands)})"


class Term(NamedTuple):
    """A word, or the words of a phrase in order, that a product must have or must not have."""

    words: tuple[Word, ...]
    is_phrase: bool
    is_excluded: bool
    phrase_category_ids: frozenset[int] = frozenset()  # where the term has several words

    @property
    def category_ids(self) -> frozenset[int]:
        """Return the categories whose names have the term."""
        return self.phrase_category_ids if len(self.words) > 1 else self.words[0].category_ids

    def tsquery(self, weights: str = "", *, exact: bool = False) -> str:
        """Return the term as PostgreSQL reads a tsquery."""
        queries = [word.tsquery(weights, exact=exact) for word in self.words]
        return f"({' <-> '.join(queries)})"


def look_up(parsed: ParsedText) -> list[Term]:
    """Return the distinct terms of the tokens that have words."""
    words_by_token = defaultdict(list)
    parameters = {
        "tokens": [token.text for token in parsed.tokens],
        "prefix_token": len(parsed.tokens) if parsed.ends_with_prefix else 0,
        "correctable_length": CORRECTABLE_LENGTH,
        "word_length": WORD_LENGTH_MAX,
        "words_max": WORDS_MAX,
    }
    rows = db.session.execute(LOOK_UP_WORDS, parameters)
    for number, word, stems, is_stop_word, is_known, category_ids, is_prefix in rows:
        words_by_token[number].append(
            Word(word, tuple(stems), is_stop_word, is_known, frozenset(category_ids), is_prefix)
        )
    terms: dict[Term, None] = {}
    for number, token in enumerate(parsed.tokens, start=1):
        words = words_by_token[number]
        is_one_term = token.is_phrase or token.is_excluded
        for some in filter(None, [words] if is_one_term else [[word] for word in words]):
            terms[Term(tuple(some), token.is_phrase, token.is_excluded)] = None
    return _with_categories(list(terms))


def _with_categories(terms: list[Term]) -> list[Term]:
    """Look up the categories whose names have the terms of several words."""
    several = [term for term in terms if len(term.words) > 1]
    if not several:
        return terms
    category_ids: dict[Term, set[int]] = defaultdict(set)
    queries = {"queries": [term.tsquery() for term in several]}
    for number, category_id in db.session.execute(MATCHING_CATEGORIES, queries):
        category_ids[several[number - 1]].add(category_id)
    return [term._replace(phrase_category_ids=frozenset(category_ids[term])) for term in terms]


def correct(words: Iterable[Word]) -> dict[Word, Word]:
    """Return the words that have alternatives, each with the same word that carries them.

    The alternatives of a word are the nearest words that are in use; those of an unknown word are
    also the longer words that contain it.
    """
    correctable = [word for word in words if is_correctable(word.text)]
    if not correctable:
        return {}
    texts = list({word.text for word in correctable})
    unknown = {word.text for word in correctable if not word.is_known}
    similar: dict[str, list[str]] = defaultdict(list)
    containing: dict[str, list[str]] = defaultdict(list)
    parameters = {"words": texts, "containing_max": CONTAINING_MAX}
    for typed, other, contains_typed in db.session.execute(SIMILAR_WORDS, parameters):
        if not contains_typed:
            similar[typed].append(other)
        elif typed in unknown:
            containing[typed].append(other)
    edits = {typed: near_words(typed, similar[typed]) for typed in texts}
    used = _find_used(
        {
            (other, word.label)
            for word in correctable
            for other in (*edits[word.text], *containing[word.text])
        }
    )
    corrected = {}
    for word in correctable:
        in_use = used[word.label]
        near = {other: count for other, count in edits[word.text].items() if other in in_use}
        longer = (other for other in containing[word.text] if other in in_use)
        alternatives = (*nearest_words(near), *longer)
        if alternatives:
            category_ids = word.category_ids.union(*(in_use[other] for other in alternatives))
            corrected[word] = word._replace(alternatives=alternatives, category_ids=category_ids)
    return corrected


def _find_used(words: Collection[tuple[str, str]]) -> dict[str, dict[str, list[int]]]:
    """Find the words with labels that active products or categories have.

    Return, by label and word, the ids of the categories whose names have it.
    """
    used: dict[str, dict[str, list[int]]] = defaultdict(dict)
    if words:
        texts, labels = map(list, zip(*words, strict=True))
        parameters = {"words": texts, "labels": labels}
        for word, label, category_ids in db.session.execute(USED_WORDS, parameters):
            used[label][word] = category_ids
    return used


def lexeme(word: str, label: str) -> str:
    """Return a word as an operand of a tsquery. Folded words have no quotes; escape them anyway."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}':{label}"
