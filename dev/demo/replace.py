"""`flask seed --replace`: what it deletes, and who has to agree to that."""

from __future__ import annotations

import sys
from functools import cache

import click
from sqlalchemy import and_, func, select, text

from shop.extensions import db
from shop.features import features
from shop.orders.models import Order
from shop.search.models import WORDS

from .history import MADE_UP


@cache
def replaced() -> dict[str, str]:
    """Return the tables that are emptied, and what their rows are called."""
    tables = {"idempotency_keys": "kept answers"}
    for feature in features().values():
        tables |= feature.tables
    return tables


def ask(*, yes: bool, others_too: bool) -> None:
    """Return if what is there may be deleted; whoever sits at a terminal is asked.

    Raises ClickException, or Abort.
    """
    found = _what_is_there()
    if not any(found.values()):
        return
    if not others_too:
        _refuse_orders_of_others()
    if yes or others_too:
        return
    amounts = ", ".join(f"{count} {replaced()[table]}" for table, count in found.items() if count)
    if not sys.stdin.isatty():
        raise click.ClickException(f"this deletes {amounts}: --yes says that it may")
    db.session.rollback()  # whoever answers late holds nothing meanwhile
    click.confirm(f"This deletes {amounts}. Go on?", abort=True)


def delete_all(*, others_too: bool) -> None:
    """Delete the catalogue and what belongs to it, within a transaction.

    Raises ClickException where others have placed orders, up to this moment.
    """
    db.session.execute(text(f"LOCK TABLE {', '.join(replaced())} IN ACCESS EXCLUSIVE MODE"))
    if not others_too:
        _refuse_orders_of_others()
    db.session.execute(text(f"TRUNCATE {', '.join([*replaced(), WORDS.name])} RESTART IDENTITY"))


def _what_is_there() -> dict[str, int]:
    count = "SELECT count(*) FROM {}".format
    return {table: db.session.scalar(text(count(table))) or 0 for table in replaced()}


def _refuse_orders_of_others() -> None:
    """Raise ClickException for an order whose customer is not one whom the seed makes up.

    All that it makes up of the customer has to be there, or the order is another's.
    """
    number = func.substring(Order.customer_email, "[0-9]+")
    columns = (Order.customer_name, Order.customer_email, Order.customer_address)
    of_the_seed = and_(
        *(
            column == func.replace(part, "{}", number)
            for column, part in zip(columns, MADE_UP, strict=True)
        )
    )
    others = select(func.count()).select_from(Order).where(of_the_seed.is_not(True))
    if count := db.session.scalar(others):
        raise click.ClickException(
            f"{count} orders were placed by others than this command: "
            "--yes-delete-orders deletes them, too"
        )
