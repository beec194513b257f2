"""`flask seed --replace` deletes data only after confirmation."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from sqlalchemy import text

from shop.extensions import db

if TYPE_CHECKING:
    from conftest import Shop

REPLACE = ("seed", "--products", "5", "--replace")


def count(shop: Shop, table: str) -> int:
    with shop.app.app_context():
        found: int = db.session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    return found


def refused(shop: Shop, *arguments: str) -> str:
    """Run a command that is refused, and return why; nothing is deleted."""
    before = {table: count(shop, table) for table in ("categories", "products", "orders")}
    run = shop.command(*arguments)
    assert run.exit_code == 1, run.output
    assert before == {table: count(shop, table) for table in before}
    reason: str = run.output
    return reason


@pytest.fixture
def seeded(a_shop: Shop) -> Shop:
    assert a_shop.command("seed", "--products", "8", "--orders", "30").exit_code == 0
    return a_shop


def test_seed_replace_without_a_terminal_needs_yes(seeded: Shop) -> None:
    reason = refused(seeded, *REPLACE)
    assert "this deletes 20 categories, 8 products, 30 orders, " in reason
    assert "--yes" in reason
    assert seeded.command(*REPLACE, "--yes").exit_code == 0
    assert (count(seeded, "products"), count(seeded, "orders")) == (5, 0)


def test_seed_replace_of_an_empty_catalogue_asks_nothing(a_shop: Shop) -> None:
    assert a_shop.command(*REPLACE).exit_code == 0
    assert count(a_shop, "products") == 5


def test_orders_that_the_seed_did_not_make_are_deleted_only_with_their_own_option(
    seeded: Shop,
) -> None:
    seeded.create_product(category_id=1, stock=5)
    seeded.place_order(9)
    reason = refused(seeded, *REPLACE, "--yes")
    assert "1 orders were placed by others" in reason
    assert "--yes-delete-orders" in reason
    assert seeded.command(*REPLACE, "--yes", "--yes-delete-orders").exit_code == 0
    assert count(seeded, "orders") == 0


@pytest.mark.parametrize(
    "customer",
    [
        {"name": "Customer 7", "email": "customer.7@example.com", "address": "1 Way"},
        {"name": "Customer 7", "email": "customer.7@example.com"},
        {"name": "Customer", "email": "customer@example.com", "address": " Market Street"},
        {"name": "Customer 7", "email": "customer.8@example.com",
         "address": "8 Market Street, Exampleton"},
        {"name": "Customer 7", "email": "x.customer.7@example.com",
         "address": "7 Market Street, Exampleton"},
    ],
)  # fmt: skip
def test_an_order_that_resembles_one_of_the_seed_is_not_of_the_seed(
    seeded: Shop, customer: dict[str, Any]
) -> None:
    product = seeded.create_product(category_id=1, stock=5)
    line = {"product_id": product["id"], "quantity": 1}
    assert seeded.post("/orders", customer=customer, lines=[line]).status_code == 201
    assert "placed by others" in refused(seeded, *REPLACE, "--yes")


def test_an_order_of_the_seed_is_recognised_in_every_status(seeded: Shop) -> None:
    with seeded.app.app_context():
        db.session.execute(text("UPDATE orders SET status = 'pending', paid_at = NULL"))
        db.session.commit()
    assert seeded.move_order(30, "pay").status_code == 200
    assert seeded.command(*REPLACE, "--yes").exit_code == 0


@pytest.mark.parametrize(("answer", "left"), [("y", 5), ("n", 8), ("", 8)])
def test_seed_replace_asks_on_a_terminal(
    seeded: Shop, settings: dict[str, str], answer: str, left: int
) -> None:
    terminal, end = pty.openpty()
    command = [str(Path(sys.executable).with_name("flask")), *REPLACE]
    run = subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, cwd=ROOT, env=os.environ | settings
    )
    os.close(end)
    shown = b""
    while b"Go on? [y/N]" not in shown:
        shown += os.read(terminal, 1000)
    assert b"This deletes 20 categories, 8 products, 30 orders" in shown
    os.write(terminal, f"{answer}\n".encode())
    while True:  # or its output is never taken
        try:
            if not os.read(terminal, 1000):
                break
        except OSError:  # how Linux tells that the other end is closed
            break
    assert run.wait() == (0 if left == 5 else 1)
    os.close(terminal)
    assert count(seeded, "products") == left


def test_seed_replace_refuses_orders_of_others_without_asking(
    seeded: Shop, settings: dict[str, str]
) -> None:
    seeded.create_product(category_id=1, stock=5)
    seeded.place_order(9)
    terminal, end = pty.openpty()
    command = [str(Path(sys.executable).with_name("flask")), *REPLACE]
    run = subprocess.run(
        command, stdin=end, capture_output=True, cwd=ROOT, env=os.environ | settings, check=False
    )
    os.close(end)
    os.close(terminal)
    assert run.returncode == 1
    assert b"--yes-delete-orders" in run.stderr
    assert b"Go on?" not in run.stdout
