"""Caps on the open orders of buyers without a key: those that are pending and have not expired.

An order takes its stock before anybody has paid. So a session and a client address have a limited
number of open orders each, and nobody takes the whole stock for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, or_, select, update

from shop.config import current_settings
from shop.extensions import db
from shop.problems import AddressOpenOrdersError, SessionOpenOrdersError

from .metrics import OVER_CAP
from .models import Order

ADDRESS_LOCKS = 1  # first number of an advisory lock; the second number is the address's hash
ERRORS = {"session": SessionOpenOrdersError, "address": AddressOpenOrdersError}


class Buyer(NamedTuple):
    """A buyer who checks out without a key."""

    session_id: int
    client_address: str


def lock_address(buyer: Buyer) -> None:
    """Serialize the checkouts of one address until their transactions end.

    Lock the address before the session, which serializes the checkouts of that session.
    """
    if current_settings().address_open_orders:
        key = func.hashtext(buyer.client_address)
        db.session.execute(select(func.pg_advisory_xact_lock(ADDRESS_LOCKS, key)))


def address_to_store(buyer: Buyer) -> str | None:
    """Return the client address to store with an order, None if addresses have no cap."""
    return buyer.client_address if current_settings().address_open_orders else None


def check_caps(buyer: Buyer) -> None:
    """Refuse one more order than the buyer may have open. The address is locked by then.

    Raises SessionOpenOrdersError, AddressOpenOrdersError.
    """
    settings = current_settings()
    caps = {"session": settings.session_open_orders, "address": settings.address_open_orders}
    if not any(caps.values()):
        return
    for name, count in _count_open_orders(buyer).items():
        if caps[name] and count >= caps[name]:
            OVER_CAP.labels(name).inc()
            message = f"This {name} has {count} orders that are not paid: pay for one first."
            raise ERRORS[name](message, open_orders=count, limit=caps[name])


def _count_open_orders(buyer: Buyer) -> dict[str, int]:
    """Count the open orders by a new statement, which sees what earlier checkouts committed."""
    of_session = Order.session_id == buyer.session_id
    of_address = Order.client_address == buyer.client_address
    in_time = or_(Order.expires_at.is_(None), Order.expires_at > func.statement_timestamp())
    statement = select(
        func.count().filter(of_session).label("session"),
        func.count().filter(of_address).label("address"),
    ).where(Order.status == "pending", in_time, or_(of_session, of_address))
    return dict(db.session.execute(statement).mappings().one())


def erase_addresses() -> None:
    """Erase the addresses of orders whose status was changed past the service, such as by SQL."""
    left = select(Order.id).where(Order.client_address.is_not(None), Order.status != "pending")
    unlocked = left.with_for_update(skip_locked=True)
    values = {"client_address": None, "updated_at": Order.updated_at}
    db.session.execute(
        update(Order).where(Order.id.in_(unlocked)).values(values),
        execution_options={"synchronize_session": False},
    )
    db.session.commit()
