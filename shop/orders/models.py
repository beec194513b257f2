from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    FetchedValue,
    ForeignKey,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    String,
    Text,
    func,
)
from sqlalchemy.orm import Mapped, composite, mapped_column, relationship

from shop.extensions import Base
from shop.money import CURRENCY_DECIMALS_SQL, DECIMALS_MAX, PRICE_LIMIT, TOTAL_LIMIT, amount_checks

STATUSES = ("pending", "paid", "shipped", "delivered", "cancelled")
CANCEL_REASONS = ("requested", "expired")
SOLD_STATUSES = ("paid", "shipped", "delivered")  # of orders that have been paid


@dataclass
class Customer:
    name: str
    email: str
    address: str


class Order(Base):
    """A customer's purchase. Its lines are copies: products change, orders do not."""

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        *amount_checks("total", TOTAL_LIMIT, CURRENCY_DECIMALS_SQL),
        Index("ix_orders_created_at_id", "created_at", "id"),
        Index("ix_orders_status", "status", "created_at", "id"),
        Index("ix_orders_paid_at", "paid_at"),
        Index(
            "ix_orders_expires_at",
            "expires_at",
            "id",
            postgresql_where="status = 'pending' AND expires_at IS NOT NULL",
        ),
        Index("ix_orders_session_id", "session_id", postgresql_where="session_id IS NOT NULL"),
        Index(
            "ix_orders_client_address",
            "client_address",
            postgresql_where="client_address IS NOT NULL",
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    status: Mapped[str] = mapped_column(String(20), server_default="pending")
    customer_name: Mapped[str] = mapped_column(String(200))
    customer_email: Mapped[str] = mapped_column(String(254))
    customer_address: Mapped[str] = mapped_column(Text)
    customer: Mapped[Customer] = composite("customer_name", "customer_email", "customer_address")
    currency: Mapped[str] = mapped_column(String(3))
    total: Mapped[Decimal] = mapped_column(Numeric)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.clock_timestamp()
    )
    paid_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    shipped_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    cancelled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The time at which an unpaid order is cancelled; a paid order has none. The INSERT computes and
    # returns it.
    expires_at: Mapped[datetime | None] = mapped_column(
        DateTime(timezone=True), server_default=FetchedValue()
    )
    # The buyer without a key. The address is stored only while the order is pending.
    session_id: Mapped[int | None] = mapped_column(ForeignKey("sessions.id", ondelete="SET NULL"))
    client_address: Mapped[str | None] = mapped_column(String(64))

    lines: Mapped[list[OrderLine]] = relationship(
        back_populates="order", order_by="OrderLine.position", lazy="selectin"
    )

    @property
    def cancel_reason(self) -> str | None:
        """Return why the order is cancelled: by a request, or because it was not paid in time."""
        if self.cancelled_at is None:
            return None
        return "expired" if self.is_expired(self.cancelled_at) else "requested"

    def is_expired(self, now: datetime) -> bool:
        """Return whether the order was not paid in time: by now, or before it was cancelled."""
        end = self.cancelled_at or now
        return self.paid_at is None and self.expires_at is not None and self.expires_at <= end


Index("ix_orders_customer", func.lower(Order.customer_email), Order.created_at, Order.id)


class OrderLine(Base):
    """A product as it was when it was ordered."""

    __tablename__ = "order_lines"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        # The order has the currency; the product's price was checked by it.
        *amount_checks("price", PRICE_LIMIT, DECIMALS_MAX),
        # Reports read the sold quantities from this index alone.
        PrimaryKeyConstraint("order_id", "product_id", postgresql_include=["quantity"]),
    )

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    product_id: Mapped[int] = mapped_column(
        ForeignKey("products.id", ondelete="RESTRICT"), index=True
    )
    position: Mapped[int]
    sku: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    price: Mapped[Decimal] = mapped_column(Numeric)
    quantity: Mapped[int]

    order: Mapped[Order] = relationship(back_populates="lines")

    @property
    def currency(self) -> str:
        return self.order.currency

    @property
    def total(self) -> Decimal:
        return self.price * self.quantity
