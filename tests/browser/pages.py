"""Pages of other origins in a real browser: `make test-browser`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import UNTIL
from conftest import ADMIN_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chromium import Chromium, Page
    from conftest import Service, Shop

README = Path(__file__).parents[2] / "README.md"
EDGE = pytest.mark.parametrize("edge", ["true", "false"], ids=["with the edge", "without it"])
CUSTOMER = {"name": "Sample Customer", "email": "customer@example.com", "address": "1 Way"}
# What each script of a page begins with.
PRELUDE = (
    UNTIL
    + """
const call = async (method, path, { token, body, headers = {} } = {}) => {
  const sent = { ...headers };
  if (token) sent["Authorization"] = `Bearer ${token}`;
  if (body) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(API + path, { method, headers: sent, body: body && JSON.stringify(body) });
  } catch (error) {
    return { error: error.name };
  }
  const text = await answer.text();
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: text && JSON.parse(text),
  };
};
const element = (selector, inside = document) =>
  until(() => inside.querySelector(selector), selector);
"""
)


class Blank(BaseHTTPRequestHandler):
    """Answers every address with an empty page."""

    def do_GET(self) -> None:
        body = b"<!doctype html><title>a page</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def an_origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Blank) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def origin() -> Iterator[str]:
    """The origin that the shop knows."""
    with an_origin() as one:
        yield one


@pytest.fixture
def strange_origin() -> Iterator[str]:
    with an_origin() as one:
        yield one


class Visit:
    """A page that calls a shop."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page = page
        self.url = service.url
        self._log = service.log

    def run(self, script: str, **values: Any) -> Any:
        """Return what a script returns; `values` are constants of it."""
        constants = {"API": self.url} | values
        given = [f"const {name} = {json.dumps(value)};" for name, value in constants.items()]
        return self.page.run("\n".join([*given, PRELUDE, script]))

    def answered(self) -> list[tuple[str, str, int]]:
        """Return method, path and status of what the shop has answered, but for OPTIONS."""
        lines = map(json.loads, self._log.read_text().splitlines())
        found = [(one["method"], one["path"], one["status"]) for one in lines if "method" in one]
        return [one for one in found if one[0] != "OPTIONS" and one[1] != "/health_check"]


Open = Callable[..., Visit]


@pytest.fixture
def visit(browser: Chromium, origin: str, serve: Callable[..., Service], a_shop: Shop) -> Open:
    """Serve a shop with three products, and open a page of another origin."""
    for name in ("Rake", "Spade", "Broom"):
        a_shop.create_product(name=name, stock=5)

    def open_page(at: str = origin, **changes: str) -> Visit:
        service = serve(**{"CORS_ORIGINS": origin} | changes)
        return Visit(browser.open(at), service)

    return open_page


@EDGE
def test_a_page_reads_a_list_and_its_headers(visit: Open, edge: str) -> None:
    page = visit(EDGE_ENABLED=edge)
    for _ in range(3):
        answer = page.run("return call('GET', '/products?skip=1&limit=1')")
    assert answer["status"] == 200
    assert [item["name"] for item in answer["body"]["items"]] == ["Spade"]
    assert {
        "content-type", "etag", "link", "x-cache", "x-request-id", "ratelimit", "ratelimit-policy",
        "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset",
    } <= set(answer["headers"])  # fmt: skip
    assert 'rel="next"' in answer["headers"]["link"]


@EDGE
def test_a_page_gets_304_for_an_unchanged_document(visit: Open, edge: str) -> None:
    """The page sends If-None-Match, or the browser sends it for the page."""
    page = visit(EDGE_ENABLED=edge)
    first, second, own = page.run("""
        const first = await call("GET", "/products/1");
        const headers = { "If-None-Match": first.headers.etag };
        const second = await call("GET", "/products/1");
        return [first, second, await call("GET", "/products/1", { headers })];
    """)
    assert (first["status"], second["status"], own["status"]) == (200, 200, 304)
    assert first["body"] == second["body"]
    assert own["headers"]["etag"] == first["headers"]["etag"]
    assert page.answered() == [
        ("GET", "/products/1", 200),
        ("GET", "/products/1", 304),
        ("GET", "/products/1", 304),
    ]


