"""`flask seed --replace`: confirm and delete the present rows."""

from __future__ import annotations

import sys
from functools import cache

import click
from sqlalchemy import and_, func, select, text

from shop.extensions import db
from shop.features import features
from shop.orders.models import Order
from shop.search.models import WORDS

from .history import CUSTOMER_TEMPLATE


@cache
def replaced_tables() -> dict[str, str]:
    """Return the tables to empty, and the names of their rows for people."""
    tables = {"idempotency_keys": "kept answers"}
    for feature in features().values():
        tables |= feature.tables
    return tables


def confirm_replacement(*, yes: bool, delete_orders_of_others: bool) -> None:
    """Return if the present rows may be deleted; ask at a terminal.

    Raises ClickException, or Abort.
    """
    counts = _count_rows()
    if not any(counts.values()):
        return
    if not delete_orders_of_others:
        _refuse_orders_of_others()
    if yes or delete_orders_of_others:
        return
    amounts = ", ".join(
        f"{count} {replaced_tables()[table]}" for table, count in counts.items() if count
    )
    if not sys.stdin.isatty():
        raise click.ClickException(f"this deletes {amounts}: --yes says that it may")
    db.session.rollback()  # no transaction stays open while the answer is awaited
    click.confirm(f"This deletes {amounts}. Go on?", abort=True)


def delete_all(*, delete_orders_of_others: bool) -> None:
    """Delete the catalogue and all that belongs to it, within a transaction.

    Raises ClickException if others have placed orders.
    """
    db.session.execute(text(f"LOCK TABLE {', '.join(replaced_tables())} IN ACCESS EXCLUSIVE MODE"))
    if not delete_orders_of_others:
        _refuse_orders_of_others()
    db.session.execute(
        text(f"TRUNCATE {', '.join([*replaced_tables(), WORDS.name])} RESTART IDENTITY")
    )


def _count_rows() -> dict[str, int]:
    count = "SELECT count(*) FROM {}".format
    return {table: db.session.scalar(text(count(table))) or 0 for table in replaced_tables()}


def _refuse_orders_of_others() -> None:
    """Raise ClickException for an order whose customer the seed has not made up.

    An order is of the seed only if name, e-mail and address all match CUSTOMER_TEMPLATE.
    """
    number = func.substring(Order.customer_email, "[0-9]+")
    columns = (Order.customer_name, Order.customer_email, Order.customer_address)
    of_the_seed = and_(
        *(
            column == func.replace(part, "{}", number)
            for column, part in zip(columns, CUSTOMER_TEMPLATE, strict=True)
        )
    )
    others = select(func.count()).select_from(Order).where(of_the_seed.is_not(True))
    if count := db.session.scalar(others):
        raise click.ClickException(
            f"{count} orders were placed by others than this command: "
            "--yes-delete-orders deletes them, too"
        )
