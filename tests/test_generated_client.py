"""A client that openapi-python-client makes of the API's document does what its caller says."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ADMIN_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Service
    from flask import Flask

PACKAGE = "generated_shop_client"


@pytest.fixture(scope="session")
def generated(migrated: Flask, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The package, which can be imported; the generator finds nothing to warn of."""
    place = tmp_path_factory.mktemp("generated")
    document, config = place / "openapi.json", place / "config.json"
    document.write_text(migrated.test_client().get("/openapi.json").text)
    config.write_text(json.dumps({"post_hooks": []}))
    command = [str(Path(sys.executable).with_name("openapi-python-client")), "generate"]
    command += ["--path", str(document), "--config", str(config), "--fail-on-warning"]
    command += ["--meta", "none", "--output-path", str(place / PACKAGE)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    sys.path.insert(0, str(place))
    yield
    sys.path.remove(str(place))


class Caller:
    """Who calls a service by the generated functions, with a key, a session or neither."""

    def __init__(self, service: Service, token: str | None = None) -> None:
        self._options: dict[str, Any] = {"base_url": service.url, "timeout": 30}
        self._kind = "AuthenticatedClient" if token else "Client"
        if token:
            self._options["token"] = token

    def __call__(self, tag: str, operation: str, *arguments: Any, **fields: Any) -> tuple[int, Any]:
        """Call an operation, and return the status and what the client parsed."""
        client = getattr(importlib.import_module(f"{PACKAGE}.client"), self._kind)
        name = re.sub("([A-Z])", r"_\1", operation).lower()
        call = importlib.import_module(f"{PACKAGE}.api.{tag}.{name}").sync_detailed
        with client(**self._options, raise_on_unexpected_status=True) as opened:
            answer = call(*arguments, client=opened, **fields)
        return int(answer.status_code), answer.parsed


def model(kind: str, /, **fields: Any) -> Any:
    return getattr(importlib.import_module(f"{PACKAGE}.models"), kind)(**fields)


def a_product(**fields: Any) -> Any:
    needed = {"name": "Oak desk", "price": "19.90", "stock": 5, "category_id": 1}
    return model("ProductInput", **needed | fields)


def a_customer() -> Any:
    return model("CustomerInput", name="Sample Customer", email="customer@example.com")


def a_buyer(service: Service) -> Caller:
    """Open a session."""
    _, session = Caller(service)("sessions", "openSession")
    return Caller(service, session.token)


def buy(buyer: Caller, product_id: int) -> Any:
    """Check out a cart with one unit of a product, and return the order."""
    buyer("carts", "putCartItem", product_id, body=model("CartItemInput", quantity=1))
    body = model("CheckoutInput", customer=a_customer())
    status, order = buyer("carts", "checkOutCart", body=body)
    assert status == 201
    return order


@pytest.fixture
def service(generated: None, serve: Callable[..., Service]) -> Service:
    return serve(WEB_CONCURRENCY="1")


@pytest.fixture
def owner(service: Service) -> Caller:
    """Who has the administrator's key, and has filed one product."""
    caller = Caller(service, ADMIN_KEY)
    status, _ = caller("categories", "createCategory", body=model("CategoryInput", name="Office"))
    assert status == 201
    status, product = caller("products", "createProduct", body=a_product())
    assert (status, product.id) == (201, 1)
    return caller


def test_it_lists_and_reads_without_a_key(service: Service, owner: Caller) -> None:
    anybody = Caller(service)
    status, page = anybody("products", "listProducts")
    assert (status, page.skip, page.limit) == (200, 0, 10)
    assert [(product.id, product.price, product.sku) for product in page.items] == [
        (1, "19.90", None)
    ]
    status, product = anybody("products", "getProduct", 1)
    assert (status, product) == (200, page.items[0])
    status, problem = anybody("products", "getProduct", 2)
    assert (status, problem.status) == (404, 404)


def test_what_it_leaves_out_gets_the_default(owner: Caller) -> None:
    _, product = owner("products", "getProduct", 1)
    assert (product.currency, product.description, product.active) == ("EUR", "", True)
    assert set(a_product().to_dict()) == {"name", "price", "stock", "category_id"}


def test_a_patch_of_one_field_leaves_all_others(owner: Caller) -> None:
    usd = model("ProductInputCurrency", value="USD")
    whole = a_product(sku="FUR-1", description="Seats two.", currency=usd, active=False)
    _, made = owner("products", "createProduct", body=whole)
    patch = model("ProductPatch", price="18.50")
    assert patch.to_dict() == {"price": "18.50"}
    status, changed = owner("products", "updateProduct", made.id, body=patch)
    assert status == 200
    _, read = owner("products", "getProduct", made.id)
    assert read == changed
    before, after = made.to_dict(), read.to_dict()
    assert {name for name in before if before[name] != after[name]} == {"price", "updated_at"}
    assert (after["currency"], after["active"], after["sku"]) == ("USD", False, "FUR-1")


def test_a_patch_can_set_null(owner: Caller) -> None:
    _, made = owner("products", "createProduct", body=a_product(sku="FUR-1"))
    _, changed = owner("products", "updateProduct", made.id, body=model("ProductPatch", sku=None))
    assert (changed.sku, changed.name, changed.stock) == (None, "Oak desk", 5)


def test_it_fills_a_cart_and_checks_it_out(service: Service, owner: Caller) -> None:
    buyer = a_buyer(service)
    status, cart = buyer("carts", "putCartItem", 1, body=model("CartItemInput", quantity=2))
    assert (status, cart.items[0].state, cart.totals[0].total) == (200, "available", "39.80")
    assert buyer("carts", "getCart") == (200, cart)
    body = model("CheckoutInput", customer=a_customer())
    status, order = buyer("carts", "checkOutCart", body=body, idempotency_key="once")
    assert (status, order.status, order.total, order.paid_at) == (201, "pending", "39.80", None)
    assert buyer("carts", "checkOutCart", body=body, idempotency_key="once") == (201, order)
    _, product = owner("products", "getProduct", 1)
    assert product.stock == 3


def test_its_session_reads_how_far_its_orders_are(service: Service, owner: Caller) -> None:
    buyer, other = (a_buyer(service) for _ in range(2))
    orders = [buy(one, 1) for one in (buyer, other, buyer)]
    status, paid = owner("orders", "payOrder", orders[2].id)
    assert (status, paid.status, paid.lines) == (200, "paid", orders[2].lines)
    assert buyer("orders", "getOrder", orders[2].id) == (200, paid)
    status, page = buyer("orders", "listOrders")
    assert (status, page.items) == (200, [paid, orders[0]])
    is_paid = model("ListOrdersStatus", value="paid")
    _, page = buyer("orders", "listOrders", status=is_paid, limit=1)
    assert page.items == [paid]
    _, page = buyer("orders", "listOrders", after=paid.id)
    assert page.items == [orders[0]]
    status, problem = buyer("orders", "getOrder", orders[1].id)
    assert (status, problem.type_) == (404, "/problems/not-found")


def test_it_tells_conflicts_apart(owner: Caller) -> None:
    _, made = owner("products", "createProduct", body=a_product(sku="FUR-1"))
    status, problem = owner("products", "createProduct", body=a_product(sku="FUR-1"))
    assert (status, problem.status) == (409, 409)
    assert problem.type_.endswith("/problems/sku-taken")
    assert problem["sku"] == "FUR-1"
    assert problem["product_id"] == made.id
    line = model("OrderLineInput", product_id=1, quantity=6)
    body = model("OrderInput", customer=a_customer(), lines=[line])
    status, problem = owner("orders", "placeOrder", body=body)
    assert status == 409
    assert problem.type_.endswith("/problems/out-of-stock")
    assert problem.errors[0].field == "lines.0.quantity"
    assert problem.errors[0]["available"] == 5


def test_it_reads_of_a_refusal_which_policy_refused(
    generated: None, serve: Callable[..., Service]
) -> None:
    caller = Caller(serve(WEB_CONCURRENCY="1", RATE_LIMIT_CALLS="2"))
    answers = [caller("categories", "listCategories") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    refusal = answers[-1][1]
    assert type(refusal).__name__ == "QuotaExceededProblem"
    assert refusal.violated_policies == ["default"]
