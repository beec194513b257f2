"""In any order of operations, stock and sold units add up to the units that came in.

A machine draws operations, does them, and knows what each has to answer. After each, the database
and the cached reads have to say what the machine has counted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from conftest import ADMIN_KEY, CUSTOMER
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from shop.extensions import db
from shop.orders import expiry
from shop.orders.service import TRANSITIONS

if TYPE_CHECKING:
    from conftest import Make, Shop
    from werkzeug.test import TestResponse

ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
PRODUCTS = 4
CAP = 3
EXAMPLES, STEPS = 80, 60
OPERATIONS_LEAST = 3000

products = st.integers(0, PRODUCTS - 1)
quantities = st.integers(1, 6)
baskets = st.dictionaries(products, quantities, min_size=1, max_size=PRODUCTS)
picks = st.integers(0, 10_000)  # of what there is by then

UNITS = text("""
    SELECT product_id, sum(quantity) FROM order_lines JOIN orders ON orders.id = order_id
    WHERE product_id = ANY(:products) AND status <> 'cancelled' GROUP BY product_id
""")
PASS = text("UPDATE orders SET expires_at = now() - interval '1 s' WHERE id = :id")
STATUSES = text("SELECT id, status FROM orders WHERE id = ANY(:orders)")
STOCKS = text("SELECT id, stock FROM products WHERE id = ANY(:products)")


class Commerce(RuleBasedStateMachine):
    shop: Shop  # whose sessions may have CAP open orders
    operations: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        with self.shop.app.app_context():
            expiry.expire_orders(STEPS)  # what the example before has left
        made = [self.shop.create_product(name="Rake", stock=10) for _ in range(PRODUCTS)]
        self.ids = [product["id"] for product in made]
        self.stock = [10] * PRODUCTS
        self.came_in = [10] * PRODUCTS
        self.active = [True] * PRODUCTS
        self.orders: dict[int, tuple[str, dict[int, int]]] = {}  # status, and what is in it
        self.late: set[int] = set()  # orders whose time to pay is over
        self.mine: set[int] = set()  # orders of the session
        self.cart: dict[int, int] = {}
        self.session = self.shop.open_session()
        self.answered: list[tuple[str, str, dict[str, Any], dict[str, str], bytes]] = []

    # What a buyer does.

    @rule(basket=baskets)
    def order(self, basket: dict[int, int]) -> None:
        lines = [{"product_id": self.ids[n], "quantity": basket[n]} for n in basket]
        self._sell("/orders", {"customer": CUSTOMER, "lines": lines}, basket, {})

    @rule(product=products, quantity=quantities)
    def put_into_the_cart(self, product: int, quantity: int) -> None:
        path = f"/cart/items/{self.ids[product]}"
        answer = self._send("PUT", path, {"quantity": quantity}, self.session)
        assert answer.status_code == (200 if self.active[product] else 409)
        if self.active[product]:
            self.cart[product] = quantity

    @rule(product=products)
    def take_out_of_the_cart(self, product: int) -> None:
        answer = self._send("DELETE", f"/cart/items/{self.ids[product]}", None, self.session)
        assert answer.status_code == (204 if self.cart.pop(product, 0) else 404)

    @rule()
    def check_out(self) -> None:
        body = {"customer": CUSTOMER}
        open_orders = {one for one in self.mine - self.late if self.orders[one][0] == "pending"}
        if self.cart and len(open_orders) < CAP:
            if self._sell("/cart/checkout", body, self.cart, self.session):
                self.mine.add(max(self.orders))
                self.cart = {}
        else:
            answer = self._send("POST", "/cart/checkout", body, self.session)
            assert answer.status_code == 409

    @rule()
    def look_at_its_orders(self) -> None:
        """The session reads what was checked out with it, as it is now, and no others."""
        answer = self._send("GET", "/orders?limit=50", None, self.session)
        assert [(row["id"], row["status"]) for row in answer.get_json()["items"]] == [
            (order_id, self.orders[order_id][0]) for order_id in sorted(self.mine, reverse=True)
        ]

    def _sell(
        self, path: str, body: dict[str, Any], basket: dict[int, int], headers: dict[str, str]
    ) -> bool:
        """Order a basket, and tell whether that succeeded."""
        there = all(self.active[n] and self.stock[n] >= basket[n] for n in basket)
        headers = {**headers, "Idempotency-Key": self._new_key()}
        answer = self._send("POST", path, body, headers)
        assert answer.status_code == (201 if there else 409), answer.text
        if there:
            self.orders[answer.get_json()["id"]] = ("pending", dict(basket))
            self.answered.append(("POST", path, body, headers, answer.data))
            for n, quantity in basket.items():
                self.stock[n] -= quantity
        return there

    @rule(pick=picks)
    def send_again(self, pick: int) -> None:
        """An answered request is not carried out again, after any other request."""
        if self.answered:
            method, path, body, headers, first = self.answered[pick % len(self.answered)]
            answer = self._send(method, path, body, headers)
            assert answer.headers["Idempotent-Replayed"] == "true"
            assert answer.data == first

    # What the shop does.

    @rule(pick=picks, action=st.sampled_from(list(TRANSITIONS)))
    def move(self, pick: int, action: str) -> None:
        if not self.orders:
            return
        order_id = list(self.orders)[pick % len(self.orders)]
        status, basket = self.orders[order_id]
        before, after = TRANSITIONS[action]
        path = f"/orders/{order_id}/{action}"
        headers = {"Idempotency-Key": self._new_key()}
        answer = self._send("POST", path, {}, headers)
        can_be = status in before and not (action == "pay" and order_id in self.late)
        assert answer.status_code == (200 if can_be else 409)
        if can_be:
            self.orders[order_id] = (after, basket)
            self.answered.append(("POST", path, {}, headers, answer.data))
            if after == "cancelled":
                for n, quantity in basket.items():
                    self.stock[n] += quantity

    @rule(pick=picks)
    def let_the_time_of_an_order_pass(self, pick: int) -> None:
        if self.orders:
            order_id = list(self.orders)[pick % len(self.orders)]
            with self.shop.app.app_context(), db.engine.begin() as connection:
                connection.execute(PASS, {"id": order_id})
            self.late.add(order_id)

    @rule()
    def expire(self) -> None:
        late = {one for one in self.late if self.orders[one][0] == "pending"}
        with self.shop.app.app_context():
            assert expiry.expire_orders(len(self.orders) + 1) == len(late)
        for order_id in late:
            _, basket = self.orders[order_id]
            self.orders[order_id] = ("cancelled", basket)
            for n, quantity in basket.items():
                self.stock[n] += quantity

    @rule(product=products, delta=st.integers(-8, 8))
    def change_stock(self, product: int, delta: int) -> None:
        path = f"/products/{self.ids[product]}/stock"
        answer = self._send("PATCH", path, {"delta": delta})
        enough = self.stock[product] + delta >= 0
        assert answer.status_code == (200 if enough else 409)
        if enough:
            self.stock[product] += delta
            self.came_in[product] += delta

    @rule(product=products, stock=st.integers(0, 12))
    def count_stock(self, product: int, stock: int) -> None:
        answer = self._send("PATCH", f"/products/{self.ids[product]}", {"stock": stock})
        assert answer.status_code == 200
        self.came_in[product] += stock - self.stock[product]
        self.stock[product] = stock

    @rule(product=products)
    def stop_or_go_on_selling(self, product: int) -> None:
        self.active[product] = not self.active[product]
        body = {"active": self.active[product]}
        assert self._send("PATCH", f"/products/{self.ids[product]}", body).status_code == 200

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        self.operations[method] += 1
        return self.shop.request(method, path, json=body, headers=headers or {})

    def _new_key(self) -> str:
        return str(self.operations.total())

    @invariant()
    def nothing_is_lost_and_nothing_is_made_up(self) -> None:
        of_this_example = {"products": self.ids, "orders": list(self.orders)}
        with self.shop.app.app_context(), db.engine.connect() as connection:
            stocks, statuses, units = (
                {row[0]: row[1] for row in connection.execute(statement, of_this_example)}
                for statement in (STOCKS, STATUSES, UNITS)
            )
        for order_id, (status, _) in self.orders.items():
            assert statuses[order_id] == status
        for n, product_id in enumerate(self.ids):
            assert stocks[product_id] == self.stock[n] >= 0
            assert stocks[product_id] + units.get(product_id, 0) == self.came_in[n]
            seen_by = {} if self.active[n] else ADMIN  # nobody else sees what is not sold
            seen = self.shop.get(f"/products/{product_id}", headers=seen_by).get_json()
            assert seen["stock"] == self.stock[n]


def test_stock_and_sold_units_add_up_to_the_units_that_came_in(make_shop: Make) -> None:
    Commerce.shop = make_shop(SESSION_OPEN_ORDERS=str(CAP))
    Commerce.operations.clear()
    run_state_machine_as_test(
        Commerce,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Commerce.operations.total() >= OPERATIONS_LEAST
    print(dict(Commerce.operations))  # noqa: T201  (with -s: how many there were)