def test_a_page_fills_a_cart_and_orders_what_is_in_it_once(visit: Open, a_shop: Shop) -> None:
    page = visit()
    session, put, cart, first, again = page.run(
        """
        const session = await call("POST", "/sessions");
        const token = session.body.token;
        const put = await call("PUT", "/cart/items/2", { token, body: { quantity: 2 } });
        const cart = await call("GET", "/cart", { token });
        const headers = { "Idempotency-Key": crypto.randomUUID() };
        const order = { token, body: { customer }, headers };
        const first = await call("POST", "/cart/checkout", order);
        return [session, put, cart, first, await call("POST", "/cart/checkout", order)];
        """,
        customer=CUSTOMER,
    )
    assert (session["status"], put["status"], cart["status"]) == (201, 200, 200)
    assert [item["product_id"] for item in cart["body"]["items"]] == [2]
    assert (first["status"], first["headers"]["location"]) == (201, "/orders/1")
    assert (again["status"], again["headers"]["idempotent-replayed"]) == (201, "true")
    assert again["body"] == first["body"]
    assert a_shop.stock_of(2) == 3


@EDGE
def test_a_page_is_a_storefront(visit: Open, a_shop: Shop, edge: str) -> None:
    """A category from the cheapest on, its next page, a box to search in, an order's status."""
    for product_id, price in ((1, "9.00"), (2, "7.00"), (3, "5.00")):
        a_shop.patch(f"/products/{product_id}", price=price)
    page = visit(EDGE_ENABLED=edge)
    first, second, typed, found, status = page.run(
        """
        const category = "/products?category_id=1&sort=price&limit=2&total=true&facets=in_stock";
        const first = await call("GET", category);
        const [, next] = first.headers.link.match(/<([^>]+)>; rel="next"/);
        const second = await call("GET", next);
        const typed = await call("GET", "/search/suggest?q=spa");
        const q = encodeURIComponent(typed.body.items[0].text);
        const found = await call("GET", `/products?q=${q}&include=category`);
        const { token } = (await call("POST", "/sessions")).body;
        const item = `/cart/items/${found.body.items[0].id}`;
        await call("PUT", item, { token, body: { quantity: 1 } });
        const order = await call("POST", "/cart/checkout", { token, body: { customer } });
        const status = await call("GET", order.headers.location, { token });
        return [first, second, typed, found, status];
        """,
        customer=CUSTOMER,
    )
    shown = [[item["name"] for item in one["body"]["items"]] for one in (first, second)]
    assert shown == [["Broom", "Spade"], ["Rake"]]
    assert first["body"]["total"] == {"count": 3, "exact": True}
    assert first["body"]["facets"] == {"in_stock": {"true": 3, "false": 0}}
    assert "next" not in second["headers"].get("link", "")
    assert typed["body"]["items"] == [{"kind": "product", "id": 2, "text": "Spade"}]
    assert [item["category"]["name"] for item in found["body"]["items"]] == ["Garden"]
    assert status["body"]["lines"][0]["product_id"] == 2
    assert (status["status"], status["body"]["status"]) == (200, "pending")


@EDGE
def test_a_page_reads_the_status_of_its_own_order_alone(
    visit: Open, a_shop: Shop, edge: str
) -> None:
    page = visit(EDGE_ENABLED=edge)
    order = """
        const { token } = (await call("POST", "/sessions")).body;
        await call("PUT", "/cart/items/2", { token, body: { quantity: 1 } });
        const made = await call("POST", "/cart/checkout", { token, body: { customer } });
        return [token, made.headers.location];
    """
    (_, others), (token, own) = (page.run(order, customer=CUSTOMER) for _ in range(2))
    ask = "return [await call('GET', own, { token }), await call('GET', others, { token })];"
    for step, status in (("pay", "paid"), ("ship", "shipped")):
        assert a_shop.move_order(2, step).status_code == 200
        found, refused = page.run(ask, token=token, own=own, others=others)
        assert (found["status"], found["body"]["status"]) == (200, status)
        assert found["headers"]["cache-control"] == "no-store"
        assert (refused["status"], refused["body"]["type"]) == (404, "/problems/not-found")


@EDGE
def test_a_page_reads_that_its_quota_is_spent_and_the_time_to_wait(visit: Open, edge: str) -> None:
    """A request that needs a preflight is refused readably, too."""
    page = visit(EDGE_ENABLED=edge, RATE_LIMIT_CALLS="3", RATE_LIMIT_PERIOD="86400")
    answers = page.run("""
        const answers = [];
        for (const n of [1, 2, 3, 4]) answers.push(await call("GET", "/categories"));
        answers.push(await call("PUT", "/cart/items/1", { token: "none", body: { quantity: 1 } }));
        return answers;
    """)
    assert [answer["status"] for answer in answers] == [200, 200, 200, 429, 429]
    for refused in answers[3:]:
        assert refused["body"]["violated-policies"] == ["default"]
        headers = refused["headers"]
        assert 0 < int(headers["retry-after"]) <= 86_400
        assert headers["x-ratelimit-remaining"] == "0"
        assert headers["ratelimit"].startswith('"default";r=0;t=')
        assert headers["ratelimit-policy"].startswith('"default";q=3;w=86400')


