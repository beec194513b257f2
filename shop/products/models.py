from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKey,
    Index,
    Numeric,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from shop.extensions import Base
from shop.money import CURRENCY_DECIMALS_SQL, PRICE_LIMIT, amount_checks

if TYPE_CHECKING:
    from collections.abc import Sequence


def _index(name: str, *columns: str, include: Sequence[str] = (), **options: Any) -> Index:
    """Return an index that ends with the id, which orders equal rows."""
    columns = (*columns, "id")
    return Index(f"ix_products_{name}", *columns, postgresql_include=list(include), **options)


# Further columns of indexes, so that pages and counts are read from an index alone.
VISIBILITY = ["active", "in_stock"]
PRICE = ["currency", "price"]


class Product(Base):
    """A product. Triggers set the deferred columns, by which products are found.

    A query loads a deferred column only if it names the column.
    """

    __tablename__ = "products"
    __table_args__ = (
        CheckConstraint("name <> ''", name="name_not_empty"),
        *amount_checks("price", PRICE_LIMIT, CURRENCY_DECIMALS_SQL),
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        Index("ix_products_words", "words", postgresql_using="gin"),
        _index("price", "currency", "price", include=[*VISIBILITY, "category_id"]),
        _index("name_key", "name_key", include=[*VISIBILITY, "category_id", *PRICE]),
        _index("created_at", "created_at", include=[*VISIBILITY, "category_id", *PRICE]),
        _index("category_price", "category_id", "currency", "price", include=VISIBILITY),
        _index(
            "category_name_key",
            "category_id",
            "name_key",
            include=[*VISIBILITY, *PRICE],
        ),
        _index(
            "category_created_at",
            "category_id",
            "created_at",
            include=[*VISIBILITY, *PRICE],
        ),
        _index("category", "category_id", include=[*VISIBILITY, *PRICE]),
        _index("out_of_stock", "category_id", postgresql_where=text("NOT in_stock")),
        _index("inactive", postgresql_where=text("NOT active")),
        # For counts. It has no id, so that PostgreSQL stores equal entries once.
        Index(
            "ix_products_category_stock",
            "category_id",
            "in_stock",
            postgresql_where=text("active"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text, server_default="")
    sku: Mapped[str | None] = mapped_column(String(64), unique=True)
    price: Mapped[Decimal] = mapped_column(Numeric)
    currency: Mapped[str] = mapped_column(String(3), server_default="EUR")
    stock: Mapped[int]
    category_id: Mapped[int] = mapped_column(ForeignKey("categories.id", ondelete="RESTRICT"))
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.clock_timestamp()
    )
    words: Mapped[str] = mapped_column(TSVECTOR, deferred=True, deferred_raiseload=True)
    name_key: Mapped[str] = mapped_column(
        Text(collation="C"), deferred=True, deferred_raiseload=True
    )
    in_stock: Mapped[bool] = mapped_column(deferred=True, deferred_raiseload=True)
