"""How many open orders there may be of those who check out without a key.

An order takes its stock before anybody has paid. So that nobody takes the whole stock for nothing,
a session and an address have so many orders at most that are pending and have not expired.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, or_, select, update

from shop.config import current_settings
from shop.extensions import db
from shop.problems import AddressOpenOrdersError, SessionOpenOrdersError

from .metrics import OVER_CAP
from .models import Order

ADDRESS_LOCKS = 1  # the first of the two numbers of an advisory lock; the second is of an address
KINDS = {"session": SessionOpenOrdersError, "address": AddressOpenOrdersError}


class Buyer(NamedTuple):
    """Somebody who checks out without a key."""

    session_id: int
    address: str


def take_turn(buyer: Buyer) -> None:
    """Let the checkouts of one address take turns until their transactions end.

    Before the session is locked, whose checkouts take turns by that.
    """
    if current_settings().address_open_orders:
        lock = func.pg_advisory_xact_lock(ADDRESS_LOCKS, func.hashtext(buyer.address))
        db.session.execute(select(lock))


def remembered(buyer: Buyer) -> str | None:
    """Return the address for an order to keep: only what is counted is kept."""
    return buyer.address if current_settings().address_open_orders else None


def check(buyer: Buyer) -> None:
    """Refuse one more order than the buyer may have, when it is their turn.

    Raises SessionOpenOrdersError, AddressOpenOrdersError.
    """
    settings = current_settings()
    caps = {"session": settings.session_open_orders, "address": settings.address_open_orders}
    if not any(caps.values()):
        return
    for name, count in _open_orders(buyer).items():
        if caps[name] and count >= caps[name]:
            OVER_CAP.labels(name).inc()
            message = f"This {name} has {count} orders that are not paid: pay for one first."
            raise KINDS[name](message, open_orders=count, limit=caps[name])


def _open_orders(buyer: Buyer) -> dict[str, int]:
    """Count in a statement of its own, which sees what those before have committed."""
    of_session = Order.session_id == buyer.session_id
    of_address = Order.client_address == buyer.address
    in_time = or_(Order.expires_at.is_(None), Order.expires_at > func.statement_timestamp())
    statement = select(
        func.count().filter(of_session).label("session"),
        func.count().filter(of_address).label("address"),
    ).where(Order.status == "pending", in_time, or_(of_session, of_address))
    return dict(db.session.execute(statement).mappings().one())


def forget_addresses() -> None:
    """Erase the addresses of orders that left their state by another way than the service's."""
    left = select(Order.id).where(Order.client_address.is_not(None), Order.status != "pending")
    free = left.with_for_update(skip_locked=True)
    values = {"client_address": None, "updated_at": Order.updated_at}
    db.session.execute(
        update(Order).where(Order.id.in_(free)).values(values),
        execution_options={"synchronize_session": False},
    )
    db.session.commit()
