"""The product's table and document, for the contenders that map it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import DateTime, Numeric
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str]
    sku: Mapped[str | None]
    price: Mapped[Decimal] = mapped_column(Numeric)
    currency: Mapped[str]
    stock: Mapped[int]
    category_id: Mapped[int]
    active: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


FIELDS = tuple(Product.__table__.columns.keys())


def document(row: Product) -> dict[str, Any]:
    """Return a product as JSON has it."""
    return {name: getattr(row, name) for name in FIELDS} | {
        "price": str(row.price),
        "created_at": row.created_at.isoformat(),
        "updated_at": row.updated_at.isoformat(),
    }
