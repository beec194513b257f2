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
    """A caller of the generated functions, with a key, a session or neither."""

    def __init__(self, service: Service, token: str | None = None) -> None:
        self._options: dict[str, Any] = {"base_url": service.url, "timeout": 30}
        self._kind = "AuthenticatedClient" if token else "Client"
        if token:
            self._options["token"] = token

    def __call__(self, tag: str, operation: str, *arguments: Any, **fields: Any) -> tuple[int, Any]:
        """Call an operation, and return the status and what the client parsed."""
        answer = self.ask(tag, operation, *arguments, **fields)
        return int(answer.status_code), answer.parsed

    def ask(self, tag: str, operation: str, *arguments: Any, **fields: Any) -> Any:
        """Call an operation, and return its answer with its headers."""
        client = getattr(importlib.import_module(f"{PACKAGE}.client"), self._kind)
        name = re.sub("([A-Z])", r"_\1", operation).lower()
        call = importlib.import_module(f"{PACKAGE}.api.{tag}.{name}").sync_detailed
        with client(**self._options, raise_on_unexpected_status=True) as opened:
            return call(*arguments, client=opened, **fields)


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
    """A caller with the administrator's key, who has created one product."""
    caller = Caller(service, ADMIN_KEY)
    status, _ = caller("categories", "createCategory", body=model("CategoryInput", name="Office"))
    assert status == 201
    status, product = caller("products", "createProduct", body=a_product())
    assert (status, product.id) == (201, 1)
    return caller


def test_the_generated_client_lists_and_reads_without_a_key(
    service: Service, owner: Caller
) -> None:
    anybody = Caller(service)
    status, page = anybody("products", "listProducts")
    assert (status, page.skip, page.limit) == (200, 0, 10)
    assert [(product.id, product.price, product.sku) for product in page.items] == [
        (1, "19.90", None)
    ]
    status, product = anybody("products", "getProduct", 1)
    assert (status, product.to_dict()) == (200, page.items[0].to_dict())
    status, problem = anybody("products", "getProduct", 2)
    assert (status, problem.status) == (404, 404)


def test_a_field_that_the_generated_client_leaves_out_gets_its_default(owner: Caller) -> None:
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


def test_the_generated_client_fills_a_cart_and_checks_it_out(
    service: Service, owner: Caller
) -> None:
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


def test_a_session_of_the_generated_client_reads_the_status_of_its_orders(
    service: Service, owner: Caller
) -> None:
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


@pytest.fixture
def storefront(service: Service, owner: Caller) -> Caller:
    """A caller for a storefront of three desks, one of them sold out, and a lamp."""
    owner("categories", "createCategory", body=model("CategoryInput", name="Lighting"))
    for fields in (
        {"name": "Walnut desk", "price": "9.50", "sku": "FUR-2"},
        {"name": "Café desk", "price": "14.00", "stock": 0},
        {"name": "Reading lamp", "price": "5.00", "category_id": 2},
    ):
        status, _ = owner("products", "createProduct", body=a_product(**fields))
        assert status == 201
    return a_buyer(service)


def of(parameter: str, value: str) -> Any:
    """Return a value of a parameter of listProducts that has only a few."""
    return model(f"ListProducts{parameter}", value=value)


def found(page: Any) -> list[int]:
    return [product.id for product in page.items]


def test_the_generated_client_pages_through_a_category_by_price(storefront: Caller) -> None:
    asked = {"category_id": "1", "sort": of("Sort", "price"), "limit": 2}
    first = storefront.ask("products", "listProducts", **asked, total=True, facets="in_stock,price")
    assert (first.status_code, found(first.parsed)) == (200, [2, 3])
    assert (first.parsed.total.count, first.parsed.total.exact) == (3, True)
    assert first.parsed.facets.in_stock.to_dict() == {"true": 2, "false": 1}
    assert sum(one.count for one in first.parsed.facets.price) == 3
    [after] = re.findall('[?&]after=([^&>]+)[^>]*>; rel="next"', first.headers["Link"])
    last = storefront.ask("products", "listProducts", **asked, after=after)
    assert (last.status_code, found(last.parsed)) == (200, [1])
    assert 'rel="next"' not in last.headers.get("Link", "")
    status, problem = storefront("products", "listProducts", category_id="2", after=after)
    assert (status, problem.errors[0].field) == (422, "after")


def test_the_generated_client_searches_and_completes(storefront: Caller) -> None:
    for typed in ("walnut", "WALN", "wallnut", "desk -oak -cafe", "FUR-2"):
        status, page = storefront("products", "listProducts", q=typed)
        assert (status, found(page)) == (200, [2]), typed
    _, page = storefront("products", "listProducts", q="desk", in_stock=True, max_price="10")
    assert found(page) == [2]
    status, suggested = storefront("search", "listSuggestions", q="rea")
    assert status == 200
    assert ("product", 4, "Reading lamp") in [
        (one.kind, one.id, one.text) for one in suggested.items
    ]


def test_the_generated_client_reads_several_products_in_one_request(storefront: Caller) -> None:
    status, page = storefront("products", "listProducts", id="4,9,1", sku="FUR-2", fields="id,name")
    assert (status, found(page)) == (200, [4, 1, 2])
    assert page.items[0].to_dict() == {"id": 4, "name": "Reading lamp"}
    assert (page.missing.ids, page.missing.skus) == ([9], [])


def test_a_buyer_finds_a_product_and_reads_the_status_of_its_order(
    storefront: Caller, owner: Caller
) -> None:
    _, page = storefront("products", "listProducts", q="lamp", include="category")
    assert [(one.id, one.category.name) for one in page.items] == [(4, "Lighting")]
    order = buy(storefront, page.items[0].id)
    owner("orders", "payOrder", order.id)
    owner("orders", "shipOrder", order.id)
    status, now = storefront("orders", "getOrder", order.id)
    assert (status, now.status, now.lines) == (200, "shipped", order.lines)


def test_the_generated_client_distinguishes_conflicts(owner: Caller) -> None:
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


def test_the_generated_client_reads_which_policy_refused(
    generated: None, serve: Callable[..., Service]
) -> None:
    caller = Caller(serve(WEB_CONCURRENCY="1", RATE_LIMIT_CALLS="2"))
    answers = [caller("categories", "listCategories") for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 429]
    refusal = answers[-1][1]
    assert type(refusal).__name__ == "QuotaExceededProblem"
    assert refusal.violated_policies == ["default"]
