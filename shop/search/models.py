"""The tables of the search. Triggers fill the vocabulary, `flask search rebuild` cleans it."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, Text, func

from shop.extensions import Base

# The words of names and descriptions. A word that two writers add at once has two rows.
WORDS = Table("search_words", Base.metadata, Column("word", Text(collation="C"), nullable=False))
Index("ix_search_words_word", WORDS.c.word)
Index(
    "ix_search_words_trigrams",
    WORDS.c.word,
    postgresql_using="gin",
    postgresql_ops={"word": "gin_trgm_ops"},
)
Index("ix_search_words_deletions", func.shop_deletions(WORDS.c.word), postgresql_using="gin")

# The text-search configuration that rows are indexed for besides `simple`; without a row, none.
CONFIGURATION = Table(
    "search_configuration", Base.metadata, Column("name", String(63), primary_key=True)
)
