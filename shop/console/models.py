from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Double, String
from sqlalchemy.orm import Mapped, mapped_column

from shop.extensions import Base


class WorkerTask(Base):
    """The runs of a task of `flask worker`."""

    __tablename__ = "worker_tasks"

    task: Mapped[str] = mapped_column(String(50), primary_key=True)
    done: Mapped[int] = mapped_column(BigInteger, server_default="0")
    failed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_success: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_seconds: Mapped[float | None] = mapped_column(Double)
