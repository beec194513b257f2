"""The runs of the tasks of `flask worker`, counted in PostgreSQL, where every host finds them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from shop.extensions import db
from shop.log_throttle import once_a_minute

from .models import WorkerTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

logger = logging.getLogger("shop.console")

SET_LOCK_TIMEOUT = text(
    "SET LOCAL lock_timeout = '200ms'"
)  # or who holds the table stops the tasks


def count_success(task: str, seconds: float) -> None:
    """Count a run that succeeded after some seconds. Raises nothing."""
    _count(task, done=1, failed=0, last_success=func.now(), last_seconds=seconds)


def count_failure(task: str) -> None:
    """Count a run that failed. Raises nothing."""
    _count(task, done=0, failed=1)


def _count(task: str, *, done: int, failed: int, **last: Any) -> None:
    counted = insert(WorkerTask).values(task=task, done=done, failed=failed, **last)
    counted = counted.on_conflict_do_update(
        index_elements=[WorkerTask.task],
        set_={
            "done": WorkerTask.done + done,
            "failed": WorkerTask.failed + failed,
            **{name: counted.excluded[name] for name in last},
        },
    )
    try:
        with db.engine.begin() as connection:
            connection.execute(SET_LOCK_TIMEOUT)
            connection.execute(counted)
    except SQLAlchemyError as error:  # the task itself is done, or has failed
        if once_a_minute("worker_tasks"):
            logger.warning("The run of %s is not counted: %s", task, getattr(error, "orig", error))


def read() -> Sequence[Row[tuple[str, int, int, Any, float | None]]]:
    """Return the runs of all tasks that were ever run. Raises SQLAlchemy's errors."""
    columns = WorkerTask.__table__.columns
    with db.engine.connect() as connection:
        return connection.execute(select(*columns).order_by(columns.task)).all()
