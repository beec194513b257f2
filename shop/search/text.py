"""What a search finds: products that have the words that were typed."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Integer, func, literal, select
from sqlalchemy.dialects.postgresql import TSQUERY

from shop.extensions import db
from shop.products.models import Product


class Understood(NamedTuple):
    condition: ColumnElement[bool]
    score: ColumnElement[int]


def read(q: str) -> str:
    return "".join(one if one.isprintable() else " " for one in q)


def understand(typed: str) -> Understood:
    words = db.session.scalar(select(func.shop_fold(typed))) or ""
    query = " & ".join(f"'{word}'" for word in words.split())
    query = f"{query}:*" if query else ""
    condition = Product.words.op("@@")(literal(query).cast(TSQUERY))
    return Understood(condition, literal(0, Integer))