def test_a_page_reads_the_errors_of_its_request(visit: Open) -> None:
    """Unknown paths, for which the browser sends a preflight, are included."""
    page = visit()
    answers = page.run(
        """
        const { token } = (await call("POST", "/sessions")).body;
        const headers = { "If-Match": '"x"' };
        return [
          await call("GET", "/products/99", { token }),
          await call("GET", "/nothing", { token }),
          await call("GET", "/cart"),
          await call("PUT", "/cart/items/1", { token, body: { quantity: 0 } }),
          await call("POST", "/cart/checkout", { token, body: { customer } }),
          await call("PATCH", "/products/1", { token: key, body: { stock: 1 }, headers }),
        ];
        """,
        customer=CUSTOMER,
        key=ADMIN_KEY,
    )
    assert [answer["status"] for answer in answers] == [404, 404, 401, 422, 409, 412]
    for answer in answers:
        assert answer["headers"]["content-type"] == "application/problem+json"
        assert answer["body"]["request_id"] == answer["headers"]["x-request-id"]
    assert answers[2]["headers"]["www-authenticate"].startswith("Bearer")


def test_a_page_of_an_origin_that_is_not_named_reads_nothing_and_writes_nothing(
    visit: Open, strange_origin: str, a_shop: Shop
) -> None:
    page = visit(at=strange_origin)
    session = a_shop.open_session()["Authorization"].removeprefix("Bearer ")
    answers = page.run(
        """
        return [
          await call("GET", "/products"),
          await call("GET", "/cart", { token }),
          await call("PUT", "/cart/items/1", { token, body: { quantity: 1 } }),
          await call("DELETE", "/products/1", { token: key }),
        ];
        """,
        token=session,
        key=ADMIN_KEY,
    )
    assert answers == 4 * [{"error": "TypeError"}]
    # The browser sends what needs no permission, and keeps its answer from the page.
    assert page.answered() == [("GET", "/products", 200)]


def test_a_page_of_any_origin_reads_if_all_may(visit: Open, strange_origin: str) -> None:
    page = visit(at=strange_origin, CORS_ORIGINS="*")
    answer = page.run("return call('GET', '/products', { token: 'none' })")
    assert (answer["status"], len(answer["body"]["items"])) == (200, 3)
    assert "ratelimit" in answer["headers"]


def test_the_example_of_the_readme_buys(visit: Open) -> None:
    """The quota is one request a second, so the page has to wait and to ask again."""
    page = visit(RATE_LIMIT_CALLS="1", RATE_LIMIT_PERIOD="1")
    [example] = re.findall(r"```js\n(.+?)```", README.read_text(), re.DOTALL)
    report = (
        "return [order.status, order.headers.get('Location'), (await order.json()).lines, status]"
    )
    made, location, lines, status = page.page.run(
        example.replace("http://localhost:8000", page.url) + report
    )
    assert (made, location, status) == (201, "/orders/1", "pending")
    assert [(line["product_id"], line["quantity"]) for line in lines] == [(1, 1)]


def test_the_page_of_the_document_tries_calls(
    browser: Chromium, serve: Callable[..., Service]
) -> None:
    """A read as anybody, and a write with a key that was typed in; the browser forbids nothing."""
    service = serve()
    page = Visit(browser.open(f"{service.url}/docs"), service)
    statuses = page.run(
        """
        const click = async (selector, inside) => (await element(selector, inside)).click();
        const tryOut = async (method, path) => {
          const name = await element(`.opblock-${method} [data-path="${path}"]`);
          const block = name.closest(".opblock");
          await click(".opblock-summary-control", block);
          // A click on a call whose schemas are not resolved yet is lost.
          const call = ["paths", path, method];
          await until(() => ui.specSelectors.specResolvedSubtree(call), "resolved call");
          await click(".execute", block);
          const answer = ".live-responses-table .response .response-col_status";
          return (await element(answer, block)).innerText.trim();
        };
        const read = await tryOut("get", "/products");
        await click(".btn.authorize");
        const input = await element(".auth-container input");
        // As typed: the page's framework looks at the setter and at the event.
        const { set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
        set.call(input, key);
        input.dispatchEvent(new Event("input", { bubbles: true }));
        await click(".auth-container .authorize");
        await click(".auth-container .btn-done");
        return [read, await tryOut("post", "/categories")];
        """,
        key=ADMIN_KEY,
    )
    assert statuses == ["200", "201"]
    assert page.page.complaints() == []
    assert page.answered()[-2:] == [("GET", "/products", 200), ("POST", "/categories", 201)]
